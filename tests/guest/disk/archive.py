# SPDX-License-Identifier: Apache-2.0
"""A Debian archive on the host's loopback, with one package, and a file to fetch again and again."""

import functools
import hashlib
import http.server
import os
import pathlib
import subprocess
import threading

HOST = "10.0.2.2"  # the host's loopback as a guest of the user network sees it
PACKAGE, GREETING = "skerry-greeting", "the archive on the host says hello"
BLOB_BYTES = 2 << 20


class Quiet(http.server.SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):  # pylint: disable=arguments-differ
        pass


class Archive:
    """Serves while it is entered."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder) / "archive"
        self.folder.mkdir()
        self._make_package()
        blob = os.urandom(BLOB_BYTES)
        (self.folder / "blob").write_bytes(blob)
        self.blob_sum = hashlib.sha256(blob).hexdigest()
        handler = functools.partial(Quiet, directory=str(self.folder))
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.url = f"http://{HOST}:{self.server.server_address[1]}"
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def _make_package(self):
        tree = self.folder.parent / "package"
        program = tree / f"usr/bin/{PACKAGE}"
        program.parent.mkdir(parents=True)
        program.write_text(f"#!/bin/sh\necho '{GREETING}'\n", encoding="ascii")
        program.chmod(0o755)
        (tree / "DEBIAN").mkdir()
        control = (f"Package: {PACKAGE}\nVersion: 1.0\nArchitecture: all\nMaintainer: Skerry <nobody@example.org>\n"
                   "Description: what a test installs\n")
        (tree / "DEBIAN/control").write_text(control, encoding="ascii")
        deb = self.folder / f"{PACKAGE}_1.0_all.deb"
        subprocess.run(["dpkg-deb", "--root-owner-group", "--build", tree, deb], stdout=subprocess.DEVNULL, check=True)
        content = deb.read_bytes()
        packages = f"{control}Filename: ./{deb.name}\nSize: {len(content)}\nSHA256: {hashlib.sha256(content).hexdigest()}\n\n".encode()
        (self.folder / "Packages").write_bytes(packages)
        (self.folder / "Release").write_text(
            f"Origin: test\nSuite: test\nDate: Sat, 01 Jan 2022 00:00:00 UTC\nSHA256:\n {hashlib.sha256(packages).hexdigest()} {len(packages)} Packages\n",
            encoding="ascii")

    def install(self):
        """A command of the guest's, which prints GREETING at the end."""
        lists = "-o Dir::Etc::SourceList=/etc/apt/host.list -o Dir::Etc::SourceParts=-"
        return (f"echo 'deb [trusted=yes] {self.url} ./' > /etc/apt/host.list && apt-get -q {lists} update && "
                f"DEBIAN_FRONTEND=noninteractive apt-get -q -y {lists} install {PACKAGE} && {PACKAGE}")

    def fetch_for_ever(self):
        """A program of the guest's: it ends when what it gets is wrong. A connection that a restore has ended is made anew."""
        return ("import hashlib, http.client, urllib.request\n"
                "while True:\n"
                "    try:\n"
                f"        got = urllib.request.urlopen('{self.url}/blob', timeout=3).read()\n"
                "    except (OSError, http.client.HTTPException):\n"
                "        continue\n"
                f"    assert hashlib.sha256(got).hexdigest() == '{self.blob_sum}', 'the network has changed what it carried'\n"
                "    open('/run/fetched', 'a').write('x')\n")
