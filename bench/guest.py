"""scripts/bench guest: small programs on the host, in a guest under Skerry and in one under QEMU's TCG, in one run.

The three stay alive side by side, each with the same program of rows/ as a server on its standard input and output or
serial console, and are asked in turn for one sample after the other. So what a busy host does to one it does to all.
The group "programs" is Debian's own, out of the same files on the host and in the guests. The row "boot" has no server:
its samples are boots of a VM of its own.
"""

import base64
import dataclasses
import fnmatch
import time

import boot
import engines
import report
from server import Server

NATIVE, SKERRY, TCG = "native", "skerry", "tcg"
# No automatic vectors, and no recursion made into loops: a row is what its source says.
COMPILE = "gcc -std=gnu11 -O2 -fno-tree-vectorize -fno-optimize-sibling-calls -Wall -Wextra -Wno-missing-field-initializers -static".split()
IN_GUEST = "bench/rows"
# Where a guest has the file system with the programs, and what tells the rows so
PROGRAMS, IN_ENVIRONMENT = "/programs", "BENCH_PROGRAMS"
# For the programs and what they keep in memory, and the same whatever rows are asked for
MEMORY = "1G"
# By how much a guest's clock may go slower or faster than the host's
CLOCK_TOLERANCE = 0.01


@dataclasses.dataclass(frozen=True)
class Row:
    group: str
    name: str
    unit: str
    limit: int  # seconds for a sample
    checked: bool  # whether its result is compared with the native one
    native: bool = True  # whether the host does it too

    @property
    def label(self):
        return f"{self.group}/{self.name}"

    def matches(self, pattern):
        return any(fnmatch.fnmatchcase(name, pattern) for name in (self.name, self.group, self.label))


BOOT = Row("system", "boot", "boot", limit=0, checked=False, native=False)


class Outcome:
    """What one row gave in one engine: samples in nanoseconds a unit, or why there are none."""

    def __init__(self):
        self.samples = []
        self.value = ""
        self.absent = ""
        self.failed = ""

    @property
    def ns(self):
        return None if self.failed or not self.samples else report.median(self.samples)

    def as_json(self):
        reason = {"failed": self.failed} if self.failed else {"absent": self.absent} if self.absent else {}
        return {"ns": self.ns, "samples": self.samples, **reason}


def run(options):
    program = compile_rows()
    rows = [row for row in all_rows(program) if any(row.matches(pattern) for pattern in options.rows)]
    if not rows:
        raise engines.CannotMeasure(f"no row matches {' or '.join(options.rows)}", "The rows are listed by: scripts/bench guest --list")
    if options.list:
        for row in rows:
            print(f"{row.label:<23} ns per {row.unit}")
        return 0
    tcg, skerry = engines.tcg(options.qemu), engines.skerry(options.accel)
    programs = prepare_programs(rows)
    guest = make_guest(options, program, programs)
    servers = make_servers(options, program, programs, [(engine.name, engine.command(guest)) for engine in (skerry, tcg)])
    print(f"{skerry.version} and {tcg.version}, samples of {options.seconds:g} s; rounds: {options.rounds}", flush=True)
    try:
        start_all(servers, options.timeout)
        outcomes = measure(rows, servers, Boots(options, skerry, tcg), options.rounds)
    finally:
        for server in servers:
            server.stop()
    results = summary(rows, outcomes)
    print_means(results["means"], rows, outcomes)
    clocks_right = print_clocks(servers[1:])
    settings = {"kernel": engines.kernel_version(options.kernel), "append": guest.append}
    settings |= {"seconds": options.seconds, "rounds": options.rounds}
    path = report.write_json("guest", {"settings": settings, "engines": describe((skerry, tcg), guest, servers[1:]), **results}, options.json)
    print(f"written to {path}")
    any_failed = any(outcome.failed for row in rows for outcome in outcomes[row].values())
    return 1 if any_failed or not clocks_right else 0


def describe(both, guest, servers):
    """How each was called and what it said about itself."""
    about = {engine.name: {"version": engine.version, "command": engine.command(guest)} for engine in both}
    for server in servers:
        about[server.name] |= {"about": server.about, "clock_speed": (server.clock_speed() or [None])[0]}
    return about


