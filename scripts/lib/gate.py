"""The gate behind scripts/test: runs the steps and suites, prints a table and the count."""

import argparse
import dataclasses
import json
import os
import pathlib
import random
import re
import signal
import subprocess
import sys
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = ROOT / "build"
LOGS = BUILD / "test-logs"
CORES = os.cpu_count() or 1
SUITES_AT_A_TIME = CORES + 1  # they wait more than they compute

DESCRIPTION = """\
Builds Skerry and runs its tests: unit tests (with ASan and UBSan; with --long also optimized, with TSan, and with Clang), the
scripts' own, guests that boot, other people's programs as peers, and a minute of fuzzing. Installs the packages it needs. The
last line is "N passed, N failed".

Suites are found, not listed: each executable tests/{guest,peer,fuzz}/NAME/run is one. It is called with

  SKERRY         the program build/bin/skerry        SKERRY_SEED  the seed of all randomness
  SKERRY_BUILD   the folder build                    SKERRY_LONG  1 with --long, else 0
  SKERRY_GUESTS  the folder for guests' kernels

and passes if it ends with status 0 within its time: 300 s, with --long 3600 s, or the two numbers in a file 'timeout'
beside it. Several suites run at a time; a file 'alone' beside 'run' says that nothing may run beside it. What a suite
prints goes to build/test-logs/."""
EXAMPLES = """\
examples:
  scripts/test                        # before a change lands; at most 20 minutes on two cores
  scripts/test --long                 # everything; hours
  scripts/test --long --continue      # what is left of it, after it was stopped or something failed that has nothing to do with the code
  scripts/test --only guest/boot      # one suite, and the build that it needs
  scripts/test --only unit-asan --only includes
  scripts/test --seed 4242            # the same randomness again
"""

TIMEOUT = (300, 3600)
BUILD_TIMEOUT = (1200, 3600)
BUDGET = 20 * 60
TAIL = 40

if sys.stdout.isatty() and not os.environ.get("NO_COLOR"):
    RED, GREEN, BOLD, PLAIN = "\033[31m", "\033[32m", "\033[1m", "\033[0m"
else:
    RED = GREEN = BOLD = PLAIN = ""


@dataclasses.dataclass
class Step:
    """Something that passes or fails: commands that run one after the other until one fails."""

    name: str
    commands: list
    timeout: int
    needs: str = ""  # the name of the step without which this one cannot run
    alone: bool = True
    problem: str = ""  # why it cannot even be tried
    result: str = ""
    passed: bool = False
    seconds: float = 0.0

    @property
    def log(self):
        return LOGS / f"{self.name.replace('/', '-')}.log"

    def is_called(self, wanted):
        """guest/boot is called by 'guest/boot', by 'boot' and by 'guest'."""
        return wanted == self.name or wanted in self.name.split("/")


def configure_and_build(preset, *targets):
    return [["cmake", "--preset", preset], ["cmake", "--build", "--preset", preset, *(f"--target={target}" for target in targets)]]


def ctest(folder):
    return [
        ["ctest", "--test-dir", str(folder), "--verbose", "--no-tests=error", "-j", str(CORES)]
    ]


def has_preset(name):
    file = ROOT / "CMakePresets.json"
    return file.exists() and re.search(rf'"name"\s*:\s*"{name}"', file.read_text(encoding="utf-8")) is not None


def all_steps(long):
    steps = [
        Step("scripts", [[str(ROOT / "scripts/self-test")]], 600, alone=False),
        Step("includes", [[str(ROOT / "scripts/check-includes")]], 60, alone=False),
        # The optimized unit tests are left to --long: building them takes as long as a sixth of the gate, to find what the sanitizers
        # do not; guests and other people's programs use the optimized build all the time.
        Step("build", configure_and_build("release", *([] if long else ["programs"])), BUILD_TIMEOUT[long]),
        Step("build-asan", configure_and_build("asan", *([] if long else ["unit_tests"])), BUILD_TIMEOUT[long]),
        Step("unit-asan", ctest(BUILD / "asan"), 900, needs="build-asan"),
    ]
    if long:
        steps.append(Step("unit", ctest(BUILD), 600, needs="build"))
        for preset in ("tsan", "clang"):  # asan has UBSan too
            if has_preset(preset):
                steps.append(Step(f"build-{preset}", configure_and_build(preset), BUILD_TIMEOUT[long]))
                steps.append(Step(f"unit-{preset}", ctest(BUILD / preset), 1800, needs=f"build-{preset}"))
    suites = [suite(program, long) for kind in ("guest", "peer", "fuzz") for program in sorted((ROOT / "tests" / kind).glob("*/run"))]
    # Those that need not be alone last, so that they all are neighbours.
    return steps + sorted(suites, key=lambda step: not step.alone)


