// SPDX-License-Identifier: Apache-2.0
// Page tables that change while another vCPU uses them: INVLPG on both sides by IPI, and accessed and dirty flags.
// Intel SDM vol. 3, 4.10.4 and 4.10.5 (propagation of paging-structure changes to multiple processors), 4.8 (A and D).
#include "rt.h"

#define VA WIN(100)

static volatile bool stop;
static volatile u64 faults;

// A fault waits until its page allows it again. It answers shootdowns meanwhile: interrupts are off in here.
static bool allows(u64 pte, u64 error) {
  return (pte & PTE_P) && (!(error & PF_W) || (pte & PTE_W)) && (!(error & PF_I) || !(pte & PTE_NX));
}
static void wait_for_page(struct trap *t) {
  u64 cr2;
  asm volatile("mov %%cr2, %0" : "=r"(cr2));
  if ((cr2 & -PAGE) != (u64)VA) die("#PF at %lx for %lx, error %lx", t->rip, cr2, t->error);
  __atomic_add_fetch(&faults, 1, __ATOMIC_RELAXED);
  SPIN_UNTIL((serve_shootdowns(), allows(*pte_of(VA), t->error)));
}

// vCPU 0 runs the first, vCPU 1 the second until `stop`.
static void (*changing)(void), (*using)(void);
static void both(u32 me) {
  barrier(2);
  if (me == 0) {
    changing();
    stop = true;
  } else {
    using();
  }
}
static void race(void (*change)(void), void (*use)(void)) {
  changing = change;
  using = use;
  handlers[PF] = wait_for_page;
  run_on(2, both);
}

// ---------------------------------------------------------------------------------------------
// Not present: after the acknowledgement nothing is written until the page is back.

static u64 alias_value(u8 *page) { return *(volatile u64 *)page; }

static void take_away_and_look(u8 *page) {
  for (u64 i = 0; i < rounds / 100; i++) {
    unmap(VA);
    shootdown(2, VA);
    u64 before = alias_value(page);
    for (u32 spin = 0; spin < 100; spin++) pause();
    CHECK(alias_value(page) == before, "round %lu: written after the acknowledgement: %lx, then %lx", i, before, alias_value(page));
    *pte_of(VA) = (u64)page | PTE_RW;
    u64 now = alias_value(page);
    SPIN_UNTIL(alias_value(page) != now);  // it goes on
  }
}
static void change_present(void) { take_away_and_look(frame(1)); }
#define USER_LOOP(name, text)                                          \
  static void name(void) {                                             \
    volatile u64 *p = (volatile u64 *)VA;                              \
    while (!stop) asm volatile(text : : "D"(p) : "rax", "rcx", "memory", "cc"); \
  }
USER_LOOP(use_store, "mov (%0), %%rax; inc %%rax; mov %%rax, (%0)")
USER_LOOP(use_locked, "lock incq (%0)")
USER_LOOP(use_rmw, "incq (%0)")
USER_LOOP(use_xchg, "mov %%rsp, %%rax; rol $7, %%rax; xchg %%rax, (%0); incq (%0)")
USER_LOOP(use_unrolled, "incq (%0); incq 8(%0); incq 16(%0); incq (%0); incq 4000(%0)")
// Long string stores: one is under way when the page goes
static void use_stos(void) {
  for (u64 value = 1; !stop; value++) {
    u8 *p = VA;
    u64 n = PAGE / 8;
    asm volatile("rep stosq" : "+D"(p), "+c"(n) : "a"(value) : "memory");
  }
}
// A hot loop that never leaves its code: nothing but the interrupt stops it
static void use_hot_loop(void) {
  for (u64 n; !stop;) {
    n = 10000;
    asm volatile("1: incq (%1); dec %0; jnz 1b" : "+r"(n) : "r"(VA) : "memory", "cc");
  }
}
#define PRESENT_CASE(id, name, cpus, use)      \
  CASE(id, name, cpus) {                       \
    map(VA, frame(1), PTE_RW);                 \
    race(change_present, use);                 \
    note("%lu faults", faults);                \
  }
PRESENT_CASE(store, "shootdown.store", 2, use_store)
PRESENT_CASE(locked, "shootdown.locked", 2, use_locked)
PRESENT_CASE(rmw, "shootdown.rmw", 2, use_rmw)
PRESENT_CASE(xchg, "shootdown.xchg", 2, use_xchg)
PRESENT_CASE(unrolled, "shootdown.unrolled", 2, use_unrolled)
PRESENT_CASE(stos, "shootdown.rep-stos", 2, use_stos)
PRESENT_CASE(hot, "shootdown.hot-loop", 2, use_hot_loop)

