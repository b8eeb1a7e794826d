// SPDX-License-Identifier: Apache-2.0
// The memory order of several processors: Intel SDM vol. 3, 8.2.2 and the examples of 8.2.3, whose numbers stand beside
// the cases; Owens, Sarkar, Sewell: "A better x86 memory model: x86-TSO" (2009) for the names of the others.
//
// Each round has a slot of its own, so that no round needs a barrier: a vCPU waits for the others a short while only,
// which keeps them together where each has a host processor and costs little where they share one.
#include "rt.h"

enum { SLOTS = 512, SLOT_SIZE = 512, PATIENCE = 64, FIRST_FRAME = 0 };

// x, y and each vCPU's results on lines of their own
struct slot {
  volatile u64 x, x_line[7];
  volatile u64 y, y_line[7];
  struct { u64 r[8]; } out[4];
};
_Static_assert(sizeof(struct slot) <= SLOT_SIZE, "slot");

struct litmus {
  u32 threads;
  void (*thread[4])(struct slot *s, u64 *r);
  bool (*seen)(struct slot *s);  // the outcome that the test is about
  bool allowed;                  // by the model: then it is counted only
  bool cold;                     // accesses go through the page tables: INVLPG before each round
};

static const struct litmus *test;
static volatile struct { u64 at, line[7]; } position[4];

static struct slot *slot(u64 i) { return (struct slot *)(WIN(0) + i * SLOT_SIZE); }

static void meet(u32 me, u64 round) {
  position[me].at = round;
  for (u32 i = 0; i < test->threads; i++)
    for (u32 spin = 0; position[i].at < round && spin < PATIENCE; spin++) pause();
}

static void thread(u32 me, u64 slots) {
  struct random random = random_stream(me + rdtsc());
  for (u64 i = 0; i < slots; i++) {
    struct slot *s = slot(i);
    u64 wait = next(&random) >> 60;
    if (test->cold) {
      invlpg(&s->x);
      invlpg(&s->y);
    }
    meet(me, i + 1);
    while (wait--) compiler_barrier();
    test->thread[me](s, s->out[me].r);
  }
}

static void work(u32 me) {
  u64 found = 0, slots;
  for (u64 done = 0; done < rounds; done += slots) {
    slots = rounds - done < SLOTS ? rounds - done : SLOTS;
    if (me == 0) {
      memset(slot(0), 0, SLOTS * SLOT_SIZE);
      for (u32 i = 0; i < 4; i++) position[i].at = 0;
    }
    barrier(test->threads);
    thread(me, slots);
    barrier(test->threads);
    for (u64 i = 0; me == 0 && i < slots; i++) found += test->seen(slot(i));
  }
  if (me != 0) return;
  if (test->allowed) note("allowed, seen %lu times of %lu", found, rounds);
  else CHECK(found == 0, "forbidden, but seen %lu times of %lu", found, rounds);
}

static void run(const struct litmus *t) {
  test = t;
  for (u32 i = 0; i < SLOTS * SLOT_SIZE / PAGE; i++) map(WIN(i), frame(FIRST_FRAME + i), PTE_RW);
  run_on(t->threads, work);
}

#define OUT(s, cpu, i) ((s)->out[cpu].r[i])
#define T(name, ...) \
  static void name(struct slot *s, u64 *r) { (void)r; __VA_ARGS__; }
#define SEEN(name, ...) \
  static bool name(struct slot *s) { return __VA_ARGS__; }
#define STORE(where, value) asm volatile("movq %1, %0" : "=m"(s->where) : "r"((u64)(value)) : "memory")
#define LOAD(i, where) asm volatile("movq %1, %0" : "=r"(r[i]) : "m"(s->where) : "memory")
#define LOCKED asm volatile("lock orq $0, (%%rsp)" ::: "memory")
// A store that is locked: XCHG needs no prefix
#define XCHG(where, value)                                                       \
  do {                                                                           \
    u64 v_ = (value);                                                            \
    asm volatile("xchgq %0, %1" : "+r"(v_), "+m"(s->where) : : "memory");        \
  } while (0)

#define LITMUS_CASE(id, name, cpus, ...)      \
  CASE(id, name, cpus) {                      \
    static const struct litmus t = {cpus, __VA_ARGS__}; \
    run(&t);                                  \
  }

// 8.2.3.2: neither loads nor stores are reordered with like operations (message passing)
T(mp0, STORE(x, 1); STORE(y, 1))
T(mp1, LOAD(0, y); LOAD(1, x))
SEEN(mp, OUT(s, 1, 0) == 1 && OUT(s, 1, 1) == 0)
LITMUS_CASE(mp, "litmus.mp", 2, {mp0, mp1}, mp)
LITMUS_CASE(mp_cold, "litmus.mp-cold", 2, {mp0, mp1}, mp, .cold = true)

