# SPDX-License-Identifier: Apache-2.0
"""GNU Mach, a microkernel of the 1980s (Debian's, for the Hurd), started by Multiboot."""

import gzip
import re
import struct

from program import Program, fetched, in_folder
from vmm import expect

MEMORY = 128 << 20


def kernel(folder):
    path = folder / "gnumach"
    path.write_bytes(gzip.decompress(fetched("gnumach-image-1.8-486", "boot/gnumach-1.8-486.gz", "i386").read_bytes()))
    return path


def first_task(says):
    """A program that Mach starts as its first task, by the a.out way of old: a system call is a far call through a gate."""
    base, start = 0x08048000, 0x54
    code_size = 24
    mach_print = -30
    text = (b"\x68" + struct.pack("<I", base + start + code_size)  # push says
            + b"\x6a\x00"  # push 0, where a library's return address would be
            + b"\xb8" + struct.pack("<i", mach_print)  # mov eax, mach_print
            + b"\x9a" + struct.pack("<IH", 0, 7)  # call 7:0
            + b"\x83\xc4\x08"  # add esp, 8
            + b"\xeb\xfe")  # 1: jmp 1b
    assert len(text) == code_size
    image = text + says.encode() + b"\n\0"
    header = struct.pack("<16sHHIIIIIHHHHHH", b"\x7fELF\x01\x01\x01".ljust(16, b"\0"), 2, 3, 1, base + start, 52, 0, 0, 52, 32, 1, 40, 0, 0)
    size = start + len(image)
    return header + struct.pack("<IIIIIIII", 1, 0, base, base, size, size, 5, 0x1000) + image


def started(vm):
    """What it says until it looks for its first task: who it is, its memory, the time."""
    vm.printed("RTC time is", "it is through with its devices")
    text = vm.stdout()
    expect(text.startswith("GNU Mach 1.8"), f"it begins with {text[:60]!r}")
    ends = [int(end, 16) for end in re.findall(r"biosmem: 0*100000:([0-9a-f]+), available", text)]
    expect(len(ends) == 1 and MEMORY - (1 << 20) <= ends[0] <= MEMORY, f"it finds its memory up to {ends}")
    expect(re.search(r"floppy0: no floppy controllers found", text), "it misses the floppy controller, which is not there")
    return text


@in_folder
def alone(folder, board, finds):
    """It finds its devices, and stops in want of a first task, as it does under QEMU."""
    with Program("--kernel", kernel(folder), "--append", "console=com0", "--board", board, "--memory", MEMORY, "--net", "none") as vm:
        text = started(vm)
        expect(finds in text, f"it does not say {finds!r}")
        vm.printed("bootstrap_create: No bootstrap code loaded with the kernel!", "it wants a first task")


@in_folder
def task(folder):
    """Its first task prints by a system call."""
    program = folder / "task"
    program.write_bytes(first_task("the first task has the processor"))
    with Program("--kernel", kernel(folder), "--append", "console=com0", "--memory", MEMORY, "--initrd", f"{program} task $(task-create) $(task-resume)") as vm:
        started(vm)
        vm.printed(r"start \S*task: the first task has the processor", "the first task speaks")


CASES = {
    "mach-task": task,
}
LONG_CASES = {
    "mach-plain": lambda: alone("plain", "pci_init: no BIOS32 detected"),
    "mach-q35": lambda: alone("q35", "pcibios_init: Using configuration type 1"),
    "mach-pc": lambda: alone("pc", "ide: Intel 82371 PIIX3 (dual FIFO) DMA Bus Mastering IDE"),
}
