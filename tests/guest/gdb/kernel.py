# SPDX-License-Identifier: Apache-2.0
"""Runs inside gdb: a Debian kernel with symbols, from before its first instruction. What fails raises."""

import gdb


def check(holds, what):
    if not holds:
        raise gdb.GdbError(f"FAILED: {what}")
    print(f"  ok   {what}", flush=True)


def pc_symbol():
    return gdb.execute("info symbol $pc", to_string=True).split()[0]


def number(expression):
    return int(gdb.parse_and_eval(expression))


MASK = (1 << 64) - 1  # of addresses, which are negative numbers to gdb

gdb.execute("hbreak start_kernel")
gdb.execute("continue")
check(pc_symbol() == "start_kernel", "stops at start_kernel by its symbol")
banner = gdb.parse_and_eval("(const char *)linux_banner").string()
check(banner.startswith("Linux version ") and "Debian" in banner, f"reads linux_banner: {banner[:40]}")
check(number("$cr0") & 0x80000001 == 0x80000001, "paging and protection are on in $cr0")
check(number("$efer") & 0x400, "long mode is active in $efer")
check("IF" not in str(gdb.parse_and_eval("$eflags")), "interrupts are off in $eflags")

# The first instruction of a kernel function calls __fentry__.
before, stack = number("$pc"), number("$rsp")
gdb.execute("stepi", to_string=True)
check(pc_symbol() == "__fentry__" and number("$rsp") == stack - 8, "stepi executes one instruction, a call")
check(number("*(unsigned long *)$rsp") & MASK == before + 5 & MASK, "the return address is on the stack")
gdb.execute("finish", to_string=True)
check(gdb.selected_frame().name() == "start_kernel", "finish comes back from it")
gdb.execute("next", to_string=True)
check(gdb.selected_frame().name() == "start_kernel" and number("$pc") != before + 5, "next goes to the next line")
check(number("system_state") == 0, "reads the variable system_state, which is SYSTEM_BOOTING")

gdb.execute("delete")
gdb.execute("hbreak rest_init")
gdb.execute("continue")
check(pc_symbol() == "rest_init", "continues to rest_init")
names, frame = [], gdb.newest_frame()
while frame is not None and len(names) < 4:
    names.append(frame.name())
    frame = frame.older()
check(names[1:3] == ["arch_call_rest_init", "start_kernel"] or "start_kernel" in names, f"the backtrace is the kernel's: {names}")

gdb.execute("delete")
gdb.execute("watch -l system_state")
gdb.execute("continue")
check(number("system_state") > 0, "a watchpoint stops where system_state is written")
gdb.execute("delete")
gdb.execute("set var panic_timeout = 77")
check(number("panic_timeout") == 77, "writes a variable")
rax = number("$rax")
gdb.execute("set $rax = 0x1234567812345678")
check(number("$rax") == 0x1234567812345678, "writes a register")
gdb.execute(f"set $rax = {rax}")
check("cr3" in gdb.execute("monitor info registers", to_string=True), "monitor info registers")
gdb.execute("detach")
