# SPDX-License-Identifier: Apache-2.0
"""skerry run with the test image: what is done with such a VM, and what must hold of it."""

import pathlib
import re
import subprocess
import sys
import time

TESTS = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(TESTS / "guest/qmp"), str(TESTS / "peer/image")]
from debian import Debian, JsonSocket, free_port  # noqa: E402
from vmm import SKERRY, Failure, Qmp, Vmm, expect  # noqa: E402

WARNINGS = "dmesg --notime --level emerg,alert,crit,err,warn"
# What Debian's kernel warns of, and why that is nothing of the VM's.
EXPECTED_WARNINGS = [
    (r"device-mapper: core: CONFIG_IMA_DISABLE_HTABLE is disabled\. .*", "a choice of Debian's kernel"),
    (r"(RETBleed|Spectre V\d|Speculative Return Stack Overflow)\b.*", "about flaws of the processor's model"),
    (r"platform regulatory\.0: .*regulatory\.db.*|firmware_class: See https://wiki\.debian\.org/Firmware .*",
     "the kernel for hardware looks for what a wireless network may do"),
    (r"piix4_smbus .*: SMBus base address uninitialized - .*", "the board pc has no SMBus host"),
    (r"acpi PNP0A03:00: fail to add MMCONFIG information, .*", "the board pc has none; on AMD's processors Linux does without a word"),
    (r"hrtimer: interrupt took \d+ ns", "the host is busy with something else"),
]


class Machine(Debian):
    """A VM with this disk; or with `port`, the one of these options that has its ssh there. `card`: what else is said of --net."""

    still = 300.0

    def __init__(self, folder, log, *options, port=None, card=""):
        self.folder, self.log, self.monitor = folder, log, folder / "qmp"
        self.watched = [path for path in folder.iterdir() if path.suffix == ".img"]
        self.port = port or free_port()
        if not port:
            options += ("--net", f"user,hostfwd=tcp:127.0.0.1:{self.port}-:22{card}", "--guest-agent", f"unix:{folder}/agent")
        self.vm = Vmm(*options, "--qmp", f"unix:{self.monitor}", "--console", f"file:{log}", accel="--accel" not in options)

    def __enter__(self):
        return self

    def __exit__(self, *details):
        self.vm.__exit__(*details)

    def runs(self):
        return self.vm.process.poll() is None

    def last_words(self):
        return f"status {self.vm.process.returncode}: {self.vm.stderr()[-500:]}"

    def signs_of_life(self):
        """What has been printed, written, and read from disks."""
        written = [path.stat().st_mtime_ns for path in self.watched]
        read = 0
        try:
            read = int(re.search(r"rchar: (\d+)", pathlib.Path(f"/proc/{self.vm.vm_pid()}/io").read_text(encoding="ascii"))[1])
        except (OSError, Failure):
            pass  # it has not started yet, or ends just now
        return self.log.stat().st_size if self.log.exists() else 0, written, read

    def qmp(self, command):
        client = Qmp(self.monitor, process=self.vm.process)
        try:
            return client.command(command)
        finally:
            client.close()

    def agent(self):
        return JsonSocket(self.folder / "agent", self.still)

    def ping_agent(self):
        agent = self.agent()
        agent.call("guest-ping")
        agent.close()

    def save(self, path):
        done = subprocess.run([SKERRY, "save", path, "--qmp", f"unix:{self.monitor}", "--force"], stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, check=False)
        expect(done.returncode == 0, f"skerry save ends with {done.returncode}: {done.stdout[-500:]}")
        self.ends_well()

    def ends_well(self):
        """The guest has been told to end, and the process does, with status 0."""
        signs, since = None, time.monotonic()
        while self.runs():
            now = self.signs_of_life()
            if now != signs:
                signs, since = now, time.monotonic()
            expect(time.monotonic() - since < self.still, "the VM does not end")
            time.sleep(0.1)
        status = self.vm.process.returncode
        expect(status == 0, f"the VM ends with status {status}: {self.vm.stderr()[-500:]}")

    def restored(self, path, log):
        """The same VM in a new process, which needs no option to be like it."""
        return Machine(self.folder, log, "--restore", path, port=self.port)

    def check_warnings(self, key):
        """The kernel complains of nothing that is not known."""
        self.check_messages(self.ssh(key, WARNINGS).splitlines())

    @staticmethod
    def check_messages(lines):
        known = re.compile("|".join(f"(?:{pattern})" for pattern, _ in EXPECTED_WARNINGS))
        unknown = [line for line in lines if not known.fullmatch(line)]
        expect(not unknown, f"the guest's kernel complains: {unknown}")

    def fio(self, key, megabytes=32):
        """Random reads and writes of two jobs, then a look at every block."""
        self.ssh(key, f"fio --name=verify --directory=/var/tmp --rw=randrw --bs=8k --size={megabytes}M --numjobs=2 --iodepth=8 "
                      "--ioengine=libaio --direct=1 --fsync=64 --verify=crc32c --verify_fatal=1 --do_verify=1 --group_reporting "
                      "&& rm /var/tmp/verify.*")


def console_tail(log):
    try:
        return log.read_bytes()[-600:].decode("utf-8", "replace")
    except OSError:
        return ""
