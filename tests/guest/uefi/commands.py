# SPDX-License-Identifier: Apache-2.0
"""The commands of the UEFI shell: what they say of the machine and of a disk, on the serial console; typed at the keyboard and read off
the screen; a script on the disk; and programs that are started from it."""

import calendar
import pathlib
import re
import string
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / folder) for folder in ("programs", "screen", "qmp")]
from console import Shell  # noqa: E402
from program import WebServer, fat_disk, fetched, key_of, plain, until  # noqa: E402
from text_screen import screenshot  # noqa: E402
from vmm import LONG, SKERRY, expect  # noqa: E402

GREETING = "UEFI reads this by itself"
MEMORY = 256 << 20
CELL_WIDTH, CELL_HEIGHT = 8, 19  # pixels of a character of UEFI's
COLUMNS, ROWS = 100, 31


def says(vm, command, *wanted):
    said = plain(vm.say(command))
    for words in wanted:
        expect(re.search(words, said), f"{command} does not say {words!r}: {said[-1500:]!r}")
    return said


def case_commands():
    """What its commands find is what is there; and it does what is written in a script."""
    with tempfile.TemporaryDirectory(prefix="skerry-uefi-") as folder:
        script = '@echo -off\r\nfor %i in red green\r\n  echo "%i %1"\r\nendfor\r\n'
        disk = fat_disk(folder, {"startup.nsh": b"echo started by itself\r\n", "hello.txt": GREETING.encode() + b"\r\n", "tell.nsh": script.encode()})
        with Shell("--firmware", "uefi", "--memory", MEMORY, "--cpus", 2, "--disk", f"{disk},bus=sata", "--net", "user,model=e1000e", "--video", "vga") as vm:
            vm.wait_for("to skip")
            vm.type("\r")
            vm.wait_for("started by itself")
            vm.wait_for("Shell> ")
            says(vm, "map", r"FS0: .*\s+PciRoot\(0x0\)/Pci\(0x1F,0x2\)/Sata\(0x0,0xFFFF,0x0\)/HD\(1,MBR,0x00000000,0x800,0x7800\)")
            says(vm, "pci", "Vendor 8086 Device 29C0", "Vendor 8086 Device 10D3", "Vendor 1234 Device 1111", "Vendor 8086 Device 2922")
            total = re.search(r"Total Memory:\s+\d+ MB \(([0-9,]+) Bytes\)", says(vm, "memmap", r"Available\s*:\s+5\d,\d{3} Pages", r"ACPI_NVS"))
            expect(MEMORY - (2 << 20) < int(total[1].replace(",", "")) <= MEMORY, f"the memory is {total[1]}")
            says(vm, "dh -p SimpleFileSystem", r"SimpleFileSystem DiskIO2? .*MBR,0x00000000,0x800,0x7800")
            says(vm, "smbiosview -t 1", "Manufacturer: Skerry", "ProductName: q35-1")
            says(vm, "smbiosview -t 17", r"Structure Type: Memory Device", r"Size: 0x0*100\b|Size: 256")
            says(vm, "devices", "PS/2 Keyboard Device", "Skerry disk", "FAT File System", "Video PCI Adapter")
            says(vm, "ls fs0:", rf"{len(GREETING) + 2}\s+hello\.txt", "3 File\\(s\\)")
            says(vm, "type fs0:\\hello.txt", GREETING)
            says(vm, "fs0:\\tell.nsh paint", r"red paint\s+green paint")
            before = time.time()
            shown = plain(vm.say("date")), plain(vm.say("time"))
            moment = re.search(r"\d\d/\d\d/\d{4}", shown[0])[0] + re.search(r"\d\d:\d\d:\d\d", shown[1])[0]
            clock = calendar.timegm(time.strptime(moment, "%m/%d/%Y%H:%M:%S"))
            # A day may end between the two.
            expect(before - 2 <= clock <= time.time() + 2 or time.gmtime(before).tm_mday != time.gmtime().tm_mday, f"the clock is wrong: {moment}")
            vm.power_off()


def cells(picture):
    """The screen's characters as pixels: for each row what is drawn in each cell."""
    left, top = (picture.width - COLUMNS * CELL_WIDTH) // 2, (picture.height - ROWS * CELL_HEIGHT) // 2
    rows = []
    for row in range(ROWS):
        lines = []
        for y in range(top + row * CELL_HEIGHT, top + (row + 1) * CELL_HEIGHT):
            start = (y * picture.width + left) * 3
            line = picture.rgb[start:start + COLUMNS * CELL_WIDTH * 3]
            # A pixel is drawn where any of its colours is.
            lines.append([bool(a | b | c) for a, b, c in zip(line[0::3], line[1::3], line[2::3])])
        rows.append([tuple(tuple(line[at:at + CELL_WIDTH]) for line in lines) for at in range(0, COLUMNS * CELL_WIDTH, CELL_WIDTH)])
    return rows