// ---------------------------------------------------------------------------------------------
// Another frame: what is read after the acknowledgement is the new one's. Frames hold the number of the change.

static volatile u64 acknowledged;

static void put_value(u8 *page, u64 value) { *(volatile u64 *)page = value; }
static void change_frame(void) {
  for (u64 i = 1; i < rounds / 50; i++) {
    u8 *page = frame(1 + i % 3);
    put_value(page, i);
    *pte_of(VA) = (u64)page | PTE_RW;
    shootdown(2, VA);
    acknowledged = i;
    put_value(frame(1 + (i + 2) % 3), 0);  // the frame before: whoever still reads it sees 0
  }
}
static void use_frame(void) {
  while (!stop) {
    u64 least = acknowledged, is = *(volatile u64 *)VA;
    if (is < least) return fail("read %lu after change %lu was acknowledged", is, least);
  }
}
CASE(frame, "shootdown.frame-read", 2) {
  put_value(frame(1), 0);
  map(VA, frame(1), PTE_RW);
  race(change_frame, use_frame);
}

// The same for code: a function that returns the number of its frame's change. SDM 11.6: the instruction fetch sees a
// new translation as data accesses do.
static void put_code(u8 *page, u64 value) {
  page[0] = 0xb8;  // mov $value, %eax; ret
  memcpy(page + 1, &value, 4);
  page[5] = 0xc3;
}
static void change_code(void) {
  for (u64 i = 1; i < rounds / 100; i++) {
    u8 *page = frame(1 + i % 3);
    put_code(page, i);
    *pte_of(VA) = (u64)page | PTE_P;
    shootdown(2, VA);
    acknowledged = i;
  }
}
static u32 call_va(void) { return ((u32(*)(void))VA)(); }
static void use_code(void) {
  while (!stop) {
    u64 least = acknowledged, is = call_va();
    if (is < least) return fail("executed %lu after change %lu was acknowledged", is, least);
  }
}
CASE(code, "shootdown.frame-code", 2) {
  put_code(frame(1), 0);
  map(VA, frame(1), PTE_P);
  race(change_code, use_code);
}

// Code that loses its right to be executed, or its page
static void change_nx(void) {
  for (u64 i = 1; i < rounds / 100; i++) {
    *pte_of(VA) = i & 1 ? 0 : (u64)frame(1) | PTE_P | PTE_NX;
    shootdown(2, VA);
    acknowledged = i;
    put_code(frame(1), i);  // an execution from here on would return it
    for (u32 spin = 0; spin < 50; spin++) pause();
    put_code(frame(1), 0);
    u64 before = faults;
    *pte_of(VA) = (u64)frame(1) | PTE_P;
    if (i < 5) SPIN_UNTIL(faults >= before);
  }
}
static void use_nx(void) {
  while (!stop) {
    u32 is = call_va();
    if (is != 0) return fail("executed while it was not executable: %u", is);
  }
}
CASE(nx, "shootdown.execute", 2) {
  put_code(frame(1), 0);
  map(VA, frame(1), PTE_P);
  race(change_nx, use_nx);
  CHECK(faults > 0, "no fault at all");
}

// ---------------------------------------------------------------------------------------------
// Write-protected: copy on write, as a kernel does it. The counter's owner never loses an increment.

static volatile u64 increments;
static void change_cow(void) {
  u8 *now = frame(1);
  for (u64 i = 0; i < rounds / 100; i++) {
    *pte_of(VA) = (u64)now | PTE_P | PTE_U;
    shootdown(2, VA);
    u8 *copy = frame(1 + (i + 1) % 2);
    memcpy(copy, now, PAGE);
    *pte_of(VA) = 0;
    shootdown(2, VA);
    memset(now, 0xee, PAGE);
    *pte_of(VA) = (u64)copy | PTE_RW;
    now = copy;
    for (u32 spin = 0; spin < 50; spin++) pause();
  }
  *pte_of(VA) = (u64)now | PTE_RW;
}
static void use_cow(void) {
  volatile u64 *p = (volatile u64 *)VA;
  u64 n = 0;
  for (; !stop; n++) asm volatile("incq (%0); lock incq 512(%0); push %%rbx; pop 1024(%0)" : : "r"(p) : "memory", "cc");
  increments = n;
}
CASE(cow, "shootdown.copy-on-write", 2) {
  memset(frame(1), 0, PAGE);
  map(VA, frame(1), PTE_RW);
  race(change_cow, use_cow);
  volatile u64 *p = (volatile u64 *)VA;
  CHECK(p[0] == increments && p[64] == increments, "%lu and %lu, not %lu", p[0], p[64], increments);
  note("%lu increments, %lu faults", increments, faults);
}

