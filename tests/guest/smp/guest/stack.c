// SPDX-License-Identifier: Apache-2.0
// Stack instructions where the stack faults: RSP, RIP and all else are as before, and the resumed instruction does what
// it would have done. Intel SDM vol. 3, 6.15, interrupt 14; vol. 2 for each.
#include "rt.h"

// The stack: LOW and HIGH meet where accesses fault; the page below is always there.
#define BELOW WIN(549)
#define LOW WIN(550)
#define HIGH WIN(551)
#define OPERAND WIN(560)
enum { FRAME_BELOW = 220, FRAME_LOW = 222, FRAME_HIGH = 224, FRAME_OPERAND = 226 };

// A piece of code with rsp = where it accesses + above. rdx and what is on the stack point to `landed`; rbp = the place, rsi points
// to plain memory, rcx and others hold data.
struct stack_form {
  const char *name;
  const u8 *code;
  u32 size, above, writes, special;
};
enum { AT_RBP = 1, MORE = 2 };  // its access is at rbp; it has other accesses, too
extern const struct stack_form stack_forms_begin[], stack_forms_end[];
asm(".macro STACK name, size, above, writes, special, text\n"
    " .pushsection .rodata.names; 9: .asciz \"\\name\"; .popsection\n"
    " .pushsection .text.snippets; 7: \\text; int $0x70; .popsection\n"
    " .pushsection stack_forms, \"a\"; .quad 9b, 7b; .long \\size, \\above, \\writes, \\special; .popsection\n"
    ".endm\n"
    ".pushsection .text.snippets; landed: inc %eax; int $0x70; .popsection");
