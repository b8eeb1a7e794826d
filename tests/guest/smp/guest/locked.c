// SPDX-License-Identifier: Apache-2.0
// Locked instructions from all vCPUs: what they count has to come out exact. Intel SDM vol. 3, 8.1.2.
#include "rt.h"

// The shared operands: in the window, at two virtual addresses (ALIAS), so that an emulated lock cannot go by those
enum { PAGES = 4, ALIAS = 64 };
#define SHARED(offset) ((void *)(WIN(0) + (offset)))
#define ALIASED(offset) ((void *)(WIN(ALIAS) + (offset)))

static u64 each;  // operations of each vCPU
static u64 at;    // where in the window

static void map_shared(void) {
  for (u32 i = 0; i < PAGES; i++) {
    map(WIN(i), frame(2 * i), PTE_RW);  // neighbours in the window are none in memory
    map(WIN(ALIAS + i), frame(2 * i), PTE_RW);
  }
}
// Half of the vCPUs by the alias
static volatile void *place(u32 me) { return me & 1 ? ALIASED(at) : SHARED(at); }

static void count(void (*work)(u32 me), u64 n, u64 offset) {
  each = n;
  at = offset;
  map_shared();
  run_on(cpus, work);
}

#define COUNTER_CASE(id, name, cpus_, type, offset, ...)                                      \
  static void work_##id(u32 me) {                                                             \
    volatile type *p = place(me);                                                             \
    barrier(cpus);                                                                            \
    for (u64 i = 0; i < each; i++) { __VA_ARGS__; }                                           \
  }                                                                                           \
  CASE(id, name, cpus_) {                                                                     \
    count(work_##id, (offset) < 56 ? 2 * rounds : rounds / 4, offset);                                                     \
    type is = *(volatile type *)SHARED(offset), wanted = (type)(cpus * each);                 \
    CHECK(is == wanted, "%lx, not %lx", (u64)is, (u64)wanted);                                \
  }
#define ASM(text, ...) asm volatile(text : "+m"(*p) : __VA_ARGS__ : "memory", "cc")

COUNTER_CASE(inc8, "lock.inc-8", 4, u8, 3, ASM("lock incb %0"))
COUNTER_CASE(inc16, "lock.inc-16", 4, u16, 6, ASM("lock incw %0"))
COUNTER_CASE(inc32, "lock.inc-32", 4, u32, 8, ASM("lock incl %0"))
COUNTER_CASE(inc64, "lock.inc-64", 4, u64, 8, ASM("lock incq %0"))
COUNTER_CASE(add64, "lock.add-64", 4, u64, 8, ASM("lock addq %1, %0", "r"(1ul)))
COUNTER_CASE(sub64, "lock.sub-64", 4, u64, 8, ASM("lock subq $-1, %0", "i"(0)))
COUNTER_CASE(adc64, "lock.adc-64", 4, u64, 8, ASM("stc; lock adcq $0, %0", "i"(0)))
COUNTER_CASE(sbb64, "lock.sbb-64", 4, u64, 8, ASM("clc; lock sbbq $-1, %0", "i"(0)))
COUNTER_CASE(dec64, "lock.dec-inc-inc", 4, u64, 8, ASM("lock decq %0; lock incq %0; lock incq %0", "i"(0)))
// Across a cache line and across a page: slow on a processor, but allowed and atomic (8.1.2.2)
COUNTER_CASE(line64, "lock.inc-split-line", 4, u64, 61, ASM("lock incq %0"))
COUNTER_CASE(page64, "lock.inc-split-page", 4, u64, PAGE - 3, ASM("lock incq %0"))
COUNTER_CASE(page16, "lock.inc-split-page-16", 4, u16, PAGE - 1, ASM("lock incw %0"))
COUNTER_CASE(page_add, "lock.add-split-page", 4, u32, 2 * PAGE - 1, ASM("lock addl %1, %0", "r"(1)))
COUNTER_CASE(xadd32, "lock.xadd-32", 4, u32, 8, u32 one = 1; asm volatile("lock xaddl %1, %0" : "+m"(*p), "+r"(one) : : "memory"))
COUNTER_CASE(cmpxchg8, "lock.cmpxchg-8", 4, u8, 5, u8 old = *p, new; do new = old + 1;
             while (!__atomic_compare_exchange_n(p, &old, new, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)))
COUNTER_CASE(cmpxchg64, "lock.cmpxchg-64", 4, u64, 8, u64 old = *p, new; do new = old + 1;
             while (!__atomic_compare_exchange_n(p, &old, new, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)))
COUNTER_CASE(cmpxchg_page, "lock.cmpxchg-split-page", 4, u64, PAGE - 4, u64 old = *p; bool done; do asm volatile(
             "lock cmpxchgq %3, %0; sete %2" : "+m"(*p), "+a"(old), "=q"(done) : "r"(old + 1) : "memory"); while (!done))

// XADD gives every vCPU numbers of its own, which only rise
static u8 *taken;
static void work_tickets(u32 me) {
  volatile u64 *p = place(me);
  u64 last = 0;
  barrier(cpus);
  for (u64 i = 0; i < each; i++) {
    u64 mine = 1;
    asm volatile("lock xaddq %1, %0" : "+m"(*p), "+r"(mine) : : "memory");
    if (mine >= cpus * each || (i && mine <= last)) return fail("got %lu after %lu", mine, last);
    if (__atomic_fetch_add(&taken[mine], 1, __ATOMIC_RELAXED)) return fail("%lu given twice", mine);
    last = mine;
  }
}
CASE(tickets, "lock.xadd-64", 4) {
  taken = frame(64);
  u64 n = rounds / 4 > 500000 ? 500000 : rounds / 4;
  count(work_tickets, n, 8);
}

// CMPXCHG8B and CMPXCHG16B: two halves that have to stay together
static void work_pair8(u32 me) {
  volatile u32 *p = place(me);
  barrier(cpus);
  for (u64 i = 0; i < each; i++) {
    u32 low = p[0], high = p[1];
    bool done;
    do {
      asm volatile("lock cmpxchg8b %0; sete %3"
                   : "+m"(*(volatile u64 *)p), "+a"(low), "+d"(high), "=q"(done)
                   : "b"(low + 1), "c"(high - 1) : "memory", "cc");
    } while (!done);
  }
}
CASE(pair8, "lock.cmpxchg8b", 4) {
  count(work_pair8, rounds / 2, 16);
  volatile u32 *p = SHARED(16);
  CHECK(p[0] == (u32)(cpus * each) && p[1] == -(u32)(cpus * each), "%x %x", p[0], p[1]);
}
static void work_pair16(u32 me) {
  volatile u64 *p = place(me);
  barrier(cpus);
  for (u64 i = 0; i < each; i++) {
    u64 low = p[0], high = p[1];  // may be torn: then the first try fails
    bool done;
    do {
      asm volatile("lock cmpxchg16b %0; sete %3"
                   : "+m"(*(volatile __int128 *)p), "+a"(low), "+d"(high), "=q"(done)
                   : "b"(low + 1), "c"(high - 1) : "memory", "cc");
      if (!done && low + high != 0) return fail("halves of different stores: %lx %lx", low, high);
    } while (!done);
  }
}
CASE(pair16, "lock.cmpxchg16b", 4) {
  require_cpuid(1, 0, 'c', 13, "CMPXCHG16B");
  count(work_pair16, rounds / 2, 32);
  volatile u64 *p = SHARED(32);
  CHECK(p[0] == cpus * each && p[1] == -(cpus * each), "%lx %lx", p[0], p[1]);
}

// Bit instructions with a register reach beyond their operand. Each vCPU has bits of its own, all in the same words.
static void work_bits(u32 me) {
  volatile u32 *p = place(me);
  struct random r = random_stream(me);
  u8 mine[64] = {0};
  barrier(cpus);
  for (u64 i = 0; i < each; i++) {
    u64 bit = below(&r, 64), number = bit * MAX_CPUS + me;
    s64 index = (s64)number - 256;  // to both sides of *p
    bool old, was = mine[bit];
    switch (below(&r, 3)) {
      case 0: asm volatile("lock btsl %2, %0; setc %1" : "+m"(*p), "=q"(old) : "r"((u32)index) : "memory", "cc"); mine[bit] = 1; break;
      case 1: asm volatile("lock btrq %2, %0; setc %1" : "+m"(*(u64 *)p), "=q"(old) : "r"(index) : "memory", "cc"); mine[bit] = 0; break;
      default: asm volatile("lock btcl %2, %0; setc %1" : "+m"(*p), "=q"(old) : "r"((u32)index) : "memory", "cc"); mine[bit] ^= 1;
    }
    if (old != was) return fail("vCPU %u: bit %ld was %u, not %u, at round %lu", me, index, old, was, i);
  }
}
CASE(bits, "lock.bts-btr-btc", 4) { count(work_bits, rounds, 1024); }

// AND, OR, XOR, NOT, NEG: each vCPU keeps a byte of a shared word as it wants it
static void work_logic(u32 me) {
  volatile u64 *p = place(me);
  struct random r = random_stream(me);
  u32 shift = 8 * me;
  barrier(cpus);
  for (u64 i = 0; i < each; i++) {
    u64 set = below(&r, 256), clear = below(&r, 256);
    asm volatile("lock orq %1, %0" : "+m"(*p) : "r"(set << shift) : "memory", "cc");
    u8 is = *p >> shift;
    asm volatile("lock andq %1, %0" : "+m"(*p) : "r"(~(clear << shift)) : "memory", "cc");
    u8 then = *p >> shift;
    if ((is & set) != set || then != (is & ~clear)) return fail("vCPU %u: %x after or %lx, %x after clearing %lx", me, is, set, then, clear);
    asm volatile("lock xorq %1, %0" : "+m"(*p) : "r"((u64)then << shift) : "memory", "cc");
    if ((u8)(*p >> shift)) return fail("vCPU %u: not zero after xor", me);
  }
}
CASE(logic, "lock.or-and-xor", 4) { count(work_logic, rounds / 2, 40); }
static void work_not(u32 me) {
  volatile u64 *p = place(me);
  barrier(cpus);
  for (u64 i = 0; i < 2 * each; i++) asm volatile("lock notq %0; lock negl 8%0" : "+m"(*p) : : "memory", "cc");
}
CASE(not_neg, "lock.not-neg", 4) {
  at = 48;
  map_shared();
  volatile u64 *p = SHARED(48);
  p[0] = 0x0123456789abcdef;
  p[1] = 0x1122334455667788;
  count(work_not, rounds / 2, 48);
  CHECK(p[0] == 0x0123456789abcdef && p[1] == 0x1122334455667788, "%lx %lx", p[0], p[1]);
}

// XCHG locks without a prefix: a value is never lost and never doubled
static u64 held[MAX_CPUS];
static void work_xchg(u32 me) {
  volatile u64 *p = place(me);
  u64 value = me + 1;
  barrier(cpus);
  for (u64 i = 0; i < each; i++) asm volatile("xchgq %0, %1" : "+r"(value), "+m"(p[i & 1]) : : "memory");
  held[me] = value;
}
static void check_tokens(void) {
  u64 seen = 0;
  volatile u64 *p = SHARED(at);
  for (u32 i = 0; i < cpus; i++) seen |= 1ul << held[i];
  seen |= 1ul << (p[0] & 63) | 1ul << (p[1] & 63);
  u64 wanted = (2ul << cpus) - 2;  // 1 to cpus
  wanted |= 1 | 1ul << 40;         // what the places held
  CHECK(seen == wanted, "values %lx, not %lx", seen, wanted);
}
static void run_tokens(u64 n, u64 offset) {
  map_shared();
  ((volatile u64 *)SHARED(offset))[1] = 40;
  count(work_xchg, n, offset);
  check_tokens();
}
CASE(xchg, "lock.xchg", 4) { run_tokens(rounds, 64); }
CASE(xchg_page, "lock.xchg-split-page", 4) { run_tokens(rounds / 4, PAGE - 5); }

// Different sizes on one word: bytes, a word, a double word and the whole, and plain stores to a neighbour byte
static void work_sizes(u32 me) {
  volatile u8 *p = place(me);
  barrier(cpus);
  for (u64 i = 0; i < each; i++) {
    switch (me) {
      case 0: asm volatile("lock addb $1, %0" : "+m"(p[0]) : : "memory", "cc"); break;
      case 1: asm volatile("lock addq %1, %0" : "+m"(*(u64 *)p) : "r"(1ul << 24) : "memory", "cc"); break;
      case 2: {  // its own byte by plain stores; an atomic operation on the whole must not undo one
        p[2] = i;
        if (p[2] != (u8)i) return fail("a plain store was lost: %x, not %x", p[2], (u8)i);
        break;
      }
      default: asm volatile("lock xorw %1, %0" : "+m"(*(u16 *)p) : "r"((u16)0x100) : "memory", "cc");
    }
  }
}
CASE(sizes, "lock.sizes", 4) {
  count(work_sizes, rounds & ~1ul, 80);
  u64 is = *(volatile u64 *)SHARED(80);
  u64 wanted = (each & 0xff) | (each << 24) | ((each - 1) & 0xff) << 16;
  CHECK(is == wanted, "%lx, not %lx", is, wanted);
}

// Plain stores to either side of a locked operand: an emulated lock must not write more than its operand
static void work_neighbours(u32 me) {
  volatile u8 *p = place(me);
  barrier(cpus);
  for (u64 i = 0; i < each; i++) {
    if (me & 1) {
      asm volatile("lock incl %0" : "+m"(*(u32 *)(p + 4)) : : "memory", "cc");
      continue;
    }
    volatile u8 *mine = p + (me & 2 ? 3 : 8);
    *mine = i;
    if (*mine != (u8)i) return fail("a plain store beside it was lost: %x, not %x", *mine, (u8)i);
  }
}
CASE(neighbours, "lock.neighbours", 4) { count(work_neighbours, rounds, 96); }
CASE(neighbours_page, "lock.neighbours-split-page", 4) { count(work_neighbours, rounds / 4, PAGE - 6); }

// A ticket lock around a counter that is not atomic, and around data in many lines
static volatile u32 next_ticket, now_serving;
static volatile u64 counter, data[8][8];
static void work_ticket_lock(u32 me) {
  (void)me;
  barrier(cpus);
  for (u64 i = 0; i < each; i++) {
    u32 mine = 1;
    asm volatile("lock xaddl %1, %0" : "+m"(next_ticket), "+r"(mine) : : "memory");
    SPIN_UNTIL(now_serving == mine);
    u64 was = counter;
    for (u32 j = 0; j < 8; j++) {
      if (data[j][0] != was) fail("line %u: %lu, not %lu", j, data[j][0], was);
      data[j][0] = was + 1;
    }
    counter = was + 1;
    asm volatile("incl %0" : "+m"(now_serving) : : "memory");  // only the holder writes it: no lock
  }
}
CASE(ticket_lock, "lock.ticket", 2) {
  count(work_ticket_lock, rounds / 2, 0);
  CHECK(counter == cpus * each, "%lu, not %lu", counter, cpus * each);
}

// A spin lock by XCHG, and one by BTS
static volatile u32 lock_word;
static void work_spin_lock(u32 me) {
  barrier(cpus);
  for (u64 i = 0; i < each; i++) {
    bool was;
    if (me & 1) do asm volatile("lock btsl $0, %0; setc %1" : "+m"(lock_word), "=q"(was) : : "memory", "cc"); while (was);
    else while (__atomic_exchange_n(&lock_word, 1, __ATOMIC_ACQUIRE)) pause();
    counter = counter + 1;
    asm volatile("movl $0, %0" : "=m"(lock_word) : : "memory");
  }
}
CASE(spin_lock, "lock.spin", 4) {
  count(work_spin_lock, rounds, 0);
  CHECK(counter == cpus * each, "%lu, not %lu", counter, cpus * each);
}
