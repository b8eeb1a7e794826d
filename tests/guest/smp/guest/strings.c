// SPDX-License-Identifier: Apache-2.0
// Repeated string instructions that fault in their middle, in both directions, and go on when the handler has mapped the
// page. Intel SDM vol. 2, REP: at a fault the registers hold what has been done, and the instruction is resumed there.
#include "rt.h"

#define SOURCE WIN(600)
#define TARGET WIN(610)
enum { PAGES = 4, SOURCE_FRAME = 300, TARGET_FRAME = 310, BYTES = PAGES * PAGE };

enum op { MOVS, STOS, LODS, CMPS, SCAS };
enum repeat { REP, REPE, REPNE };

#define STRING_CODE(name) \
  SNIPPET(name##b, "rep " #name "b"); SNIPPET(name##w, "rep " #name "w"); SNIPPET(name##l, "rep " #name "l"); SNIPPET(name##q, "rep " #name "q")
STRING_CODE(movs);
STRING_CODE(stos);
STRING_CODE(lods);
STRING_CODE(cmps);
STRING_CODE(scas);
#define NE_CODE(name) \
  SNIPPET(ne_##name##b, "repne " #name "b"); SNIPPET(ne_##name##w, "repne " #name "w"); SNIPPET(ne_##name##l, "repne " #name "l"); SNIPPET(ne_##name##q, "repne " #name "q")
NE_CODE(cmps);
NE_CODE(scas);
static const u8 *const codes[5][4] = {{movsb, movsw, movsl, movsq}, {stosb, stosw, stosl, stosq}, {lodsb, lodsw, lodsl, lodsq},
                                      {cmpsb, cmpsw, cmpsl, cmpsq}, {scasb, scasw, scasl, scasq}};
static const u8 *const ne_codes[2][4] = {{ne_cmpsb, ne_cmpsw, ne_cmpsl, ne_cmpsq}, {ne_scasb, ne_scasw, ne_scasl, ne_scasq}};

// One instruction: what it starts with, and what it comes to by the manual's pseudo-code
struct run {
  enum op op;
  enum repeat repeat;
  u32 size;
  bool down;
  u64 source, target;  // offsets
  u64 count, rax, flags;
  const u8 *code;
  bool strict;         // the flags at a fault are those from before the instruction
  u32 faults;
};
static u8 shadow_source[BYTES + 16] __attribute__((aligned(8))), shadow_target[BYTES + 16] __attribute__((aligned(8)));

static u8 *target_byte(u64 offset) { return frame(TARGET_FRAME + 2 * (offset / PAGE)) + offset % PAGE; }
static void set_pages(struct random *r, bool faults) {
  for (u32 i = 0; i < PAGES; i++) {
    u32 a = faults ? below(r, 3) : 2, b = faults ? below(r, 4) : 2;
    if (a) map(SOURCE + i * PAGE, frame(SOURCE_FRAME + 2 * i), PTE_P | PTE_U);
    else unmap(SOURCE + i * PAGE);
    if (b > 1) map(TARGET + i * PAGE, frame(TARGET_FRAME + 2 * i), PTE_RW);
    else if (b) map(TARGET + i * PAGE, frame(TARGET_FRAME + 2 * i), PTE_P | PTE_U);
    else unmap(TARGET + i * PAGE);
  }
}

static u64 get(const u8 *from, u32 size) {
  u64 v = 0;
  memcpy(&v, from, size);
  return v;
}
static u64 compare_flags(u64 a, u64 b, u32 size, u64 flags) {
  u32 top = size * 8 - 1;
  u64 mask = size == 8 ? ~0ul : (1ul << 8 * size) - 1, d = (a - b) & mask;
  flags &= ~(u64)FL_SIX;
  flags |= a < b ? FL_CF : 0;
  flags |= d == 0 ? FL_ZF : 0;
  flags |= d >> top & 1 ? FL_SF : 0;
  flags |= __builtin_parity(d & 0xff) ? 0 : FL_PF;
  flags |= (a & 15) < (b & 15) ? FL_AF : 0;
  flags |= ((a ^ b) & (a ^ d)) >> top & 1 ? FL_OF : 0;
  return flags;
}
// Element by element on the shadows; leaves in `run` what the registers should hold
static void evaluate(struct run *run) {
  s64 step = run->down ? -(s64)run->size : (s64)run->size;
  while (run->count) {
    u8 *source = shadow_source + run->source, *target = shadow_target + run->target;
    u64 a = get(source, run->size), b = get(target, run->size), mask = run->size == 8 ? ~0ul : (1ul << 8 * run->size) - 1;
    switch (run->op) {
      case MOVS: memcpy(target, &a, run->size); break;
      case STOS: memcpy(target, &run->rax, run->size); break;
      case LODS: run->rax = run->size == 4 ? a : (run->rax & ~mask) | a; break;
      case CMPS: run->flags = compare_flags(a, b, run->size, run->flags); break;
      case SCAS: run->flags = compare_flags(run->rax & mask, b, run->size, run->flags); break;
    }
    if (run->op != STOS && run->op != SCAS) run->source += step;
    if (run->op != LODS) run->target += step;
    run->count--;
    if (run->op >= CMPS && !(run->flags & FL_ZF) == (run->repeat == REPE)) break;
  }
}

static enum after map_page(struct probe *p, struct trap *t) {
  struct run *run = p->data;
  u64 page = p->cr2 & -PAGE;
  bool in_source = page >= (u64)SOURCE && page < (u64)SOURCE + BYTES, in_target = page >= (u64)TARGET && page < (u64)TARGET + BYTES;
  if (t->vector != PF || (!in_source && !in_target)) return fail("exception %lu at %lx, cr2 %lx", t->vector, t->rip, p->cr2), STOP;
  run->faults++;
  u64 done = p->in.rcx - t->r.rcx, step = run->down ? -(u64)run->size : run->size;
  u64 at = in_source ? t->r.rsi : t->r.rdi, first = page > at ? page : at;
  CHECK(t->rip == (u64)run->code, "rip %lx, not %lx", t->rip, (u64)run->code);
  CHECK(p->cr2 == first && first < at + run->size, "cr2 %lx, not %lx", p->cr2, first);
  if (run->op != STOS && run->op != SCAS) CHECK(t->r.rsi == p->in.rsi + done * step, "rsi %lx after %lu", t->r.rsi, done);
  if (run->op != LODS) CHECK(t->r.rdi == p->in.rdi + done * step, "rdi %lx after %lu", t->r.rdi, done);
  CHECK(t->error == ((in_target && run->op <= STOS ? PF_W : 0) | (*pte_of((u8 *)page) & PTE_P)), "error %lx", t->error);
  if (run->op < CMPS || run->strict) CHECK((t->rflags & ~(u64)FL_RF) == (p->rflags | FL_1), "flags %lx at the fault, not %lx", t->rflags, p->rflags);
  if (in_source) map((u8 *)page, frame(SOURCE_FRAME + 2 * ((page - (u64)SOURCE) / PAGE)), PTE_P | PTE_U);
  else map((u8 *)page, frame(TARGET_FRAME + 2 * ((page - (u64)TARGET) / PAGE)), run->op <= STOS ? PTE_RW : PTE_P);
  return failed() ? STOP : RESUME;
}

static void prepare(struct random *r, struct run *run, enum op op) {
  *run = (struct run){.op = op, .size = 1u << below(r, 4), .down = next(r) >> 63, .rax = next(r), .flags = next(r) & FL_SIX};
  run->repeat = op < CMPS ? REP : next(r) >> 63 ? REPE : REPNE;
  u32 log = __builtin_ctz(run->size);
  run->code = run->repeat == REPNE ? ne_codes[op - CMPS][log] : codes[op][log];
  u64 length = (next(r) >> 62 ? below(r, 2 * PAGE) : below(r, 40)) & -(u64)run->size;
  run->count = length / run->size;
  u64 room = BYTES - length - 64;
  run->source = below(r, room);
  run->target = below(r, room);
  if (next(r) >> 62 == 0) run->target = PAGE - below(r, length + 2);  // a page's end is on the way
  if (next(r) >> 62 == 0) run->source = PAGE - below(r, length + 2);
  if (run->source > room) run->source = 0;
  if (run->target > room) run->target = 1;
  // Comparisons go on for a while: all elements are the same (or all are not), but for one now and then
  u8 fill = run->rax;
  u64 pattern = fill * 0x0101010101010101;
  if (op == SCAS) run->rax = pattern;
  for (u32 i = 0; op < CMPS && i < BYTES; i += 8) {
    *(u64 *)(shadow_source + i) = i * 0x9e3779b97f4a7c15;
    *(u64 *)(shadow_target + i) = i * 0xd1342543de82ef95;
  }
  if (op >= CMPS) {
    memset(shadow_source, fill, BYTES);
    memset(shadow_target, run->repeat == REPE ? fill : ~fill, BYTES);
  }
  if (op >= CMPS && run->count && next(r) >> 63) {
    u8 *element = shadow_target + run->target + below(r, run->count) * run->size;
    if (run->repeat == REPE) *element ^= 1 << below(r, 8);
    else memcpy(element, &pattern, run->size);
  }
  for (u32 i = 0; i < PAGES; i++) {
    memcpy(frame(SOURCE_FRAME + 2 * i), shadow_source + i * PAGE, PAGE);
    memcpy(frame(TARGET_FRAME + 2 * i), shadow_target + i * PAGE, PAGE);
  }
  if (run->down && run->count) {
    run->source += length - run->size;
    run->target += length - run->size;
  }
}
static void run_one(struct random *r, enum op op, bool faults, bool strict, u64 round, u64 *all_faults) {
  struct run run, wanted;
  prepare(r, &run, op);
  run.strict = strict;
  set_pages(r, faults);
  wanted = run;
  evaluate(&wanted);
  u64 flags = run.flags | (run.down ? FL_DF : 0);
  struct probe p = {.in = {.rcx = run.count, .rax = run.rax, .rsi = (u64)SOURCE + run.source, .rdi = (u64)TARGET + run.target,
                           .rsp = (u64)frame(1), .rbx = 0xbbbb, .r15 = 0xffff},
                    .rflags = flags, .hook = map_page, .data = &run};
  run_probe(&p, run.code);
  *all_faults += run.faults;
  struct regs *out = &p.end.r;
  CHECK(p.end.vector == DONE && out->rcx == wanted.count && out->rax == wanted.rax && out->rsi == (u64)SOURCE + wanted.source &&
        out->rdi == (u64)TARGET + wanted.target && out->rbx == 0xbbbb && out->r15 == 0xffff && out->rsp == (u64)frame(1),
        "vector %lu rcx %lx, not %lx, rax %lx, not %lx, rsi %lx, rdi %lx", p.end.vector, out->rcx, wanted.count, out->rax, wanted.rax, out->rsi, out->rdi);
  CHECK((p.end.rflags & (FL_SIX | FL_DF)) == (wanted.flags | (run.down ? FL_DF : 0)), "flags %lx, not %lx", p.end.rflags, wanted.flags);
  for (u32 i = 0; i < BYTES; i += 8) {
    u64 is = *(u64 *)target_byte(i), should = *(u64 *)(shadow_target + i);
    if (is == should) continue;
    fail("bytes from %x are %lx, not %lx", i, is, should);
    break;
  }
  if (failed()) die("round %lu: op %u repeat %u size %u %s, %lu elements from %lx to %lx", round, op, run.repeat, run.size, run.down ? "down" : "up", run.count, run.source, run.target);
}
static void run_all(enum op op, bool strict) {
  struct random r = random_stream(op);
  u64 faults = 0;
  for (u64 i = 0; i < rounds / 200; i++) run_one(&r, op, i % 8 != 0, strict, i, &faults);
  note("%lu faults", faults);
}
CASE(rep_movs, "rep.movs", 1) { run_all(MOVS, false); }
CASE(rep_stos, "rep.stos", 1) { run_all(STOS, false); }
CASE(rep_lods, "rep.lods", 1) { run_all(LODS, false); }
CASE(rep_cmps, "rep.cmps", 1) { run_all(CMPS, false); }
CASE(rep_scas, "rep.scas", 1) { run_all(SCAS, false); }
// Intel SDM vol. 2, REP: "When a fault occurs during the execution of a CMPS or SCAS instruction that is prefixed with
// REPE or REPNE, the EFLAGS value is restored to the state prior to the execution of the instruction."
CASE(rep_cmps_flags, "rep.cmps-flags-at-fault", 1) { run_all(CMPS, true); }
CASE(rep_scas_flags, "rep.scas-flags-at-fault", 1) { run_all(SCAS, true); }

// Overlap: what has just been stored is loaded again, so a copy by blocks would be wrong
SNIPPET(overlap_b, "rep movsb");
SNIPPET(overlap_q, "rep movsq");
CASE(rep_overlap, "rep.movs-overlap", 1) {
  u8 *at = WIN(620);
  for (u32 i = 0; i < 3; i++) map(at + i * PAGE, frame(330 + 2 * i), PTE_RW);
  for (s64 distance = -40; distance <= 40; distance++) {
    for (u32 wide = 0; wide < 2; wide++) {
      for (u32 down = 0; down < 2; down++) {
        u32 size = wide ? 8 : 1, n = 600 / size;
        u8 *from = at + PAGE - 300;
        for (s64 i = -100; i < 800; i++) shadow_source[i + 100] = from[i] = i * 5;
        for (u32 i = 0; i < n; i++) {
          u64 v, k = 100 + (down ? n - 1 - i : i) * size;
          memcpy(&v, shadow_source + k, size);
          memcpy(shadow_source + k + distance, &v, size);
        }
        u64 start = down ? (n - 1) * size : 0;
        struct probe p = {.in = {.rcx = n, .rsi = (u64)from + start, .rdi = (u64)from + start + distance}, .rflags = down ? FL_DF : 0};
        run_probe(&p, wide ? overlap_q : overlap_b);
        for (s64 i = -100; i < 800; i++)
          if (from[i] != shadow_source[i + 100]) return fail("distance %ld, size %u, %s: byte %ld is %x, not %x", distance, size, down ? "down" : "up", i, from[i], shadow_source[i + 100]);
      }
    }
  }
}

// 32-bit addresses (67): ECX, ESI and EDI count, and their upper halves become zero only when they change
SNIPPET(addr32, "addr32 rep movsb");
CASE(rep_addr32, "rep.address-size", 1) {
  u8 *from = frame(340), *to = frame(342);
  for (u32 n = 0; n < 300; n += 37) {
    for (u32 i = 0; i < 300; i++) from[i] = i + n, to[i] = 0;
    u64 high = 0x5a5a5a5a00000000;
    struct probe p = {.in = {.rcx = high | n, .rsi = high | (u64)from, .rdi = high | (u64)to}};
    run_probe(&p, addr32);
    CHECK(p.end.vector == DONE && (u32)p.end.r.rcx == 0 && (u32)p.end.r.rsi == (u64)from + n && (u32)p.end.r.rdi == (u64)to + n, "%u: rcx %lx rsi %lx", n, p.end.r.rcx, p.end.r.rsi);
    if (n) CHECK(p.end.r.rsi >> 32 == 0 && p.end.r.rdi >> 32 == 0 && p.end.r.rcx >> 32 == 0, "%u: upper halves: rcx %lx rsi %lx rdi %lx", n, p.end.r.rcx, p.end.r.rsi, p.end.r.rdi);
    for (u32 i = 0; i < 300; i++) CHECK(to[i] == (i < n ? (u8)(i + n) : 0), "%u: byte %u", n, i);
  }
}

// An interrupt in the middle of long ones: the count goes on where it was. The handler sees registers as after an element.
static volatile u64 taken, inside;
static void in_string(struct trap *t) {
  taken++;
  if (t->r.rcx && t->rip == *(u64 *)&t->r.rbx) {
    inside++;
    u64 done = t->r.rbp - t->r.rcx;
    if (t->r.rdi != t->r.r8 + done) die("rdi %lx after %lu bytes from %lx", t->r.rdi, done, t->r.r8);
  }
  eoi();
}
static volatile bool string_stop;
static void interrupt_strings(u32 me) {
  barrier(2);
  if (me == 1) {
    while (!string_stop) {
      u64 before = taken;
      send_ipi(0, COUNT);
      for (u32 spin = 0; taken == before && !string_stop && spin < 1000000; spin++) pause();
    }
    return;
  }
  u8 *to = WIN(700);
  sti();
  for (u64 i = 0; (i < rounds / 200 || (inside < 20 && i < rounds / 20)) && !failed(); i++) {
    u64 n = 64 * PAGE - 100, count = n;
    u8 *at = to + 50;
    asm volatile("mov %0, %%r8; mov %1, %%rbp; lea 1f(%%rip), %%rbx; 1: rep stosb"
                 : "+D"(at), "+c"(count) : "a"(i) : "rbx", "r8", "rbp", "memory", "cc");
    CHECK(count == 0 && at == to + 50 + n, "rcx %lu, rdi %p", count, at);
    for (u64 j = 50; j < 50 + n; j += 997) CHECK(to[j] == (u8)i, "round %lu: byte %lu", i, j);
  }
  cli();
  string_stop = true;
}
CASE(rep_interrupted, "rep.interrupted", 2) {
  for (u32 i = 0; i < 64; i++) map(WIN(700 + i), frame(400 + i), PTE_RW);
  handlers[COUNT] = in_string;
  run_on(2, interrupt_strings);
  note("%lu interrupts, %lu inside", taken, inside);
}
