# SPDX-License-Identifier: Apache-2.0
"""skerry doctor on this host as it is, and with parts taken away: it tells whatever is there, and changes nothing."""

import json
import os
import pathlib
import pty
import subprocess
import time

from vmm import BAD_INPUT, SKERRY, expect

SECONDS = 20  # it takes less than one, on a host that does nothing else
NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]


def doctor(*options, before=(), stdout=subprocess.PIPE):
    """What it prints, and its status. `before` is a command that runs it."""
    start = time.monotonic()
    done = subprocess.run(
        [*before, SKERRY, "doctor", *options], stdout=stdout, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL,
        text=True, check=False, timeout=60)
    expect(time.monotonic() - start < SECONDS, f"it takes no longer than {SECONDS} s")
    expect(done.returncode >= 0, f"it was ended by signal {-done.returncode}")
    return done


def report(before=()):
    """Its JSON, which holds to its description, by id."""
    done = doctor("--json", before=before)
    expect(done.stderr == "", f"nothing else is said: {done.stderr}")
    whole = json.loads(done.stdout)
    expect(list(whole) == ["version", "summary", "checks"] and whole["version"] == 1, f"members {list(whole)}")
    checks = {check["id"]: check for check in whole["checks"]}
    expect(len(checks) == len(whole["checks"]) >= 30, f"{len(checks)} different checks of {len(whole['checks'])}")
    statuses = [check["status"] for check in checks.values()]
    counts = {status: statuses.count(status) for status in ("ok", "warning", "missing")}
    expect(counts == whole["summary"] and sum(counts.values()) == len(checks), f"{counts}, not {whole['summary']}")
    for name, check in checks.items():
        keys = ["id", "group", "title", "status", "found"] + ([] if check["status"] == "ok" else ["remedy"])
        expect(list(check) == keys, f"{name} has {list(check)}")
        expect(all(isinstance(text, str) and text and text.isprintable() for text in check.values()), f"{check}")
    expect(done.returncode == (1 if counts["missing"] else 0), f"status {done.returncode} with {counts}")
    return checks


def snapshot():
    """What it might have changed: modules, devices, settings, interfaces, rules."""
    seen = {}
    for name in ("/proc/modules", "/proc/misc", "/proc/net/dev_mcast", "/proc/net/ip_tables_names"):
        path = pathlib.Path(name)
        lines = path.read_text(encoding="utf-8").splitlines() if os.access(path, os.R_OK) else []
        seen[name] = sorted(line.split()[0] for line in lines)
    for folder in ("/dev", "/sys/module", "/sys/class/net", "/sys/class/misc"):
        seen[folder] = sorted(os.listdir(folder)) if os.path.isdir(folder) else None
    return seen


def case_doctor():
    """Text and JSON, as whoever runs this and as nobody; its statuses; colours on a terminal only."""
    checks = report()
    expect(checks["skerry.programs"]["status"] == "ok", "skerry-vm, skerry-net and skerry-fs are beside it")
    plain = doctor("--verbose")
    for check in checks.values():
        expect(check["title"] in plain.stdout, f"the text has {check['title']}")
    expect("\033" not in plain.stdout, "no colours in a file")
    expect(len(doctor().stdout) <= len(plain.stdout), "--verbose tells no less")
    if os.geteuid() == 0 and subprocess.run([*NOBODY, "test", "-x", SKERRY], check=False).returncode == 0:
        report(NOBODY)
    limited = report(["prlimit", "--nofile=20:20"])
    expect(limited["storage.open-files"]["status"] == "warning", "a low limit of open files is told")
    expect("20" in limited["storage.open-files"]["found"], limited["storage.open-files"]["found"])


def case_doctor_refusals():
    for option in ("--wings", "extra"):
        done = doctor(option)
        expect(done.returncode == BAD_INPUT and done.stderr.count("\n") == 1 and done.stdout == "", f"{option}: {done}")
    with open("/dev/full", "w", encoding="utf-8") as full:
        done = doctor(stdout=full)
    expect(done.returncode == BAD_INPUT and "No space left" in done.stderr, f"a full disk: {done}")


def case_doctor_colours():
    for environment, coloured in (({"NO_COLOR": ""}, True), ({"NO_COLOR": "1"}, False)):
        reader, writer = pty.openpty()
        text = b""
        with subprocess.Popen([SKERRY, "doctor"], stdout=writer, env={**os.environ, **environment}):
            os.close(writer)
            try:
                while chunk := os.read(reader, 65536):
                    text += chunk
            except OSError:  # how a terminal ends
                pass
        os.close(reader)
        expect((b"\033[" in text) == coloured and b"Processor" in text, f"colours with {environment}: {text[:200]}")


def case_doctor_changes_nothing():
    before = snapshot()
    doctor()
    doctor("--json")
    expect(snapshot() == before, "modules, devices and interfaces are as before")


def case_doctor_in_containers():
    """Without /sys, without devices, without /proc, without any of them, and with files that are odd."""
    unshare = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--user", "--map-root-user", "--mount"]
    tried = subprocess.run([*unshare, "mount", "-t", "tmpfs", "none", "/sys"], capture_output=True, check=False)
    if tried.returncode != 0:
        print("  not here: no mount namespaces")
        return

    def within(script):
        return report([*unshare, "sh", "-ec", f'{script}; exec "$@"', "sh"])

    hide = "mount -t tmpfs none {}"
    checks = within(hide.format("/sys"))
    expect(checks["memory.transparent-pages"]["found"].startswith("not known: there is no '/sys/"), "without /sys")
    checks = within(hide.format("/dev"))
    expect("there is no /dev/net/tun" in checks["network.tun"]["found"], f"without devices: {checks['network.tun']}")
    checks = within(hide.format("/proc"))
    expect(checks["memory.free"]["found"].startswith("not known: there is no '/proc/meminfo'"), "without /proc")
    expect(checks["skerry.programs"]["status"] == "missing", "nobody knows where skerry is without /proc")
    within("; ".join(hide.format(folder) for folder in ("/sys", "/dev", "/proc")))
    checks = within("mount -t tmpfs none /sys; cd /sys; mkdir -p kernel/mm/transparent_hugepage class/net fs/cgroup; "
                    "cd kernel/mm/transparent_hugepage; head -c 1M /dev/urandom >enabled; mkfifo shmem_enabled")
    expect("is no file" in checks["memory.transparent-pages"]["found"], f"a pipe: {checks['memory.transparent-pages']}")
    checks = within("mount --bind /dev/zero /proc/meminfo; mount --bind /dev/null /proc/cpuinfo")
    expect("'/proc/meminfo' is no file" in checks["memory.free"]["found"], f"a device: {checks['memory.free']}")
