"""scripts/bench start: from exec of the VMM to the guest's first instruction, or on a microvm to its init, and memory beside the guest's
RAM then."""

import os
import pathlib
import re
import select
import signal
import struct
import subprocess
import time

import boot
import engines
import idle
import report
from debian_guests import MEMORY, MEMORY_BYTES

# Where the processor starts, the guest says so: mov dx, 0x3f8; mov al, '!'; out dx, al; cli; hlt
CODE = bytes([0xBA, 0xF8, 0x03, 0xB0, ord("!"), 0xEE, 0xFA, 0xF4, 0xEB, 0xFD])
SIZE, CODE_AT, RESET_AT = 0x10000, 0xFF00, 0xFFF0


# The microvm's guest: its init says a word and ends. QEMU's has nothing to find out the time-stamp counter's frequency by: with the word
# about that it works, and both guests get it.
QEMU_MICROVM = "-M microvm,x-option-roms=off,pit=off,pic=off,isa-serial=on,rtc=off -cpu max,la57=off"
WORD = "SKERRY-INIT"
APPEND = f"console=ttyS0 quiet panic=-1 tsc_early_khz={{khz}} rdinit=/bin/busybox -- echo {WORD}"
ROUNDS = {"q35": 20, "microvm": 5}


def firmware():
    """A ROM of 64 KiB that consists of CODE and a jump to it."""
    rom = bytearray(b"\xf4" * SIZE)
    rom[CODE_AT : CODE_AT + len(CODE)] = CODE
    rom[RESET_AT : RESET_AT + 3] = b"\xe9" + struct.pack("<h", CODE_AT - RESET_AT - 3)
    return bytes(rom)


def q35_commands(options):
    """The same machine of each: q35, a disk, 1 GiB, a ROM; nothing on the network."""
    folder = engines.SCRATCH
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


def tsc_khz():
    """Of this host, which is what a guest of TCG reads."""
    found = re.search(r"^cpu MHz\s*: (\d+)", pathlib.Path("/proc/cpuinfo").read_text(encoding="ascii"), re.MULTILINE)
    if not found:
        raise engines.CannotMeasure("/proc/cpuinfo does not say how fast the processor is", "Leave the microvm out: --board q35")
    return int(found[1]) * 1000


def microvm_commands(options):
    """The same kernel, initramfs, memory and command line of each; no disk and nothing on the network."""
    kernel, initrd = engines.fetch_kernel(options.kernel), boot.stock_initramfs(options.kernel)
    for path in (kernel, initrd):
        pathlib.Path(path).read_bytes()  # into the page cache
    guest = engines.Guest(kernel, initrd, f"{options.append} {APPEND.format(khz=tsc_khz())}".strip(), MEMORY, options.cpus)
    ours = engines.skerry(options.accel)
    ours = [*ours.start, "--board", "microvm", *ours.command(guest)[len(ours.start):]]
    return {options.accel: ours, "qemu": engines.tcg(QEMU_MICROVM).command(guest)}


def sample(command, mark, timeout):
    """Seconds and MiB of one start, up to where the guest says `mark`."""
    begun = time.monotonic()
    process = subprocess.Popen(  # pylint: disable=consider-using-with
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True, bufsize=0)
    try:
        text = b""
        while not re.search(mark, text):
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


def measure(options, board, starts, mark):
    rounds = options.rounds or ROUNDS[board]
    print(f"{board}, {MEMORY_BYTES >> 20} MiB, {options.cpus} vCPU, to the guest's {GOALS[board]}; rounds: {rounds}", flush=True)
    samples = {name: [] for name in starts}
    for _ in range(rounds):
        for name, command in starts.items():
            samples[name].append(sample(command, mark, options.timeout))
    table = report.Table(("", -12), ("ms", 9), ("of QEMU's", 9), ("MiB beside RAM", 15), ("of QEMU's", 9))
    results = {}
    for name, taken in samples.items():
        times, sizes = zip(*taken)
        of_time, of_size = (report.paired_ratio([one[n] for one in taken], [one[n] for one in samples["qemu"]]) for n in (0, 1))
        results[name] = {"seconds": times, "mib": sizes, "time_ratio": of_time, "memory_ratio": of_size}
        table.line(name, report.number(1000 * report.median(times)), f"{of_time:.3f}", report.number(report.median(sizes)), f"{of_size:.3f}")
    return results


# What is started, and by what it is known that the guest has come there.
GOALS = {"q35": "first instruction", "microvm": "init"}
MARKS = {"q35": rb"!", "microvm": rb"(^|\n)" + WORD.encode()}
COMMANDS = {"q35": q35_commands, "microvm": microvm_commands}


def run(options):
    engines.SCRATCH.mkdir(parents=True, exist_ok=True)
    boards = [options.board] if options.board else list(GOALS)
    commands = {board: COMMANDS[board](options) for board in boards}
    results = {board: measure(options, board, commands[board], MARKS[board]) for board in boards}
    path = report.write_json("start", {"settings": {"cpus": options.cpus, "memory": MEMORY}, "commands": commands, "results": results},
                             options.json)
    print(f"written to {path}")
    return 0
