"""The program of rows/ as a server, on the host or in a guest: rows/main.c says what it is asked and answers."""

import os
import re
import select
import signal
import subprocess
import time

import engines

# What an answer may take longer than the row by itself, so that only a guest that no longer answers is given up
MARGIN_SECONDS = 40
CLOCK_SECONDS = 60
STOP_SECONDS = 30
# request -> the line that answers it, and what that line has
ANSWERS = {"run": ("bench-result", r"(\d+) (\d+) (\d+)"), "check": ("bench-value", r"[0-9a-f]{16}")}


class Lost(Exception):
    """A server that does not answer any more."""


class Server:
    """The program of rows/ running somewhere, and its answers. `problem` is why it can no longer be asked."""

    def __init__(self, name, command, environment=None):
        self.name = name
        self.command = command
        self.environment = environment or {}
        self.about = ""
        self.problem = ""
        self.process = None
        self.pending = b""
        self.last_line = "no output"
        self.log_path = engines.SCRATCH / f"guest-{name}.console"
        self.log = None
        self.first_clock = self.last_clock = None

    def start(self, seconds):
        """Waits until the server is ready. What it says about itself before goes to `about`."""
        self.log_path.parent.mkdir(parents=True, exist_ok=True)
        self.log = open(self.log_path, "wb")  # pylint: disable=consider-using-with
        self.process = subprocess.Popen(  # pylint: disable=consider-using-with
            self.command,
            env=os.environ | self.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            bufsize=0,
            start_new_session=True,
        )
        deadline = time.monotonic() + seconds
        try:
            while (line := self._line(deadline)) != "bench-ready":
                if line.startswith("bench-about "):
                    self.about = line.partition(" ")[2]
            self.first_clock = self._read_clock()
        except Lost as lost:
            self._give_up(f"did not start: {lost}")

    def sample(self, row, outcome):
        """Adds one sample to outcome, or the reason for which there will be none."""
        result = self._ask("run", row, outcome)
        if result:
            repetitions, units, took = map(int, result.groups())
            outcome.samples.append(took / (repetitions * units))

    def check(self, row, outcome):
        """Puts the value into outcome that tells whether the row's work is done right, or the reason for which there is none."""
        value = self._ask("check", row, outcome)
        if value:
            outcome.value = value.group()

    def _ask(self, request, row, outcome):
        """Returns what the server answers as ANSWERS has it, or None, with the reason in outcome."""
        if self.problem:
            outcome.failed = self.problem
            return None
        deadline = time.monotonic() + row.limit + MARGIN_SECONDS
        answers = {}
        try:
            self._send(f"{request} {row.name}")
            while "bench-done" not in answers:
                word, _, rest = self._line(deadline).partition(f" {row.name} ")
                answers[word] = rest
        except Lost as lost:
            self._give_up(str(lost))
            outcome.failed = self.problem
            return None
        wanted, pattern = ANSWERS[request]
        answer = re.fullmatch(pattern, answers.get(wanted, ""))
        what, _, reason = answers["bench-done"].partition(" ")
        if what == "ok" and answer:
            return answer
        if what == "absent":
            outcome.absent = reason
        else:
            outcome.failed = reason or f"an answer that cannot be read: {answers}"
        return None

    def stop(self):
        if self.process is None:
            return
        try:
            if not self.problem:
                self.last_clock = self._read_clock()
                self._send("quit")
                deadline = time.monotonic() + STOP_SECONDS
                while True:
                    self._line(deadline)
        except Lost:  # its end, as it was asked for
            pass
        self._kill()
        self.log.close()

    def clock_speed(self):
        """How fast this server's clock went from start to stop, the host's being 1, and how far that may be off. Or None."""
        if self.first_clock is None or self.last_clock is None:
            return None
        host = self.last_clock[0] - self.first_clock[0]
        server = self.last_clock[1] - self.first_clock[1]
        return server / host, (self.first_clock[2] + self.last_clock[2]) / host

    def _read_clock(self):
        """The host's clock, the server's and how far apart they may have been read, in seconds."""
        asked = time.monotonic()
        self._send("clock")
        while not (line := self._line(asked + CLOCK_SECONDS)).startswith("bench-clock "):
            pass
        answered = time.monotonic()
        return (asked + answered) / 2, int(line.split()[1]) / 1e9, (answered - asked) / 2

    def _send(self, text):
        try:
            self.process.stdin.write(f"{text}\n".encode())
        except OSError:
            raise Lost(f"ended: {self.last_line!a}") from None

    def _line(self, deadline):
        while b"\n" not in self.pending:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self.process.stdout], [], [], left)[0]:
                raise Lost(f"does not answer; console: {self.log_path}")
            data = os.read(self.process.stdout.fileno(), 65536)
            if not data:
                raise Lost(f"ended: {self.last_line!a}; console: {self.log_path}")
            self.log.write(data)
            self.log.flush()
            self.pending += data.replace(b"\r", b"")
        line, _, self.pending = self.pending.partition(b"\n")
        text = line.decode("latin-1").strip()
        self.last_line = text or self.last_line
        return text

    def _give_up(self, problem):
        self.problem = problem
        self._kill()

    def _kill(self):
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
