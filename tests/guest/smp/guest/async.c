// SPDX-License-Identifier: Apache-2.0
// Interrupts and NMIs at any moment: nothing is lost, nothing is taken twice or in a shadow, and what was interrupted
// does not notice. Intel SDM vol. 3, 6.6 to 6.8, 10.5; vol. 2, STI.
#include "rt.h"

enum { LVT_TIMER = 0x320, TIMER_INITIAL = 0x380, TIMER_DIVIDE = 0x3e0, PERIODIC = 1 << 17, MASKED = 1 << 16 };
static volatile u64 ticks, counted, nmis;

static void tick(struct trap *t) {
  (void)t;
  ticks++;
  // What a handler may use: it is not part of what was interrupted
  asm volatile("pcmpeqd %%xmm14, %%xmm14; std; cld" : : : "cc");
  eoi();
}
static void count(struct trap *t) {
  (void)t;
  counted++;
  eoi();
}
static void start_timer(u32 period) {
  handlers[TICK] = tick;
  *lapic(TIMER_DIVIDE) = 0xb;  // by 1
  *lapic(LVT_TIMER) = PERIODIC | TICK;
  *lapic(TIMER_INITIAL) = period;
}
static void stop_timer(void) { *lapic(LVT_TIMER) = MASKED; }

// ---------------------------------------------------------------------------------------------
// A computation that uses all registers, all flags and vector registers comes to the same under a rain of interrupts.

SNIPPET(busy,
        "movq %rax, %xmm0; movq %rbx, %xmm1; 1: add %rax, %rbx; adc %rbx, %rdx; sbb %rsi, %rdi; rcl $7, %r8; rcr $3, %r9; imul %r8, %r10; adc $77, %r10; xor %r10, %r11; lea (%r11,%r9,4), %r12\n"
        "cmp %r12, %r13; cmovb %r12, %r14; setp %al; sbb %r15, %r14; add %r14, %r15; paddq %xmm1, %xmm0; pxor %xmm0, %xmm1; psllq $1, %xmm1; por %xmm2, %xmm1; push %r15; popq -32(%rsp); mov -40(%rsp), %rsi\n"
        "pushfq; pop %rbp; and $0x8d5, %ebp; add %rbp, %rax; btc %rcx, %rdx; movq %xmm0, %rbp; xor %rbp, %rbx; dec %rcx; jnz 1b; movq %xmm1, %rbp");
static void busy_once(struct random r, struct probe *p, u64 turns, bool interrupts) {
  *p = (struct probe){0};
  for (u32 i = 0; i < 16; i++) ((u64 *)&p->in)[i] = next(&r);
  u8 *stack = frame(3 + 2 * this_cpu()->number) + 2048;
  memset(stack - 256, 0, 256);
  p->in.rcx = turns;
  p->in.rsp = (u64)stack;
  p->cs = USER64;  // interrupts go to the kernel's stack
  p->rflags = interrupts ? FL_IF : 0;
  asm volatile("movq %0, %%xmm2" : : "r"(1ul));
  run_probe(p, busy);
}
static void compare_busy(u64 turns, u64 times) {
  for (u64 i = 0; i < times && !failed(); i++) {
    struct probe quiet, noisy;
    struct random r = random_stream(i);
    busy_once(r, &quiet, turns, false);
    busy_once(r, &noisy, turns, true);
    for (u32 j = 0; j < 16; j++) CHECK(noisy.end.gpr[j] == quiet.end.gpr[j], "round %lu: register %u is %lx, not %lx", i, j, noisy.end.gpr[j], quiet.end.gpr[j]);
    CHECK(((noisy.end.rflags ^ quiet.end.rflags) & FL_SIX) == 0 && noisy.end.vector == DONE, "flags %lx, not %lx; vector %lu", noisy.end.rflags, quiet.end.rflags, noisy.end.vector);
  }
}
CASE(timer, "async.timer", 1) {
  start_timer(20000);
  compare_busy(rounds / 10, 20);
  stop_timer();
  CHECK(ticks > 0, "no tick at all");
  note("%lu ticks", ticks);
}
static volatile bool stop;
static void rain(u32 me) {
  if (me == 1) {
    while (!stop) {
      u64 before = counted + nmis;
      if (before & 1) send_nmi(0);
      else send_ipi(0, COUNT);
      for (u32 spin = 0; counted + nmis == before && spin < 100000; spin++) pause();
    }
    return;
  }
  compare_busy(rounds / 10, 20);
  stop = true;
}
static void nmi(struct trap *t) {
  (void)t;
  nmis++;
}
CASE(rain, "async.ipi-and-nmi", 2) {
  handlers[COUNT] = count;
  handlers[NMI] = nmi;
  run_on(2, rain);
  note("%lu IPIs, %lu NMIs", counted, nmis);
}

// ---------------------------------------------------------------------------------------------
// Where exactly a pending interrupt is taken: one instruction after STI; right after POPF and IRET.

