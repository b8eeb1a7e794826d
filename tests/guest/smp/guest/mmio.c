// SPDX-License-Identifier: Apache-2.0
// Instructions on device registers: each form of forms.S of 4 bytes (HPET: and of 8) does to a register that can be read
// and written what it does to memory. That a register's width is used whole is the devices' rule: IA-PC HPET 1.0a, 2.3.1;
// Intel SDM vol. 3, 10.4.1.
#include "forms.h"

#define HPET 0xfed00000ul
#define HPET_CONFIG (*(volatile u32 *)(HPET + 0x10))
#define HPET_COUNTER ((u8 *)(HPET + 0xf0))       // 64 bits, can be written while it stands still
#define LAPIC_INITIAL_COUNT ((u8 *)(0xfee00000ul + 0x380))  // with a masked LVT entry: just 32 bits
#define LAPIC_ICR 0xfee00300ul

static void stop_hpet(void) { HPET_CONFIG = 0; }
static void put_register(u8 *at, u32 size, const u8 *from) {
  for (u32 i = 0; i < size; i += 4) *(volatile u32 *)(at + i) = *(u32 *)(from + i);
}
static void get_register(u8 *at, u32 size, u8 *to) {
  for (u32 i = 0; i < size; i += 4) *(u32 *)(to + i) = *(volatile u32 *)(at + i);
}

static void run_forms(u8 *device, u32 size, u16 cs) {
  static struct outcome right, is;
  struct input in;
  struct random r = random_stream(1);
  u8 *plain = frame(0) + 256;
  u32 count = 0;
  stop_hpet();
  for (const struct form *f = forms_begin; f < forms_end; f++) {
    if (!form_can_run(f) || f->size != size || f->kind & FORM_ALIGNED) continue;
    count++;
    for (u64 i = 0; i < rounds / 2000; i++) {
      make_input(&r, f, &in);
      in.cs = cs;
      memcpy(plain - MARGIN, in.memory, SPAN);
      execute(f, &in, plain, NULL, NULL, &right);
      memset(right.memory, 0, SPAN);
      memcpy(right.memory + MARGIN, plain, size);
      put_register(device, size, in.memory + MARGIN);
      execute(f, &in, device, NULL, NULL, &is);
      memset(is.memory, 0, SPAN);
      get_register(device, size, is.memory + MARGIN);
      if (!same_outcome(f, "device", &is, &right)) break;
    }
  }
  note("%u instructions", count);
}
CASE(hpet32, "mmio.hpet-32", 1) { run_forms(HPET_COUNTER, 4, 0); }
CASE(hpet32_user, "mmio.hpet-32-user", 1) { run_forms(HPET_COUNTER, 4, USER64); }
CASE(hpet64, "mmio.hpet-64", 1) { run_forms(HPET_COUNTER, 8, 0); }
CASE(lapic32, "mmio.lapic-32", 1) {
  *lapic(0x320) = 1 << 16 | 0xf0;  // LVT timer: masked
  run_forms(LAPIC_INITIAL_COUNT, 4, 0);
}
// The same with other vCPUs there: a lock has to exclude those
CASE(hpet32_smp, "mmio.hpet-32-two-vcpus", 2) { run_forms(HPET_COUNTER, 4, 0); }

// The counter of the HPET as a counter of all vCPUs
static void count_locked(u32 me) {
  (void)me;
  barrier(cpus);
  for (u64 i = 0; i < rounds / 20; i++) asm volatile("lock incl (%0)" : : "r"(HPET_COUNTER) : "memory", "cc");
}
CASE(locked, "mmio.lock-inc", 4) {
  stop_hpet();
  put_register(HPET_COUNTER, 8, (const u8 *)&(u64){0});
  run_on(cpus, count_locked);
  u32 is = *(volatile u32 *)HPET_COUNTER, wanted = cpus * (rounds / 20);
  CHECK(is == wanted, "%u, not %u", is, wanted);
}

