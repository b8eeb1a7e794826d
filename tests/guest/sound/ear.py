# SPDX-License-Identifier: Apache-2.0
"""A viewer that hears: as much of RFB (RFC 6143) and of QEMU's audio messages (rfbproto) as that takes."""

import array
import socket
import struct
import sys
import threading
import time

AUDIO = -259  # the pseudo-encoding
S16 = 3
END, BEGIN, DATA = 0, 1, 2


class Sound:
    """What was heard between a begin and an end: frames of 16 bits, stereo."""

    def __init__(self):
        self.data = bytearray()
        self.ended = False

    def runs(self):
        """The numbered frames (guests/sound.c) as [first, count] of those that follow each other; silence is left out."""
        samples = array.array("H", bytes(self.data[: len(self.data) // 4 * 4]))
        if sys.byteorder == "big":
            samples.byteswap()
        runs = []
        for left, right in zip(samples[0::2], samples[1::2]):
            if left == right == 0:
                continue
            number = left | (right - 1) << 16
            if runs and number == sum(runs[-1]):
                runs[-1][1] += 1
            else:
                runs.append([number, 1])
        return runs


class Ear:
    """Hears at `rate`; a sound that is played at that rate is heard as it is."""

    def __init__(self, path, rate, process):
        self.sounds = []
        self.socket = self.connect(path, process)
        self.handshake()
        self.listen(rate)
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    @staticmethod
    def connect(path, process):
        while True:
            connection = socket.socket(socket.AF_UNIX)
            try:
                connection.connect(str(path))
                connection.settimeout(300)
                return connection
            except OSError:
                connection.close()
                if process.poll() is not None:
                    raise
                time.sleep(0.02)

    def read(self, count):
        data = bytearray()
        while len(data) < count:
            part = self.socket.recv(count - len(data))
            if not part:
                raise EOFError("the connection has ended")
            data += part
        return bytes(data)

    def handshake(self):
        assert self.read(12) == b"RFB 003.008\n"
        self.socket.sendall(b"RFB 003.008\n")
        assert 1 in self.read(self.read(1)[0])  # nobody is asked for a password
        self.socket.sendall(b"\x01")
        assert self.read(4) == bytes(4)
        self.socket.sendall(b"\x01")
        _, _, self.pixel, name = struct.unpack(">HHB15xI", self.read(24))
        self.read(name)

    def listen(self, rate):
        """Sound is offered by an empty rectangle in an update."""
        self.socket.sendall(struct.pack(">BxHii", 2, 2, 0, AUDIO) + struct.pack(">BBHHHH", 3, 0, 0, 0, 1, 1))
        assert self.read(1) == b"\0"
        assert AUDIO in self.update(), "no sound is offered"
        self.socket.sendall(struct.pack(">BBHBBI", 255, 1, 2, S16, 2, rate) + struct.pack(">BBH", 255, 1, 0))

    def update(self):
        """The encodings of an update's rectangles."""
        found = []
        for _ in range(struct.unpack(">xH", self.read(3))[0]):
            _, _, width, height, encoding = struct.unpack(">HHHHi", self.read(12))
            if encoding == 0:
                self.read(width * height * self.pixel // 8)
            found.append(encoding)
        return found

    def run(self):
        try:
            while True:
                kind, sub, operation = struct.unpack(">BBH", self.read(4))
                assert (kind, sub) == (255, 1), "only sound was asked for"
                if operation == BEGIN:
                    self.sounds.append(Sound())
                elif operation == END:
                    self.sounds[-1].ended = True
                else:
                    self.sounds[-1].data += self.read(struct.unpack(">I", self.read(4))[0])
        except (EOFError, OSError):
            pass  # the VM has ended

    def heard(self):
        """Bytes."""
        return sum(len(sound.data) for sound in self.sounds)
