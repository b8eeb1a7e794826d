"""scripts/bench boot: how long a kernel takes from exec of the VMM to its exit, beside QEMU's TCG."""

import dataclasses
import os
import re
import signal
import subprocess
import threading
import time

import engines
import report

# The image's own busybox is the guest's init and all it does is to power off.
APPEND = "console=ttyS0 panic=-1 rdinit=/bin/busybox -- poweroff -f"
POWERED_OFF = re.compile(rb"reboot: Power down")


class Failed(Exception):
    """A boot that did not come to its end; the text says how."""


@dataclasses.dataclass
class Boot:
    wall: float  # seconds from exec to exit
    cpu: float  # seconds of processor time, of all processes together


def run(options):
    tcg, skerry = engines.tcg(options.qemu), engines.skerry(options.accel)
    guest = make_guest(options, options.cpus)
    print(f"Debian's {options.kernel} kernel, {guest.cpus} vCPU, {guest.memory}, from exec to exit; rounds: {options.rounds}", flush=True)
    boots = {skerry.name: [], tcg.name: []}
    problems = {}
    for number in range(options.rounds):
        for engine in (skerry, tcg):
            if engine.name not in problems:
                try:
                    boots[engine.name].append(boot(engine, guest, options.timeout))
                    print(f"  round {number + 1}: {engine.name} {boots[engine.name][-1].wall:.2f} s", flush=True)
                except Failed as problem:
                    problems[engine.name] = str(problem)
                    print(f"  round {number + 1}: {engine.name} FAILED: {problem}", flush=True)
    results = summary((skerry, tcg), boots, problems)
    print_table((skerry, tcg), results)
    settings = {"kernel": engines.kernel_version(options.kernel), "cpus": guest.cpus, "memory": guest.memory, "append": guest.append}
    commands = {engine.name: {"version": engine.version, "command": engine.command(guest)} for engine in (skerry, tcg)}
    path = report.write_json("boot", {"settings": settings, "engines": commands, **results}, options.json)
    print(f"written to {path}")
    return 1 if problems else 0


def make_guest(options, cpus):
    guest = engines.Guest(
        kernel=engines.fetch_kernel(options.kernel),
        initrd=stock_initramfs(options.kernel),
        append=f"{options.append} {APPEND}".strip(),
        cpus=cpus,
    )
    for path in (guest.kernel, guest.initrd):
        with open(path, "rb") as file:  # into the page cache, so that the first boot does not pay for it
            file.read()
    return guest


def stock_initramfs(kernel):
    arch = "i386" if "686" in kernel else "amd64"
    return engines.make_initramfs(engines.GUESTS / f"initramfs-{arch}.cpio.gz", "--arch", arch)


def boot(engine, guest, timeout):
    log = engines.SCRATCH / f"boot-{engine.name}.console"
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, "wb") as console:
        start = time.monotonic()
        process = subprocess.Popen(  # pylint: disable=consider-using-with
            engine.command(guest), stdin=subprocess.DEVNULL, stdout=console, stderr=subprocess.STDOUT, start_new_session=True
        )
        late = threading.Timer(timeout, os.killpg, (process.pid, signal.SIGKILL))
        late.start()
        try:
            _, status, usage = os.wait4(process.pid, 0)
            wall = time.monotonic() - start
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
        finally:
            late.cancel()
    process.returncode = os.waitstatus_to_exitcode(status)
    output = log.read_bytes()
    if process.returncode == -signal.SIGKILL and wall >= timeout:
        raise Failed(f"not done after {timeout:g} s; console: {log}")
    if process.returncode != 0 or not POWERED_OFF.search(output):
        lines = output.decode("latin-1").split("\n")
        last = next((line.strip() for line in reversed(lines) if line.strip()), "no output")
        raise Failed(f"status {process.returncode}, did not power off: {last!a}; console: {log}")
    return Boot(wall, usage.ru_utime + usage.ru_stime)


def summary(both, boots, problems):
    """The part of the results that was measured."""
    measured = {}
    for engine in both:
        taken = boots[engine.name]
        measured[engine.name] = {"samples": [dataclasses.asdict(one) for one in taken]}
        if engine.name in problems:
            measured[engine.name]["failed"] = problems[engine.name]
        if taken:
            measured[engine.name]["median"] = {field: report.median([getattr(one, field) for one in taken]) for field in ("wall", "cpu")}
    ratio = None
    if boots["skerry"] and boots["tcg"] and not problems:
        pairs = [[getattr(one, field) for one in boots[name]] for field in ("wall", "cpu") for name in ("skerry", "tcg")]
        ratio = {"wall": report.paired_ratio(*pairs[:2]), "cpu": report.paired_ratio(*pairs[2:])}
    return {"boots": measured, "skerry/tcg": ratio}


def print_table(both, results):
    print()
    table = report.Table(("", -44), ("wall s", 8), ("cpu s", 8), ("min", 8), ("max", 8))
    for engine in both:
        measured = results["boots"][engine.name]
        if "median" not in measured:
            table.line(engine.version, "failed")
            continue
        walls = [sample["wall"] for sample in measured["samples"]]
        middle = measured["median"]
        table.line(engine.version, *(f"{seconds:.2f}" for seconds in (middle["wall"], middle["cpu"], min(walls), max(walls))))
    ratio = results["skerry/tcg"] or {"wall": None, "cpu": None}
    table.line("Skerry / TCG (less is better)", report.number(ratio["wall"]), report.number(ratio["cpu"]))