static u64 taken_at;
static void note_place(struct trap *t) {
  taken_at = t->rip;
  counted++;
  eoi();
}
#define PLACE_CASE(id, name, cpus, text)                                                                                     \
  extern const u8 place_##id[];                                                                                          \
  SNIPPET(code_##id, text);                                                                                              \
  CASE(id, name, cpus) {                                                                                                 \
    handlers[COUNT] = note_place;                                                                                        \
    for (u64 i = 0; i < rounds / 500 && !failed(); i++) {                                                                \
      counted = 0;                                                                                                       \
      send_self(COUNT);                                                                                                  \
      SPIN_UNTIL(*lapic(0x200 + 0x10 * (COUNT / 32)) >> COUNT % 32 & 1); /* IRR: it is pending */                        \
      struct probe p = {.in = {.rsp = (u64)frame(3)}};                                                                   \
      run_probe(&p, code_##id);                                                                                          \
      CHECK(p.end.vector == DONE && counted == 1 && taken_at == (u64)place_##id, "round %lu: taken %lu times, at %lx, not %lx", i, counted, taken_at, (u64)place_##id); \
    }                                                                                                                    \
  }
PLACE_CASE(sti, "async.behind-sti", 1, "sti; inc %eax; place_sti: inc %eax; cli")
PLACE_CASE(sti_twice, "async.behind-sti-sti", 1, "sti; sti; place_sti_twice: inc %eax; cli")
PLACE_CASE(popf, "async.behind-popf", 1, "pushfq; orl $0x200, (%rsp); popfq; place_popf: inc %eax; cli")
PLACE_CASE(iret, "async.behind-iret", 1, "mov %rsp, %rbx; push $0x10; push %rbx; pushfq; orl $0x200, (%rsp); push $8; lea place_iret(%rip), %rax; push %rax; iretq; place_iret: inc %eax; cli")
// The shadow is there for a block that is jumped to as well
PLACE_CASE(sti_jump, "async.sti-and-jump", 1, "sti; jmp place_sti_jump; ud2; place_sti_jump: inc %eax; cli")
PLACE_CASE(sti_hlt, "async.sti-and-hlt", 1, "sti; hlt; place_sti_hlt: cli")
// STI, CLI: never. Vol. 2, STI.
SNIPPET(sti_cli, "mov $1000, %ecx; 1: sti; cli; dec %ecx; jnz 1b");
CASE(never, "async.sti-cli-never", 1) {
  handlers[COUNT] = note_place;
  send_self(COUNT);
  SPIN_UNTIL(*lapic(0x200 + 0x10 * (COUNT / 32)) >> COUNT % 32 & 1);
  for (u64 i = 0; i < rounds / 5000; i++) {
    struct probe p = {.in = {.rsp = (u64)frame(3)}};
    run_probe(&p, sti_cli);
    CHECK(counted == 0, "taken at %lx", taken_at);
  }
  sti();
  asm volatile("nop; nop");
  cli();
  CHECK(counted == 1, "taken %lu times in the end", counted);
}

// NMIs that arrive in the shadow of STI as well: every NMI and every interrupt is taken once. 6.7.1; vol. 2, STI.
static volatile u64 nmis_sent;
static void nmi_in_shadow(u32 me) {
  barrier(2);
  if (me == 1) {
    while (!stop) {
      u64 before = nmis;
      send_nmi(0);
      nmis_sent++;
      SPIN_UNTIL(nmis > before);
    }
    return;
  }
  for (u64 i = 0; i < rounds / 20 && !failed(); i++) {
    u64 before = counted;
    send_self(COUNT);
    u64 a = i, b = ~i;
    for (u32 j = 0; j < 10; j++) asm volatile("sti; inc %0; cli; add %0, %1; sti; dec %0; cli; sub $1, %1" : "+r"(a), "+r"(b) : : "memory", "cc");
    SPIN_UNTIL((sti(), pause(), cli(), counted > before));
    CHECK(counted == before + 1 && a == i && b == 9 * i - 1, "round %lu: %lu interrupts, %lx %lx", i, counted - before, a, b);
  }
  sti();
  stop = true;
}
CASE(nmi_shadow, "async.nmi-in-sti-shadow", 2) {
  handlers[COUNT] = count;
  handlers[NMI] = nmi;
  run_on(2, nmi_in_shadow);
  SPIN_UNTIL(nmis >= nmis_sent);
  CHECK(nmis == nmis_sent, "%lu NMIs, not %lu", nmis, nmis_sent);
  note("%lu NMIs, %lu interrupts", nmis, counted);
}

// ---------------------------------------------------------------------------------------------
// Loops that only an interrupt ends: a jump to itself, a chain of blocks, one that waits for memory, calls and returns

static const u8 *way_out;
static void lead_out(struct trap *t) {
  ticks++;
  eoi();
  if (ticks % 3 == 0) t->rip = (u64)way_out;
}
#define ENDLESS_CASE(id, name, cpus, text)                                             \
  SNIPPET(endless_##id, text);                                                    \
  CASE(endless_##id, name, cpus) {                                                \
    start_timer(50000);                                                           \
    handlers[TICK] = lead_out;                                                    \
    way_out = hello_done;                                                         \
    for (u64 i = 0; i < rounds / 5000; i++) {                                     \
      struct probe p = {.rflags = FL_IF, .cs = USER64, .in = {.rsp = (u64)frame(3), .rdi = (u64)frame(4)}}; \
      run_probe(&p, endless_##id);                                                \
      CHECK(p.end.vector == DONE && p.end.r.rbx == 99, "vector %lu at %lx", p.end.vector, p.end.rip); \
    }                                                                             \
    stop_timer();                                                                 \
  }
extern const u8 hello_done[];
asm(".pushsection .text.snippets; hello_done: mov $99, %ebx; int $0x70; .popsection");
ENDLESS_CASE(jump, "async.endless-jump", 1, "1: jmp 1b")
ENDLESS_CASE(chain, "async.endless-chain", 1, "1: inc %eax; jmp 3f; 2: inc %ecx; jmp 1b; 3: dec %edx; jmp 2b")
ENDLESS_CASE(memory, "async.endless-memory", 1, "1: cmpq $1, (%rdi); jne 1b")
ENDLESS_CASE(pause_, "async.endless-pause", 1, "1: pause; cmpq $1, (%rdi); jne 1b")
ENDLESS_CASE(calls, "async.endless-calls", 1, "1: call 2f; jmp 1b; 2: call 3f; ret; 3: push %rax; pop %rax; ret")
ENDLESS_CASE(indirect, "async.endless-indirect", 1, "1: lea 2f(%rip), %rax; jmp *%rax; 2: lea 1b(%rip), %rax; push %rax; ret")
ENDLESS_CASE(locked, "async.endless-locked", 1, "1: lock incq 8(%rdi); xchg %rax, 16(%rdi); jmp 1b")
ENDLESS_CASE(string, "async.endless-string", 1, "mov %rdi, %rsi; 1: mov %rsi, %rdi; mov $64, %ecx; rep stosb; jmp 1b")

// ---------------------------------------------------------------------------------------------
// HLT: woken by every interrupt, with none lost, in both directions

static volatile u64 ball;
static void ping_pong(u32 me) {
  for (u64 i = 0; i < rounds / 100; i++) {
    u64 mine = 2 * i + me;
    u64 start = rdtsc();
    for (;;) {
      cli();
      if (ball == mine) break;
      asm volatile("sti; hlt" ::: "memory");
      if (rdtsc() - start > TIMEOUT) die("vCPU %u was not woken: ball %lu, round %lu", me, ball, i);
    }
    sti();
    ball = mine + 1;
    send_ipi(1 - me, COUNT);
  }
  sti();
}
CASE(ping_pong, "async.hlt-ping-pong", 2) {
  handlers[COUNT] = count;
  run_on(2, ping_pong);
  cli();
}
// Every IPI is taken, if the next is sent only when the last was: from three vCPUs to one that computes
static volatile u64 acks[MAX_CPUS], sent[MAX_CPUS];
static void from_one(struct trap *t) {
  acks[t->vector - 0x90]++;
  eoi();
}
static volatile u32 senders;
static void many_to_one(u32 me) {
  barrier(cpus);
  if (me == 0) {
    sti();
    SPIN_UNTIL(senders == cpus - 1);
    cli();
    return;
  }
  for (u64 i = 1; i <= rounds / 50; i++) {
    send_ipi(0, 0x90 + me);
    sent[me] = i;
    SPIN_UNTIL(acks[me] == i);
  }
  __atomic_add_fetch(&senders, 1, __ATOMIC_SEQ_CST);
}
CASE(many_to_one, "async.ipis-to-one", 4) {
  for (u32 i = 0; i < MAX_CPUS; i++) handlers[0x90 + i] = from_one;
  run_on(cpus, many_to_one);
  for (u32 i = 1; i < cpus; i++) CHECK(acks[i] == rounds / 50, "vCPU %u: %lu, not %lu", i, acks[i], rounds / 50);
}

// ---------------------------------------------------------------------------------------------
// Time does not go back: on one vCPU, and from one to the other. 17.17.

static volatile u64 stamp;
static volatile u32 stamp_lock;
static void stamps(u32 me) {
  barrier(2);
  for (u64 i = 0; i < rounds / 2; i++) {
    while (__atomic_exchange_n(&stamp_lock, 1, __ATOMIC_ACQUIRE)) pause();
    u64 before = stamp;
    asm volatile("lfence" : : : "memory");  // else the counter may be read before the lock is had
    u64 now = rdtsc();
    stamp = now;
    __atomic_store_n(&stamp_lock, 0, __ATOMIC_RELEASE);
    if (now < before) return fail("vCPU %u: %lu, after %lu", me, now, before);
  }
}
CASE(tsc, "async.tsc", 2) { run_on(2, stamps); }
