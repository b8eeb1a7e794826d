// SPDX-License-Identifier: Apache-2.0
// The runtime under the cases: see ../README.md.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int64_t s64;

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define PAGE 4096ul
#define MAX_CPUS 8

// ---------------------------------------------------------------------------------------------
// Cases

struct case_ {
  const char *name;
  void (*run)(void);
};

// CASE(identifier, "name", vCPUs): the runner reads name and vCPUs out of the source.
#define CASE(id, text, cpus)                                                                                   \
  static void case_##id(void);                                                                                 \
  static const struct case_ entry_##id __attribute__((section("cases"), used, aligned(8))) = {text, case_##id}; \
  static void case_##id(void)

void print(const char *format, ...) __attribute__((format(printf, 1, 2)));
// A check that did not hold. Only the first few are printed.
void fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
// Something a reader may want to know of a case that holds.
void note(const char *format, ...) __attribute__((format(printf, 1, 2)));
// Ends the VM: `fail` and no return.
void die(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));
// Ends the VM: this processor cannot do it.
void skip(const char *why) __attribute__((noreturn));
bool failed(void);

#define CHECK(condition, ...)            \
  do {                                   \
    if (!(condition)) fail(__VA_ARGS__); \
  } while (0)

// What the runner asked for: rounds of litmus tests; a fraction of it elsewhere.
extern u64 rounds, seed;
extern u32 cpus;

struct random { u64 state; };
struct random random_stream(u64 number);  // its own stream for each number, the same for the same seed
u64 next(struct random *r);
static inline u64 below(struct random *r, u64 n) { return (next(r) >> 16) % n; }

// ---------------------------------------------------------------------------------------------
// Processor

struct regs { u64 rax, rcx, rdx, rbx, rsp, rbp, rsi, rdi, r8, r9, r10, r11, r12, r13, r14, r15; };

// What an exception or interrupt leaves on the stack; rsp in `r` is not used.
struct trap {
  union { struct regs r; u64 gpr[16]; };
  u64 vector, error, rip, cs, rflags, rsp, ss;
};

enum { DE = 0, DB = 1, NMI = 2, BP = 3, OF = 4, UD = 6, NM = 7, DF = 8, NP = 11, SS = 12, GP = 13, PF = 14, AC = 17 };
enum { DONE = 0x70, WAKE = 0x80, SHOOT = 0x81, SYNC = 0x82, COUNT = 0x83, TICK = 0x84, SPURIOUS = 0xff };
enum { PF_P = 1, PF_W = 2, PF_U = 4, PF_I = 16 };
enum {
  FL_CF = 1, FL_1 = 2, FL_PF = 4, FL_AF = 16, FL_ZF = 64, FL_SF = 128, FL_TF = 256, FL_IF = 512, FL_DF = 1024, FL_OF = 2048,
  FL_NT = 1 << 14, FL_RF = 1 << 16, FL_AC = 1 << 18,
  FL_SIX = FL_CF | FL_PF | FL_AF | FL_ZF | FL_SF | FL_OF,
};
enum { CODE64 = 8, DATA = 0x10, USER32 = 0x1b, USER_DATA = 0x23, USER64 = 0x2b, CODE32 = 0x30, USER16 = 0x3b };

typedef void handler(struct trap *t);
extern handler *handlers[256];  // null: an exception nobody expects ends the case

struct probe;
struct cpu {
  u32 number;
  volatile bool alive;
  void (*volatile work)(u32 cpu);
  struct probe *probe;
  u64 scratch[4];
  u8 tss[104] __attribute__((aligned(16)));
};
extern struct cpu cpu_table[MAX_CPUS];
struct cpu *this_cpu(void);

// Runs on vCPUs 0 to n-1 at the same time and waits for all of them.
void run_on(u32 n, void (*work)(u32 cpu));
// All n vCPUs have to come before any leaves.
void barrier(u32 n);

