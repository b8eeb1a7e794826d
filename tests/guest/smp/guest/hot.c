// SPDX-License-Identifier: Apache-2.0
// Exceptions in loops that have run many times already: RIP and every register as the loop left them, and on it goes.
// Intel SDM vol. 3, 6.5 (faults), 6.15.
#include "rt.h"

enum { MOST = 500 };
#define LIST WIN(800)

static const u8 *fault_rip;
static u64 seen;

static bool at_rip(struct trap *t, u64 vector, u64 error) {
  seen++;
  if (t->vector == vector && t->rip == (u64)fault_rip && t->error == error) return true;
  fail("exception %lu, error %lx, at %lx, not %lu at %lx", t->vector, t->error, t->rip, vector, (u64)fault_rip);
  return false;
}
static u64 fill(struct random *r, u64 *list, u64 n, u64 bad_of) {
  u64 bad = 0;
  for (u64 i = 0; i < n; i++) {
    list[i] = (next(r) >> 8) | 1;
    if (below(r, bad_of) == 0) list[i] = 0, bad++;
  }
  return bad;
}

// ---------------------------------------------------------------------------------------------
// Division by zero, by register and memory; the handler puts a one there. rax and rdx are as before the division.

extern const u8 divide_at[], divide_memory_at[];
SNIPPET(divide, "1: mov (%rsi,%r9,8), %r10; mov %r11, %rax; xor %edx, %edx; stc; .globl divide_at; divide_at: div %r10; adc $0, %rdx; add %rax, %rbx; add %rdx, %r14; inc %r9; cmp %r12, %r9; jb 1b");
SNIPPET(divide_memory, "1: mov %r11d, %eax; cltd; .globl divide_memory_at; divide_memory_at: idivl (%rsi,%r9,8); movslq %eax, %rax; add %rax, %rbx; add %rdx, %r14; inc %r9; cmp %r12, %r9; jb 1b");
static enum after fix_divisor(struct probe *p, struct trap *t) {
  u64 *list = p->data;
  if (!at_rip(t, DE, 0)) return STOP;
  CHECK(t->r.r9 < p->in.r12 && list[t->r.r9] == 0 && t->r.rax == t->r.r11 && t->r.rdx == 0, "r9 %lu rax %lx rdx %lx", t->r.r9, t->r.rax, t->r.rdx);
  list[t->r.r9] = 1;
  t->r.r10 = 1;
  return RESUME;
}
CASE(divide, "hot.divide", 1) {
  struct random r = random_stream(1);
  u64 *list = (u64 *)frame(1);
  for (u64 i = 0; i < rounds / 200; i++) {
    u64 n = 1 + below(&r, MOST), bad = fill(&r, list, n, 50), dividend = next(&r) >> 1, sum = 0, rest = 0;
    // after the first exception CF comes from the resumed DIV (undefined); STC before it makes it 1 where DIV leaves it
    struct probe p = {.in = {.rsi = (u64)list, .r11 = dividend, .r12 = n}, .hook = fix_divisor, .data = list};
    for (u64 j = 0; j < n; j++) {
      u64 d = list[j] ? list[j] : 1;
      sum += dividend / d;
      rest += dividend % d;
    }
    fault_rip = divide_at;
    seen = 0;
    run_probe(&p, divide);
    bool sums = p.end.r.rbx == sum && p.end.r.r14 - rest <= n;  // n carries at most
    CHECK(p.end.vector == DONE && seen == bad && sums, "%lu exceptions, not %lu; %lx, not %lx; %lx, not %lx", seen, bad, p.end.r.rbx, sum, p.end.r.r14, rest);
    fault_rip = divide_memory_at;
    fill(&r, list, n, 50);
    u64 small = (u32)dividend >> 1;
    sum = rest = seen = bad = 0;
    for (u64 j = 0; j < n; j++) {
      list[j] &= 0x7fffffff;
      bad += list[j] == 0;
      u64 d = list[j] ? list[j] : 1;
      sum += small / d;
      rest += small % d;
    }
    p.in.r11 = small;
    run_probe(&p, divide_memory);
    CHECK(p.end.vector == DONE && seen == bad && p.end.r.rbx == sum && p.end.r.r14 == rest, "memory: %lu exceptions, not %lu; %lx, not %lx", seen, bad, p.end.r.rbx, sum);
  }
}

// ---------------------------------------------------------------------------------------------
// Pointers: some are not canonical (#GP, #SS by RBP), some lead to absent pages (#PF). CF is live across the access.

