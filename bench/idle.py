"""scripts/bench idle: what a Debian that does nothing costs: processor time, and memory beside its RAM, beside QEMU's TCG."""

import contextlib
import os
import pathlib
import re
import time

import rates
from debian_guests import MEMORY_BYTES

TICKS = os.sysconf("SC_CLK_TCK")


def processes(root):
    """A process and all that it has started."""
    found = [root]
    for pid in found:
        for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # threads end while they are counted
                found += [int(child) for child in (task / "children").read_text(encoding="ascii").split()]
    return found


def cpu_seconds(pids):
    total = 0
    for pid in pids:
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()
        total += int(fields[11]) + int(fields[12])
    return total / TICKS


def memory_beside_ram(pids):
    """MiB of these processes' own, all but the guest's RAM. What several processes have is shared out among them. TCG's room
    for code may be as large as the RAM; it can be executed."""
    total = 0
    for pid in pids:
        for size, own, code in mappings(pid):
            total += own if code or size < MEMORY_BYTES // 2 else 0
    return total / (1 << 20)


def mappings(pid):
    """Size and proportional part in bytes of each mapping, and whether it is code. Neighbours that differ in flags only are one."""
    found, end = [], None
    for line in pathlib.Path(f"/proc/{pid}/smaps").read_text(encoding="utf-8", errors="replace").splitlines():
        head = re.match(r"([0-9a-f]+)-([0-9a-f]+) (\S+) (\S+) (\S+) (\d+)\s*(.*)", line)
        if head:
            first, last = int(head[1], 16), int(head[2], 16)
            anonymous = not head[7] or head[7].startswith("[anon")
            if first == end and anonymous:
                found[-1][0] += last - first
            else:
                found.append([last - first, 0, "x" in head[3]])
            end = last if anonymous else None
        elif line.startswith("Pss:"):
            found[-1][1] += int(line.split()[1]) << 10
    return found


def sampler(seconds, what):
    def sample(guests, name):
        pids = processes(guests.pid(name))
        if what == "memory":
            return memory_beside_ram(pids)
        before, start = cpu_seconds(pids), time.monotonic()
        time.sleep(seconds)
        return 100 * (cpu_seconds(pids) - before) / (time.monotonic() - start)

    return sample


def run(options):
    rows = [rates.Row("processor", "% core", False, sampler(options.seconds, "processor")),
            rates.Row("memory", "MiB", False, sampler(options.seconds, "memory"))]
    return rates.run("idle", rows, options, options.settle)