def compile_rows():
    engines.require("gcc", "gcc libc6-dev")
    program = engines.SCRATCH / "rows"
    program.parent.mkdir(parents=True, exist_ok=True)
    sources = sorted((engines.ROOT / "bench/rows").glob("*.c"))
    engines.output_of([*COMPILE, "-o", program, *sources, "-lm"])
    return program


def all_rows(program):
    rows = []
    for line in engines.output_of([program, "list"]).splitlines():
        group, name, unit, limit, checked = line.split("\t")
        rows.append(Row(group, name, unit, int(limit), checked == "1"))
    place = max(index for index, row in enumerate(rows) if row.group == BOOT.group) + 1
    return [*rows[:place], BOOT, *rows[place:]]


def prepare_programs(rows):
    """The folder with the programs' file system, as a tree and as a disk. None if it is not wanted or cannot be made."""
    if not any(row.group == "programs" for row in rows):
        return None
    folder = engines.BUILD / "cache/programs"
    try:
        engines.output_of([engines.ROOT / "bench/programs/make-root", folder])
    except engines.CannotMeasure as problem:
        print(f"The group 'programs' is left out: {problem}. {problem.todo}", flush=True)
        return None
    return folder


def make_servers(options, program, programs, guests):
    environment = {IN_ENVIRONMENT: str(programs / "tree")} if programs else {}
    native = Server(NATIVE, [str(program), "serve", str(options.seconds)], environment)
    return [native, *(Server(name, command) for name, command in guests)]


def make_guest(options, program, programs):
    additions = ["--add", f"{program}={IN_GUEST}"]
    if programs:
        additions += ["--kernel", options.kernel, "--module", "virtio_pci", "--module", "virtio_blk"]
    return engines.Guest(
        kernel=engines.fetch_kernel(options.kernel),
        initrd=engines.make_initramfs(engines.SCRATCH / "initramfs.cpio.gz", *additions),
        append=f"{options.append} console=ttyS0 panic=-1 skerry.run={guest_command(options.seconds, programs)}".strip(),
        memory=MEMORY,
        disk=str(programs / "disk.img") if programs else "",
    )


def guest_command(seconds, programs):
    """What the guest's init runs, as skerry.run= takes it. The console must not echo what it is asked."""
    clock = "/sys/devices/system/clocksource/clocksource0/current_clocksource"
    tables = "/sys/devices/system/cpu/vulnerabilities/meltdown"
    mounts = "mkdir /dev/shm; mount -t tmpfs tmpfs /dev/shm"
    if programs:
        mounts += f"; mkdir {PROGRAMS}; mount -t ext4 -o ro /dev/vda {PROGRAMS} && export {IN_ENVIRONMENT}={PROGRAMS}"
    about = f'echo "bench-about clock $(cat {clock}), meltdown: $(cat {tables})"'
    command = f"exec </dev/console; stty -echo; {mounts}; {about}; exec /{IN_GUEST} serve {seconds:g}"
    return base64.b64encode(command.encode()).decode()


class Boots:  # pylint: disable=too-few-public-methods
    """The row "boot": from exec of a VMM to its exit, with a guest that powers off as soon as it has a user space."""

    def __init__(self, options, *both):
        self.options = options
        self.engines = {engine.name: engine for engine in both}
        self.guest = None

    def sample(self, server, _row, outcome):
        try:
            self.guest = self.guest or boot.make_guest(self.options, cpus=1)
            outcome.samples.append(boot.boot(self.engines[server.name], self.guest, self.options.timeout).wall * 1e9)
        except boot.Failed as problem:
            outcome.failed = str(problem)


def start_all(servers, seconds):
    for server in servers:
        start = time.monotonic()
        server.start(seconds)
        took = time.monotonic() - start
        if server.problem:
            print(f"{server.name} {server.problem}", flush=True)
        elif server.name != NATIVE:
            print(f"{server.name} ready after {took:.1f} s: {server.about}", flush=True)


def measure(rows, servers, boots, rounds):
    """Returns row -> server's name -> Outcome, and prints each row as it comes."""
    print()
    table = report.Table(
        ("row", -23), ("ns per", -16), ("native", 10), ("skerry", 10), ("tcg", 10), ("tcg/skerry", 10), ("skerry/native", 13), ("spread", 6)
    )
    outcomes = {}
    for row in rows:
        outcomes[row] = {server.name: Outcome() for server in servers}
        if not row.native:
            outcomes[row][NATIVE].absent = "not done on the host"
        if row.checked:
            in_turn(row, servers, outcomes[row], Server.check)
            compare_values(outcomes[row])
        for _ in range(rounds):
            in_turn(row, servers, outcomes[row], boots.sample if row is BOOT else Server.sample)
        print_row(table, row, outcomes[row])
    return outcomes


