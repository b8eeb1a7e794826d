// SPDX-License-Identifier: Apache-2.0
// Single-stepping: a #DB behind each instruction, also where the instruction changes the ring or the flags. Intel SDM
// vol. 3, 17.3.1.4; for SYSCALL and SYSRET vol. 2 and the cases tf-* of tests/guest/bare/guests/debug64.asm.
#include "rt.h"

enum { MOST = 64, DR6_BS = 1 << 14 };
static u64 rips[MOST], cs[MOST];
static u64 steps;

static u64 take_dr6(void) {
  u64 v;
  asm volatile("mov %%dr6, %0; mov %1, %%dr6" : "=&r"(v) : "r"(0xffff0ff0ul));
  return v;
}
static enum after record(struct probe *p, struct trap *t) {
  (void)p;
  if (t->vector != DB) return fail("exception %lu at %lx", t->vector, t->rip), STOP;
  u64 dr6 = take_dr6();
  CHECK(dr6 == (0xffff0ff0 | DR6_BS), "dr6 %lx", dr6);
  if (steps < MOST) {
    rips[steps] = t->rip;
    cs[steps] = t->cs;
  }
  steps++;
  return RESUME;
}
// The expected stops: labels in a table behind the code, ended by 0
static void expect_stops(const struct probe *p, const u64 *wanted) {
  u64 n = 0;
  for (; wanted[n]; n++) CHECK(n < steps && rips[n] == wanted[n], "stop %lu at %lx, not %lx", n, n < steps ? rips[n] : 0, wanted[n]);
  CHECK(steps == n && p->end.vector == DONE, "%lu stops, not %lu; ended by %lu at %lx", steps, n, p->end.vector, p->end.rip);
}
static void step(struct probe *p, const u8 *code) {
  steps = 0;
  p->rflags |= FL_TF;
  p->hook = record;
  take_dr6();
  run_probe(p, code);
}
#define STOPS(name) extern const u64 name[]

// The kinds of instructions that end blocks, or hardly do anything
STOPS(plain_stops);
SNIPPET(plain,
        "nop; 10: mov $5, %eax; 11: cmp $5, %eax; 12: jne 19f; 13: je 14f; ud2; 14: call 16f; 15: jmp 17f; 16: ret; 17: push %rax; 18: pop %rbx; 19: cpuid; 20: xor %ecx, %ecx\n"
        "21: rdtsc; 22: loop 23f; ud2; 23: lea 24f(%rip), %rdx; 25: jmp *%rdx; ud2; 24: lock incq (%rdi); 27: std; 28: cld; 29: in $0x61, %al; 30:\n"
        ".pushsection .rodata; plain_stops: .quad 10b,11b,12b,13b,14b,16b,15b,17b,18b,19b,20b,21b,22b,23b,25b,24b,27b,28b,29b,30b,0; .popsection");
CASE(plain, "step.plain", 1) {
  struct probe p = {.in = {.rdi = (u64)frame(1), .rsp = (u64)frame(3)}};
  step(&p, plain);
  expect_stops(&p, plain_stops);
}

STOPS(pause_stops);
SNIPPET(pause_code, "nop; 1: pause; 2: nop; 3: .pushsection .rodata; pause_stops: .quad 1b,2b,3b,0; .popsection");
CASE(pause, "step.pause", 1) {
  struct probe p = {0};
  step(&p, pause_code);
  expect_stops(&p, pause_stops);
}

// A stop behind every element of a repeated string instruction
STOPS(rep_stops);
SNIPPET(rep_code, "1: rep stosb; 2: rep movsb; 3: .pushsection .rodata; rep_stops: .quad 1b,1b,1b,2b,3b,0; .popsection");
CASE(rep, "step.rep", 1) {
  struct probe p = {.in = {.rcx = 4, .rdi = (u64)frame(1), .rsi = (u64)frame(2)}};
  step(&p, rep_code);
  expect_stops(&p, rep_stops);
}

