# SPDX-License-Identifier: Apache-2.0
"""Pictures of a VM's screen, and the text on them: every character is looked up in the font of the VGA BIOS, pixel by pixel."""

import pathlib
import subprocess
import tempfile

VGA_BIOS = pathlib.Path("/usr/share/seabios/vgabios-stdvga.bin")
CELL_WIDTH, DOTS, CELL_HEIGHT = 9, 8, 16
# The letter A in the 8 by 16 font, by which the font is found.
LETTER_A = bytes.fromhex("000010386cc6c6fec6c6c6c600000000")


class Picture:
    """A PNG file's pixels."""

    def __init__(self, path):
        size = subprocess.run(["identify", "-format", "%w %h", path], check=True, capture_output=True, text=True).stdout.split()
        self.width, self.height = map(int, size)
        self.rgb = subprocess.run(["convert", path, "-depth", "8", "rgb:-"], check=True, capture_output=True).stdout

    def pixel(self, x, y):
        at = (y * self.width + x) * 3
        return self.rgb[at:at + 3]

    def text(self):
        """Lines of characters; '?' where there is none of the font."""
        font, lines = glyphs(), []
        for top in range(0, self.height - CELL_HEIGHT + 1, CELL_HEIGHT):
            line = ""
            for left in range(0, self.width - CELL_WIDTH + 1, CELL_WIDTH):
                background = self.pixel(left + DOTS, top)
                rows = (sum((self.pixel(left + dot, top + row) != background) << (7 - dot) for dot in range(DOTS)) for row in range(CELL_HEIGHT))
                line += font.get(bytes(rows), "?")
            lines.append(line.rstrip())
        return "\n".join(lines).rstrip()


def glyphs():
    rom = VGA_BIOS.read_bytes()
    base = rom.index(LETTER_A) - ord("A") * CELL_HEIGHT
    return {rom[base + code * CELL_HEIGHT:base + (code + 1) * CELL_HEIGHT]: chr(code) for code in range(126, 31, -1)}


def screenshot(skerry, monitor):
    """What is on the screen now."""
    with tempfile.TemporaryDirectory(prefix="skerry-picture-") as folder:
        path = pathlib.Path(folder) / "screen.png"
        subprocess.run([skerry, "screenshot", path, "--qmp", f"unix:{monitor}"], check=True, capture_output=True)
        return Picture(path)
