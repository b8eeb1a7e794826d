// SPDX-License-Identifier: Apache-2.0
// Processors: their start, exceptions and interrupts, probes, work for all of them.
#include "cpu.h"

struct cpu cpu_table[MAX_CPUS];
handler *handlers[256];

extern u8 stubs[];
struct gate { u16 offset0, selector, type, offset1; u32 offset2, zero; };
extern struct gate idt[256];
void enter_trap(struct trap *t, u64 *saved_rsp);
void leave_trap(u64 saved_rsp) __attribute__((noreturn));

// ---------------------------------------------------------------------------------------------
// CPUID, MSRs, local APIC (Intel SDM vol. 3, chapter 10)

bool has_cpuid(u32 leaf, u32 subleaf, char reg, u32 bit) {
  u32 a = leaf, b, c = subleaf, d;
  asm("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
  u32 value = reg == 'a' ? a : reg == 'b' ? b : reg == 'c' ? c : d;
  return value >> bit & 1;
}
void require_cpuid(u32 leaf, u32 subleaf, char reg, u32 bit, const char *what) {
  if (!has_cpuid(leaf, subleaf, reg, bit)) skip(what);
}
void wrmsr(u32 msr, u64 value) { asm volatile("wrmsr" : : "c"(msr), "a"(value), "d"(value >> 32) : "memory"); }
u64 rdmsr(u32 msr) {
  u32 low, high;
  asm volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(msr));
  return (u64)high << 32 | low;
}

enum { APIC_EOI = 0xb0, APIC_SVR = 0xf0, APIC_ICR = 0x300, APIC_ICR2 = 0x310, APIC_LINT0 = 0x350, APIC_LINT1 = 0x360 };
enum { ICR_NMI = 4 << 8, ICR_INIT = 5 << 8, ICR_SIPI = 6 << 8, ICR_PENDING = 1 << 12, ICR_ASSERT = 1 << 14, ICR_SELF = 1 << 18,
       ICR_OTHERS = 3 << 18, LVT_MASKED = 1 << 16 };

volatile u32 *lapic(u32 offset) { return (volatile u32 *)(0xfee00000ul + offset); }
void eoi(void) { *lapic(APIC_EOI) = 0; }

static void icr(u32 to, u32 what) {
  u64 flags;
  asm volatile("pushfq; pop %0; cli" : "=r"(flags) : : "memory");  // a handler may send one too
  *lapic(APIC_ICR2) = to << 24;
  *lapic(APIC_ICR) = what | ICR_ASSERT;
  while (*lapic(APIC_ICR) & ICR_PENDING) pause();
  if (flags & FL_IF) sti();
}
static u8 apic_ids[MAX_CPUS];
void send_ipi(u32 to, u8 vector) { icr(apic_ids[to], vector); }
void send_nmi(u32 to) { icr(apic_ids[to], ICR_NMI); }
void send_self(u8 vector) { icr(0, vector | ICR_SELF); }

// ---------------------------------------------------------------------------------------------
// Exceptions and interrupts. Exceptions have stacks of their own (IST), so that a probe's RSP can be anything.

enum { STACK_RSP0, STACK_EXCEPTION, STACK_NMI, STACK_DF, STACKS };
static u8 trap_stacks[MAX_CPUS][STACKS][8192] __attribute__((aligned(16)));

void set_gate(u8 vector, void *entry, u32 dpl, u32 ist) {
  u64 to = (u64)entry;
  idt[vector] = (struct gate){to, CODE64, 0x8e00 | dpl << 13 | ist, to >> 16, to >> 32, 0};
}

struct cpu *this_cpu(void) {
  u16 selector;
  asm volatile("str %0" : "=r"(selector));
  return &cpu_table[(selector - 0x80) / 16];
}

void trap(struct trap *t) {
  struct cpu *cpu = this_cpu();
  struct probe *p = cpu->probe;
  bool exception = t->vector == DONE || (t->vector < 32 && t->vector != NMI);
  if (p == NULL || !exception) {
    if (handlers[t->vector]) return handlers[t->vector](t);
    u64 cr2;
    asm volatile("mov %%cr2, %0" : "=r"(cr2));
    die("vCPU %u: exception %lu error %lx at %lx:%lx rsp %lx cr2 %lx", cpu->number, t->vector, t->error, t->cs, t->rip, t->rsp, cr2);
  }
  asm volatile("mov %%cr2, %0" : "=r"(p->cr2));
  t->r.rsp = t->rsp;
  if (t->vector != DONE) {
    p->events++;
    if (p->hook && p->hook(p, t) == RESUME) return;
  }
  p->end = *t;
  cpu->probe = NULL;
  leave_trap(cpu->scratch[0]);
}