static inline u64 rdtsc(void) {
  u32 low, high;
  asm volatile("rdtsc" : "=a"(low), "=d"(high));
  return (u64)high << 32 | low;
}
static inline void pause(void) { asm volatile("pause"); }
static inline void compiler_barrier(void) { asm volatile("" ::: "memory"); }
static inline void mfence(void) { asm volatile("mfence" ::: "memory"); }
static inline void cpuid_serialize(void) {
  u32 a = 0, c = 0;
  asm volatile("cpuid" : "+a"(a), "+c"(c) : : "rbx", "rdx", "memory");
}
static inline void sti(void) { asm volatile("sti" ::: "memory"); }
static inline void cli(void) { asm volatile("cli" ::: "memory"); }
bool has_cpuid(u32 leaf, u32 subleaf, char reg, u32 bit);
void require_cpuid(u32 leaf, u32 subleaf, char reg, u32 bit, const char *what);
#define REQUIRE_AVX() require_cpuid(1, 0, 'c', 28, "AVX")
#define REQUIRE_BMI() require_cpuid(7, 0, 'b', 8, "BMI2")
void wrmsr(u32 msr, u64 value);
u64 rdmsr(u32 msr);
static inline u64 read_cr4(void) { u64 v; asm volatile("mov %%cr4, %0" : "=r"(v)); return v; }
static inline void write_cr4(u64 v) { asm volatile("mov %0, %%cr4" : : "r"(v) : "memory"); }
static inline u64 read_cr3(void) { u64 v; asm volatile("mov %%cr3, %0" : "=r"(v)); return v; }
static inline void write_cr3(u64 v) { asm volatile("mov %0, %%cr3" : : "r"(v) : "memory"); }
static inline u64 read_cr0(void) { u64 v; asm volatile("mov %%cr0, %0" : "=r"(v)); return v; }
static inline void write_cr0(u64 v) { asm volatile("mov %0, %%cr0" : : "r"(v) : "memory"); }

// Waiting for another vCPU: a case that hangs says where.
#define TIMEOUT (60ul << 30)  // of the TSC: 20 to 30 s
#define SPIN_UNTIL(condition)                                                  \
  for (u64 spin_start = rdtsc(), spins = 1; !(condition); spins++) {           \
    pause();                                                                   \
    if (spins % 256 == 0 && rdtsc() - spin_start > TIMEOUT)                    \
      die("%s:%d: waited too long for: %s", __FILE__, __LINE__, #condition);   \
  }

void send_ipi(u32 to, u8 vector);
void send_nmi(u32 to);
void send_self(u8 vector);
void eoi(void);
volatile u32 *lapic(u32 offset);
void set_gate(u8 vector, void *entry, u32 dpl, u32 ist);
extern u64 gdt[];

// ---------------------------------------------------------------------------------------------
// Probes: a piece of code run with given registers up to `int DONE` or an exception

enum after { STOP, RESUME };

struct probe {
  struct regs in;
  u64 rflags;             // 0: just bit 1
  u16 cs, ss;             // 0: ring 0, 64-bit
  enum after (*hook)(struct probe *p, struct trap *t);  // for exceptions; none: the first one ends it
  void *data;             // for the hook
  struct trap end;        // what ended it
  u64 cr2;
  int events;             // exceptions taken
};

void run_probe(struct probe *p, const void *code);
// The usual form of code under test: `int DONE` behind it
#define SNIPPET(name, text) \
  extern const u8 name[];   \
  asm(".pushsection .text.snippets\n" #name ":\n" text "\n int $0x70\n .popsection")

// ---------------------------------------------------------------------------------------------
// Paging. Memory below 4 GiB is mapped one to one for all rings. In the window, cases map what they like.

#define WINDOW 0x700000000000ul
#define WINDOW_PAGES 2048
#define WIN(page) ((u8 *)(WINDOW + (page) * PAGE))

enum {
  PTE_P = 1, PTE_W = 2, PTE_U = 4, PTE_PCD = 16, PTE_A = 32, PTE_D = 64, PTE_G = 256, PTE_AVL = 512,
  PTE_RW = PTE_P | PTE_W | PTE_U,
};
#define PTE_NX (1ul << 63)
#define PTE_FRAME 0x000ffffffffff000ul

volatile u64 *pte_of(const void *address);
void invlpg(const volatile void *address);
// Sets one entry and drops it from this vCPU's TLB.
void map(const void *address, const void *frame, u64 flags);
void unmap(const void *address);
// Drops it from the TLBs of vCPUs 0 to n-1; returns when all have said so. Needs them to take interrupts.
void shootdown(u32 n, const void *address);
void serve_shootdowns(void);

#define FRAMES 1024
u8 *frame(u32 number);  // page-aligned physical memory, at its identity address; zero at the start

// ---------------------------------------------------------------------------------------------
// Memory

void *memset(void *to, int byte, size_t n);
void *memcpy(void *to, const void *from, size_t n);
int memcmp(const void *a, const void *b, size_t n);
size_t strlen(const char *s);
#define volatile_read(p) (*(volatile typeof(p) *)&(p))
#define volatile_write(p, v) (*(volatile typeof(p) *)&(p) = (v))
