# SPDX-License-Identifier: Apache-2.0
"""What a real BIOS does to a VGA: SeaBIOS in QEMU sets a mode for a boot sector, and QEMU tells every access to registers."""

import json
import pathlib
import re
import socket
import subprocess

EVENTS = "vga_std_write_io\nvga_std_read_io\nvga_vbe_write\nvga_vbe_read\n"
DONE = b"\x5a"


def boot_sector(mode):
    """Sets the mode, fills 32 KiB of its window, tells port 0xe9, and halts."""
    code = bytes.fromhex("fa31c08ed88ed0bc007cfb")  # cli; flat segments; a stack; sti
    if mode < 0x100:
        code += bytes([0xB8, mode, 0, 0xCD, 0x10])  # mov ax, mode; int 10h
    else:
        code += bytes.fromhex("b8024fbb") + mode.to_bytes(2, "little") + bytes.fromhex("cd10")  # mov ax, 4f02h; mov bx, mode
    code += bytes.fromhex("b401b90020cd10")  # no cursor
    segment = 0xA000 if mode >= 0x0D else 0xB000 if mode == 7 else 0xB800
    code += b"\xb8" + segment.to_bytes(2, "little") + bytes.fromhex("8ec031ffb90040b84127")  # es, di = 0, cx = 4000h, ax = 2741h
    if mode < 4 or mode == 7:
        code += bytes.fromhex("ab05230180e47f247fe2f5")  # stosw; add ax, 123h; no blinking, no lines; loop
    else:
        code += bytes.fromhex("ab052301e2fa")
    code += bytes.fromhex("b8") + DONE + bytes.fromhex("00e6e9f4ebfd")  # mov ax, done; out 0e9h, al; hlt
    return (code.ljust(510, b"\0") + b"\x55\xaa").ljust(1474560, b"\0")


def record(mode, scratch):
    """The accesses as lines (event, address, value), the memory at the end, and QEMU's picture of it in scratch/qemu.ppm."""
    (scratch / "events").write_text(EVENTS)
    (scratch / "floppy").write_bytes(boot_sector(mode))
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(scratch / "bios-qmp"))
    listener.listen()
    qemu = subprocess.Popen(
        ["qemu-system-x86_64", "-machine", "pc,accel=tcg", "-nodefaults", "-display", "none", "-device", "VGA,vgamem_mb=16"]
        + ["-trace", f"events={scratch / 'events'}", "-D", scratch / "log", "-qmp", f"unix:{scratch / 'bios-qmp'}"]
        + ["-boot", "a", "-drive", f"if=floppy,format=raw,file={scratch / 'floppy'}", "-debugcon", "stdio"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
    )
    try:
        qmp = listener.accept()[0].makefile("rw")

        def execute(command, **arguments):
            print(json.dumps({"execute": command, "arguments": arguments}), file=qmp, flush=True)
            while True:
                answer = json.loads(qmp.readline())
                assert "error" not in answer, answer
                if "return" in answer:
                    return answer["return"]

        qmp.readline()
        execute("qmp_capabilities")
        while (byte := qemu.stdout.read(1)) != DONE:
            assert byte, "QEMU ended"
        execute("stop")
        execute("screendump", filename=str(scratch / "qemu.ppm"))
        pci = execute("human-monitor-command", **{"command-line": "info pci"})
        frame_buffer = re.search(r"VGA controller.*?BAR0: 32 bit prefetchable memory at (0x[0-9a-f]+)", pci, re.DOTALL)
        execute("pmemsave", val=int(frame_buffer.group(1), 0), size=1 << 20, filename=str(scratch / "memory"))
        execute("quit")
        qemu.wait()
    finally:
        qemu.kill()
        qemu.wait()
        (scratch / "bios-qmp").unlink()
    accesses = re.findall(r"^(vga_\w+) (?:addr|index) (0x[0-9a-f]+), val (0x[0-9a-f]+)$", (scratch / "log").read_text(), re.MULTILINE)
    return [(event, int(at, 0), int(value, 0)) for event, at, value in accesses], (scratch / "memory").read_bytes()