void run_probe(struct probe *p, const void *code) {
  struct cpu *cpu = this_cpu();
  u64 flags;
  asm volatile("pushfq; pop %0; cli" : "=r"(flags) : : "memory");  // the stack below this frame is in use
  struct trap t = {.r = p->in, .rip = (u64)code, .rsp = p->in.rsp};
  t.cs = p->cs ? p->cs : CODE64;
  t.ss = p->ss ? p->ss : t.cs & 3 ? USER_DATA : DATA;
  t.rflags = p->rflags | FL_1;
  p->events = 0;
  if (t.cs & 3) asm volatile("mov %0, %%ds; mov %0, %%es" : : "r"(USER_DATA));  // IRET would make others null
  cpu->probe = p;
  enter_trap(&t, &cpu->scratch[0]);
  if (flags & FL_IF) sti();
}

static void just_eoi(struct trap *t) {
  (void)t;
  eoi();
}
static void nothing(struct trap *t) { (void)t; }

static void init_idt(void) {
  for (u32 v = 0; v < 256; v++) set_gate(v, stubs + 16 * v, v == BP ? 3 : 0, v == NMI ? STACK_NMI : v == DF ? STACK_DF : v < 32 ? STACK_EXCEPTION : 0);
  set_gate(DONE, stubs + 16 * DONE, 3, STACK_EXCEPTION);
  handlers[WAKE] = just_eoi;
  handlers[SHOOT] = shootdown_arrived;
  handlers[SPURIOUS] = nothing;
}

static void init_cpu(struct cpu *cpu, u32 number) {
  cpu->number = number;
  u64 base = (u64)cpu->tss, *tss = (u64 *)(cpu->tss + 4);
  tss[0] = (u64)(trap_stacks[number][STACK_RSP0] + 8192);
  for (u32 ist = 1; ist < STACKS; ist++) tss[3 + ist] = (u64)(trap_stacks[number][ist] + 8192);
  *(u16 *)(cpu->tss + 102) = sizeof cpu->tss;
  u32 entry = (0x80 + 16 * number) / 8;
  gdt[entry] = (sizeof cpu->tss - 1) | (base & 0xffffff) << 16 | 0x89ul << 40 | (base >> 24 & 0xff) << 56;
  gdt[entry + 1] = base >> 32;
  asm volatile("ltr %w0" : : "r"(0x80 + 16 * number));
  if (has_cpuid(1, 0, 'c', 26)) {
    write_cr4(read_cr4() | 1 << 18);  // OSXSAVE
    u32 features = has_cpuid(1, 0, 'c', 28) ? 7 : 3;
    asm volatile("xsetbv" : : "c"(0), "a"(features), "d"(0));
  }
  *lapic(APIC_LINT0) = LVT_MASKED;
  *lapic(APIC_LINT1) = LVT_MASKED;
  *lapic(APIC_SVR) = 0x100 | SPURIOUS;
  apic_ids[number] = *lapic(0x20) >> 24;
  cpu->alive = true;
}

// ---------------------------------------------------------------------------------------------
// The other vCPUs

void ap_main(u32 number) {
  struct cpu *cpu = &cpu_table[number];
  init_cpu(cpu, number);
  for (;;) {
    cli();
    if (!cpu->work) {
      asm volatile("sti; hlt" ::: "memory");
      continue;
    }
    sti();
    cpu->work(number);
    compiler_barrier();
    cpu->work = NULL;
  }
}

static void wait_ticks(u64 ticks) {
  for (u64 start = rdtsc(); rdtsc() - start < ticks;) pause();
}

void start_cpus(void) {
  init_idt();
  init_paging();
  init_cpu(&cpu_table[0], 0);
  if (cpus > MAX_CPUS) die("at most %u vCPUs", MAX_CPUS);
  if (cpus == 1) return;
  icr(0, ICR_INIT | ICR_OTHERS);
  wait_ticks(1 << 24);
  icr(0, ICR_SIPI | ICR_OTHERS | 8);
  for (u32 i = 1; i < cpus; i++) SPIN_UNTIL(cpu_table[i].alive);
}

void run_on(u32 n, void (*work)(u32 cpu)) {
  if (n > cpus) die("needs %u vCPUs, there are %u", n, cpus);
  for (u32 i = 1; i < n; i++) {
    cpu_table[i].work = work;
    send_ipi(i, WAKE);
  }
  work(0);
  for (u32 i = 1; i < n; i++) SPIN_UNTIL(!cpu_table[i].work);
}

void barrier(u32 n) {
  static volatile u32 arrived, generation;
  u32 mine = generation;
  if (__atomic_add_fetch(&arrived, 1, __ATOMIC_SEQ_CST) == n) {
    arrived = 0;
    __atomic_add_fetch(&generation, 1, __ATOMIC_SEQ_CST);
    return;
  }
  SPIN_UNTIL(generation != mine);
}