// The same with stores in the other order of addresses
T(mpr0, STORE(y, 1); STORE(x, 1))
T(mpr1, LOAD(0, x); LOAD(1, y))
LITMUS_CASE(mp_reverse, "litmus.mp-reverse", 2, {mpr0, mpr1}, mp)

// Data wider than one access: bytes, a vector, an operand across two lines, a repeated string store. 8.2.4.2: a store
// after a string operation is not seen before it.
T(bytes0, for (u32 i = 0; i < 8; i++) asm volatile("movb $1, %0" : "=m"(((volatile u8 *)&s->x)[i]) : : "memory"); STORE(y, 1))
T(bytes1, LOAD(0, y); LOAD(1, x))
SEEN(bytes, OUT(s, 1, 0) == 1 && OUT(s, 1, 1) != 0x0101010101010101)
LITMUS_CASE(mp_bytes, "litmus.mp-bytes", 2, {bytes0, bytes1}, bytes)

T(vector0, asm volatile("pcmpeqd %%xmm0, %%xmm0; movups %%xmm0, %0" : "=m"(s->x) : : "memory"); STORE(y, 1))
T(vector1, LOAD(0, y); asm volatile("movups %2, %%xmm1; movq %%xmm1, %0; psrldq $8, %%xmm1; movq %%xmm1, %1"
                                     : "=r"(r[1]), "=r"(r[2]) : "m"(s->x) : "memory"))
SEEN(vector, OUT(s, 1, 0) == 1 && (OUT(s, 1, 1) & OUT(s, 1, 2)) != ~0ul)
LITMUS_CASE(mp_vector, "litmus.mp-vector", 2, {vector0, vector1}, vector)

#define SPLIT (*(volatile u64 *)((u8 *)&s->x_line[6] + 4))  // half in x's line, half in y's
T(split0, asm volatile("movq %1, %0" : "=m"(SPLIT) : "r"(~0ul) : "memory"); STORE(y_line[6], 1))
T(split1, LOAD(0, y_line[6]); asm volatile("movq %1, %0" : "=r"(r[1]) : "m"(SPLIT) : "memory"))
SEEN(split, OUT(s, 1, 0) == 1 && OUT(s, 1, 1) != ~0ul)
LITMUS_CASE(mp_split, "litmus.mp-split-line", 2, {split0, split1}, split)

// The last slot of a page lends its end, the one behind it its beginning: half of the data in each of two pages
#define PAGE_END(s) (*(volatile u64 *)(((u64)(s) & ~(PAGE - 1)) + PAGE - 4))
static bool has_page_end(struct slot *s) { return ((u64)s / SLOT_SIZE & 7) == 7 && s != slot(SLOTS - 1); }
T(page0, if (has_page_end(s)) asm volatile("movq %1, %0" : "=m"(PAGE_END(s)) : "r"(~0ul) : "memory"); STORE(y, 1))
T(page1, LOAD(0, y); r[1] = ~0ul; if (has_page_end(s)) asm volatile("movq %1, %0" : "=r"(r[1]) : "m"(PAGE_END(s)) : "memory"))
SEEN(page, OUT(s, 1, 0) == 1 && OUT(s, 1, 1) != ~0ul)
LITMUS_CASE(mp_page, "litmus.mp-split-page", 2, {page0, page1}, page)
LITMUS_CASE(mp_page_cold, "litmus.mp-split-page-cold", 2, {page0, page1}, page, .cold = true)

T(rep0, u64 *to = (u64 *)&s->x; u64 n = 56; asm volatile("rep stosb" : "+D"(to), "+c"(n) : "a"(1) : "memory"); STORE(y, 1))
T(rep1, LOAD(0, y); LOAD(1, x_line[5]); LOAD(2, x))
SEEN(rep, OUT(s, 1, 0) == 1 && (OUT(s, 1, 1) == 0 || OUT(s, 1, 2) == 0))
LITMUS_CASE(mp_rep, "litmus.mp-rep-stos", 2, {rep0, rep1}, rep)

// 8.2.3.3: stores are not reordered with earlier loads (load buffering)
T(lb0, LOAD(0, x); STORE(y, 1))
T(lb1, LOAD(0, y); STORE(x, 1))
SEEN(lb, OUT(s, 0, 0) == 1 && OUT(s, 1, 0) == 1)
LITMUS_CASE(lb, "litmus.lb", 2, {lb0, lb1}, lb)

