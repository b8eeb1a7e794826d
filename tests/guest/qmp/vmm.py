# SPDX-License-Identifier: Apache-2.0
"""A VM as the suites qmp, badinput and gdb start it, a client for its monitor, and guests of a few bytes."""

import json
import os
import pathlib
import signal
import socket
import struct
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[3]
BUILD = pathlib.Path(os.environ.get("SKERRY_BUILD", ROOT / "build")).resolve()
SKERRY = pathlib.Path(os.environ.get("SKERRY", BUILD / "bin/skerry")).resolve()
GUESTS = pathlib.Path(os.environ.get("SKERRY_GUESTS", BUILD / "guests")).resolve()
ACCEL = os.environ.get("SKERRY_ACCEL", "auto")
LONG = os.environ.get("SKERRY_LONG") == "1"
DEBUG_EXIT = 0xF4
BAD_INPUT = 2  # the exit status


class Failure(Exception):
    """Something that should hold does not."""


def expect(holds, what):
    if not holds:
        raise Failure(what)


def multiboot(code):
    """An ELF32 Multiboot kernel that starts with `code`, at 1 MiB, in 32-bit protected mode without paging."""
    base, magic = 0x100000, 0x1BADB002
    image = struct.pack("<III", magic, 0, -magic & 0xFFFFFFFF) + code
    header = struct.pack("<16sHHIIIIIHHHHHH", b"\x7fELF\x01\x01\x01".ljust(16, b"\0"), 2, 3, 1, base + 12, 52, 0, 0, 52, 32, 1, 40, 0, 0)
    segment = struct.pack("<IIIIIIII", 1, 0x1000, base, base, len(image), len(image), 7, 0x1000)
    return (header + segment).ljust(0x1000, b"\0") + image


TINY = {
    "halt": b"\xfa\xf4\xeb\xfd",  # cli; 1: hlt; jmp 1b
    "spin": b"\xeb\xfe",  # 1: jmp 1b
    "triple": b"\x0f\x01\x1d" + struct.pack("<I", 0x100000 + 12 + 9) + b"\xcc\xf4" + bytes(6),  # lidt with limit 0; int3
    "exit": b"\xb0\x10\xe6\xf4\xf4",  # mov al, 0x10; out 0xf4, al; hlt
    "reset": b"\xb0\xfe\xe6\x64\xf4",  # mov al, 0xfe; out 0x64, al (the keyboard controller's reset pulse); hlt
    "serial": b"\x66\xba\xf8\x03\xb0\x2e\xee\xb9\x00\x00\x10\x00\x49\x75\xfd\xeb\xf5",  # a '.' now and then, for ever
}


class Qmp:
    """A client of the monitor. Answers and events are kept apart."""

    def __init__(self, path, negotiate=True, timeout=60, process=None):
        deadline = time.monotonic() + timeout
        while True:
            self.socket = socket.socket(socket.AF_UNIX)
            try:
                self.socket.connect(str(path))
                break
            except (FileNotFoundError, ConnectionRefusedError):
                self.socket.close()
                expect(process is None or process.poll() is None, "the VMM ended before its monitor came up")
                expect(time.monotonic() < deadline, f"the monitor does not come up at {path}")
                time.sleep(0.02)
        self.socket.settimeout(timeout)
        self.buffer = b""
        self.events = []
        self.greeting = self.read()
        if negotiate:
            self.command("qmp_capabilities")

    def read(self):
        while b"\n" not in self.buffer:
            data = self.socket.recv(65536)
            if not data:
                raise EOFError("the monitor's connection has ended")
            self.buffer += data
        line, self.buffer = self.buffer.split(b"\n", 1)
        return json.loads(line)

    def send(self, data):
        self.socket.sendall(data if isinstance(data, bytes) else json.dumps(data).encode())

    def answer(self):
        while True:
            message = self.read()
            if "event" not in message:
                return message
            self.events.append(message)

    def ask(self, name, **members):
        self.send({"execute": name, **members})
        return self.answer()

    def command(self, name):
        answer = self.ask(name)
        expect("return" in answer, f"{name} is answered with {answer}")
        return answer["return"]

    def event(self, name):
        """The next event of that name; those before it are dropped."""
        while True:
            message = self.events.pop(0) if self.events else self.read()
            if message.get("event") == name:
                return message

    def status(self):
        return self.command("query-status")["status"]

    def close(self):
        self.socket.close()


class Vmm:
    """skerry run, with whatever it says collected. `prefix` is a command that executes it."""

    def __init__(self, *options, stdin=subprocess.DEVNULL, accel=True, prefix=(), **popen):
        command = [*prefix, str(SKERRY), "run", *(["--accel", ACCEL] if accel else []), *map(str, options)]
        self.out = tempfile.TemporaryFile()
        self.err = tempfile.TemporaryFile()
        self.process = subprocess.Popen(command, stdin=stdin, stdout=self.out, stderr=self.err, start_new_session=True, **popen)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        self.out.close()
        self.err.close()

    def wait(self, seconds=60):
        try:
            return self.process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            raise Failure(f"the VMM has not ended within {seconds} s") from None

    @staticmethod
    def _text(file):
        return os.pread(file.fileno(), 1 << 24, 0).decode("utf-8", "replace")

    def stderr(self):
        return self._text(self.err)

    def stdout(self):
        return self._text(self.out)

    def vm_pid(self):
        """The process that skerry run started."""
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            children = pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
            for child in children:  # others are those of its network
                if pathlib.Path(f"/proc/{child}/comm").read_text().strip() == "skerry-vm":
                    return int(child)
            time.sleep(0.02)
        raise Failure("skerry run started no skerry-vm")


def refused(*options, status=BAD_INPUT, says=(), **vmm):
    """One line on standard error that holds each of `says`, nothing on standard output, that status, soon."""
    shown = " ".join(map(str, options))
    with Vmm(*options, **vmm) as vm:
        got = vm.wait(30)
        lines = vm.stderr().splitlines()
        expect(len(lines) == 1 and lines[0].startswith("skerry: error: "), f"[{shown}] says {lines}")
        expect(got == status, f"[{shown}] gives status {got}, not {status}")
        expect(vm.stdout() == "", f"[{shown}] prints {vm.stdout()[:200]!r}")
        for word in says:
            expect(word in lines[0], f"[{shown}] does not say {word!r} in: {lines[0]}")


def fetch(script, *arguments):
    done = subprocess.run([ROOT / "scripts" / script, *arguments], stdout=subprocess.PIPE, text=True, check=False)
    expect(done.returncode == 0, f"scripts/{script} {' '.join(map(str, arguments))} failed")
    return done.stdout.strip()


def run_cases(cases, wanted):
    """Runs functions named case_*, prints what came of each; the result is an exit status."""
    names = [name for name, _ in cases]
    for unknown in set(wanted) - set(names):
        print(f"there is no case '{unknown}'; there are {', '.join(names)}{'' if LONG else ', and with SKERRY_LONG=1 perhaps more'}")
        return BAD_INPUT
    failed = 0
    for name, case in cases:
        if wanted and name not in wanted:
            continue
        start = time.monotonic()
        try:
            case()
            verdict = "ok"
        except (Failure, EOFError, OSError) as failure:
            failed += 1
            verdict = f"FAILED: {failure!r}"
        print(f"{name}: {verdict} ({time.monotonic() - start:.1f} s)", flush=True)
    print(f"{failed} failed" if failed else "all passed")
    return 1 if failed else 0


def cases_of(module):
    return [(name[5:].replace("_", "-"), function) for name, function in vars(module).items() if name.startswith("case_")]