// A pointer out of a device: CALL and JMP by memory
SNIPPET(call_memory, "call *(%rdi); mov $7, %ecx");
SNIPPET(jump_memory, "jmp *(%rdi)");
SNIPPET(landing, "mov $5, %edx");
asm(".pushsection .text.snippets\n returning: mov $6, %ebx; ret\n .popsection");
extern const u8 returning[];
CASE(call, "mmio.call-memory", 1) {
  stop_hpet();
  u64 target = (u64)returning;
  put_register(HPET_COUNTER, 8, (u8 *)&target);
  struct probe p = {.in = {.rdi = (u64)HPET_COUNTER, .rsp = (u64)frame(2)}};
  run_probe(&p, call_memory);
  CHECK(p.end.vector == DONE && p.end.r.rbx == 6 && p.end.r.rcx == 7, "call: vector %lu at %lx", p.end.vector, p.end.rip);
  target = (u64)landing;
  put_register(HPET_COUNTER, 8, (u8 *)&target);
  run_probe(&p, jump_memory);
  CHECK(p.end.vector == DONE && p.end.r.rdx == 5, "jmp: vector %lu at %lx", p.end.vector, p.end.rip);
}
// A stack on a device: PUSH, POP, CALL and RET use it as one
SNIPPET(push_pop, "push %rax; pop %rbx; call 1f; jmp 2f; 1: mov (%rsp), %rcx; ret; 2: nop");
CASE(stack, "mmio.stack", 1) {
  stop_hpet();
  struct probe p = {.in = {.rax = 0x123456789abcdef0, .rsp = (u64)HPET_COUNTER + 8}};
  run_probe(&p, push_pop);
  CHECK(p.end.vector == DONE && p.end.r.rbx == p.in.rax && p.end.r.rsp == p.in.rsp, "vector %lu at %lx, rbx %lx", p.end.vector, p.end.rip, p.end.r.rbx);
}
// Wider than a register: what comes is the device's business, but it comes, and the VM goes on
SNIPPET(wide, "movups (%rdi), %xmm0; movdqu %xmm0, (%rdi); movdqa (%rdi), %xmm1; paddd (%rdi), %xmm1; lddqu (%rdi), %xmm0; fxsave (%rsi)");
CASE(wide, "mmio.vector", 1) {
  stop_hpet();
  struct probe p = {.in = {.rdi = (u64)HPET_COUNTER, .rsi = (u64)frame(3)}};
  run_probe(&p, wide);
  CHECK(p.end.vector == DONE && p.end.r.rdi == p.in.rdi, "vector %lu at %lx", p.end.vector, p.end.rip);
}

// Repeated string instructions between device and memory: HPET timer registers as a table of double words
static u32 table_at(u32 i) { return *(volatile u32 *)(HPET + 0x100 + 4 * i); }
CASE(movs, "mmio.rep-movs", 1) {
  stop_hpet();
  u32 *to = (u32 *)frame(4);
  u64 n = 16;
  u8 *from = (u8 *)HPET + 0x100, *d = (u8 *)to;
  asm volatile("rep movsl" : "+D"(d), "+S"(from), "+c"(n) : : "memory");
  CHECK(n == 0 && from == (u8 *)HPET + 0x140 && d == (u8 *)to + 64, "registers: %lu %p %p", n, from, d);
  for (u32 i = 0; i < 16; i++) CHECK(to[i] == table_at(i), "word %u: %x, not %x", i, to[i], table_at(i));
  n = 16;
  from = (u8 *)HPET + 0x13c;
  d = (u8 *)to + 60;
  asm volatile("std; rep movsl; cld" : "+D"(d), "+S"(from), "+c"(n) : : "memory");
  for (u32 i = 0; i < 16; i++) CHECK(to[i] == table_at(i), "down: word %u: %x, not %x", i, to[i], table_at(i));
  u32 pair[2] = {0x11111111, 0x22222222};
  d = HPET_COUNTER;
  from = (u8 *)pair;
  n = 2;
  asm volatile("rep movsl" : "+D"(d), "+S"(from), "+c"(n) : : "memory");
  CHECK(*(volatile u32 *)HPET_COUNTER == pair[0] && *(volatile u32 *)(HPET_COUNTER + 4) == pair[1], "to the device");
  u32 a = 0x33333333;
  d = HPET_COUNTER;
  n = 2;
  asm volatile("rep stosl" : "+D"(d), "+c"(n) : "a"(a) : "memory");
  CHECK(*(volatile u32 *)HPET_COUNTER == a && *(volatile u32 *)(HPET_COUNTER + 4) == a, "stos to the device");
  d = HPET_COUNTER;
  n = 5;
  asm volatile("repe scasl" : "+D"(d), "+c"(n) : "a"(a) : "memory", "cc");
  CHECK(n == 2 && d == HPET_COUNTER + 12, "scas: %lu left, %p", n, d);  // behind the counter nothing is 33333333
}

