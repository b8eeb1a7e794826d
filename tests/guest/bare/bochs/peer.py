# SPDX-License-Identifier: Apache-2.0
"""Runs a guest's flat image under Bochs: a second opinion where QEMU's TCG leaves the manual.

Bochs has no direct kernel boot, so the image goes behind a boot sector on a small disk, and no exit
device, so the guest's final `cli; hlt` is looked for in Bochs' log. Never part of the gate.
"""

import os
import pathlib
import signal
import subprocess
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
DISK_SIZE = 20 * 16 * 63 * 512
MODEL = os.environ.get("BOCHS_CPU", "tigerlake")


def run(flat, cpus, limit):
    """The text that the guest printed, and how it ended: `end` or a complaint."""
    with tempfile.TemporaryDirectory() as name:
        directory = pathlib.Path(name)
        boot = directory / "boot.bin"
        subprocess.run(["nasm", "-f", "bin", "-o", str(boot), str(HERE / "boot.asm")], check=True)
        disk, serial, log = (directory / part for part in ("disk", "serial", "log"))
        disk.write_bytes((boot.read_bytes() + pathlib.Path(flat).read_bytes()).ljust(DISK_SIZE, b"\0"))
        (directory / "rc").write_text(f"""megs: 64
romimage: file=/usr/share/bochs/BIOS-bochs-latest
vgaromimage: file=/usr/share/vgabios/vgabios.bin
display_library: term
cpu: model={MODEL}, count={cpus}, ips=50000000, reset_on_triple_fault=0, ignore_bad_msrs=0
clock: sync=none
ata0-master: type=disk, path={disk}, mode=flat, cylinders=20, heads=16, spt=63
boot: disk
com1: enabled=1, mode=file, dev={serial}
log: {log}
panic: action=fatal
error: action=report
""")
        process = subprocess.Popen(["script", "-qec", f"bochs -q -f {directory}/rc", "/dev/null"],
                                   stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                   env={**os.environ, "TERM": "vt100"}, start_new_session=True)
        process.stdin.write(b"c\n")
        process.stdin.flush()
        deadline = time.monotonic() + limit
        ending = f"timeout after {limit:g} s"
        while time.monotonic() < deadline:
            time.sleep(0.2)
            text = log.read_bytes() if log.exists() else b""
            if b"HLT instruction with IF=0" in text:
                ending = "end"
                break
            if process.poll() is not None or b"PANIC" in text or b"3rd" in text:
                ending = "reset" if b"3rd" in text else "stopped: " + text.decode("utf-8", "replace")[-400:]
                break
        # SIGHUP lets Bochs write out what COM1 still holds.
        for number in (signal.SIGHUP, signal.SIGKILL):
            try:
                os.killpg(process.pid, number)
            except ProcessLookupError:
                break
            time.sleep(0.4)
        process.wait()
        text = serial.read_text(errors="replace") if serial.exists() else ""
        if "\nEND\n" in text:
            ending = "end"
        return text, ending
