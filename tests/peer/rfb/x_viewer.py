# SPDX-License-Identifier: Apache-2.0
"""TigerVNC's viewer under Xvfb, and what it takes to look at it, to type into it and to click; certificates for it."""

import os
import select
import subprocess
import tempfile
import time

PATIENCE = int(os.environ.get("SKERRY_PATIENCE", "60"))  # seconds for what should happen at once
# Of what this needs, and whose package it is.
PROGRAMS = {"Xvfb": "xvfb", "xtigervncviewer": "tigervnc-viewer", "xdotool": "xdotool", "import": "imagemagick", "openssl": "openssl"}


def expect(condition, what):
    if not condition:
        raise AssertionError(what)


def until(done, what):
    """Waits for what another process brings about, and returns what `done` then returns."""
    end = time.monotonic() + PATIENCE
    while True:
        result = done()
        if result:
            return result
        expect(time.monotonic() < end, f"{what}: not within {PATIENCE} s")
        time.sleep(0.05)


def rgb_of(image, *crop):
    """The pixels of an image file."""
    command = ["convert", str(image), *crop, "+repage", "-depth", "8", "rgb:-"]
    return subprocess.run(command, check=True, capture_output=True, timeout=PATIENCE).stdout


class Display:
    """An Xvfb without a window manager. `home` is a folder for its programs."""

    def __init__(self, home):
        self.home = home
        reader, writer = os.pipe()
        self.process = subprocess.Popen(
            ["Xvfb", "-displayfd", str(writer), "-screen", "0", "1400x1024x24", "-nolisten", "tcp", "-noreset"],
            pass_fds=[writer],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(writer)
        number = b""  # which comes in parts, and Xvfb does not survive that nobody reads the last
        while not number.endswith(b"\n"):
            expect(select.select([reader], [], [], PATIENCE)[0], "Xvfb starts")
            more = os.read(reader, 16)
            expect(more, "Xvfb says its number")
            number += more
        os.close(reader)
        self.name = f":{number.decode().strip()}"
        self.environment = dict(os.environ, DISPLAY=self.name, HOME=str(home), LC_ALL="C.UTF-8")

    def run(self, *command):
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=PATIENCE, check=False)
        return done.stdout.strip()

    def end(self):
        self.process.terminate()
        self.process.wait(timeout=PATIENCE)


class Viewer:
    """TigerVNC's viewer of the VM that is called `title`. Its log is no more than 30: with more it draws statistics into the picture."""

    def __init__(self, display, port, title, *options, password="", user=""):
        self.display, self.title = display, title
        self.others = self.windows()
        self.id = ""
        environment = dict(display.environment, VNC_PASSWORD=password, VNC_USERNAME=user)
        self.log = tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            ["xtigervncviewer", "-Log=*:stderr:30", "-AlertOnFatalError=0", "-ReconnectOnError=0", "-RemoteResize=0"]
            + ["-geometry=+0+0", "-MenuKey=", *options, f"localhost::{port}"],
            env=environment,
            stdout=self.log,
            stderr=self.log,
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.terminate()
        self.process.wait(timeout=PATIENCE)

    def said(self):
        self.log.seek(0)
        return self.log.read().decode(errors="replace")

    def windows(self):
        """Those of all viewers."""
        return self.display.run("xdotool", "search", "--onlyvisible", "--name", f"{self.title} - TigerVNC").split()

    def window(self):
        """Its window, once it is there."""

        def found():
            expect(self.process.poll() is None, f"the viewer goes on: {self.said()[-1500:]}")
            return [window for window in self.windows() if window not in self.others]

        self.id = self.id or until(found, "the viewer's window")[0]
        return self.id

    def seen(self):
        """The pixels of its window."""
        shot = self.display.home / "shot.png"
        command = ["import", "-silent", "-window", self.window(), str(shot)]
        done = subprocess.run(command, env=self.display.environment, timeout=PATIENCE, check=False, capture_output=True)
        return rgb_of(shot) if done.returncode == 0 else b""  # it is just getting another size

    def point(self, x, y):
        self.display.run("xdotool", "mousemove", "--window", self.window(), str(x), str(y))


def make_certificates(folder):
    """An authority and a certificate of localhost by it: ca.pem, cert.pem and key.pem."""
    if (folder / "cert.pem").exists():
        return
    (folder / "names").write_text("subjectAltName=DNS:localhost\n")
    for command in (
        "req -x509 -newkey rsa:2048 -nodes -keyout ca-key.pem -out ca.pem -days 2 -subj /CN=authority",
        "req -newkey rsa:2048 -nodes -keyout key.pem -out request.pem -subj /CN=localhost",
        "x509 -req -in request.pem -CA ca.pem -CAkey ca-key.pem -CAcreateserial -out cert.pem -days 2 -extfile names",
    ):
        done = subprocess.run(["openssl", *command.split()], cwd=folder, capture_output=True, text=True, check=False, timeout=PATIENCE)
        expect(done.returncode == 0, f"openssl {command}: {done.stderr}")