def in_turn(row, servers, outcomes, ask):
    """Asks each that has not failed. Guests are not asked for what the host has not."""
    for server in servers:
        outcome = outcomes[server.name]
        if not (outcome.failed or outcome.absent):
            ask(server, row, outcome)
        if row.native and outcomes[NATIVE].absent:
            return


def compare_values(outcomes):
    native = outcomes[NATIVE].value
    for outcome in outcomes.values():
        if native and outcome.value and outcome.value != native:
            outcome.failed = "its result is not the native one"


def print_row(table, row, outcomes):
    if row.native and outcomes[NATIVE].absent:
        # What the host has not is nobody's failure.
        for outcome in outcomes.values():
            outcome.failed, outcome.absent = "", outcomes[NATIVE].absent
        table.line(row.label, row.unit, "absent", "", "", "", "", "")
        print(f"  the host has no {outcomes[NATIVE].absent}", flush=True)
        return
    for name in (SKERRY, TCG):
        if outcomes[name].absent:
            outcomes[name].failed = f"the guest has no {outcomes[name].absent}"
    shown = ["failed" if outcomes[name].failed else report.nanoseconds(outcomes[name].ns) for name in (NATIVE, SKERRY, TCG)]
    ratios = [report.number(ratio(outcomes, TCG, SKERRY)), report.number(ratio(outcomes, SKERRY, NATIVE))]
    spreads = [report.spread(outcome.samples) for outcome in outcomes.values() if outcome.ns]
    table.line(row.label, row.unit, *shown, *ratios, f"{max(spreads):.0%}" if spreads else "")
    for name, outcome in outcomes.items():
        if outcome.failed:
            print(f"  {name} failed: {outcome.failed}", flush=True)


def ratio(outcomes, over, under):
    if outcomes[over].ns is None or outcomes[under].ns is None:
        return None
    return report.paired_ratio(outcomes[over].samples, outcomes[under].samples)


def summary(rows, outcomes):
    """The part of the results that was measured."""
    measured = []
    for row in rows:
        by_engine = {name: outcome.as_json() for name, outcome in outcomes[row].items()}
        ratios = {"tcg/skerry": ratio(outcomes[row], TCG, SKERRY), "skerry/native": ratio(outcomes[row], SKERRY, NATIVE)}
        measured.append({"group": row.group, "name": row.name, "unit": row.unit, **by_engine, **ratios})
    means = {}
    for group in [*dict.fromkeys(row.group for row in rows), "all"]:
        members = [one for one in measured if group in (one["group"], "all")]
        means[group] = {
            key: report.geometric_mean([one[key] for one in members if one[key] is not None]) for key in ("tcg/skerry", "skerry/native")
        }
        means[group] |= {"rows": len(members), "compared": sum(one["tcg/skerry"] is not None for one in members)}
    return {"rows": measured, "means": means}


def print_means(means, rows, outcomes):
    print()
    table = report.Table(("geometric mean", -23), ("tcg/skerry", 10), ("skerry/native", 13), ("rows", 8))
    for group, mean in means.items():
        counted = f"{mean['compared']} of {mean['rows']}"
        table.line(group, report.number(mean["tcg/skerry"]), report.number(mean["skerry/native"]), counted)
    failed = [f"{row.name} ({name})" for row in rows for name, outcome in outcomes[row].items() if outcome.failed]
    if failed:
        print(f"failed: {', '.join(failed)}")


def print_clocks(guests):
    """Times from a wrong clock mean nothing: says how fast each guest's went, returns whether all can be trusted."""
    right = True
    for guest in guests:
        if guest.clock_speed() is None:
            continue
        speed, unsure = guest.clock_speed()
        wrong = abs(speed - 1) > CLOCK_TOLERANCE + unsure
        right = right and not wrong
        verdict = ": WRONG, its times cannot be compared" if wrong else ""
        print(f"the clock of {guest.name} went at {speed:.4f} (+-{unsure:.4f}) of the host's{verdict}")
    return right
