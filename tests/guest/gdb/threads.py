# SPDX-License-Identifier: Apache-2.0
"""Runs inside gdb: attached to a guest with two vCPUs that is up. What fails raises."""

import gdb


def check(holds, what):
    if not holds:
        raise gdb.GdbError(f"FAILED: {what}")
    print(f"  ok   {what}", flush=True)


threads = sorted(gdb.selected_inferior().threads(), key=lambda thread: thread.num)
check(len(threads) == 2, "both vCPUs are threads")
check("vCPU 1" in gdb.execute("info threads", to_string=True), "info threads names them")
bases = set()
for thread in threads:
    thread.switch()
    pc = int(gdb.parse_and_eval("$pc"))
    symbol = gdb.execute("info symbol $pc", to_string=True)
    check(pc >> 63 == 0 or "No symbol" not in symbol, f"thread {thread.num} is at {symbol.split(' in ')[0]}")
    gs = int(gdb.parse_and_eval("$gs_base")) & (1 << 64) - 1
    kernel_gs = int(gdb.parse_and_eval("$k_gs_base")) & (1 << 64) - 1
    bases.add(gs if gs >> 63 else kernel_gs)
check(len(bases) == 2, "each has a per-CPU area of its own in $gs_base")

gdb.execute("hbreak schedule")
hit = set()
for _ in range(200):
    gdb.execute("continue", to_string=True)
    check_symbol = gdb.execute("info symbol $pc", to_string=True).split()[0]
    if check_symbol != "schedule":
        raise gdb.GdbError(f"FAILED: stopped at {check_symbol}, not schedule")
    hit.add(gdb.selected_thread().num)
    if len(hit) == 2:
        break
check(hit, f"a breakpoint stops the threads that reach it: {sorted(hit)}")
gdb.execute("delete")
gdb.execute("set scheduler-locking on")
other = [thread for thread in threads if thread.num != gdb.selected_thread().num][0]
me = gdb.selected_thread()
other.switch()
resting = int(gdb.parse_and_eval("$pc"))
me.switch()
for _ in range(20):
    gdb.execute("stepi", to_string=True)
other.switch()
check(int(gdb.parse_and_eval("$pc")) == resting, "the other thread rests while one is stepped alone")
gdb.execute("set scheduler-locking off")
gdb.execute("detach")