def read(row, glyphs):
    return "".join(glyphs.get(cell, "?") for cell in row).rstrip("? ")  # the cursor is of no letter


def case_typed():
    """What is typed at the keyboard it does; and what is on the screen is what it says on the serial console."""
    with tempfile.TemporaryDirectory(prefix="skerry-uefi-") as folder:
        monitor = pathlib.Path(folder) / "qmp"
        disk = fat_disk(folder, {"hello.txt": GREETING.encode() + b"\r\n"})
        with Shell("--firmware", "uefi", "--memory", MEMORY, "--disk", f"{disk},bus=usb", "--net", "none", "--display", "vnc=127.0.0.1:auto",
                   "--qmp", f"unix:{monitor}") as vm:
            def lines():
                return [read(row, glyphs) for row in cells(screenshot(SKERRY, monitor))]

            def enter(line):
                for at in range(0, len(line), 8):
                    subprocess.run([SKERRY, "send-key", *map(key_of, line[at:at + 8]), "--hold", "20", "--qmp", f"unix:{monitor}"], check=True)
                    so_far = line[:at + 8].rstrip()
                    until(lambda: any(shown == f"Shell> {so_far}" for shown in lines()), f"{so_far!r} is typed")  # pylint: disable=cell-var-from-loop
                subprocess.run([SKERRY, "send-key", "ret", "--qmp", f"unix:{monitor}"], check=True)

            vm.start()
            vm.say("cls")
            letters = string.ascii_letters + string.digits + ".:\\->"
            vm.say(f"echo {letters}")
            # The line that was typed tells what each letter looks like.
            first = cells(screenshot(SKERRY, monitor))
            typed = f"Shell> echo {letters}"
            glyphs = dict(zip(first[0], typed))
            expect(len(glyphs) == len(set(typed)), f"the letters on the screen are {len(glyphs)}, not {len(set(typed))}")
            expect(read(first[1], glyphs) == letters, f"below that is {read(first[1], glyphs)!r}")
            enter("type fs0:\\hello.txt")
            vm.wait_for(GREETING)
            until(lambda: lines()[2:4] == ["Shell> type fs0:\\hello.txt", GREETING],
                  "what is typed, and the file, are on the screen")
            enter("reset -s")
            expect(vm.process.wait(60) == 0, f"it has ended with {vm.process.returncode}")


def programs(model, driver):
    """iPXE and, fetched by it from the host, memtest86+, as programs of UEFI."""
    with tempfile.TemporaryDirectory(prefix="skerry-uefi-") as folder:
        disk = fat_disk(folder, {"ipxe.efi": fetched("ipxe", "boot/ipxe.efi").read_bytes()})
        memtest = fetched("memtest86+", "boot/memtest86+x64.efi").read_bytes()
        with WebServer({"/memtest.efi": memtest}) as server, Shell(
                "--firmware", "uefi", "--memory", MEMORY, "--disk", f"{disk},bus=scsi", "--net", f"user,model={model}", "--cpu", "x86-64-v3",
                "--video", "vga") as vm:
            vm.start()
            vm.type("fs0:ipxe.efi\r")
            vm.wait_for("Press Ctrl-B")
            vm.type("\x02")
            vm.wait_for("iPXE> ")
            vm.type("dhcp net0\r")
            vm.wait_for(" ok\r\niPXE> ")
            vm.type("ifstat net0\r")
            shown = vm.wait_for("iPXE> ")
            expect(f" using {driver} on " in shown, f"the card is not {driver}'s: {shown!r}")
            vm.type(f"chain {server.url}/memtest.efi console=ttyS0,115200\r")
            vm.wait_for("memtest.efi... ok")
            vm.wait_for("#4")
            shown = plain(vm.text)
            expect(re.search(r"\[25\dMB of 25\dMB\]", shown) and re.search("Errors: 0", shown), f"memtest86+ says {shown[-1500:]!r}")
            expect(server.asked == ["/memtest.efi"], f"it has asked for {server.asked}")


if LONG:
    def case_programs():
        """With iPXE's own driver of the 82574L."""
        programs("e1000e", "82574l")

    def case_programs_virtio():
        """With iPXE's own driver of virtio."""
        programs("virtio", "virtio-net")
