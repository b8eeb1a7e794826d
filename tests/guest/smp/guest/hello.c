// SPDX-License-Identifier: Apache-2.0
// The runtime itself: start with these when nothing else runs.
#include "rt.h"

CASE(hello, "rt.hello", 1) { note("%u vCPU", cpus); }

SNIPPET(hello_probe, "lea 1(%rax), %rbx; xchg %r15, %r14");
CASE(probe, "rt.probe", 1) {
  struct probe p = {.in = {.rax = 41, .r14 = 14, .r15 = 15}, .rflags = FL_CF};
  run_probe(&p, hello_probe);
  CHECK(p.end.vector == DONE && p.events == 0, "ended by %lu", p.end.vector);
  CHECK(p.end.r.rbx == 42 && p.end.r.r14 == 15 && p.end.r.r15 == 14, "rbx %lx r14 %lx", p.end.r.rbx, p.end.r.r14);
  CHECK(p.end.rflags == (FL_1 | FL_CF), "flags %lx", p.end.rflags);
}

SNIPPET(hello_fault, "movl $0x1234, (%rdi)");
static enum after map_it(struct probe *p, struct trap *t) {
  CHECK(t->vector == PF && t->error == PF_W && p->cr2 == (u64)WIN(5), "vector %lu error %lx", t->vector, t->error);
  map(WIN(5), frame(7), PTE_RW);
  return RESUME;
}
CASE(fault, "rt.fault", 1) {
  struct probe p = {.in = {.rdi = (u64)WIN(5)}, .hook = map_it};
  run_probe(&p, hello_fault);
  CHECK(p.events == 1 && *(u32 *)frame(7) == 0x1234, "%d events, %x", p.events, *(u32 *)frame(7));
}
CASE(user, "rt.user", 1) {
  struct probe p = {.in = {.rax = 1, .rsp = (u64)frame(1)}, .cs = USER64};
  run_probe(&p, hello_probe);
  CHECK(p.end.vector == DONE && p.end.cs == USER64 && p.end.r.rbx == 2, "%lu at %lx", p.end.vector, p.end.rip);
}

static volatile u32 seen[MAX_CPUS];
static void look(u32 cpu) {
  barrier(cpus);
  seen[cpu] = this_cpu()->number + 1;
}
CASE(start, "rt.cpus", 4) {
  run_on(cpus, look);
  for (u32 i = 0; i < cpus; i++) CHECK(seen[i] == i + 1, "vCPU %u: %u", i, seen[i]);
}
static void idle(u32 cpu) { (void)cpu; }
CASE(wake, "rt.wake", 2) {
  for (u32 i = 0; i < rounds / 100; i++) run_on(2, idle);
}
