# SPDX-License-Identifier: Apache-2.0
"""Debian installed without a person, from an archive on the host to a disk that was empty, by a Debian that runs from another disk:
Debian's Installation Guide, D.3."""

import http.server
import pathlib
import re
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "qmp"))
from vmm import GUESTS, Vmm, expect  # noqa: E402

ARCHIVE = GUESTS / "archive"  # packages that have been asked for stay here for the next time
HOST = "10.0.2.2"  # the host's loopback as a guest of the user network sees it
PASSWORD = "skerry"
DISK_BYTES = 3 << 30
ROOT_START = 2048 * 512  # of the first partition, in bytes
PATIENCE, AN_HOUR = 900.0, 3600.0  # seconds
INSTALL = """set -eu
export DEBIAN_FRONTEND=noninteractive
echo 'deb {url}/debian bookworm main' > /etc/apt/host.list
lists="-o Dir::Etc::SourceList=/etc/apt/host.list -o Dir::Etc::SourceParts=-"
apt-get -q $lists update
apt-get -q -y $lists install --no-install-recommends debootstrap
echo ',,L,*' | sfdisk -q --label dos {disk}
udevadm settle
mkfs.ext4 -q {disk}1
mount {disk}1 /mnt
debootstrap --variant=minbase --include=systemd-sysv,dbus,udev,ifupdown,isc-dhcp-client,iproute2 bookworm /mnt {url}/debian
for folder in dev proc sys; do mount --rbind /$folder /mnt/$folder; done
echo "UUID=$(blkid -s UUID -o value {disk}1) / ext4 errors=remount-ro 0 1" > /mnt/etc/fstab
echo installed > /mnt/etc/hostname
echo 127.0.1.1 installed >> /mnt/etc/hosts
echo 'GRUB_CMDLINE_LINUX="console=ttyS0"' > /mnt/etc/default/grub
chroot /mnt apt-get -q -y install --no-install-recommends linux-image-{kernel} grub-pc initramfs-tools
chroot /mnt grub-install {disk}
chroot /mnt update-grub
echo root:{password} | chroot /mnt chpasswd
"""


class Mirror:
    """Debian's archive on the host's loopback, as far as it is asked for."""

    def __init__(self):
        mirror = self
        self.upstream = upstream()

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):  # pylint: disable=arguments-differ
                pass

            def do_GET(self):  # pylint: disable=invalid-name
                content = mirror.file(self.path)
                self.send_response(404 if content is None else 200)
                self.send_header("Content-Length", str(len(content or b"")))
                self.end_headers()
                if content:
                    self.wfile.write(content)

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://{HOST}:{self.server.server_address[1]}"

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()

    def file(self, path):
        """Packages are kept; indexes are asked for anew, as they have to agree with each other."""
        if not re.fullmatch(r"/debian/[\w.+~/%:-]+", path) or ".." in path:
            return None
        kept = ARCHIVE / path.lstrip("/")
        if kept.exists():
            return kept.read_bytes()
        try:
            with urllib.request.urlopen(self.upstream + path.removeprefix("/debian"), timeout=60) as answer:
                content = answer.read()
        except urllib.error.HTTPError:
            return None
        if "/pool/" in path:
            kept.parent.mkdir(parents=True, exist_ok=True)
            part = kept.with_name(f"{kept.name}.{threading.get_ident()}")
            part.write_bytes(content)
            part.rename(kept)
        return content


def upstream():
    """The archive that this machine's apt uses."""
    sites = subprocess.run(["apt-get", "indextargets", "--format", "$(SITE)", "Created-By: Packages"], capture_output=True, text=True,
                           check=False).stdout.split()
    return next((site.rstrip("/") for site in sites if re.search("/debian/*$", site)), "http://deb.debian.org/debian")


def commands(url, disk, kernel="cloud-amd64"):
    """What the running Debian does to what it calls `disk`."""
    return INSTALL.format(url=url, disk=disk, kernel=kernel, password=PASSWORD)


class Terminal:
    """The VM's console, on a unix socket, as somebody would use it."""

    def __init__(self, path, vm):
        self.said = ""
        self.socket = socket.socket(socket.AF_UNIX)
        while True:
            try:
                self.socket.connect(str(path))
                break
            except (FileNotFoundError, ConnectionRefusedError):
                expect(vm.process.poll() is None, f"the VM does not start: {vm.stderr()[-500:]}")
                time.sleep(0.05)
        self.socket.settimeout(PATIENCE)

    def wait_for(self, pattern):
        while not (found := re.search(pattern, self.said)):
            more = self.socket.recv(65536)
            expect(more, f"the console has ended before it said '{pattern}': {self.said[-500:]}")
            self.said += more.decode("utf-8", "replace")
        self.said = self.said[found.end():]
        return found

    def type(self, line):
        self.socket.sendall(line.encode() + b"\r")


def check_installed(folder, *hardware):
    """What has been installed starts from its disk, lets root in, and ends well."""
    path = folder / "console"
    with Vmm("--memory", "1G", "--net", "user", "--console", f"unix:{path}", *hardware) as vm:
        terminal = Terminal(path, vm)
        terminal.wait_for("installed login: ")
        terminal.type("root")
        terminal.wait_for("Password: ")
        terminal.type(PASSWORD)
        terminal.wait_for("root@installed:~# ")
        terminal.type("echo version $(cat /etc/debian_version) system $(systemctl is-system-running --wait)")
        found = terminal.wait_for(r"version (\d+)\.\d+ system (\w+)")
        expect(found[1] == "12" and found[2] == "running", f"Debian {found[1]} is {found[2]}")
        terminal.type("poweroff")
        expect(vm.wait(PATIENCE) == 0, f"the VM ends with status {vm.process.returncode}: {vm.stderr()[-500:]}")


def empty_disk(folder):
    path = folder / "empty.img"
    with open(path, "wb") as file:
        file.truncate(DISK_BYTES)
    return path
