# SPDX-License-Identifier: Apache-2.0
"""iPXE (Debian's): finds the network cards with its own drivers, gets an address from the user network, fetches programs from a
web server of the host's and starts them."""

import re

from program import Program, Typed, WebServer, fat_disk, fetched, grub_disc, in_folder, until
from vmm import expect, multiboot

# A Multiboot kernel that prints the names of what has loaded it and of itself with its arguments, and ends the VM.
# Multiboot specification 0.6.96, 3.2 and 3.3
TELLER_STATUS = 0x15 << 1 | 1
TELLER = multiboot(
    b"\x3d\x02\xb0\xad\x2b\x75\x21"  # cmp eax, 0x2badb002; jne fail
    b"\x66\xba\xf8\x03\x8b\x73\x40"  # mov dx, 0x3f8; mov esi, [ebx + boot_loader_name]
    b"\xac\x84\xc0\x74\x03\xee\xeb\xf8"  # 1: lodsb; test al, al; jz 2f; out dx, al; jmp 1b
    b"\xb0\x7c\xee\x8b\x73\x10"  # 2: mov al, '|'; out dx, al; mov esi, [ebx + cmdline]
    b"\xac\x84\xc0\x74\x03\xee\xeb\xf8"  # 3: lodsb; test al, al; jz 4f; out dx, al; jmp 3b
    b"\xb0\x15\xe6\xf4"  # 4: mov al, 0x15; out 0xf4, al
    b"\xf4"  # fail: hlt
)
assert TELLER[0x1000 + 12 + 5 + 2 + 0x21:][:1] == b"\xf4"


def memtest(kind):
    return fetched("memtest86+", f"boot/memtest86+{kind}").read_bytes()


@in_folder
def from_disc(folder, board, bus, model, driver):
    """From its own disc, by SeaBIOS; somebody types its commands. What it fetches is a Multiboot kernel."""
    disc = fetched("ipxe", "usr/lib/ipxe/ipxe.iso")
    with WebServer({"/teller": TELLER}) as server, Typed(
            folder, "--board", board, "--cdrom", f"{disc},bus={bus}", "--net", f"user,model={model}", "--memory", "128M", "--isa-debug-exit", "0xf4") as vm:
        # It asks twice, before and after it has looked for something to start.
        times = 0
        while times < 2 and "iPXE> " not in vm.stdout():
            times += 1
            vm.printed(rf"(?s)(Press Ctrl-B.*){{{times}}}", "it tells how to get its command line")
            vm.press("ctrl-b")
            until(lambda: re.search(rf"iPXE> |(Press Ctrl-B[^$]*){{{times + 1}}}", vm.stdout()), "it hears the key")  # pylint: disable=cell-var-from-loop
        vm.type("dhcp net0")
        vm.printed(r"Configuring \(net0 [0-9a-f:]+\)\.+ ok\s+iPXE> ", "it gets an address")
        vm.type("ifstat net0")
        vm.printed(rf"net0: [0-9a-f:]+ using {driver} on \S+ \(open\)", f"its driver {driver} has the card")
        vm.type(f"kernel {server.url}/teller one two")
        vm.printed(r"/teller\.+ ok", "it fetches the kernel")
        vm.type("boot")
        expect(vm.wait() == TELLER_STATUS, f"it has ended with {vm.process.returncode}: {vm.stdout()[-300:]!r}")
        expect(re.search(r"iPXE 1\.[^|]*\|\S*teller one two$", vm.stdout()), f"the kernel says {vm.stdout()[-100:]!r}")
        expect(server.asked == ["/teller"], f"it has asked for {server.asked}")


@in_folder
def from_grub(folder, board, bus, model, driver):
    """GRUB starts it by the 16-bit boot protocol of Linux, with a script. What it fetches is a bzImage, which it starts by the same."""
    with WebServer({"/memtest": memtest("x64.bin")}) as server:
        script = f"#!ipxe\ndhcp net0\nifstat net0\nkernel {server.url}/memtest console=ttyS0,115200\nboot\n"
        disc = grub_disc(folder, {"ipxe.lkrn": fetched("ipxe", "boot/ipxe.lkrn").read_bytes(), "script": script.encode()},
                         "set timeout=0\nmenuentry iPXE { linux16 /ipxe.lkrn; initrd16 /script }\n")
        with Program("--board", board, "--cdrom", f"{disc},bus={bus}", "--net", f"user,model={model}", "--memory", "128M", "--cpu", "x86-64-v3") as vm:
            vm.printed(rf"net0: [0-9a-f:]+ using {driver} on \S+ \(open\)", f"its driver {driver} has the card")
            vm.printed(r"Memory *: +12[78]MB", "memtest86+ finds its memory")
            vm.printed(r"#[3-9] +\[", "memtest86+ tests")
            expect(not re.search(r"Errors: +[1-9]", vm.stdout()), "memtest86+ finds errors")


CASES = {}
LONG_CASES = {
    "ipxe-q35": lambda: from_disc("q35", "sata", "e1000e", "82574l"),
    "ipxe-q35-virtio": lambda: from_disc("q35", "usb", "virtio", "virtio-net"),
    "ipxe-pc": lambda: from_disc("pc", "ide", "e1000e", "82574l"),
    "ipxe-pc-virtio": lambda: from_disc("pc", "ide", "virtio", "virtio-net"),
    "ipxe-grub": lambda: from_grub("pc", "ide", "virtio", "virtio-net"),
    "ipxe-grub-e1000e": lambda: from_grub("q35", "scsi", "e1000e", "82574l"),
}
