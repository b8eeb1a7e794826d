# SPDX-License-Identifier: Apache-2.0
"""UEFI on the serial console of a VM."""

import os
import pathlib
import re
import select
import signal
import subprocess

from vmm import SKERRY, Failure, expect

GUID = "6c1f3a0e-5f0d-4c7b-9a57-0d1e5c0ffee5"  # of nobody else's variables
SILENCE = 60.0  # without new output for so long, it hangs


class Shell:
    """A VM in which UEFI starts its shell, on the serial console."""

    def __init__(self, *options):
        self.text = ""
        self.seen = 0
        self.begun = ""  # an escape sequence of which the end has not come yet
        command = [SKERRY, "run", *(["--accel", os.environ["SKERRY_ACCEL"]] if os.environ.get("SKERRY_ACCEL") else []), *map(str, options)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, bufsize=0)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()

    def kill(self):
        """The VM's own process, without a warning; when what started it has seen its end, all that it had is free."""
        children = pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text(encoding="ascii").split()
        for child in children:
            if pathlib.Path(f"/proc/{child}/comm").read_text(encoding="ascii").strip() == "skerry-vm":
                os.kill(int(child), signal.SIGKILL)
        self.process.wait(60)

    def _read(self):
        ready, _, _ = select.select([self.process.stdout], [], [], SILENCE)
        expect(ready, f"no output for {SILENCE:.0f} s; the last of it: {self.text[-300:]!r}")
        data = os.read(self.process.stdout.fileno(), 1 << 16)
        text = re.sub(r"\x1b\[[0-9;=?]*[A-Za-z]", "", self.begun + data.decode("latin-1"))
        self.begun = re.search(r"(\x1b(\[[0-9;=?]*)?)?\Z", text)[0]
        self.text += text[:len(text) - len(self.begun)]
        return data

    def wait_for(self, words):
        """What has been printed since the last wait, up to and with these words."""
        while (at := self.text.find(words, self.seen)) < 0:
            if not self._read():
                raise Failure(f"it ended with status {self.process.wait()}; the last of it: {self.text[-300:]!r}")
        before, self.seen = self.text[self.seen:at + len(words)], at + len(words)
        return before

    def start(self):
        """Up to the first prompt."""
        self.wait_for("to skip")
        self.type("\x1b")
        self.wait_for("Shell> ")

    def type(self, keys):
        self.process.stdin.write(keys.encode())

    def say(self, command):
        """What a command prints."""
        self.type(command + "\r")
        return self.wait_for("Shell> ").split(command)[-1]

    def power_off(self):
        self.type("reset -s\r")
        while self._read():
            pass
        expect(self.process.wait() == 0, f"it ended with status {self.process.returncode}")

    def reset(self):
        self.type("reset\r")
        self.start()

    def set(self, name, value):
        self.say(f"setvar {name} -guid {GUID} -bs -rt -nv ={value}")

    def get(self, name):
        shown = re.sub(r"\s", "", self.say(f"setvar {name} -guid {GUID}"))
        found = re.search(r"Bytes((?:[0-9A-Fa-f]{2})+)", shown)
        return found[1].lower() if found else None
