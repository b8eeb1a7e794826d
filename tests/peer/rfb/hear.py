#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""gtk-vnc as a viewer that listens: prints "begin FORMAT CHANNELS RATE", "data BYTES-IN-HEX" and "end" as it is told so. For tests/peer/rfb/run;
Debian's Python has the bindings.

  hear.py PORT FORMAT CHANNELS RATE [tls|x509]     the authority is one that the system trusts
"""

import ctypes
import sys

import gi

gi.require_version("GVnc", "1.0")
from gi.repository import GLib, GObject, GVnc  # noqa: E402

RAW, AUDIO = 0, -259
NONE, VENCRYPT = 1, 19
SUBTYPES = {"tls": 257, "x509": 260}


def say(*words):
    print(*words, flush=True)


class Sample(ctypes.Structure):
    """VncAudioSample, whose bytes the bindings do not show."""

    _fields_ = [("data", ctypes.POINTER(ctypes.c_uint8)), ("length", ctypes.c_uint32), ("capacity", ctypes.c_uint32)]


class Ear(GObject.Object, GVnc.Audio):
    def do_playback_start(self, form):
        say("begin", int(form.format), form.nchannels, form.frequency)
        return True

    def do_playback_stop(self):
        say("end")
        return True

    def do_playback_data(self, sample):
        raw = Sample.from_address(hash(sample))  # the address of what is wrapped
        say("data", ctypes.string_at(raw.data, raw.length).hex())
        return True


def main():
    port, samples, channels, rate = sys.argv[1], *map(int, sys.argv[2:5])
    security = sys.argv[5] if len(sys.argv) > 5 else None
    loop = GLib.MainLoop()
    viewer, ear = GVnc.Connection.new(), Ear()
    form = GVnc.AudioFormat.new()
    form.format, form.nchannels, form.frequency = samples, channels, rate

    def initialized(_):
        viewer.set_encodings([AUDIO, RAW])
        viewer.set_audio_format(form)
        viewer.set_audio(ear)
        viewer.framebuffer_update_request(True, 0, 0, 0, 0)  # no picture, for which there is no place
        GLib.timeout_add(20, enable)

    def enable():
        if not viewer.audio_enable():
            return True  # again: it has not been told that there is sound
        say("listens")
        return False

    viewer.connect("vnc-initialized", initialized)
    viewer.connect("vnc-auth-choose-type", lambda *_: viewer.set_auth_type(VENCRYPT if security else NONE))
    viewer.connect("vnc-auth-choose-subtype", lambda *_: viewer.set_auth_subtype(SUBTYPES[security]))
    viewer.connect("vnc-auth-credential", lambda *_: viewer.set_credential(GVnc.ConnectionCredential.CLIENTNAME, "hear"))
    viewer.connect("vnc-error", lambda _, why: say("error", why))
    viewer.connect("vnc-disconnected", lambda *_: loop.quit())
    viewer.open_host("localhost", port)
    loop.run()
    say("gone")


if __name__ == "__main__":
    main()
