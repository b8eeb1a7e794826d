# SPDX-License-Identifier: Apache-2.0
"""--accel kvm where it cannot be: what is wrong and what to do is one line, and `auto` goes on without it."""

import os
import pathlib
import subprocess
import tempfile

from hosts import NOBODY
from vmm import BAD_INPUT, SKERRY, TINY, expect, multiboot

UNSHARE = ["unshare", "--mount"]


def run(kernel, *options, before=()):
    return subprocess.run([*before, SKERRY, "run", *options, "--kernel", str(kernel), "--console", "none", "--no-reboot"],
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=120)


def refused(kernel, *options, before=(), says=()):
    done = run(kernel, *options, before=before)
    lines = done.stderr.splitlines()
    expect(len(lines) == 1 and done.returncode == BAD_INPUT, f"{options}: status {done.returncode}, {lines}")
    for words in says:
        expect(words in lines[0], f"{options} does not say {words!r} in: {lines[0]}")


def within(script):
    """A command to put before another, which then has the host as the script makes it."""
    return [*UNSHARE, "sh", "-ec", f'{script}; exec "$@"', "sh"]


def case_kvm():
    with tempfile.TemporaryDirectory(prefix="skerry-kvm-") as folder:
        folder = pathlib.Path(folder)
        kernel = folder / "off.elf"
        kernel.write_bytes(multiboot(TINY["halt"]))
        for text in ("kvm,fd=", "kvm,fd=two", "kvm,fd=2", "kvm,group=3", "bt,fd=7", "kvm,"):
            refused(kernel, "--accel", text, says=["accel"])
        refused(kernel, "--accel", "kvm,fd=99", says=["/dev/kvm", "not a KVM device"])
        with open("/dev/null", "rb") as null:
            os.set_inheritable(null.fileno(), True)
            done = subprocess.run([SKERRY, "run", "--accel", f"kvm,fd={null.fileno()}", "--kernel", str(kernel)], pass_fds=[null.fileno()],
                                  stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=60)
        expect("not a KVM device" in done.stderr and done.returncode == BAD_INPUT, f"/dev/null as KVM: {done}")
        if os.geteuid() != 0 or subprocess.run([*UNSHARE, "mount", "-t", "tmpfs", "none", "/mnt"], check=False).returncode != 0:
            print("  not here: hosts without a /dev/kvm that may be opened (no mount namespaces, or not root)")
            return
        refused(kernel, "--accel", "kvm", before=within("mount -t tmpfs none /dev"),
                says=["there is no /dev/kvm", "modprobe kvm_intel", "--accel bt"])
        refused(kernel, "--accel", "kvm", "--debug", "slow-clock=2", says=["slow-clock"])
        node = folder / "kvm"
        closed = within(f"mknod -m 600 {node} c 10 232; mkdir -p {folder}/dev; mount --bind /dev {folder}/dev; mount -t tmpfs none /dev; "
                        f"mknod -m 666 /dev/null c 1 3; cp -a {node} /dev/kvm")
        folder.chmod(0o755)
        kernel.chmod(0o644)
        if subprocess.run([*NOBODY, "test", "-x", SKERRY], check=False).returncode == 0:
            refused(kernel, "--accel", "kvm", before=[*closed, *NOBODY], says=["/dev/kvm may not be opened by this user", "usermod -aG kvm"])