def suite(program, long):
    folder = program.parent
    step = Step(f"{folder.parent.name}/{folder.name}", [[str(program)]], TIMEOUT[long], needs="build")
    step.alone = (folder / "alone").exists()
    if not os.access(program, os.X_OK):
        step.problem = f"{program.relative_to(ROOT)} is not executable (chmod +x, git update-index --chmod=+x)"
    limits = folder / "timeout"
    if limits.exists():
        numbers = limits.read_text(encoding="utf-8").split()
        if len(numbers) == 2 and all(number.isdigit() for number in numbers):
            step.timeout = int(numbers[long])
        else:
            step.problem = f"{limits.relative_to(ROOT)} should hold two numbers of seconds: for the gate and for --long"
    return step


class Record:
    """What has passed of this commit, for --continue. A tree with changes is no commit's."""

    def __init__(self, long):
        self.file = LOGS / f"passed{'-long' if long else ''}.json"
        self.commit = git("rev-parse", "HEAD") if git("status", "--porcelain", "--untracked-files=no") == "" else None
        self.passed = {}  # by the step's name: seconds and result

    def take(self, steps):
        """Marks what has passed before. Builds are asked again: they know best what is left of them."""
        try:
            before = json.loads(self.file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return
        if before.get("commit") != self.commit:
            return
        self.passed = before["passed"]
        for step in steps:
            if step.name in self.passed and not step.name.startswith("build"):
                step.seconds, result = self.passed[step.name]
                step.result, step.passed = f"{result}, before", True

    def add(self, step):
        if self.commit is None:
            return
        self.passed[step.name] = step.seconds, step.result
        part = self.file.with_suffix(".new")
        part.write_text(json.dumps({"commit": self.commit, "passed": self.passed}), encoding="utf-8")
        part.rename(self.file)


def git(*arguments):
    """What it says; None where there is no repository."""
    try:
        done = subprocess.run(["git", "-C", ROOT, *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


class Gate:
    """Runs steps, several at a time, those that are 'alone' one at a time."""

    def __init__(self, steps, environment, record):
        self.steps = steps
        self.environment = environment
        self.record = record
        self.running = {}  # step name -> Popen
        self.lock = threading.Lock()
        self.stopping = False

    def run(self):
        for group in self._groups():
            threads = [threading.Thread(target=self._worker, args=(group,), name=f"gate-{n}") for n in range(min(SUITES_AT_A_TIME, len(group)))]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()

    def stop(self):
        with self.lock:
            self.stopping = True
            for process in self.running.values():
                kill_group(process, signal.SIGTERM)

    def _groups(self):
        """Neighbours that may run at the same time. The order of steps is kept."""
        groups = []
        for step in self.steps:
            if not step.alone and groups and not groups[-1][-1].alone:
                groups[-1].append(step)
            else:
                groups.append([step])
        return groups

    def _worker(self, group):
        while True:
            with self.lock:
                waiting = [step for step in group if not step.result]
                if not waiting:
                    return
                step = waiting[0]
                step.result = "running"
            self._run_step(step)

    def _run_step(self, step):
        needed = next((other for other in self.steps if other.name == step.needs), None)
        if self.stopping:
            step.result = "not run (stopped)"
        elif step.problem:
            step.result = step.problem
            print(f"{step.name}: {RED}{step.problem}{PLAIN}", flush=True)
        elif needed is not None and not needed.passed:
            step.result = f"not run ({step.needs} failed)"
        else:
            self._run_commands(step)

    def _run_commands(self, step):
        print(f"{step.name} ...", flush=True)
        start = time.monotonic()
        step.log.parent.mkdir(parents=True, exist_ok=True)
        failure = None
        with open(step.log, "wb") as log:
            for command in step.commands:
                left = step.timeout - (time.monotonic() - start)
                failure = self._run_command(step, command, log, left)
                if failure:
                    break
        step.seconds = time.monotonic() - start
        step.passed = failure is None
        counted = count_tests(step.log)
        if failure:
            step.result = f"{failure}{counted}"
            with self.lock:
                print(f"{step.name}: {RED}{step.result}{PLAIN}; the end of {step.log.relative_to(ROOT)}:")
                for line in tail(step.log):
                    print(f"  | {line}")
                sys.stdout.flush()
        else:
            step.result = f"passed{counted}"
            with self.lock:
                self.record.add(step)
            print(f"{step.name}: {GREEN}{step.result}{PLAIN} ({step.seconds:.1f} s)", flush=True)

    def _run_command(self, step, command, log, seconds):
        """Returns None, or what went wrong. Whatever the command left running is ended too."""
        log.write(f"+ {' '.join(command)}\n".encode())
        log.flush()
        with self.lock:
            if self.stopping:
                return "stopped"
            try:
                process = subprocess.Popen(  # pylint: disable=consider-using-with
                    command,
                    cwd=ROOT,
                    env=self.environment,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            except OSError as error:
                log.write(f"{command[0]}: {error.strerror}\n".encode())
                return f"cannot be started: {error.strerror}"
            self.running[step.name] = process
        try:
            status = process.wait(timeout=max(seconds, 0.1))
            failure = None if status == 0 else describe(status)
        except subprocess.TimeoutExpired:
            kill_group(process, signal.SIGTERM)
            try:
                process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                pass
            failure = f"timed out after {step.timeout} s"
        kill_group(process, signal.SIGKILL)
        process.wait()
        with self.lock:
            del self.running[step.name]
        return "stopped" if self.stopping else failure


def kill_group(process, number):
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        pass


def describe(status):
    if status > 0:
        return f"failed (status {status})"
    try:
        return f"killed by {signal.Signals(-status).name}"
    except ValueError:
        return f"killed by signal {-status}"


def tail(log):
    text = log.read_bytes()[-65536:].decode("utf-8", errors="replace").replace("\r", "")
    # What a guest prints may move the cursor or worse.
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|[^\n\t -\U0010ffff]", "", text)
    return [line[:200] for line in text.splitlines()[-TAIL:]]


def count_tests(log):
    """What the unit tests' programs counted, if it was they, for the table."""
    text = log.read_bytes()
    total, failed = (sum(map(int, re.findall(pattern, text))) for pattern in (rb"\[=+\] (\d+) tests? from .* ran", rb"\[  FAILED  \] (\d+) tests?, listed"))
    if not total:
        return ""
    return f", {failed} of {total} tests" if failed else f", {total} tests"


def print_table(steps, seconds):
    width = max(len(step.name) for step in steps)
    print(f"\n{BOLD}{'name':<{width}}  {'seconds':>7}  result{PLAIN}")
    for step in steps:
        colour = GREEN if step.passed else RED
        print(f"{step.name:<{width}}  {step.seconds:7.1f}  {colour}{step.result}{PLAIN}")
    print(f"{'in all':<{width}}  {seconds:7.1f}")


def choose(steps, wanted, parser):
    """Those that were asked for, and what they need."""
    if not wanted:
        return steps
    for name in wanted:
        if name not in ("guest", "peer", "fuzz") and not any(step.is_called(name) for step in steps):
            parser.error(f"there is no '{name}'; scripts/test --list shows what there is")
    chosen = [step for step in steps if any(step.is_called(name) for name in wanted)]
    needed = {step.needs for step in chosen}
    return [step for step in steps if step in chosen or step.name in needed]


def main():
    parser = argparse.ArgumentParser(
        prog="scripts/test", description=DESCRIPTION, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--long", action="store_true", help="everything, with longer time limits")
    parser.add_argument("--only", metavar="NAME", action="append", default=[], help="this one, or this kind; may be repeated")
    parser.add_argument("--continue", dest="go_on", action="store_true", help="leave out what has passed of this commit before")
    parser.add_argument("--list", action="store_true", help="print the names and stop")
    parser.add_argument("--seed", type=int, metavar="N", help="of all randomness (default: a random one, printed)")
    parser.add_argument("--no-build", action="store_true", help="take the build as it is")
    options = parser.parse_args()

    steps = all_steps(options.long)
    if options.no_build:
        steps = [step for step in steps if not step.name.startswith("build")]
    steps = choose(steps, options.only, parser)
    if options.list:
        for step in steps:
            print(step.name)
        return 0

    record = Record(options.long)
    if options.go_on:
        if record.commit is None:
            parser.error("--continue: this tree is no commit's, so nothing is known of it; commit first, or leave it out")
        record.take(steps)
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(1 << 32)
    environment = dict(
        os.environ,
        SKERRY=str(BUILD / "bin/skerry"),
        SKERRY_BUILD=str(BUILD),
        SKERRY_GUESTS=str(BUILD / "guests"),
        SKERRY_SEED=str(seed),
        SKERRY_LONG="1" if options.long else "0",
    )
    print(f"seed {seed} (again with: scripts/test --seed {seed})", flush=True)
    start = time.monotonic()
    gate = Gate(steps, environment, record)

    def stop(*_):
        print("stopping ...", flush=True)
        # Not in the handler itself: the thread it interrupts may hold the lock
        threading.Thread(target=gate.stop, name="gate-stop").start()

    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)
    gate.run()
    seconds = time.monotonic() - start
    passed = sum(step.passed for step in steps)
    failed = len(steps) - passed
    if steps:
        print_table(steps, seconds)
        print(f"logs in {LOGS.relative_to(ROOT)}/, seed {seed}")
    if not options.long and seconds > BUDGET:
        print(f"{RED}That took longer than the gate's {BUDGET // 60} minutes.{PLAIN}")
    print(f"{passed} passed, {failed} failed", flush=True)
    return 1 if failed or gate.stopping or not steps else 0


if __name__ == "__main__":
    sys.exit(main())