// ---------------------------------------------------------------------------------------------
// Rights that grow need no shootdown. 4.10.2.3: nothing is cached for a page that is not present, so it can be used as
// soon as another vCPU says so. 4.10.4.3: a fault by a stale entry removes it, so the second try succeeds.

enum { GROW_PAGES = 512 };
static volatile u64 ready;
static u64 from_flags;
static volatile u64 grown_faults;

static void grow(void) {
  struct random r = random_stream(0);
  for (u64 round = 0; round < rounds / 10000 + 2 && !failed(); round++) {
    for (u32 i = 0; i < GROW_PAGES; i++) *pte_of(WIN(i)) = from_flags ? (u64)frame(0) | from_flags : 0;
    for (u32 i = 0; i < GROW_PAGES; i++) shootdown(2, WIN(i));
    for (u32 i = 0; i < GROW_PAGES; i++) {
      // The other vCPU may have looked at it, in vain
      for (u64 spin = below(&r, 30); spin; spin--) pause();
      *pte_of(WIN(i)) = (u64)frame(i % 8) | PTE_RW;
      ready = round * GROW_PAGES + i + 1;
    }
    SPIN_UNTIL(acknowledged == ready);
  }
}
static void too_early(struct trap *t) {
  u64 cr2;
  asm volatile("mov %%cr2, %0" : "=r"(cr2));
  grown_faults++;
  if (from_flags == 0 || grown_faults > acknowledged + 1)
    die("fault %lu after %lu accesses: error %lx for %lx, PTE %lx", grown_faults, acknowledged, t->error, cr2, *pte_of((void *)(cr2 & -PAGE)));
}
static void use_grown(void) {
  for (u64 i = 0;; i++) {
    while (ready <= i && !stop) pause();
    if (stop) return;
    volatile u64 *p = (volatile u64 *)WIN(i % GROW_PAGES);
    // A read of the page to come, so that a stale entry may be there: of a protected page only, not of an absent one
    if (from_flags && i % GROW_PAGES + 1 < GROW_PAGES) (void)*(volatile u64 *)WIN(i % GROW_PAGES + 1);
    *p = i;
    acknowledged = i + 1;
  }
}
static void run_grow(u64 flags) {
  from_flags = flags;
  changing = grow;
  using = use_grown;
  handlers[PF] = too_early;
  run_on(2, both);
  note("%lu faults in %lu accesses", grown_faults, acknowledged);
}
CASE(grow_present, "shootdown.not-for-present", 2) { run_grow(0); }
CASE(grow_writable, "shootdown.not-for-writable", 2) { run_grow(PTE_P | PTE_U); }

// ---------------------------------------------------------------------------------------------
// A and D. 8.1.2.1: a processor sets them by a locked access, so neither its bit nor a concurrent change by software is
// lost.

// vCPU 1 clears D and A of its page, drops the entry, reads or writes, and has to find them set. vCPU 0 meanwhile changes
// other bits of the same entry by locked instructions, and has to find those as it left them.
static void change_avl(void) {
  volatile u64 *pte = pte_of(VA);
  struct random r = random_stream(0);
  for (u64 i = 0; i < rounds; i++) {
    u64 bit = 52 + below(&r, 7);
    bool old, again, gone;
    asm volatile("lock btsq %2, %0; setc %1" : "+m"(*pte), "=q"(old) : "r"(bit) : "memory", "cc");
    for (u64 spin = below(&r, 8); spin; spin--) pause();
    asm volatile("btq %2, %1; setc %0" : "=q"(again) : "m"(*pte), "r"(bit) : "memory", "cc");
    asm volatile("lock btrq %2, %0; setc %1" : "+m"(*pte), "=q"(gone) : "r"(bit) : "memory", "cc");
    if (old || !again || !gone) return fail("round %lu: a change by software was lost: %u %u %u", i, old, again, gone);
  }
}
static void use_flags(void) {
  volatile u64 *pte = pte_of(VA);
  struct random r = random_stream(1);
  for (u64 i = 0; !stop; i++) {
    bool write = next(&r) >> 63;
    asm volatile("lock andq %1, %0" : "+m"(*pte) : "r"(~(u64)(PTE_A | PTE_D)) : "memory", "cc");
    invlpg(VA);
    if (write) asm volatile("incq %0" : "+m"(*(volatile u64 *)VA) : : "cc");
    else (void)*(volatile u64 *)VA;
    u64 flags = *pte & (PTE_A | PTE_D), wanted = write ? PTE_A | PTE_D : PTE_A;
    // D without a store would be a fault of ours, too: 4.8 sets it for writes only
    if (flags != wanted) return fail("round %lu: after a %s flags are %lx", i, write ? "write" : "read", flags);
  }
}
CASE(flags, "shootdown.flags-and-avl", 2) {
  map(VA, frame(1), PTE_RW);
  race(change_avl, use_flags);
}

