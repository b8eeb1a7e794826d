# SPDX-License-Identifier: Apache-2.0
"""memtest86+, started by the Linux boot protocol."""

import re

from program import Program, fetched, plain
from vmm import LONG, expect


def memtest(kind, cpus, until):
    # On those of AMD it takes cores for threads, and resets where no PCI bridge tells it the temperature.
    with Program("--cpu", "x86-64-v3", "--kernel", fetched("memtest86+", f"boot/memtest86+{kind}.bin"), "--append", "console=ttyS0,115200", "--memory", "64M",
                 "--cpus", cpus) as vm:
        vm.printed(rf"#[{until}-9] +\[", f"it comes to test {until}")
        screen = plain(vm.stdout())
    expect(re.search(r"Memory *: +64MB", screen), "it does not find its 64 MB")
    expect(re.search(rf"CPU: {cpus} Cores", screen), f"it does not find its {cpus} processors")
    errors = re.findall(r"Errors: ([0-9]+)", screen)
    expect(errors, "it has counted no errors")
    expect(errors[-1] == "0", f"it finds {errors[-1]} errors")


CASES = {
    "memtest-x64": lambda: memtest("x64", 2, 6 if LONG else 4),
    "memtest-ia32": lambda: memtest("ia32", 1, 6 if LONG else 4),
}
LONG_CASES = {}
