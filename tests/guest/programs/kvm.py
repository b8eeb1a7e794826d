# SPDX-License-Identifier: Apache-2.0
"""The screen under `--accel kvm`: text, and a frame buffer, to which the guest writes with nobody looking on."""

import os
import subprocess

import vmm
from program import Typed, grub_disc, in_folder, until
from text_screen import screenshot
from vmm import SKERRY, expect

DRAWING = """set timeout=0
insmod all_video
insmod gfxterm
insmod gfxterm_background
set gfxmode=640x480x32
terminal_output gfxterm
menuentry colours {
  clear
  background_color "#0000c0"
  echo blue
  read once
  background_color "#00c000"
  echo green
  read again
}
"""


def there_is_kvm():
    there = os.access("/dev/kvm", os.R_OK | os.W_OK)
    if not there:
        print("  not here: there is no /dev/kvm, or it may not be opened")
    return there


class UnderKvm(Typed):
    def __init__(self, folder, *options):
        (folder / "qmp").unlink(missing_ok=True)  # of the VM before
        saved, vmm.ACCEL = vmm.ACCEL, "kvm"
        try:
            super().__init__(folder, *options)
        finally:
            vmm.ACCEL = saved


@in_folder
def bios(folder):
    """SeaBIOS, executed by KVM wherever it can; and what it has written outlives a save."""
    disk, state = folder / "empty.img", folder / "state"
    disk.write_bytes(bytes(1 << 20))
    with UnderKvm(folder, "--disk", disk, "--net", "none", "--memory", "128M", "--debug", "kvm-short-rescues") as vm:
        text = vm.shows(lambda lines: "No bootable device." in lines, "the BIOS finds nothing to boot")
        expect(text[0].startswith("SeaBIOS (version"), f"the screen begins with {text[0]!r}")
        done = subprocess.run([SKERRY, "save", state, "--qmp", f"unix:{vm.monitor}"], capture_output=True, text=True, check=False)
        expect(done.returncode == 0, f"skerry save: {done.stderr}")
        expect(vm.wait() == 0, f"it has ended with {vm.process.returncode}")
    with UnderKvm(folder, "--restore", state, "--debug", "kvm-short-rescues") as vm:
        vm.shows(lambda lines: lines == text, "the screen is as it was")


@in_folder
def frame_buffer(folder):
    """GRUB fills the screen with one colour, and when a key is pressed with another."""
    disc = grub_disc(folder, {}, DRAWING)
    with UnderKvm(folder, "--cdrom", f"{disc},bus=sata", "--net", "none", "--memory", "128M") as vm:
        def filled(colour):
            picture = screenshot(SKERRY, vm.monitor)
            pixels = {picture.rgb[at:at + 3] for at in range(0, len(picture.rgb) // 2, 3)}
            return (picture.width, picture.height) == (640, 480) and bytes.fromhex(colour) in pixels and len(pixels) <= 16

        until(lambda: filled("0000c0"), "the screen is blue")
        vm.press("ret")
        until(lambda: filled("00c000") and not filled("0000c0"), "the screen is green")


CASES = {}
LONG_CASES = {
    "kvm-bios": lambda: there_is_kvm() and bios(),
    "kvm-frame-buffer": lambda: there_is_kvm() and frame_buffer(),
}