// 8.2.3.4: loads may be reordered with earlier stores to other places (store buffering)
T(sb0, STORE(x, 1); LOAD(0, y))
T(sb1, STORE(y, 1); LOAD(0, x))
SEEN(sb, OUT(s, 0, 0) == 0 && OUT(s, 1, 0) == 0)
LITMUS_CASE(sb, "litmus.sb", 2, {sb0, sb1}, sb, .allowed = true)

// ... but not past MFENCE (8.2.5), a locked instruction (8.2.3.9) or a serializing one (8.3)
T(mfence0, STORE(x, 1); mfence(); LOAD(0, y))
T(mfence1, STORE(y, 1); mfence(); LOAD(0, x))
LITMUS_CASE(sb_mfence, "litmus.sb-mfence", 2, {mfence0, mfence1}, sb)
LITMUS_CASE(sb_cold, "litmus.sb-mfence-cold", 2, {mfence0, mfence1}, sb, .cold = true)
T(locked0, STORE(x, 1); LOCKED; LOAD(0, y))
T(locked1, STORE(y, 1); LOCKED; LOAD(0, x))
LITMUS_CASE(sb_locked, "litmus.sb-locked", 2, {locked0, locked1}, sb)
T(xchg0, XCHG(x, 1); LOAD(0, y))
T(xchg1, XCHG(y, 1); LOAD(0, x))
LITMUS_CASE(sb_xchg, "litmus.sb-xchg", 2, {xchg0, xchg1}, sb)
T(xadd0, u64 one = 1; asm volatile("lock xaddq %0, %1" : "+r"(one), "+m"(s->x) : : "memory"); LOAD(0, y))
T(xadd1, u64 one = 1; asm volatile("lock xaddq %0, %1" : "+r"(one), "+m"(s->y) : : "memory"); LOAD(0, x))
LITMUS_CASE(sb_xadd, "litmus.sb-xadd", 2, {xadd0, xadd1}, sb)
// A CMPXCHG that fails is locked all the same
T(failing0, u64 a = 77; STORE(x, 1); asm volatile("lock cmpxchgq %1, %2" : "+a"(a) : "r"(1ul), "m"(s->x_line[3]) : "memory"); LOAD(0, y))
T(failing1, u64 a = 77; STORE(y, 1); asm volatile("lock cmpxchgq %1, %2" : "+a"(a) : "r"(1ul), "m"(s->y_line[3]) : "memory"); LOAD(0, x))
LITMUS_CASE(sb_failing, "litmus.sb-failed-cmpxchg", 2, {failing0, failing1}, sb)
T(cpuid0, STORE(x, 1); cpuid_serialize(); LOAD(0, y))
T(cpuid1, STORE(y, 1); cpuid_serialize(); LOAD(0, x))
LITMUS_CASE(sb_cpuid, "litmus.sb-cpuid", 2, {cpuid0, cpuid1}, sb)
// One side fenced is not enough; both are, each in its own way
LITMUS_CASE(sb_mixed, "litmus.sb-mfence-xchg", 2, {mfence0, xchg1}, sb)

// 8.2.3.5: a processor sees its own stores at once (store forwarding), in part too; "n5" of x86-TSO: and no store of
// another's that came before its own
T(own0, STORE(x, 1); LOAD(0, x))
T(own1, STORE(x, 2); LOAD(0, x))
SEEN(own, OUT(s, 0, 0) == 0 || OUT(s, 1, 0) == 0 || (OUT(s, 0, 0) == 2 && OUT(s, 1, 0) == 1))
LITMUS_CASE(n5, "litmus.n5", 2, {own0, own1}, own)
T(part0, STORE(x, 0x1111111111111111); asm volatile("movb $0x22, %0" : "=m"(((volatile u8 *)&s->x)[3]) : : "memory"); LOAD(0, x); STORE(y, 1))
T(part1, LOAD(0, y); LOAD(1, x))
SEEN(part, OUT(s, 0, 0) != 0x1111111122111111 || (OUT(s, 1, 0) == 1 && OUT(s, 1, 1) != 0x1111111122111111))
LITMUS_CASE(part, "litmus.store-forward-part", 2, {part0, part1}, part)

// 8.2.3.6: stores are transitively visible ("WRC")
T(wrc0, STORE(x, 1))
T(wrc1, LOAD(0, x); STORE(y, OUT(s, 1, 0)))
T(wrc2, LOAD(0, y); LOAD(1, x))
SEEN(wrc, OUT(s, 2, 0) == 1 && OUT(s, 2, 1) == 0)
LITMUS_CASE(wrc, "litmus.wrc", 3, {wrc0, wrc1, wrc2}, wrc)