extern const u8 landed[];
#define STACK_FORM(name, size, above, writes, special, text) \
  asm("STACK \"" name "\"," #size "," #above "," #writes "," #special ",\"" text "\"")
STACK_FORM("push r", 8, 8, 1, 0, "push %rcx");
STACK_FORM("push r12", 8, 8, 1, 0, "push %r12");
STACK_FORM("push rsp", 8, 8, 1, 0, "push %rsp");
STACK_FORM("push imm8", 8, 8, 1, 0, "push $-7");
STACK_FORM("push imm32", 8, 8, 1, 0, "push $0x12345678");
STACK_FORM("push m", 8, 8, 1, 0, "push (%rsi)");
STACK_FORM("push fs", 8, 8, 1, 0, "push %fs");
STACK_FORM("push r16", 2, 2, 1, 0, "push %cx");
STACK_FORM("pushfq", 8, 8, 1, 0, "pushfq");
STACK_FORM("pop r", 8, 0, 0, 0, "pop %rcx");
STACK_FORM("pop r15", 8, 0, 0, 0, "pop %r15");
STACK_FORM("pop rsp", 8, 0, 0, 0, "pop %rsp");
STACK_FORM("pop m", 8, 0, 0, 0, "pop (%rsi)");
STACK_FORM("pop r16", 2, 0, 0, 0, "pop %cx");
STACK_FORM("call rel", 8, 8, 1, 0, "call 1f; 1: nop");
STACK_FORM("call r", 8, 8, 1, 0, "call *%rdx");
STACK_FORM("call m", 8, 8, 1, 0, "call *8(%rsi)");
STACK_FORM("ret", 8, 0, 0, 0, "ret");
STACK_FORM("ret imm", 8, 0, 0, 0, "ret $24");
STACK_FORM("leave", 8, 64, 0, 1, "leave");
STACK_FORM("enter 0", 8, 8, 1, 0, "enter $0, $0");
// Its last access is by the final RSP: vol. 2, ENTER, #PF
STACK_FORM("enter 40", 8, 8, 1, 2, "enter $40, $0");
STACK_FORM("mov m,r", 8, 0, 0, 0, "mov (%rsp), %rcx");
STACK_FORM("mov r,m below", 8, 8, 1, 0, "mov %rcx, -8(%rsp)");
STACK_FORM("mov r,m sib", 8, 32, 1, 0, "mov %rcx, -32(%rsp,%r14,4)");
STACK_FORM("inc m", 8, 0, 1, 0, "incq (%rsp)");
STACK_FORM("xchg m", 8, 0, 1, 0, "xchg %rcx, (%rsp)");
STACK_FORM("lock xadd m", 8, 0, 1, 0, "lock xadd %rcx, (%rsp)");
STACK_FORM("movups m", 8, 0, 0, 0, "movq (%rsp), %xmm0; movq %xmm0, %rcx");
STACK_FORM("push m by rsp", 8, 8, 1, 2, "push 64(%rsp)");
STACK_FORM("pop m by rsp", 8, 0, 0, 2, "pop 64(%rsp)");
STACK_FORM("pop m by rbp", 8, 0, 0, 2, "pop 80(%rbp)");
STACK_FORM("call m by rsp", 8, 8, 1, 2, "call *64(%rsp)");
// Two of them in one block: the second one faults, the first must not be undone
STACK_FORM("push push", 8, 8, 1, 0, "push %rcx; push %rax");
STACK_FORM("pop pop", 8, 0, 0, 0, "pop %rcx; pop %rbx");
STACK_FORM("call ret", 8, 8, 1, 0, "call 1f; jmp 2f; 1: ret; 2: nop");

enum state { GOOD, ABSENT, READ_ONLY };
static void set_page(const u8 *page, u32 number, enum state state) {
  if (state == ABSENT) unmap(page);
  else map(page, frame(number), state == GOOD ? PTE_RW : PTE_P | PTE_U);
}
static u8 *backing(u64 at) {
  u32 number = at < (u64)LOW ? FRAME_BELOW : at < (u64)HIGH ? FRAME_LOW : FRAME_HIGH;
  return frame(number) + (at & (PAGE - 1));
}

struct outcome { struct trap end; u8 memory[256]; u8 operand[32]; };
struct plan { const struct stack_form *form; enum state state[2]; u32 faults; u64 at; bool user; };

static enum after at_fault(struct probe *p, struct trap *t) {
  struct plan *plan = p->data;
  const char *name = plan->form->name;
  u64 page = p->cr2 & -PAGE;
  if (t->vector != PF || (page != (u64)LOW && page != (u64)HIGH)) return fail("%s: exception %lu at %lx, cr2 %lx", name, t->vector, t->rip, p->cr2), STOP;
  u32 which = page == (u64)HIGH;
  enum state state = plan->state[which];
  if (state == GOOD) return fail("%s: a fault by %lx, which is allowed; error %lx", name, p->cr2, t->error), STOP;
  u64 fixed = (state == READ_ONLY ? PF_P : 0) | (plan->user ? PF_U : 0);
  bool more = plan->form->special & MORE;
  CHECK((t->error & ~(u64)PF_W) == fixed && (more || plan->form->writes || !(t->error & PF_W)), "%s: error %lx", name, t->error);
  if (plan->faults++ == 0 && t->rip == (u64)plan->form->code) {
    CHECK(more || p->cr2 == (plan->at > page ? plan->at : page), "%s: cr2 %lx, not %lx", name, p->cr2, plan->at > page ? plan->at : page);
    for (u32 i = 0; i < 16; i++) CHECK(t->gpr[i] == ((u64 *)&p->in)[i], "%s: register %u is %lx, not %lx", name, i, t->gpr[i], ((u64 *)&p->in)[i]);
    CHECK((t->rflags & ~(u64)FL_RF) == (p->rflags | FL_1), "%s: flags %lx", name, t->rflags);
  }
  plan->state[which] = GOOD;
  set_page((u8 *)page, which ? FRAME_HIGH : FRAME_LOW, GOOD);
  return RESUME;
}

static void run(struct plan *plan, struct random r, struct outcome *out) {
  const struct stack_form *f = plan->form;
  struct probe p = {.rflags = next(&r) & FL_SIX, .cs = plan->user ? USER64 : 0, .hook = at_fault, .data = plan};
  for (u32 i = 0; i < 16; i++) ((u64 *)&p.in)[i] = next(&r);
  for (u64 at = plan->at - 128; at < plan->at + 128; at++) *backing(at) = next(&r) >> 32;
  // What RET and POP find; and, for operands at a distance, 64 bytes further
  for (u32 i = 0; i < 8; i++) *backing(plan->at + i) = *backing(plan->at + 72 + i) = (u64)landed >> 8 * i;
  u64 *operand = (u64 *)frame(FRAME_OPERAND);
  operand[0] = next(&r);
  operand[1] = (u64)landed;
  map(OPERAND, operand, PTE_RW);
  p.in.rdx = (u64)landed;
  p.in.rsi = (u64)OPERAND;
  p.in.rbp = plan->at;
  p.in.rsp = f->special & AT_RBP ? (u64)OPERAND + 2048 : plan->at + f->above;
  p.in.r14 = 0;
  set_page(BELOW, FRAME_BELOW, GOOD);
  set_page(LOW, FRAME_LOW, plan->state[0]);
  set_page(HIGH, FRAME_HIGH, plan->state[1]);
  run_probe(&p, f->code);
  out->end = p.end;
  for (u32 i = 0; i < 256; i++) out->memory[i] = *backing(plan->at - 128 + i);
  memcpy(out->operand, operand, 32);
}
static void compare(const char *name, const struct outcome *is, const struct outcome *wanted) {
  CHECK(is->end.vector == wanted->end.vector && is->end.rip == wanted->end.rip, "%s: vector %lu rip %lx, not %lu %lx", name, is->end.vector, is->end.rip, wanted->end.vector, wanted->end.rip);
  for (u32 i = 0; i < 16; i++) CHECK(is->end.gpr[i] == wanted->end.gpr[i], "%s: register %u is %lx, not %lx", name, i, is->end.gpr[i], wanted->end.gpr[i]);
  CHECK(((is->end.rflags ^ wanted->end.rflags) & ~(u64)FL_RF) == 0, "%s: flags %lx, not %lx", name, is->end.rflags, wanted->end.rflags);
  // PUSHFQ and an exception may push RF, which an image resumed from a fault may have
  for (u32 i = 0; i < 256; i++)
    if (is->memory[i] != wanted->memory[i]) return fail("%s: byte %d is %x, not %x", name, (int)i - 128, is->memory[i], wanted->memory[i]);
  CHECK(!memcmp(is->operand, wanted->operand, 32), "%s: other operand", name);
}

static void run_all(enum state low, enum state high, bool user) {
  static struct outcome right, is;
  u32 count = 0;
  for (const struct stack_form *f = stack_forms_begin; f < stack_forms_end; f++, count++) {
    // from well inside LOW to well inside HIGH, in steps of a byte around the boundary
    for (s64 offset = -24; offset <= 16; offset++) {
      for (u64 i = 0; i < rounds / 100000 + 1; i++) {
        struct random r = random_stream(count * 1000 + offset * 7 + i);
        struct plan good = {f, .at = (u64)HIGH + offset, .user = user}, bad = {f, {low, high}, .at = (u64)HIGH + offset, .user = user};
        run(&good, r, &right);
        run(&bad, r, &is);
        CHECK(good.faults == 0, "%s: %u faults on good pages", f->name, good.faults);
        compare(f->name, &is, &right);
        bool touches_low = offset < 0, touches_high = offset + (s64)f->size > 0;
        bool must = (touches_low && (low == ABSENT || (low == READ_ONLY && f->writes))) || (touches_high && (high == ABSENT || (high == READ_ONLY && f->writes)));
        CHECK(bad.faults || !must, "%s: no fault at offset %ld", f->name, offset);
        if (failed()) return fail("offset %ld", offset);
      }
    }
  }
  note("%u instructions", count);
}
CASE(low_absent, "stack.low-absent", 1) { run_all(ABSENT, GOOD, false); }
CASE(high_absent, "stack.high-absent", 1) { run_all(GOOD, ABSENT, false); }
CASE(both_absent, "stack.both-absent", 1) { run_all(ABSENT, ABSENT, false); }
CASE(low_read_only, "stack.low-read-only", 1) { run_all(READ_ONLY, GOOD, false); }
CASE(high_read_only, "stack.high-read-only", 1) { run_all(GOOD, READ_ONLY, false); }
CASE(user_absent, "stack.low-absent-user", 1) { run_all(ABSENT, GOOD, true); }

// A stack that grows by faults, as a kernel grows one: deep recursion through a hundred pages
static u32 grown;
static enum after grow(struct probe *p, struct trap *t) {
  u64 page = p->cr2 & -PAGE;
  if (t->vector != PF || page < (u64)WIN(1000) || page >= (u64)WIN(1200)) return fail("exception %lu at %lx, cr2 %lx", t->vector, t->rip, p->cr2), STOP;
  map((u8 *)page, frame(500 + (page - (u64)WIN(1000)) / PAGE), PTE_RW);
  grown++;
  return RESUME;
}
SNIPPET(recursion, "call 1f; int $0x70; 1: push %rcx; push %rdx; sub $24, %rsp; mov %rcx, 8(%rsp); dec %rcx; jz 2f; lea 1(%rdx), %rdx; call 1b; 2:\n"
                   "mov 8(%rsp), %rbx; add %rbx, %rax; add $24, %rsp; pop %rdx; pop %rcx; ret");
CASE(grow, "stack.grow", 1) {
  for (u64 depth = 100; depth <= 14000; depth += 1900) {
    for (u32 i = 1000; i < 1200; i++) unmap(WIN(i));
    grown = 0;
    u64 pages = (depth * 48 + 8 + PAGE - 1) / PAGE;
    struct probe p = {.in = {.rcx = depth, .rsp = (u64)WIN(1200)}, .hook = grow};
    run_probe(&p, recursion);
    CHECK(p.end.vector == DONE && p.end.r.rax == depth * (depth + 1) / 2 && p.end.r.rsp == p.in.rsp && p.end.r.rcx == depth, "depth %lu: rax %lu rsp %lx", depth, p.end.r.rax, p.end.r.rsp);
    CHECK(grown == pages, "depth %lu: %u pages, not %lu", depth, grown, pages);
  }
}

// ENTER with nested frames: reads the outer frames' pointers, which are on another page. Vol. 2, ENTER.
SNIPPET(enter_nested, "enter $32, $3; mov %rbp, %rax; mov %rsp, %rbx; leave; mov %rsp, %rcx");
CASE(enter, "stack.enter-nested", 1) {
  for (s64 offset = -40; offset <= 40; offset++) {
    struct outcome o[2];
    struct probe p[2];
    for (u32 bad = 0; bad < 2; bad++) {
      struct plan plan = {.form = &(struct stack_form){"enter", enter_nested, 8, 8, 1, 0}, .state = {bad ? ABSENT : GOOD, bad ? ABSENT : GOOD}};
      set_page(BELOW, FRAME_BELOW, GOOD);
      set_page(LOW, FRAME_LOW, plan.state[0]);
      set_page(HIGH, FRAME_HIGH, plan.state[1]);
      for (u64 i = 0; i < 512; i++) *backing((u64)HIGH - 256 + i) = i * 11;
      p[bad] = (struct probe){.in = {.rbp = (u64)HIGH + offset + 100, .rsp = (u64)HIGH + offset}, .hook = at_fault, .data = &plan};
      plan.at = p[bad].in.rsp - 8;
      p[bad].rflags = 0;
      plan.faults = 1;  // which access comes first is not of interest here
      run_probe(&p[bad], enter_nested);
      o[bad].end = p[bad].end;
    }
    u64 rsp = p[0].in.rsp, frame_pointer = rsp - 8;
    struct regs *out = &o[0].end.r;
    CHECK(out->rax == frame_pointer && out->rbx == frame_pointer - 24 - 32 && out->rbp == p[0].in.rbp && out->rcx == rsp, "offset %ld: rax %lx rbx %lx rbp %lx rcx %lx for rsp %lx", offset, out->rax, out->rbx, out->rbp, out->rcx, rsp);
    CHECK(!memcmp(&o[0].end.r, &o[1].end.r, sizeof o[0].end.r), "offset %ld: not as without faults: rsp %lx", offset, o[1].end.r.rsp);
  }
}

// IRETQ that takes its five words off a page that is not there
SNIPPET(iret_code, "iretq");
CASE(iret, "stack.iretq-absent", 1) {
  for (s64 offset = -48; offset <= 8; offset += 4) {
    u64 words[5] = {(u64)landed, CODE64, FL_1 | FL_CF | FL_ZF, (u64)OPERAND + 64, DATA};
    u64 at = (u64)HIGH + offset;
    map(OPERAND, frame(FRAME_OPERAND), PTE_RW);
    for (u32 i = 0; i < 40; i++) *backing(at + i) = ((u8 *)words)[i];
    struct plan plan = {.form = &(struct stack_form){"iretq", iret_code, 40, 0, 0, 0}, .state = {ABSENT, ABSENT}, .at = at};
    set_page(LOW, FRAME_LOW, ABSENT);
    set_page(HIGH, FRAME_HIGH, ABSENT);
    struct probe p = {.in = {.rax = 1, .rsp = at}, .rflags = FL_SF, .hook = at_fault, .data = &plan};
    run_probe(&p, iret_code);
    CHECK(p.end.vector == DONE && p.end.r.rax == 2 && p.end.r.rsp == words[3] && (p.end.rflags & FL_SIX) == FL_CF, "offset %ld: vector %lu rax %lu rsp %lx flags %lx", offset, p.end.vector, p.end.r.rax, p.end.r.rsp, p.end.rflags);
    CHECK(plan.faults == 1u + (offset > -40 && offset < 0), "offset %ld: %u faults", offset, plan.faults);
  }
}
