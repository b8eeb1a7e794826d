"""scripts/bench start: from exec of the VMM to the guest's first instruction, and memory beside the guest's RAM then."""

import os
import select
import signal
import struct
import subprocess
import time

import engines
import idle
import report
from debian_guests import MEMORY, MEMORY_BYTES

# Where the processor starts, the guest says so: mov dx, 0x3f8; mov al, '!'; out dx, al; cli; hlt
CODE = bytes([0xBA, 0xF8, 0x03, 0xB0, ord("!"), 0xEE, 0xFA, 0xF4, 0xEB, 0xFD])
SIZE, CODE_AT, RESET_AT = 0x10000, 0xFF00, 0xFFF0


def firmware():
    """A ROM of 64 KiB that consists of CODE and a jump to it."""
    rom = bytearray(b"\xf4" * SIZE)
    rom[CODE_AT : CODE_AT + len(CODE)] = CODE
    rom[RESET_AT : RESET_AT + 3] = b"\xe9" + struct.pack("<h", CODE_AT - RESET_AT - 3)
    return bytes(rom)


def commands(options, folder):
    """The same machine of each: q35, a disk, 1 GiB, a ROM; nothing on the network."""
    rom, disk = folder / "start.rom", folder / "start.img"
    rom.write_bytes(firmware())
    disk.write_bytes(bytes(1 << 20))
    ours = [str(engines.SKERRY), "run", "--memory", MEMORY, "--cpus", str(options.cpus), "--firmware", str(rom), "--disk", f"{disk},readonly=on",
            "--net", "none", "--console", "stdio"]
    found = {"bt": [*ours, "--accel", "bt"]}
    if os.access("/dev/kvm", os.R_OK | os.W_OK):
        # Whatever KVM can do here: its own first instruction, not that of the interpreter in its place.
        found["kvm"] = [*ours, "--accel", "kvm", "--debug", "kvm-short-rescues"]
    qemu = engines.tcg(options.qemu)
    found["qemu"] = [*qemu.start, qemu.memory_option, MEMORY, qemu.cpus_option, str(options.cpus), "-bios", str(rom),
                     "-drive", f"file={disk},format=raw,if=virtio,readonly=on"]
    return found


def sample(command, timeout):
    """Seconds and MiB of one start."""
    begun = time.monotonic()
    process = subprocess.Popen(  # pylint: disable=consider-using-with
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True, bufsize=0)
    try:
        text = b""
        while b"!" not in text:
            ready, _, _ = select.select([process.stdout], [], [], timeout)
            piece = os.read(process.stdout.fileno(), 4096) if ready else b""
            if not piece:
                raise engines.CannotMeasure(f"'{command[0]}' starts no guest", f"Try it: {' '.join(command)}")
            text += piece
        seconds = time.monotonic() - begun
        return seconds, idle.memory_beside_ram(idle.processes(process.pid))
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()


def run(options):
    engines.SCRATCH.mkdir(parents=True, exist_ok=True)
    starts = commands(options, engines.SCRATCH)
    print(f"q35, a virtio disk, {MEMORY_BYTES >> 20} MiB, {options.cpus} vCPU; rounds: {options.rounds}", flush=True)
    samples = {name: [] for name in starts}
    for _ in range(options.rounds):
        for name, command in starts.items():
            samples[name].append(sample(command, options.timeout))
    table = report.Table(("", -6), ("ms to the first instruction", 28), ("of QEMU's", 9), ("MiB beside RAM", 15), ("of QEMU's", 9))
    results = {}
    for name, taken in samples.items():
        times, sizes = zip(*taken)
        of_time, of_size = (report.paired_ratio([one[n] for one in taken], [one[n] for one in samples["qemu"]]) for n in (0, 1))
        results[name] = {"seconds": times, "mib": sizes, "time_ratio": of_time, "memory_ratio": of_size}
        table.line(name, report.number(1000 * report.median(times)), f"{of_time:.3f}", report.number(report.median(sizes)), f"{of_size:.3f}")
    path = report.write_json("start", {"settings": {"cpus": options.cpus, "memory": MEMORY}, "commands": starts, "results": results}, options.json)
    print(f"written to {path}")
    return 0
