# SPDX-License-Identifier: Apache-2.0
"""Discs and disks for guests and firmware, some of them to start from, and what guests say of them: for tests of their drivers."""

import hashlib
import os
import pathlib
import re
import time

from vmm import expect

# What guests' scripts have in common.
MEDIA_SCRIPT = pathlib.Path(__file__).resolve().parent / "guests/media.sh"
DISK_SIZE = 64 << 20
SILENCE = 300.0  # a guest that has said nothing for so long hangs


def make_disc(path, content=None):
    """An ISO 9660 image with one file, by libarchive; `content` is a program to start from it. Gives the file's MD5 sum."""
    import ctypes  # pylint: disable=import-outside-toplevel
    archive = ctypes.CDLL("libarchive.so.13")
    archive.archive_write_new.restype = archive.archive_entry_new.restype = ctypes.c_void_p
    archive.archive_write_data.restype = ctypes.c_ssize_t
    boots = content is not None
    content = content or os.urandom(9 << 20)
    out, entry = ctypes.c_void_p(archive.archive_write_new()), ctypes.c_void_p(archive.archive_entry_new())
    options = b"boot=content,boot-type=no-emulation" if boots else b"!boot"
    steps = [archive.archive_write_set_format_iso9660(out), archive.archive_write_set_options(out, options),
             archive.archive_write_open_filename(out, str(path).encode())]
    archive.archive_entry_set_pathname(entry, b"content")
    archive.archive_entry_set_size(entry, ctypes.c_int64(len(content)))
    archive.archive_entry_set_filetype(entry, 0o100000)
    archive.archive_entry_set_perm(entry, 0o644)
    steps.append(archive.archive_write_header(out, entry))
    written = archive.archive_write_data(out, content, ctypes.c_size_t(len(content)))
    steps.append(archive.archive_write_close(out))
    expect(steps == [0] * 5 and written == len(content), f"libarchive makes no disc: {steps}, {written}")
    return hashlib.md5(content).hexdigest()


def make_disk(path):
    """An image of zeroes. Gives its path."""
    path.unlink(missing_ok=True)
    with open(path, "wb") as file:
        file.truncate(DISK_SIZE)
    return path


class Said:
    """What the guest has said after `word`, until there is a line that matches."""

    def __init__(self, vm, word):
        self.vm, self.word = vm, word

    def lines(self):
        return re.findall(rf"^{self.word} (.*?)\r?\n", self.vm.stdout(), re.MULTILINE)

    def wait_for(self, pattern, count=1):
        heard, since = -1, time.monotonic()
        while True:
            output = self.vm.stdout()
            if len(output) != heard:
                heard, since = len(output), time.monotonic()
            errors = [line for line in self.lines() if line.startswith("ERROR")]
            expect(not errors, f"the guest says {errors}: {output[-600:]!r}")
            found = [line for line in self.lines() if re.fullmatch(pattern, line)]
            if len(found) >= count:
                return found
            expect(self.vm.process.poll() is None, f"the VM has ended: {self.vm.stderr()[-500:]} {output[-500:]}")
            expect(time.monotonic() - since < SILENCE, f"the guest is silent after: {output[-300:]!r}")
            time.sleep(0.05)


def boot_code(sector):
    """Says on the serial port what the disk's `sector` holds, read by the firmware; None: what stands behind the code.
    SeaBIOS's own last words there come with the tick of its timer: it is left two of them."""
    read = f"b80102 b9{sector:02x}00 b600 bb007e cd13 be007e" if sector else "be267c"  # to 7e00, by int 13; mov si, where it is
    return bytes.fromhex("fb f4 f4 "                      # sti; hlt; hlt
                         "31c0 8ed8 8ec0 " + read +       # xor ax, ax; mov ds, ax; mov es, ax
                         "ac 84c0 7412 88c4"              # next: lodsb; test al, al; jz end; mov ah, al
                         "bafd03 ec a820 74f8"            # wait: until the transmitter is empty
                         "baf803 88e0 ee ebe9"            # out 3f8, the byte; jmp next
                         "f4 ebfd")                       # end: hlt; jmp end


def boot_disk(path, text):
    """A disk with a boot sector that says what its second sector holds."""
    code = boot_code(2)
    make_disk(path)
    with open(path, "r+b") as file:
        file.write(code.ljust(510, b"\0") + b"\x55\xaa" + text.encode().ljust(512, b"\0"))
    return path


def wait_for(vm, console, words):
    heard, since = -1, time.monotonic()
    while True:
        text = console.read_bytes().decode("latin-1") if console.exists() else ""
        if words in text:
            return text
        if len(text) != heard:
            heard, since = len(text), time.monotonic()
        expect(vm.process.poll() is None, f"the VM has ended: {vm.stderr()[-500:]}")
        expect(time.monotonic() - since < SILENCE, f"the firmware is silent after: {text[-300:]!r}")
        time.sleep(0.1)
