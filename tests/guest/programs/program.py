# SPDX-License-Identifier: Apache-2.0
"""What all programs have in common: Debian packages that are not installed, VMs with a screen and a keyboard, a web server."""

import http.server
import pathlib
import re
import subprocess
import sys
import tempfile
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / folder) for folder in ("qmp", "screen")]
from text_screen import screenshot  # noqa: E402
from vmm import GUESTS, ROOT, SKERRY, Failure, Qmp, Vmm, expect  # noqa: E402

PATIENCE = 120.0  # seconds for what should happen soon
TEXT_WIDTH = 720  # pixels of a screen of 80 columns


def fetched(package, path, architecture="amd64"):
    """A file of a Debian package, which is not installed."""
    place = GUESTS / package
    if not (place / path).exists():
        place.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=place) as scratch:
            done = subprocess.run([ROOT / "scripts/lib/fetch-deb", architecture, package, scratch, GUESTS / ".apt"], stdout=subprocess.PIPE, text=True,
                                  check=False)
            expect(done.returncode == 0, f"the package {package} could not be fetched")
            subprocess.run(["dpkg-deb", "--extract", done.stdout.split()[-1], place], check=True)
    return place / path


def plain(text):
    """What a program prints, without moves of the cursor and colours."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", " ", text)


def until(done, what, seconds=PATIENCE):
    """Waits for what the VM brings about, and returns what `done` then returns."""
    end = time.monotonic() + seconds
    while not (result := done()):
        expect(time.monotonic() < end, f"{what}: not within {seconds:.0f} s")
        time.sleep(0.05)
    return result


class Program(Vmm):
    """A VM whose serial port is read."""

    def printed(self, wanted, what):
        """Waits until it has printed something that matches the expression, and returns the match."""

        def look():
            ended = self.process.poll()
            found = re.search(wanted, plain(self.stdout()))
            expect(found or ended is None, f"{what}: it has ended with {ended}: {self.stderr()[-300:]}; the last of it: {plain(self.stdout())[-300:]!r}")
            return found

        try:
            return until(look, what)
        except Failure as failure:
            raise Failure(f"{failure}; the last of it: {plain(self.stdout())[-300:]!r}") from None


KEYS = {" ": "spc", "\n": "ret", "\b": "backspace", "-": "minus", "=": "equal", "[": "bracket_left", "]": "bracket_right", ";": "semicolon", "'": "apostrophe",
        "\\": "backslash", ",": "comma", ".": "dot", "/": "slash"}
SHIFTED = dict(zip('!@#$%^&*()_+{}:"|<>?~', "1234567890-=[];'\\,./`"))


def key_of(character):
    """The name that `skerry send-key` has for the key of an American keyboard that types it."""
    if character.isupper() or character in SHIFTED:
        return "shift-" + key_of(SHIFTED.get(character, character.lower()))
    return KEYS.get(character, character)


class Typed(Program):
    """A VM whose screen is read, and at whose keyboard somebody types."""

    def __init__(self, folder, *options):
        self.monitor = pathlib.Path(folder) / "qmp"
        super().__init__("--display", "vnc=127.0.0.1:auto", "--qmp", f"unix:{self.monitor}", *options)
        Qmp(self.monitor, process=self.process).close()

    def screen(self):
        """The lines of text on it, without the cursor; none as long as it shows something else."""
        expect(self.process.poll() is None, f"the VM has ended with {self.process.returncode}: {self.stderr()[-300:]}")
        picture = screenshot(SKERRY, self.monitor)
        return [line.replace("?", "").rstrip() for line in picture.text().splitlines()] if picture.width == TEXT_WIDTH else []

    def shows(self, wanted, what):
        """Waits until the lines of the screen are as wanted, and returns them."""
        lines = []

        def look():
            lines[:] = self.screen()
            return lines and wanted(lines)

        try:
            until(look, what)
        except Failure as failure:
            raise Failure(f"{failure}; on the screen are {lines}") from None
        return lines

    def press(self, *keys):
        done = subprocess.run([SKERRY, "send-key", *keys, "--hold", "20", "--qmp", f"unix:{self.monitor}"], capture_output=True, text=True, check=False)
        expect(done.returncode == 0, f"skerry send-key {' '.join(keys)}: {done.stderr}")

    def type(self, line):
        """Types a line at a prompt. A BIOS keeps fifteen keys: no more are pressed at once, until they are on the screen."""
        parts = [line[at:at + 14] for at in range(0, len(line), 14)]
        for number, part in enumerate(parts[:-1]):
            self.press(*map(key_of, part))
            so_far = "".join(parts[:number + 1]).rstrip()
            self.shows(lambda lines: lines[-1].endswith(so_far), f"{so_far!r} is typed")  # pylint: disable=cell-var-from-loop
        self.press(*map(key_of, parts[-1] + "\n"))


class WebServer:
    """Serves what it is given at the loopback address, which a guest of the user network reaches as 10.0.2.2."""

    def __init__(self, content):
        self.asked = []
        asked = self.asked

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):  # pylint: disable=invalid-name
                data = content.get(self.path)
                asked.append(self.path)
                self.send_response(404 if data is None else 200)
                self.send_header("Content-Length", str(len(data or b"")))
                self.end_headers()
                self.wfile.write(data or b"")

            def log_message(self, *_):  # pylint: disable=arguments-differ
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://10.0.2.2:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


def grub_disc(folder, files, config):
    """A disc that GRUB starts by BIOS, with these files in its root."""
    tree, disc = pathlib.Path(folder) / "disc", pathlib.Path(folder) / "disc.iso"
    (tree / "boot/grub").mkdir(parents=True)
    (tree / "boot/grub/grub.cfg").write_text(config)
    for name, content in files.items():
        (tree / name).write_bytes(content)
    done = subprocess.run(["grub-mkrescue", "-d", "/usr/lib/grub/i386-pc", "-o", disc, tree], capture_output=True, text=True, check=False)
    expect(done.returncode == 0, f"grub-mkrescue: {done.stderr[-500:]}")
    return disc


def fat_disk(folder, files):
    """A disk of 16 MiB with one partition, FAT, with these files in it."""
    disk, start = pathlib.Path(folder) / "fat.img", 1 << 20
    # One entry of a partition table: type 0x0e (FAT16, LBA), from sector 2048 on.
    entry = bytes([0, 0, 2, 0, 0x0E, 0xFF, 0xFF, 0xFF]) + (start // 512).to_bytes(4, "little") + (30720).to_bytes(4, "little")
    with disk.open("wb") as image:
        image.truncate(16 << 20)
        image.write(b"\xcd\x18")  # int 18h: nothing to start, says the boot code
        image.seek(446)
        image.write(entry + bytes(48) + b"\x55\xaa")
    subprocess.run(["mformat", "-i", f"{disk}@@{start}", "-T", "30720", "-h", "16", "-s", "63", "-v", "SKERRY", "::"], check=True)
    for name, content in files.items():
        source = pathlib.Path(folder) / "content"
        source.write_bytes(content)
        subprocess.run(["mcopy", "-i", f"{disk}@@{start}", source, f"::{name}"], check=True)
    return disk


def in_folder(case):
    """The case, in a folder that is gone afterwards."""
    def with_folder(*arguments):
        with tempfile.TemporaryDirectory(prefix="skerry-programs-") as folder:
            case(pathlib.Path(folder), *arguments)

    return with_folder