// Each write happens once: a write of the ICR is an interrupt, counted
static volatile u32 interrupts;
static void count_interrupt(struct trap *t) {
  (void)t;
  interrupts++;
  eoi();
}
#define ICR_WRITE (1 << 18 | 1 << 14 | COUNT)  // to itself
#define ONCE(name, text)                                                                                         \
  do {                                                                                                           \
    for (u32 i = 1; i <= 50; i++) {                                                                              \
      interrupts = 0;                                                                                            \
      void *at = (void *)LAPIC_ICR, *from = &value;                                                              \
      u32 a = value;                                                                                             \
      asm volatile(text : "+D"(at), "+S"(from), "+a"(a) : "c"(0) : "memory", "cc", "rdx");                       \
      SPIN_UNTIL(interrupts >= 1);                                                                               \
      for (u32 spin = 0; spin < 100; spin++) pause();                                                            \
      if (interrupts != 1) { fail("%s: %u interrupts", name, interrupts); break; }                               \
    }                                                                                                            \
  } while (0)
CASE(once, "mmio.written-once", 1) {
  u32 value = ICR_WRITE;
  handlers[COUNT] = count_interrupt;
  sti();
  ONCE("mov", "movl %%eax, (%%rdi)");
  ONCE("mov immediate", "movl $0x44083, (%%rdi)");
  ONCE("stos", "stosl");
  ONCE("rep stos", "inc %%ecx; rep stosl");
  ONCE("movs", "movsl");
  ONCE("xchg", "xchg %%eax, (%%rdi)");
  ONCE("or", "orl $0, (%%rdi)");
  ONCE("lock or", "lock orl $0, (%%rdi)");
  ONCE("add", "addl %%ecx, (%%rdi)");
  ONCE("movnti", "movnti %%eax, (%%rdi)");
  ONCE("movd", "movd %%eax, %%xmm0; movd %%xmm0, (%%rdi)");
  ONCE("cmpxchg", "movl (%%rdi), %%eax; mov %%eax, %%edx; cmpxchgl %%edx, (%%rdi)");
  ONCE("bts", "btsl $1, (%%rdi)");
  cli();
}

// One instruction in a loop that meets memory and devices in turn: by its address, or by its page table entry
SNIPPET(walk, "1: mov (%rsi), %rdi; add (%rdi), %eax; adc $0, %rdx; incl (%rdi); lea 8(%rsi), %rsi; dec %rcx; jnz 1b");
CASE(alternate, "mmio.alternate", 1) {
  struct random r = random_stream(2);
  u8 **list = (u8 **)frame(5);
  u32 *plain = (u32 *)frame(6);
  stop_hpet();
  for (u64 i = 0; i < rounds / 500; i++) {
    u32 n = 1 + below(&r, 200), device = next(&r), memory = next(&r), sum = 0, sum_carry = 0;
    put_register(HPET_COUNTER, 4, (u8 *)&device);
    *plain = memory;
    for (u32 j = 0; j < n; j++) {
      bool is_device = next(&r) >> 62 == 0;
      list[j] = is_device ? HPET_COUNTER : (u8 *)plain;
      u32 *v = is_device ? &device : &memory, was = sum;
      sum += *v;
      sum_carry += sum < was;
      ++*v;
    }
    struct probe p = {.in = {.rsi = (u64)list, .rcx = n}};
    run_probe(&p, walk);
    u32 now = *(volatile u32 *)HPET_COUNTER;
    if ((u32)p.end.r.rax != sum || p.end.r.rdx != sum_carry || *plain != memory || now != device)
      return fail("round %lu: sum %lx carry %lx, not %x %x; %x and %x, not %x and %x", i, p.end.r.rax, p.end.r.rdx, sum, sum_carry, *plain, now, memory, device);
  }
}
CASE(remapped, "mmio.remapped", 1) {
  struct random r = random_stream(3);
  u32 device = 0, memory = 0;
  stop_hpet();
  put_register(HPET_COUNTER, 4, (u8 *)&device);
  *(u32 *)(frame(7) + 0xf0) = 0;
  for (u64 i = 0; i < rounds / 20; i++) {
    bool is_device = next(&r) >> 63;
    map(WIN(900), is_device ? (u8 *)HPET : frame(7), PTE_RW | (is_device ? PTE_PCD : 0));
    u32 *v = is_device ? &device : &memory, is;
    asm volatile("addl $3, (%1); mov (%1), %0" : "=r"(is) : "r"(WIN(900) + 0xf0) : "memory", "cc");
    *v += 3;
    if (is != *v) return fail("round %lu: %x, not %x, in %s", i, is, *v, is_device ? "the device" : "memory");
  }
}
