"""What runs guests here: Skerry, and QEMU's TCG as the peer it is compared with."""

import dataclasses
import os
import pathlib
import shlex
import shutil
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[1]
SCRIPTS = ROOT / "scripts"
BUILD = pathlib.Path(os.environ.get("SKERRY_BUILD", ROOT / "build")).absolute()
SKERRY = pathlib.Path(os.environ.get("SKERRY", BUILD / "bin/skerry")).absolute()
GUESTS = pathlib.Path(os.environ.get("SKERRY_GUESTS", BUILD / "guests")).absolute()
SCRATCH = BUILD / "bench"

QEMU = "qemu-system-x86_64"
# All that TCG can do, but for five-level page tables: Skerry has none, and they only make TCG slower.
QEMU_MACHINE = "-M q35 -cpu max,la57=off"


class CannotMeasure(Exception):
    """What stands in the way before anything was started, and what to do about it."""

    def __init__(self, what, todo):
        super().__init__(what)
        self.todo = todo


@dataclasses.dataclass(frozen=True)
class Guest:
    """What both engines are given, to the letter."""

    kernel: str
    initrd: str
    append: str
    memory: str = "512M"
    cpus: int = 1
    disk: str = ""  # a raw image that is only read


@dataclasses.dataclass(frozen=True)
class Engine:
    name: str
    version: str
    start: tuple  # the command but for what the guest says
    memory_option: str
    cpus_option: str
    disk_options: tuple  # {} is the image

    def command(self, guest):
        image = guest.disk.replace(",", ",,")  # as both want commas in names
        disk = [option.format(image) for option in self.disk_options] if guest.disk else []
        files = ["--kernel", guest.kernel, "--initrd", guest.initrd, "--append", guest.append]
        return [*self.start, self.memory_option, guest.memory, self.cpus_option, str(guest.cpus), *disk, *files]


def skerry(accel):
    if not os.access(SKERRY, os.X_OK):
        raise CannotMeasure(f"there is no program {SKERRY}", "Build it: cmake --preset release && cmake --build --preset release")
    version = f"{first_line([SKERRY, '--version'])}, {accel}"
    # Without --net a guest with a disk gets a network card.
    disk = ("--disk", "{},readonly=on", "--net", "none")
    return Engine("skerry", version, (str(SKERRY), "run", "--accel", accel, "--no-reboot"), "--memory", "--cpus", disk)


def tcg(machine):
    require(QEMU, "qemu-system-x86")
    # Without -nodefaults QEMU adds a display, a network card and a floppy drive, which the guest then looks for.
    fixed = "-accel tcg,thread=multi -nodefaults -no-user-config -nographic -serial stdio -monitor none -no-reboot"
    version = first_line([QEMU, "--version"]).replace("emulator version", "TCG").split(" (")[0]
    disk = ("-drive", "file={},if=none,id=disk,format=raw,readonly=on", "-device", "virtio-blk-pci,drive=disk")
    return Engine("tcg", version, (QEMU, *shlex.split(machine), *fixed.split()), "-m", "-smp", disk)


def require(program, package):
    if shutil.which(program) is None:
        raise CannotMeasure(f"the program '{program}' is not installed", f"Install it: apt-get install {package}")


def first_line(command):
    return output_of(command).splitlines()[0]


def output_of(command):
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True, check=False)
    except OSError as error:
        raise CannotMeasure(f"{command[0]} cannot be started: {error.strerror}", "Is it built for this machine?") from None
    if done.returncode != 0:
        raise CannotMeasure(f"'{shlex.join(map(str, command))}' ended with status {done.returncode}", "The reason is above.")
    return done.stdout.strip()


def fetch_kernel(name):
    return output_of([SCRIPTS / "fetch-kernel", name, "--dir", GUESTS])


def kernel_version(name):
    text = (GUESTS / name / "version").read_text(encoding="utf-8")
    return dict(line.split("=", 1) for line in text.splitlines())


def make_initramfs(path, *options):
    return output_of([SCRIPTS / "make-initramfs", "--dir", GUESTS, *options, path])