// MOV SS holds the stop back by one instruction. Behind a POPF that sets TF there is no stop, behind one that clears it
// there is: what counts is TF before the instruction
STOPS(shadow_stops);
SNIPPET(shadow, "mov %ss, %eax; 1: mov %eax, %ss; nop; 2: nop; 3: pushfq; 4: .pushsection .rodata; shadow_stops: .quad 1b,2b,3b,4b,0; .popsection");
CASE(mov_ss, "step.mov-ss", 1) {
  struct probe p = {.in = {.rsp = (u64)frame(3)}};
  step(&p, shadow);
  expect_stops(&p, shadow_stops);
  CHECK(*(u64 *)(frame(3) - 8) & FL_TF, "PUSHF shows no TF");
}
STOPS(popf_stops);
SNIPPET(popf, "nop; orl $0x100, (%rsp); popfq; nop; 1: pushfq; 2: andl $~0x100, (%rsp); 3: popfq; 4: nop; nop; .pushsection .rodata; popf_stops: .quad 1b,2b,3b,4b,0; .popsection");
CASE(popf_case, "step.popf", 1) {
  *(u64 *)(frame(3) - 8) = FL_1;
  struct probe p = {.in = {.rsp = (u64)frame(3) - 8}, .hook = record};
  steps = 0;
  run_probe(&p, popf);
  expect_stops(&p, popf_stops);
}

// SYSCALL and SYSRET. With TF in FMASK the kernel is not stepped through, and the stop comes when SYSRET has set TF again.
STOPS(syscall_stops);
STOPS(syscall_all_stops);
extern const u8 system_call[];
SNIPPET(syscall_code, "nop; 1: syscall; 2: nop; 3: syscall; 4: inc %rbx; 5:\n"
                      ".pushsection .text; system_call: inc %rax; 6: inc %rdx; 7: sysretq; .popsection\n"
                      ".pushsection .rodata; syscall_stops: .quad 1b,2b,3b,4b,5b,0\n"
                      "syscall_all_stops: .quad 1b,system_call,6b,7b,2b,3b,system_call,6b,7b,4b,5b,0; .popsection");
static void set_up_syscalls(u64 mask) {
  wrmsr(0xc0000081, (u64)0x18 << 48 | (u64)CODE64 << 32);  // STAR
  wrmsr(0xc0000082, (u64)system_call);                     // LSTAR
  wrmsr(0xc0000084, mask);                                 // FMASK
}
static void step_syscall(u64 mask, const u64 *wanted) {
  set_up_syscalls(mask);
  struct probe p = {.cs = USER64};
  step(&p, syscall_code);
  expect_stops(&p, wanted);
  CHECK(p.end.r.rax == 2 && p.end.r.rdx == 2 && p.end.r.rbx == 1 && p.end.cs == USER64, "rax %lu rdx %lu cs %lx", p.end.r.rax, p.end.r.rdx, p.end.cs);
  for (u64 i = 0; i < steps && i < MOST; i++) {
    bool kernel = rips[i] >= (u64)system_call && rips[i] < (u64)system_call + 16;
    CHECK(cs[i] == (kernel ? CODE64 : USER64), "stop %lu: cs %lx", i, cs[i]);
  }
}
CASE(syscall_masked, "step.syscall", 1) { step_syscall(FL_TF | FL_IF, syscall_stops); }
CASE(syscall_all, "step.syscall-unmasked", 1) { step_syscall(0, syscall_all_stops); }
// Many times, with no stepping in between: the same code stepped, not stepped, stepped
CASE(syscall_mixed, "step.now-and-then", 1) {
  set_up_syscalls(FL_TF);
  for (u64 i = 0; i < rounds / 100; i++) {
    struct probe p = {.cs = USER64, .hook = record};
    if (i % 3 == 0) {
      step(&p, syscall_code);
      expect_stops(&p, syscall_stops);
      continue;
    }
    steps = 0;
    run_probe(&p, syscall_code);
    CHECK(steps == 0 && p.end.r.rax == 2, "round %lu: %lu stops, rax %lu", i, steps, p.end.r.rax);
    if (failed()) return;
  }
}

