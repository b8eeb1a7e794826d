# SPDX-License-Identifier: Apache-2.0
"""A client of gdb's remote protocol, for what gdb itself does not do in a batch."""

import socket
import time


def frame(payload):
    escaped = b"".join(bytes([0x7D, c ^ 0x20]) if c in b"$#*}" else bytes([c]) for c in payload)
    return b"$" + escaped + b"#%02x" % (sum(escaped) & 0xFF)


class Rsp:
    def __init__(self, path, timeout=30):
        deadline = time.monotonic() + timeout
        while True:
            self.socket = socket.socket(socket.AF_UNIX)
            try:
                self.socket.connect(str(path))
                break
            except (FileNotFoundError, ConnectionRefusedError):
                self.socket.close()
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)
        self.socket.settimeout(timeout)
        self.buffer = b""

    def send(self, payload):
        self.socket.sendall(frame(payload.encode()))

    def interrupt(self):
        self.socket.sendall(b"\x03")

    def answer(self):
        while True:
            start = self.buffer.find(b"$")
            end = self.buffer.find(b"#", start)
            if 0 <= start < end and len(self.buffer) >= end + 3:
                payload, self.buffer = self.buffer[start + 1 : end], self.buffer[end + 3 :]
                self.socket.sendall(b"+")
                return payload.decode("latin-1")
            data = self.socket.recv(65536)
            if not data:
                raise EOFError("the stub has closed the connection")
            self.buffer += data

    def ask(self, payload):
        self.send(payload)
        return self.answer()

    def close(self):
        self.socket.close()
