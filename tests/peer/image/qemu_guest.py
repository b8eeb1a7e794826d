# SPDX-License-Identifier: Apache-2.0
"""A virtual machine that boots an image with QEMU: its console, its guest agent, its end."""

import json
import pathlib
import re
import subprocess
import threading
import time

from debian import Debian, JsonSocket, free_port, need


def qemu(disk, folder, ssh_port, seed=None, network=True):
    """The command for a VM with this disk; its sockets are in `folder`."""
    command = ["qemu-system-x86_64", "-accel", "tcg", "-machine", "q35", "-m", "1G", "-display", "none", "-no-reboot",
               "-serial", "stdio", "-monitor", "none", "-qmp", f"unix:{folder}/qmp,server=on,wait=off",
               "-drive", f"file={disk},if=none,id=disk,format=raw", "-device", "virtio-blk-pci,drive=disk,bootindex=0",
               "-device", "virtio-rng-pci",
               "-device", "virtio-serial-pci", "-chardev", f"socket,path={folder}/agent,server=on,wait=off,id=agent",
               "-device", "virtserialport,chardev=agent,name=org.qemu.guest_agent.0"]
    if seed:
        command += ["-blockdev", f"driver=vvfat,node-name=seed,dir={seed},label=cidata,read-only=on", "-device",
                    "virtio-blk-pci,drive=seed"]
    command += ["-nic", f"user,model=virtio-net-pci,hostfwd=tcp:127.0.0.1:{ssh_port}-:22" if network else "none"]
    return command


class Guest(Debian):
    """`folder` keeps what belongs to this VM, `log` its console. `command` starts another QEMU than qemu() describes, with
    its monitor and ssh where that has them."""

    def __init__(self, disk, folder, log, command=None, port=None, **hardware):
        self.folder, self.port = pathlib.Path(folder), port or free_port()
        self.console, self.seen = bytearray(), 0
        self.process = subprocess.Popen(command or qemu(disk, folder, self.port, **hardware), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT)
        self.monitor = None
        self.reader = threading.Thread(target=self._read, args=(log,), daemon=True)
        self.reader.start()
        self.wait_until(lambda: (self.folder / "qmp").exists(), "its monitor")
        self.monitor = JsonSocket(self.folder / "qmp", 120)
        need("QMP" in json.loads(self.monitor.lines.readline()), "the monitor does not greet")
        self.monitor.call("qmp_capabilities")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.reader.join()

    def _read(self, log):
        with open(log, "wb", buffering=0) as file:
            while chunk := self.process.stdout.read1(65536):
                file.write(chunk)
                self.console += chunk

    def runs(self):
        return self.process.poll() is None

    def last_words(self):
        return f"status {self.process.returncode}"

    def signs_of_life(self):
        """What it has printed, and what its disks have done."""
        if not self.monitor:
            return len(self.console)
        disks = self.monitor.call("query-blockstats")
        return len(self.console), [disk["stats"]["rd_operations"] + disk["stats"]["wr_operations"] for disk in disks]

    def wait_for(self, pattern, what=None):
        """Waits for a line of the console after the last one that was waited for."""
        found = []

        def search():
            match = re.search(pattern, bytes(self.console[self.seen:]))
            if match:
                self.seen += match.end()
                found.append(match)
            return bool(match)

        self.wait_until(search, what or f"'{pattern.decode()}' on the console")
        return found[0]

    def type(self, text):
        self.process.stdin.write(text.encode() + b"\n")
        self.process.stdin.flush()

    def log_in(self, user, password):
        """On the console, up to a prompt."""
        self.wait_for(rb"login: ")
        self.type(user)
        self.wait_for(rb"[Pp]assword: ?")
        self.type(password)
        self.wait_for(rb":~[#$] ", "a prompt on the console")

    def agent(self):
        return JsonSocket(self.folder / "agent", 300)

    def press_power_button(self):
        self.monitor.call("system_powerdown")

    def wait_for_end(self):
        monitor, self.monitor = self.monitor, None
        monitor.close()
        signs, since = None, time.monotonic()
        while self.process.poll() is None:
            if len(self.console) != signs:
                signs, since = len(self.console), time.monotonic()
            need(time.monotonic() - since < self.still, "the guest does not power off")
            time.sleep(0.2)
        need(self.process.returncode == 0, f"the VM ended with status {self.process.returncode}")