// INT n is not stepped into, and its IRET restores TF: the next stop is behind the instruction after it
STOPS(int_stops);
SNIPPET(int_code, "nop; 1: int $0x71; nop; 2: nop; 3: .pushsection .rodata; int_stops: .quad 1b,2b,3b,0; .popsection");
static u64 software_interrupts;
static void count_them(struct trap *t) {
  software_interrupts++;
  CHECK(t->rflags & FL_TF, "the pushed flags lack TF");
}
extern u8 stubs[];
CASE(int_n, "step.int", 1) {
  set_gate(0x71, stubs + 16 * 0x71, 3, 0);
  handlers[0x71] = count_them;
  struct probe p = {.cs = USER64, .in = {.rsp = (u64)frame(3)}};
  step(&p, int_code);
  expect_stops(&p, int_stops);
  CHECK(software_interrupts == 1, "%lu interrupts", software_interrupts);
}
// IRET that leaves TF as it is, to the same ring, and to compatibility mode and back by a far return
STOPS(iret_stops);
SNIPPET(iret_code,
        "mov %ss, %eax; 1: mov %rsp, %rbx; 2: push %rax; 3: push %rbx; 4: pushfq; 5: mov %cs, %eax; 6: push %rax; 7: lea 9f(%rip), %rax; 8: push %rax; 10: iretq; ud2; 9: nop; 11:\n"
        ".pushsection .rodata; iret_stops: .quad 1b,2b,3b,4b,5b,6b,7b,8b,10b,9b,11b,0; .popsection");
CASE(iret, "step.iret", 1) {
  struct probe p = {.in = {.rsp = (u64)frame(3)}, .cs = USER64};
  step(&p, iret_code);
  expect_stops(&p, iret_stops);
}

// A fault first, then the stop behind the resumed instruction
STOPS(fault_stops);
SNIPPET(fault_code, "nop; 1: mov %rax, (%rdi); 2: nop; 3: .pushsection .rodata; fault_stops: .quad 1b,1b,2b,3b,0; .popsection");
static enum after record_fault(struct probe *p, struct trap *t) {
  if (t->vector != PF) return record(p, t);
  CHECK(t->rflags & FL_TF, "the pushed flags lack TF");
  map(WIN(5), frame(7), PTE_RW);
  rips[steps++] = t->rip;
  return RESUME;
}
CASE(fault, "step.fault", 1) {
  unmap(WIN(5));
  struct probe p = {.in = {.rdi = (u64)WIN(5)}, .rflags = FL_TF, .hook = record_fault};
  take_dr6();
  run_probe(&p, fault_code);
  expect_stops(&p, fault_stops);
}

// A hot loop comes to the same with and without steps, and has as many stops as instructions
SNIPPET(loop_code, "1: add %rcx, %rax; rol $3, %rax; imul $77, %rcx, %rdx; test $8, %cl; jz 2f; xor %rdx, %rax; 2: push %rax; pop %rbx; dec %rcx; jnz 1b");
CASE(loop, "step.hot-loop", 1) {
  u64 n = rounds / 50, extra = 0;
  struct probe p = {.in = {.rcx = n, .rsp = (u64)frame(3)}, .hook = record}, q = p;
  for (u64 i = 1; i <= n; i++) extra += (i & 8) != 0;
  run_probe(&p, loop_code);
  step(&q, loop_code);
  CHECK(steps == 9 * n + extra, "%lu stops, not %lu", steps, 9 * n + extra);
  CHECK(p.end.r.rax == q.end.r.rax && p.end.r.rbx == q.end.r.rbx && p.end.r.rdx == q.end.r.rdx, "rax %lx, not %lx", q.end.r.rax, p.end.r.rax);
}