extern const u8 load_at[], load_rbp_at[], store_at[];
#define WALK(name, at, text) \
  SNIPPET(name, "1: mov (%rsi,%r9,8), %rbp; mov %rbp, %rdi; add %r13, %r14; .globl " #at "; " #at ": " text "; adc $0, %r15; add %rax, %rbx; inc %r9; cmp %r12, %r9; jb 1b")
WALK(walk_load, load_at, "mov (%rdi), %rax");
WALK(walk_load_rbp, load_rbp_at, "mov (%rbp), %rax");
WALK(walk_store, store_at, "mov %r9, (%rdi)");

struct walk { u64 *list; u64 vector, error; u64 value; };
static enum after fix_pointer(struct probe *p, struct trap *t) {
  struct walk *w = p->data;
  u64 i = t->r.r9;
  if (!at_rip(t, w->vector, w->error)) return STOP;
  CHECK(t->r.rdi == w->list[i] && t->r.rbp == w->list[i] && t->r.r14 == p->in.r13 * (i + 1), "r9 %lu rdi %lx r14 %lx", i, t->r.rdi, t->r.r14);
  bool carry = t->r.r14 < p->in.r13;  // of the last addition
  CHECK((t->rflags & FL_CF) == carry, "flags %lx", t->rflags);
  if (t->vector == PF) {
    CHECK(p->cr2 == t->r.rdi, "cr2 %lx, not %lx", p->cr2, t->r.rdi);
    map((u8 *)(p->cr2 & -PAGE), frame(100 + i % 200), PTE_RW);
  } else {
    t->r.rdi = t->r.rbp = (u64)&w->value;
  }
  return RESUME;
}
static void walk_with(u64 stream, const u8 *code, const u8 *at, u64 vector, u64 error) {
  struct random r = random_stream(stream);
  struct walk w = {(u64 *)frame(1), vector, error, 7};
  for (u64 i = 0; i < 200; i++) *(u64 *)frame(100 + i) = 7;
  fault_rip = at;
  for (u64 i = 0; i < rounds / 500; i++) {
    u64 n = 1 + below(&r, MOST), bad = 0, step = next(&r), carries = 0, total = 0;
    for (u64 j = 0; j < n; j++) {
      bool is_bad = below(&r, 40) == 0;
      bad += is_bad;
      w.list[j] = is_bad ? (1ul << 63) >> below(&r, 15) : (u64)&w.value;
      if (is_bad && vector == PF) {
        w.list[j] = (u64)WIN(1000 + j) + 8 * (j & 1);
        unmap(WIN(1000 + j));
      }
      total += step;
      carries += total < step;
    }
    for (u32 j = 0; j < 200 && code == walk_store; j++) *(u64 *)frame(100 + j) = 7;
    struct probe p = {.in = {.rsi = (u64)w.list, .r12 = n, .r13 = step}, .hook = fix_pointer, .data = &w};
    seen = 0;
    run_probe(&p, code);
    CHECK(p.end.vector == DONE && seen == bad && p.end.r.r14 == total && p.end.r.r15 == carries, "round %lu: %lu exceptions, not %lu; r14 %lx, not %lx; r15 %lu, not %lu", i, seen, bad, p.end.r.r14, total, p.end.r.r15, carries);
    if (failed()) return;
  }
}
CASE(gp_load, "hot.non-canonical-load", 1) { walk_with(2, walk_load, load_at, GP, 0); }
CASE(gp_store, "hot.non-canonical-store", 1) { walk_with(3, walk_store, store_at, GP, 0); }
CASE(ss_load, "hot.non-canonical-by-rbp", 1) { walk_with(4, walk_load_rbp, load_rbp_at, SS, 0); }
CASE(pf_load, "hot.absent-load", 1) { walk_with(5, walk_load, load_at, PF, 0); }
CASE(pf_store, "hot.absent-store", 1) { walk_with(6, walk_store, store_at, PF, PF_W); }

// ---------------------------------------------------------------------------------------------
// Invalid instructions, breakpoints, #NM: now and then in a loop, by data

extern const u8 ud_at[], bp_at[], nm_at[];
SNIPPET(ud_loop, "1: mov (%rsi,%r9,8), %rax; add %rax, %rbx; test %rax, %rax; jnz 2f; lea 3(%rbx), %rdx; .globl ud_at; ud_at: ud2; add %rdx, %r14; 2: lea (%r9,%r14), %r15; inc %r9; cmp %r12, %r9; jb 1b");
SNIPPET(bp_loop, "1: mov (%rsi,%r9,8), %rax; add %rax, %rbx; test %rax, %rax; jnz 2f; lea 3(%rbx), %rdx; int3; .globl bp_at; bp_at: add %rdx, %r14; 2: lea (%r9,%r14), %r15; inc %r9; cmp %r12, %r9; jb 1b");
static enum after skip_it(struct probe *p, struct trap *t) {
  u64 *list = p->data, sum = 0;
  bool ud = fault_rip == ud_at;
  if (!at_rip(t, ud ? UD : BP, 0)) return STOP;
  for (u64 i = 0; i <= t->r.r9; i++) sum += list[i];
  CHECK(list[t->r.r9] == 0 && t->r.rbx == sum && t->r.rdx == sum + 3 && t->r.rax == 0 && (t->rflags & FL_ZF), "r9 %lu rbx %lx, not %lx", t->r.r9, t->r.rbx, sum);
  if (ud) t->rip += 2;
  return RESUME;
}
static void run_skips(const u8 *code, const u8 *at, u64 stream) {
  struct random r = random_stream(stream);
  u64 *list = (u64 *)frame(1);
  fault_rip = at;
  for (u64 i = 0; i < rounds / 500; i++) {
    u64 n = 1 + below(&r, MOST), bad = fill(&r, list, n, 50), sum = 0, extra = 0;
    for (u64 j = 0; j < n; j++) {
      sum += list[j];
      extra += list[j] ? 0 : sum + 3;
    }
    struct probe p = {.in = {.rsi = (u64)list, .r12 = n}, .hook = skip_it, .data = list};
    seen = 0;
    run_probe(&p, code);
    CHECK(p.end.vector == DONE && seen == bad && p.end.r.rbx == sum && p.end.r.r14 == extra && p.end.r.r15 == n - 1 + extra, "%lu exceptions, not %lu; rbx %lx, not %lx", seen, bad, p.end.r.rbx, sum);
  }
}
CASE(ud, "hot.invalid-opcode", 1) { run_skips(ud_loop, ud_at, 7); }
CASE(bp, "hot.breakpoint", 1) { run_skips(bp_loop, bp_at, 8); }

// CR0.TS comes and goes: the handler clears it, the loop sets it again (lazy switching of vector state)
SNIPPET(nm_loop, "1: test $7, %r9b; jnz 2f; mov %cr0, %rax; or $8, %rax; mov %rax, %cr0; 2: lea (%r9,%r9,2), %rdx; .globl nm_at; nm_at: paddq %xmm1, %xmm0; movq %xmm0, %r14; inc %r9; cmp %r12, %r9; jb 1b");
static enum after clear_ts(struct probe *p, struct trap *t) {
  if (!at_rip(t, NM, 0)) return STOP;
  CHECK(t->r.r9 % 8 == 0 && t->r.r14 == t->r.r9 * 5 && t->r.rdx == 3 * t->r.r9, "r9 %lu r14 %lu", t->r.r9, t->r.r14);
  (void)p;
  asm volatile("clts");
  return RESUME;
}
CASE(nm, "hot.device-not-available", 1) {
  u64 n = rounds / 8;
  fault_rip = nm_at;
  asm volatile("pxor %%xmm0, %%xmm0; movq %0, %%xmm1" : : "r"(5ul));
  struct probe p = {.in = {.r12 = n}, .hook = clear_ts};
  run_probe(&p, nm_loop);
  CHECK(p.end.vector == DONE && seen == (n + 7) / 8 && p.end.r.r14 == 5 * n, "%lu exceptions, r14 %lu", seen, p.end.r.r14);
}

// A loop over more pages than any TLB has entries, which come and go at random
SNIPPET(pages_loop, "1: mov (%rsi,%r9,8), %rdi; add (%rdi), %rbx; adcq $0, %r15; addq $1, 8(%rdi); adc %rax, %r14; lea 5(%rax), %rax; xor %rdi, %r8; inc %r9; cmp %r12, %r9; jb 1b");
static enum after map_back(struct probe *p, struct trap *t) {
  u64 page = (p->cr2 - WINDOW) / PAGE;
  if (t->vector != PF || page < 1200 || page >= 2000) return fail("exception %lu at %lx", t->vector, t->rip), STOP;
  seen++;
  map(WIN(page), frame(100 + (page - 1200)), PTE_RW);
  return RESUME;
}
CASE(pages, "hot.many-pages", 1) {
  struct random r = random_stream(9);
  u64 *list = (u64 *)frame(1), counts[800] = {0};
  for (u32 i = 0; i < 800; i++) ((u64 *)frame(100 + i))[0] = i * 0x9e3779b97f4a7c15;
  for (u64 i = 0; i < rounds / 500; i++) {
    u64 n = 1 + below(&r, MOST), sum = 0, carries = 0, mix = 0;
    for (u64 j = 0; j < n; j++) {
      u64 k = below(&r, 800), was = sum;
      list[j] = (u64)WIN(1200 + k);
      sum += k * 0x9e3779b97f4a7c15;
      carries += sum < was;
      mix ^= list[j];
      counts[k]++;
    }
    for (u32 j = 0; j < 50; j++) unmap(WIN(1200 + below(&r, 800)));
    struct probe p = {.in = {.rsi = (u64)list, .r12 = n}, .hook = map_back};
    run_probe(&p, pages_loop);
    CHECK(p.end.vector == DONE && p.end.r.rbx == sum && p.end.r.r15 == carries && p.end.r.r8 == mix && p.end.r.rax == 5 * n, "round %lu: %lx, not %lx", i, p.end.r.rbx, sum);
  }
  for (u32 i = 0; i < 800; i++) CHECK(((u64 *)frame(100 + i))[1] == counts[i], "page %u: %lu, not %lu", i, ((u64 *)frame(100 + i))[1], counts[i]);
  note("%lu faults", seen);
}
