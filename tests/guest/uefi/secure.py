# SPDX-License-Identifier: Apache-2.0
"""Debian's OVMF with Secure Boot and Microsoft's keys, which keeps its variables in System Management Mode: it starts the loaders that
Microsoft and Debian have signed, and nothing else."""

import functools
import os
import pathlib
import re
import struct
import subprocess
import tempfile

from console import Shell
from vmm import SKERRY, Qmp, expect, refused

HERE = pathlib.Path(__file__).resolve().parent
VARIABLES = pathlib.Path("/usr/share/OVMF/OVMF_VARS_4M.ms.fd")
CONFIGURATION = b"echo loader-of-the-test lockdown=$lockdown\n"
PROMPT = "grub> "


@functools.cache
def loaders():
    """The signed shim and GRUB."""
    done = subprocess.run([HERE / "fetch-signed"], stdout=subprocess.PIPE, text=True, check=True)
    folder = pathlib.Path(done.stdout.strip())
    return folder.joinpath("shimx64.efi.signed").read_bytes(), folder.joinpath("grubx64.efi.signed").read_bytes()


def make_disk(folder, first, second=b""):
    """A FAT disk that starts `first`, which is to start `second`."""
    disk = folder / "esp.img"
    with open(disk, "wb") as file:
        file.truncate(64 << 20)
    mtools = {**os.environ, "MTOOLS_SKIP_CHECK": "1"}
    subprocess.run(["mformat", "-i", disk, "-F", "::"], check=True, env=mtools)
    subprocess.run(["mmd", "-i", disk, "::EFI", "::EFI/BOOT", "::EFI/debian"], check=True, env=mtools)
    for name, content in (("BOOT/BOOTX64.EFI", first), ("BOOT/grubx64.efi", second), ("debian/grub.cfg", CONFIGURATION)):
        subprocess.run(["mcopy", "-i", disk, "-", f"::EFI/{name}"], input=content, check=True, env=mtools)
    return disk


def without_signature(image):
    """A PE32+ image whose certificate table is gone (Microsoft PE Format, "Optional Header Data Directories")."""
    header = struct.unpack_from("<I", image, 0x3C)[0]
    entry = header + 24 + 112 + 4 * 8
    offset, size = struct.unpack_from("<II", image, entry)
    expect(size > 0 and offset + size == len(image), "the loader is not signed at its end")
    return image[:entry] + bytes(8) + image[entry + 8:offset]


def with_a_byte_changed(image):
    """In what it says, which is covered by the signature."""
    at = image.find(b"This program cannot be run in DOS mode")
    expect(at > 0, "a PE image without its stub for DOS")
    return image[:at] + b"t" + image[at + 1:]


def secure(*options):
    accelerator = ["--accel", "bt"] if os.environ.get("SKERRY_ACCEL", "").startswith("kvm") else []
    return Shell("--memory", "256M", "--firmware", "uefi-secure", "--net", "none", *options, *accelerator)


def in_folder(case):
    def with_folder():
        with tempfile.TemporaryDirectory(prefix="skerry-secure-") as folder:
            case(pathlib.Path(folder))

    return with_folder


@in_folder
def case_secure_loader(folder):
    """The signed shim starts the signed GRUB, which knows that Secure Boot is on; with one and with two processors."""
    disk = make_disk(folder, *loaders())
    for cpus in (1, 2):
        with secure("--cpus", cpus, "--disk", disk) as vm:
            vm.wait_for("loader-of-the-test lockdown=y")
            vm.wait_for(PROMPT)
            vm.type("halt\r")
            while vm._read():
                pass
            expect(vm.process.wait() == 0, f"it ended with status {vm.process.returncode}")


@in_folder
def case_secure_refuses(folder):
    """What nobody has signed is not started: an image whose signature is gone, one of which a byte is another, the firmware's own shell."""
    shim, grub = loaders()
    for image in (without_signature(shim), with_a_byte_changed(shim)):
        with secure("--disk", make_disk(folder, image, grub)) as vm:
            said = vm.wait_for("No bootable option or device was found")
            reasons = re.findall(r"failed to (?:load|start) Boot000[12] .*: (Access Denied|Security Violation)", said)
            expect(len(reasons) == 2 and "EFI Internal Shell" in said, f"not both refused: {said[-800:]!r}")
            expect("loader-of-the-test" not in said, "it has been started")


@in_folder
def case_secure_shim_refuses(folder):
    """The shim has the right keys too: it does not start a GRUB of which a byte is another."""
    shim, grub = loaders()
    with secure("--disk", make_disk(folder, shim, with_a_byte_changed(grub))) as vm:
        said = vm.wait_for("Security Violation")
        expect("loader-of-the-test" not in said, "it has been started")


@in_folder
def case_secure_save(folder):
    """Saved at the loader's prompt and restored, the firmware still has its System Management Mode: a variable is set by it, which the
    firmware finds after the reset."""
    disk, variables, socket, state = make_disk(folder, *loaders()), folder / "vm.fd", folder / "qmp", folder / "state"
    with secure("--cpus", 2, "--disk", disk, "--uefi-vars", variables, "--qmp", f"unix:{socket}") as vm:
        vm.wait_for(PROMPT)
        done = subprocess.run([SKERRY, "save", state, "--qmp", f"unix:{socket}"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        expect(done.returncode == 0, f"skerry save: {done.stdout}")
    expect(variables.read_bytes() != VARIABLES.read_bytes(), "the firmware has kept nothing")
    with Shell("--restore", state, "--qmp", f"unix:{socket}") as vm:
        Qmp(socket, process=vm.process).close()
        vm.type("fwsetup\r")  # sets OsIndications, and resets
        vm.wait_for("Device Manager")


def case_secure_options():
    """There is no System Management Mode under KVM, and none on the small board."""
    refused("--firmware", "uefi-secure", "--accel", "kvm", accel=False, says=["--accel", "uefi-secure", "System Management Mode", "bt"])
    refused("--firmware", "uefi", "--smm", "--accel", "kvm", accel=False, says=["--smm", "KVM", "bt"])
    refused("--firmware", "uefi", "--smm", "--board", "plain-1", says=["plain-1", "q35-1"])
