# SPDX-License-Identifier: Apache-2.0
"""GRUB's rescue disc (Debian's grub-rescue-pc) started by SeaBIOS from every drive there is: its commands, typed."""

import calendar
import re
import time

from program import Typed, fat_disk, fetched, in_folder
from vmm import expect

MEMORY = 128 << 20
GREETING = "GRUB reads this by the BIOS"


class Rescue(Typed):
    """The disc in a drive at a bus, and a disk beside it."""

    def __init__(self, folder, bus, *options):
        disc = fetched("grub-rescue-pc", "usr/lib/grub-rescue/grub-rescue-cdrom.iso")
        disk = fat_disk(folder, {"hello.txt": GREETING.encode() + b"\n"})
        super().__init__(folder, "--cdrom", f"{disc},bus={bus}", "--disk", f"{disk},bus={bus}", "--memory", MEMORY, "--net", "none", "--no-reboot", *options)
        self.shows(lambda lines: any("executed automatically" in line for line in lines), "GRUB's menu")
        self.press("c")
        self._prompt()

    def _prompt(self):
        return self.shows(lambda lines: lines[-1] == "grub>", "GRUB's prompt")

    def say(self, command):
        """What is on the screen when a command has been executed: the command, what it said, and the prompt."""
        self.type("clear")
        self.shows(lambda lines: lines == ["grub>"], "an empty screen")
        self.type(command)
        # The empty screen has a prompt too, until what was typed arrives.
        return "\n".join(self.shows(lambda lines: len(lines) > 1 and lines[-1] == "grub>", f"{command} and GRUB's prompt"))

    def reboot(self):
        self.type("reboot")
        expect(self.wait() == 0, f"it has ended with {self.process.returncode}: {self.stderr()[-300:]}")


def disks(vm):
    """GRUB finds the disk, by the BIOS."""
    found = vm.say("ls")
    expect(re.search(r"\(hd0\) \(hd0,msdos1\) \(cd\)", found), f"the drives are {found!r}")
    expect(GREETING in vm.say("cat (hd0,msdos1)/hello.txt"), "the file on the disk is another")


@in_folder
def starts(folder, bus, board):
    with Rescue(folder, bus, "--board", board) as vm:
        disks(vm)
        vm.reboot()


@in_folder
def by_itself(folder, bus, board, driver):
    """GRUB's own driver of a controller, instead of the BIOS."""
    with Rescue(folder, bus, "--board", board) as vm:
        vm.type("nativedisk")
        found = vm.say("ls")
        expect(f"({driver}0,msdos1)" in found and "(hd0" not in found, f"the drives are {found!r}")
        expect(GREETING in vm.say(f"cat ({driver}0,msdos1)/hello.txt"), "the file on the disk is another")
        vm.reboot()


@in_folder
def machine(folder, bus, board, functions):
    """What GRUB says of the machine."""
    with Rescue(folder, bus, "--board", board) as vm:
        disks(vm)
        pci = vm.say("lspci")
        for function in functions:
            expect(function in pci, f"there is no {function} in {pci!r}")
        memory = [int(base, 16) + int(length, 16) for base, length in re.findall(r"base_addr = (0x[0-9a-f]+), length = (0x[0-9a-f]+), available", vm.say("lsmmap"))]
        expect(memory and MEMORY - (1 << 20) <= max(memory) <= MEMORY, f"the memory ends at {memory}")
        vm.say("insmod vbe")
        modes = vm.say("videoinfo")
        expect("2560 x 1440 x 16 (5120)  Direct color" in modes and "Preferred mode: 1024x768" in modes, f"the modes of the screen are {modes!r}")
        before = time.time()
        shown = re.search(r"(\d+-\d+-\d+ \d+:\d+:\d+) [A-Z]\w+day", vm.say("date"))
        expect(shown, "there is no date")
        clock = calendar.timegm(time.strptime(shown[1], "%Y-%m-%d %H:%M:%S"))
        expect(before - 2 <= clock <= time.time() + 2, f"the clock is wrong by {clock - time.time():.0f} s")
        vm.reboot()


CASES = {
    "grub-usb": lambda: starts("usb", "q35"),
}
LONG_CASES = {
    "grub-scsi": lambda: starts("scsi", "q35"),
    "grub-ide": lambda: machine("ide", "pc", ["8086:1237", "8086:7000", "8086:7010", "1234:1111"]),
    "grub-sata": lambda: machine("sata", "q35", ["8086:29c0", "8086:2922", "8086:2918", "1234:1111"]),
    "grub-ide-driver": lambda: by_itself("ide", "pc", "ata"),
    "grub-sata-driver": lambda: by_itself("sata", "q35", "ahci"),
}
