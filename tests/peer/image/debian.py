# SPDX-License-Identifier: Apache-2.0
"""The test image of scripts/make-image, and what every VM that runs it has: ssh, a guest agent. Which VMM that is does not
matter here."""

import json
import os
import pathlib
import socket
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "guest/qmp"))
from vmm import GUESTS, ROOT, Failure  # noqa: E402
from vmm import expect as need  # noqa: E402

IMAGE, KEY = GUESTS / "debian-test.img", GUESTS / "debian-test.key"
GENERIC_IMAGE = GUESTS / "debian-generic.img"  # with the kernel that has drivers of hardware too
ROOT_START = 262144 * 512  # of the first partition, in bytes
SSH_OPTIONS = ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR",
               "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes", "-o", "ConnectTimeout=300", "-o", "ServerAliveInterval=60"]


def run(*command):
    done = subprocess.run([str(part) for part in command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    need(done.returncode == 0, f"'{' '.join(map(str, command))}' ended with status {done.returncode}: {done.stdout[-2000:]}")
    return done.stdout


def make_key(path):
    if not path.exists():
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "skerry-test", "-f", path)
    return path


def make_image(kernel="cloud"):
    """Minutes of work the first time; afterwards only when scripts/make-image has changed."""
    GUESTS.mkdir(parents=True, exist_ok=True)
    image, key = {"cloud": IMAGE, "generic": GENERIC_IMAGE}[kernel], make_key(KEY)
    done = subprocess.run([ROOT / "scripts/make-image", "--profile", "test", "--kernel", kernel, "--out", image, "--ssh-key", f"{key}.pub",
                           "--if-changed"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=False)
    need(done.returncode == 0, "there is no image to boot")
    return image, key


def copy(image, to, size=None):
    run("cp", "--sparse=always", "--reflink=auto", image, to)
    if size:
        os.truncate(to, size)
    return to


def check_root(image, start=ROOT_START):
    """The root file system, which starts at this byte, needs no repair."""
    run("e2fsck", "-f", "-n", f"{image}?offset={start}")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class JsonSocket:
    """QMP and the guest agent: an object a line, one answer to each. The peer is a program that we started."""

    def __init__(self, path, timeout):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(timeout)
        self.socket.connect(str(path))
        self.lines = self.socket.makefile("rb")

    def call(self, name, **arguments):
        self.send(name, **arguments)
        while True:
            line = self.lines.readline()
            need(line, f"the other end is gone, after {name}")
            answer = json.loads(line.lstrip(b"\xff"))
            need("error" not in answer, f"{name}: {answer.get('error')}")
            if "return" in answer:
                return answer["return"]

    def send(self, name, **arguments):
        message = {"execute": name, **({"arguments": arguments} if arguments else {})}
        self.socket.sendall(json.dumps(message).encode() + b"\n")

    def close(self):
        self.lines.close()
        self.socket.close()

class Debian:
    """A guest whose ssh is at `port` of the loopback. Whoever inherits says whether it `runs`, and what its
    `signs_of_life` are: anything that changes as long as it gets on."""

    port: int
    # Nothing else depends on how fast the host is.
    still = 600.0

    def runs(self):
        raise NotImplementedError

    def last_words(self):
        """Why it has ended, as far as it said so."""
        raise NotImplementedError

    def signs_of_life(self):
        raise NotImplementedError

    def wait_until(self, condition, what):
        signs, since = None, time.monotonic()
        while not condition():
            if not self.runs():
                raise Failure(f"the VM ended instead of reaching {what}: {self.last_words()}")
            now = self.signs_of_life()
            if now != signs:
                signs, since = now, time.monotonic()
            need(time.monotonic() - since < self.still, f"the guest hangs: it should have reached {what}")
            time.sleep(0.5)

    def ssh(self, key, command, user="root", check=True, timeout=900):
        """What a command prints; its errors too."""
        line = ["ssh", *SSH_OPTIONS, "-i", str(key), "-p", str(self.port), f"{user}@127.0.0.1", command]
        done = subprocess.run(line, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              timeout=timeout, check=False)
        need(not check or done.returncode == 0, f"ssh {user}: '{command}' ended with status {done.returncode}: {done.stdout[-2000:]}")
        return done.stdout.strip()

    def wait_for_ssh(self, key, user="root"):
        # 255 is ssh's own: refused, or the server is not up yet
        def works():
            return self.ssh(key, "echo here", user, check=False) == "here"

        self.wait_until(works, f"ssh as {user}")

    def check_health(self, key, user="root"):
        state = self.ssh(key, "systemctl is-system-running --wait", user, check=False)
        failed = self.ssh(key, "systemctl --failed --no-legend --plain", user)
        need(state == "running" and not failed, f"the system is {state}; failed units: {failed or 'none'}")
