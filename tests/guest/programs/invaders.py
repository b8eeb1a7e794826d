# SPDX-License-Identifier: Apache-2.0
"""GRUB's Multiboot game on a board without a screen: what is written to where one would be is in the log."""

import os
import re
import select
import subprocess

from program import PATIENCE, fetched
from vmm import ACCEL, SKERRY, expect

SCREEN = 0xB8000
ROWS, COLUMNS = 25, 80


def shows_aliens(vm):
    screen, text = bytearray(ROWS * COLUMNS * 2), ""
    while True:
        ready, _, _ = select.select([vm.stdout], [], [], PATIENCE)
        expect(ready, f"no output for {PATIENCE:.0f} s; the last of it: {text[-300:]!r}")
        data = os.read(vm.stdout.fileno(), 1 << 20)
        expect(data, f"it has ended; the last of it: {text[-300:]!r}")
        text += data.decode("latin-1")
        lines = text.rfind("\n") + 1
        for where in re.finditer(r"memory write of 0x([0-9a-f]+) at 0x(b8[0-9a-f]{3})", text[:lines]):
            at = int(where[2], 16) - SCREEN
            if at < len(screen):
                screen[at] = int(where[1], 16) & 0xFF
        text = text[lines:]
        shown = screen[::2].decode("latin-1").replace("\0", " ")
        if shown.count("-*-") >= 10 and "/ \\" in shown:
            return


def invaders():
    command = [SKERRY, "run", "--accel", ACCEL, "--kernel", fetched("grub-invaders", "boot/invaders.exec"), "--memory", "16M", "--debug", "io"]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, bufsize=0) as vm:
        try:
            shows_aliens(vm)
        finally:
            vm.terminate()


CASES = {"invaders": invaders}
LONG_CASES = {}