// 8.2.3.7: stores are seen in one order by the other processors ("IRIW")
T(iriw0, STORE(x, 1))
T(iriw1, STORE(y, 1))
T(iriw2, LOAD(0, x); LOAD(1, y))
T(iriw3, LOAD(0, y); LOAD(1, x))
SEEN(iriw, OUT(s, 2, 0) == 1 && OUT(s, 2, 1) == 0 && OUT(s, 3, 0) == 1 && OUT(s, 3, 1) == 0)
LITMUS_CASE(iriw, "litmus.iriw", 4, {iriw0, iriw1, iriw2, iriw3}, iriw)
// 8.2.3.8: locked instructions have a total order
T(iriwl0, XCHG(x, 1))
T(iriwl1, XCHG(y, 1))
LITMUS_CASE(iriw_locked, "litmus.iriw-locked", 4, {iriwl0, iriwl1, iriw2, iriw3}, iriw)

// One place: two loads do not go back in time
T(corr0, STORE(x, 1))
T(corr1, LOAD(0, x); LOAD(1, x))
SEEN(corr, OUT(s, 1, 0) == 1 && OUT(s, 1, 1) == 0)
LITMUS_CASE(corr, "litmus.corr", 2, {corr0, corr1}, corr)

// The remaining shapes of two processors and two places
T(ww0, STORE(x, 1); STORE(y, 2))
T(ww1, STORE(y, 1); STORE(x, 2))
SEEN(ww, s->x == 1 && s->y == 1)
LITMUS_CASE(ww, "litmus.2+2w", 2, {ww0, ww1}, ww)
T(s0, STORE(x, 2); STORE(y, 1))
T(s1, LOAD(0, y); STORE(x, 1))
SEEN(ss, OUT(s, 1, 0) == 1 && s->x == 2)
LITMUS_CASE(s, "litmus.s", 2, {s0, s1}, ss)
T(r0, STORE(x, 1); STORE(y, 1))
T(r1, STORE(y, 2); mfence(); LOAD(0, x))
SEEN(rr, s->y == 2 && OUT(s, 1, 0) == 0)
LITMUS_CASE(r, "litmus.r-mfence", 2, {r0, r1}, rr)

// 8.1.1: accesses of up to 8 bytes within a cache line are atomic, aligned or not; on AMD's processors within 8 aligned bytes
// (AMD APM vol. 2, 7.3.2). Each slot has its own offset.
static u64 tear_offset(const struct slot *s, u64 size) {
  static u32 vendor;
  if (!vendor) asm volatile("cpuid" : "=b"(vendor) : "a"(0), "c"(0) : "rdx");
  u64 number = (u64)s / SLOT_SIZE;
  return vendor == 0x68747541 /* "Auth" */ ? number % 8 * 8 + number / 8 % (9 - size) : number % (65 - size);
}
#define TEAR(type) (*(volatile type *)((u8 *)&s->x + tear_offset(s, sizeof(type))))
#define TEAR_CASE(id, name, cpus, type, instruction, load, ...)                                                   \
  T(id##0, for (u32 i = 0; i < 8; i++) {                                                                          \
    asm volatile(instruction " %1, %0" : "=m"(TEAR(type)) : "r"((type)(i & 1 ? 0 : ~0ul)) : "memory");            \
  })                                                                                                              \
  T(id##1, for (u32 i = 0; i < 8; i++) asm volatile(load : "=r"(r[i]) : "m"(TEAR(type)) : "memory"))    \
  static bool id(struct slot *s) {                                                                                \
    for (u32 i = 0; i < 8; i++)                                                                                   \
      if (OUT(s, 1, i) != 0 && OUT(s, 1, i) != (type)~0ul) return true;                                           \
    return false;                                                                                                 \
  }                                                                                                               \
  LITMUS_CASE(id, name, cpus, {id##0, id##1}, id, __VA_ARGS__)
TEAR_CASE(tear8, "litmus.atomic-8", 2, u64, "movq", "movq %1, %0", .cold = false)
TEAR_CASE(tear8_cold, "litmus.atomic-8-cold", 2, u64, "movq", "movq %1, %0", .cold = true)
TEAR_CASE(tear4, "litmus.atomic-4", 2, u32, "movl", "movl %1, %k0", .cold = false)
TEAR_CASE(tear2, "litmus.atomic-2", 2, u16, "movw", "movzwl %1, %k0", .cold = false)
