# SPDX-License-Identifier: Apache-2.0
"""What only a machine with disks can be told wrongly: one line, status 2, and no image is changed. The rest is in
tests/guest/badinput."""

import os
import pathlib
import shutil
import socket
import tempfile

from vmm import Qmp, Vmm, expect, refused

SCRATCH = pathlib.Path(tempfile.mkdtemp(prefix="skerry-disk-bad-"))
SCRATCH.chmod(0o755)
NOBODY = () if os.geteuid() else ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--no-new-privs")


def clean_up():
    shutil.rmtree(SCRATCH, ignore_errors=True)


class Images:
    """Files that must be as they were afterwards."""

    def __init__(self, *names):
        self.paths = [SCRATCH / name for name in names]
        for path in self.paths:
            path.write_bytes(os.urandom(4096) * 256)
            path.chmod(0o666)
        self.before = self.now()

    def now(self):
        return [(path.stat().st_mtime_ns, path.stat().st_size, path.stat().st_mode, path.read_bytes()) for path in self.paths]

    def __enter__(self):
        return self.paths

    def __exit__(self, kind, *_):
        expect(kind or self.now() == self.before, "no image is changed")


def case_image_in_use():
    """By whom, also to a reader, who would see it change; the other VM goes on."""
    with Images("used.img") as (disk,):
        monitor = SCRATCH / "used.qmp"
        with Vmm(disk, "--net", "none", "--console", "none", "--qmp", f"unix:{monitor}") as vm:
            client = Qmp(monitor, process=vm.process)
            refused(disk, "--net", "none", says=["used.img", "in use", str(vm.vm_pid()), "skerry-vm"])
            refused("--disk", f"{disk},readonly=on", "--net", "none", says=["used.img", "being written by", str(vm.vm_pid())])
            expect(client.status() == "running", "the first one runs on")
            client.command("quit")
            expect(vm.wait() == 0, "and ends when it is told to")


def case_read_only_image():
    with Images("closed.img") as (disk,):
        disk.chmod(0o444)
        refused(disk, prefix=NOBODY, says=["closed.img", "may not be written by user", "readonly=on"])
        disk.chmod(0o666)


def case_missing_firmware():
    with Images("a.img") as (disk,):
        refused(disk, "--firmware", "/nonexistent", says=["firmware", "/nonexistent", "seabios"])


def case_taken_port():
    with Images("a.img") as (disk,), socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        refused(disk, "--net", f"user,hostfwd=tcp:127.0.0.1:{port}-:22", says=["--net", str(port), "taken", str(os.getpid())])


def case_tap_of_others():
    """A tap that is root's alone, in a network and with a /dev/net of its own. Only root can make one."""
    if os.geteuid():
        print("  skipped: only root can make a tap")
        return
    for mode, why in ("600", "/dev/net/tun may not be opened"), ("666", "tap 'skerry-tap0' is "):
        script = (f"mount -t tmpfs none /dev/net && mknod -m {mode} /dev/net/tun c 10 200 && chmod {mode} /dev/net/tun && "
                  f'ip tuntap add skerry-tap0 mode tap user 0 && exec {" ".join(NOBODY)} "$@"')
        with Images("a.img") as (disk,):
            refused(disk, "--net", "tap=skerry-tap0", prefix=("unshare", "--net", "--mount", "sh", "-c", script, "sh"),
                    says=["--net", why, "by user 65534"])
