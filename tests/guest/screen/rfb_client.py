# SPDX-License-Identifier: Apache-2.0
"""A viewer that shows nothing: it says where the pointer is."""

import re
import socket
import struct

from vmm import expect


class RfbClient:
    """As much of RFB (RFC 6143) as it takes to say where the pointer is and which size is wanted."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=60)
        expect(self.read(12) == b"RFB 003.008\n", "the protocol's version")
        self.socket.sendall(b"RFB 003.008\n")
        self.read(self.read(1)[0])
        self.socket.sendall(b"\x01")  # no security
        expect(self.read(4) == bytes(4), "it lets viewers in")
        self.socket.sendall(b"\x01")
        self.width, self.height = struct.unpack(">HH", self.read(4))
        self.read(16)
        self.read(struct.unpack(">I", self.read(4))[0])

    def read(self, count):
        data = b""
        while len(data) < count:
            part = self.socket.recv(count - len(data))
            expect(part, "the server hangs up")
            data += part
        return data

    def pointer(self, x, y, buttons):
        self.socket.sendall(struct.pack(">BBHH", 5, buttons, x, y))

    def want_size(self, width, height):
        self.socket.sendall(struct.pack(">BBHHBB", 251, 0, width, height, 1, 0) + struct.pack(">IHHHHI", 0, 0, 0, width, height, 0))

    def close(self):
        self.socket.close()


def viewer_of(vm):
    return RfbClient(int(re.search(r"vnc: port (\d+)", vm.stderr())[1]))