// vCPU 0 takes the page away with XCHG, as a kernel does. If what it gets says clean, the page has not been written
// since it was made clean; if it is gone, the processor does not bring it back by setting D.
static void change_clean(void) {
  volatile u64 *pte = pte_of(VA);
  u8 *page = frame(1);
  struct random r = random_stream(0);
  u64 dirty = 0;
  for (u64 i = 0; i < rounds / 100; i++) {
    u64 old = 0;
    *pte = (u64)page | PTE_RW;  // clean; and no TLB has an entry, as it was not present and shot down
    u64 before = alias_value(page);
    for (u64 spin = below(&r, 200); spin; spin--) pause();
    asm volatile("xchgq %0, %1" : "+r"(old), "+m"(*pte) : : "memory");
    shootdown(2, VA);
    u64 after = alias_value(page);
    if (*pte) return fail("round %lu: the entry came back: %lx", i, *pte);
    if (after != before && !(old & PTE_D)) return fail("round %lu: written, but not dirty: %lx", i, old);
    dirty += (old & PTE_D) != 0;
  }
  note("dirty %lu times of %lu", dirty, rounds / 100);
  *pte = (u64)page | PTE_RW;
}
CASE(dirty, "shootdown.dirty-not-lost", 2) {
  unmap(VA);
  race(change_clean, use_store);
}
CASE(dirty_locked, "shootdown.dirty-not-lost-locked", 2) {
  unmap(VA);
  race(change_clean, use_locked);
}

// Write protection by a locked clear of W, and its result taken as what was written so far (as soft-dirty tracking does)
static void change_protect(void) {
  volatile u64 *pte = pte_of(VA);
  u8 *page = frame(1);
  for (u64 i = 0; i < rounds / 100; i++) {
    bool was;
    asm volatile("lock btrq $1, %0; setc %1" : "+m"(*pte), "=q"(was) : : "memory", "cc");
    shootdown(2, VA);
    u64 before = alias_value(page);
    for (u32 spin = 0; spin < 50; spin++) pause();
    if (!was || alias_value(page) != before || !(*pte & PTE_A)) return fail("round %lu: W was %u, %lx, then %lx, PTE %lx", i, was, before, alias_value(page), *pte);
    asm volatile("lock btsq $1, %0" : "+m"(*pte) : : "memory", "cc");
    for (u64 now = alias_value(page), spin = 0; spin < 1000 && alias_value(page) == now; spin++) pause();
  }
}
CASE(protect, "shootdown.write-protect", 2) {
  map(VA, frame(1), PTE_RW | PTE_A);
  race(change_protect, use_store);
  CHECK(faults > 0, "no fault at all");
}

// ---------------------------------------------------------------------------------------------
// Everybody shoots at everybody: each vCPU has a page of its own to change, all read all pages.

static volatile u64 versions[MAX_CPUS];
static volatile u32 finished;
static volatile u32 shoot_lock;
static void work_storm(u32 me) {
  struct random r = random_stream(me);
  sti();
  barrier(cpus);
  for (u64 i = 1; i <= rounds / 400 && !failed(); i++) {
    u8 *page = frame(10 + 2 * me + i % 2);
    put_value(page, i);
    // One shootdown at a time: who waits for its turn takes interrupts
    while (__atomic_exchange_n(&shoot_lock, 1, __ATOMIC_ACQUIRE)) pause();
    map(WIN(200 + me), page, PTE_RW);
    shootdown(cpus, WIN(200 + me));
    versions[me] = i;
    __atomic_store_n(&shoot_lock, 0, __ATOMIC_RELEASE);
    for (u32 j = 0; j < 20; j++) {
      u32 whose = below(&r, cpus);
      u64 least = versions[whose], is = *(volatile u64 *)WIN(200 + whose);
      if (is < least) fail("vCPU %u read version %lu of %u's page, after %lu", me, is, whose, least);
    }
  }
  __atomic_add_fetch(&finished, 1, __ATOMIC_SEQ_CST);
  SPIN_UNTIL(finished == cpus);
  if (me == 0) cli();
}
CASE(storm, "shootdown.storm", 4) {
  for (u32 i = 0; i < cpus; i++) map(WIN(200 + i), frame(10 + 2 * i), PTE_RW);
  run_on(cpus, work_storm);
}
