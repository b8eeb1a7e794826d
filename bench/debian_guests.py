"""The same Debian on a disk, up and running under Skerry and under QEMU's TCG at once: what io and net measure in.

Each has a copy of the test image and an empty second disk; the one that is not asked is idle.
"""

import pathlib
import sys
import tempfile

import engines

sys.path[:0] = [str(engines.ROOT / "tests/guest/disk"), str(engines.ROOT / "tests/peer/image"), str(engines.ROOT / "tests/guest/qmp")]
import debian  # noqa: E402  # pylint: disable=wrong-import-position
import qemu_guest  # noqa: E402  # pylint: disable=wrong-import-position
import machine  # noqa: E402  # pylint: disable=wrong-import-position
import vmm  # noqa: E402  # pylint: disable=wrong-import-position
from vmm import Failure  # noqa: E402  # pylint: disable=wrong-import-position

free_port = debian.free_port
__all__ = ["Failure", "Guests", "free_port"]

DATA_BYTES = 1 << 30
MEMORY, MEMORY_BYTES = "1G", 1 << 30
# The guest agent looks ten times a second whether somebody has come, and one of the two has the port for it.
UNITS = ("apt-daily.timer", "apt-daily-upgrade.timer", "fstrim.timer", "e2scrub_all.timer", "dpkg-db-backup.timer", "systemd-timesyncd",
         "qemu-guest-agent")


class Guests:
    """Both, by the names of their engines. To be entered before they are asked."""

    def __init__(self, options):
        self.options = options
        self.engines = (engines.skerry(options.accel), engines.tcg(options.qemu))
        self.key = debian.KEY
        self.running = {}
        self.data = {}  # the image of the second disk
        self.commands = {}

    def __enter__(self):
        if not debian.IMAGE.exists() or not debian.KEY.exists():
            raise engines.CannotMeasure(
                f"there is no image {debian.IMAGE} with its key {debian.KEY.name}",
                f"Make both, which takes minutes: ssh-keygen -t ed25519 -N '' -f {debian.KEY} && "
                f"scripts/make-image --profile test --out {debian.IMAGE} --ssh-key {debian.KEY}.pub",
            )
        engines.SCRATCH.mkdir(parents=True, exist_ok=True)
        self.temporary = tempfile.TemporaryDirectory(prefix="debian-", dir=engines.SCRATCH)  # pylint: disable=consider-using-with
        try:
            self._start(pathlib.Path(self.temporary.name))
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for guest in self.running.values():
            guest.__exit__(None, None, None)
        self.temporary.cleanup()

    def _start(self, folder):
        # One after the other: two systems that boot at once take twice as long, and neither is measured then.
        for engine in self.engines:
            home = folder / engine.name
            home.mkdir()
            disk = debian.copy(debian.IMAGE, home / "disk.img")
            data = self.data[engine.name] = home / "data.img"
            # Written, so that neither has to find room while it is measured; and in the page cache.
            with open(data, "wb") as file:
                for _ in range(DATA_BYTES >> 20):
                    file.write(b"\xa5" * (1 << 20))
            log = engines.SCRATCH / f"{engine.name}.console"
            start = self._start_skerry if engine.name == "skerry" else self._start_tcg
            guest = self.running[engine.name] = start(engine, home, disk, data, log)
            guest.wait_for_ssh(self.key)
            guest.check_health(self.key)
            guest.ssh(self.key, f"systemctl stop {' '.join(UNITS)}; cloud-init status --wait > /dev/null; sync", check=False)
            print(f"{engine.name} is up: {guest.ssh(self.key, 'uname -r')}", flush=True)

    def _start_skerry(self, _engine, home, disk, data, log):
        vmm.ACCEL = self.options.accel
        options = ("--memory", MEMORY, "--cpus", str(self.options.cpus))
        guest = machine.Machine(home, log, disk, "--disk", data, *options)
        self.commands["skerry"] = [str(word) for word in guest.vm.process.args]
        return guest

    def _start_tcg(self, engine, home, disk, data, log):
        port = debian.free_port()
        command = [*engine.start, "-m", MEMORY, "-smp", str(self.options.cpus), "-qmp", f"unix:{home}/qmp,server=on,wait=off"]
        for name, path in (("disk", disk), ("data", data)):
            command += ["-drive", f"file={path},if=none,id={name},format=raw,discard=unmap", "-device", f"virtio-blk-pci,drive={name}"]
        command += ["-netdev", f"user,id=net,hostfwd=tcp:127.0.0.1:{port}-:22", "-device", "virtio-net-pci,netdev=net"]
        command += ["-device", "virtio-rng-pci", "-device", "virtio-balloon-pci"]
        self.commands["tcg"] = command
        return qemu_guest.Guest(disk, home, log, command, port)

    def pid(self, name):
        """Of the process that was started; it may have started others."""
        guest = self.running[name]
        return (guest.vm.process if name == "skerry" else guest.process).pid

    def ask(self, name, command):
        """What a command in a guest prints. Failure if it does not end well."""
        return self.running[name].ssh(self.key, command)
