# SPDX-License-Identifier: Apache-2.0
"""Runs inside gdb: a guest of three instructions in 32-bit protected mode. What fails raises."""

import gdb


def check(holds, what):
    if not holds:
        raise gdb.GdbError(f"FAILED: {what}")
    print(f"  ok   {what}", flush=True)


check(gdb.selected_inferior().architecture().name() == "i386", "a guest in 32-bit mode is described as i386")
start = int(gdb.parse_and_eval("$eip"))
check(start == 0x10000C, "it has not executed anything")
check(int(gdb.parse_and_eval("$eax")) & 0xFFFFFFFF == 0x2BADB002, "eax is what Multiboot says")
check("jmp" in gdb.execute("x/i $eip", to_string=True), "its code is disassembled as 32-bit code")
gdb.execute("stepi", to_string=True)
check(int(gdb.parse_and_eval("$eip")) == start, "a jump to itself is stepped")
gdb.execute("set {char} 0x10000c = 0x90")  # nop; the next byte, 0xfe, becomes part of what follows
gdb.execute("set {char} 0x10000d = 0x90")
gdb.execute("stepi 2", to_string=True)
check(int(gdb.parse_and_eval("$eip")) == start + 2, "code that gdb has changed is executed")
gdb.execute("set $eip = 0x10000c")
gdb.execute("set $esp = 0x200000")
check(int(gdb.parse_and_eval("$esp")) == 0x200000, "registers are written")
gdb.execute("p $st0")
gdb.execute("p $xmm0")
gdb.execute("kill")
