// SPDX-License-Identifier: Apache-2.0
// Every form of forms.S on pages that are absent or read-only: the fault has the right CR2, error code and RIP, nothing
// has changed, and when it is resumed all is as if there had been none. Intel SDM vol. 3, 4.7 and 6.15, interrupt 14.
#include "forms.h"

// Two pages that are no neighbours in memory. An operand is in A, in B, or in both.
#define A WIN(500)
#define B WIN(501)
enum { FRAME_A = 200, FRAME_B = 202 };
enum state { GOOD, ABSENT, READ_ONLY };

static u8 *backing(const u8 *at) { return frame(at < B ? FRAME_A : FRAME_B) + ((u64)at & (PAGE - 1)); }
static void put_memory(const u8 *operand, const u8 *from) {
  for (u32 i = 0; i < SPAN; i++) *backing(operand - MARGIN + i) = from[i];
}
static void get_memory(const u8 *operand, u8 *to) {
  for (u32 i = 0; i < SPAN; i++) to[i] = *backing(operand - MARGIN + i);
}
static void set_page(const u8 *page, enum state state) {
  const u8 *to = frame(page == A ? FRAME_A : FRAME_B);
  if (state == ABSENT) unmap(page);
  else map(page, to, state == GOOD ? PTE_RW : PTE_P | PTE_U);
}

struct plan {
  const char *what;
  const struct form *form;
  const struct input *in;
  u8 *operand;
  enum state state[2];  // of A and B
  bool strict;          // a read-modify-write that finds no page faults as a write
  u32 faults;
  struct regs r;        // as the probe began
};

// 8.1.1: a vector store may be made in several accesses, of which the first may have been done when a later one faults.
static bool memory_untouched(const struct plan *plan, const u8 *now) {
  const u8 *before = plan->in->memory;
  for (u32 i = 0; i < SPAN; i++) {
    bool in_operand = i >= MARGIN && i < MARGIN + plan->form->size;
    if (now[i] != before[i] && !(in_operand && plan->form->size > 8 && (plan->form->kind & FORM_KIND) == FORM_W)) return false;
  }
  return true;
}
static bool right_error(const struct plan *plan, u64 error, enum state state) {
  u64 fixed = (state == READ_ONLY ? PF_P : 0) | (plan->in->cs ? PF_U : 0);
  u32 kind = plan->form->kind;
  if (kind & FORM_STRING || ((kind & FORM_KIND) == FORM_M && !plan->strict && state == ABSENT)) return (error & ~(u64)PF_W) == fixed;
  return error == (fixed | ((kind & FORM_KIND) == FORM_R ? 0 : PF_W));
}
static enum after at_fault(struct probe *p, struct trap *t) {
  struct plan *plan = p->data;
  const char *what = plan->what, *name = plan->form->name;
  const u8 *page = (const u8 *)(p->cr2 & -PAGE), *cr2 = plan->operand > page ? plan->operand : page;
  if (t->vector != PF || (page != A && page != B)) return fail("%s: %s: exception %lu, cr2 %lx", what, name, t->vector, p->cr2), STOP;
  enum state *state = &plan->state[page == B];
  plan->faults++;
  if (*state == GOOD) return fail("%s: %s: a fault by %lx, which is allowed; error %lx", what, name, p->cr2, t->error), STOP;
  CHECK(right_error(plan, t->error, *state), "%s: %s: error %lx", what, name, t->error);
  CHECK(p->cr2 == (u64)cr2, "%s: %s: cr2 %lx, not %lx", what, name, p->cr2, (u64)cr2);
  CHECK(t->rip == (u64)plan->form->code, "%s: %s: rip %lx, not %lx", what, name, t->rip, (u64)plan->form->code);
  CHECK((t->rflags & ~(u64)FL_RF) == (plan->in->flags | FL_1), "%s: %s: flags %lx, not %lx", what, name, t->rflags, plan->in->flags | FL_1);
  for (u32 i = 0; i < 16; i++) CHECK(t->gpr[i] == ((u64 *)&p->in)[i], "%s: %s: register %u is %lx, not %lx", what, name, i, t->gpr[i], ((u64 *)&p->in)[i]);
  u8 now[SPAN], vectors[2][32];
  get_memory(plan->operand, now);
  CHECK(memory_untouched(plan, now), "%s: %s: memory has changed", what, name);
  memcpy(vectors, plan->in->vectors, sizeof vectors);
  save_vectors(vectors);
  CHECK(!memcmp(vectors, plan->in->vectors, sizeof vectors), "%s: %s: vector registers have changed", what, name);
  set_page(page, *state = GOOD);
  return RESUME;
}

static void run_on_pages(const struct form *f, const struct input *in, u8 *operand, const struct plan *how, struct outcome *out) {
  struct plan plan = *how;
  plan.form = f;
  plan.in = in;
  plan.operand = operand;
  put_memory(operand, in->memory);
  set_page(A, plan.state[0]);
  set_page(B, plan.state[1]);
  execute(f, in, operand, at_fault, &plan, out);
  get_memory(operand, out->memory);
  bool crosses = operand < B && operand + f->size > B;
  u32 wanted = 0;
  for (u32 i = 0; i < 2; i++) {
    bool used = crosses || (operand >= B) == i;
    if (used && (how->state[i] == ABSENT || (how->state[i] == READ_ONLY && (f->kind & FORM_KIND) != FORM_R))) wanted++;
  }
  CHECK(plan.faults == wanted, "%s: %s: %u faults, not %u", how->what, f->name, plan.faults, wanted);
}

// Each form, at each place where it crosses the two pages (or at one where it does not), against the same on good pages
static void run_forms(const struct plan *plan, bool cross, u16 cs, u64 times) {
  static struct outcome right, is;
  struct input in;
  struct random r = random_stream(1);
  u32 count = 0;
  for (const struct form *f = forms_begin; f < forms_end; f++) {
    if (!form_can_run(f) || (cross && (f->size == 1 || f->kind & FORM_ALIGNED))) continue;
    count++;
    for (u64 i = 0; i < times * (cross ? f->size - 1 : 1); i++) {
      make_input(&r, f, &in);
      in.cs = cs;
      u8 *operand = cross ? B - 1 - i % (f->size - 1) : B + 64 * (1 + below(&r, 60));
      static const struct plan good = {"good pages"};
      run_on_pages(f, &in, operand, &good, &right);
      run_on_pages(f, &in, operand, plan, &is);
      if (!same_outcome(f, plan->what, &is, &right)) break;
    }
  }
  note("%u instructions", count);
}

#define FAULT_CASE(id, name, cpus, cross, cs, a, b, is_strict)                 \
  CASE(id, name, cpus) {                                                       \
    struct plan plan = {.what = name, .state = {a, b}, .strict = is_strict};   \
    run_forms(&plan, cross, cs, rounds / 30000 + 1);                           \
  }
FAULT_CASE(absent, "fault.absent", 1, false, 0, GOOD, ABSENT, false)
FAULT_CASE(rmw_error, "fault.absent-rmw-is-a-write", 1, false, 0, GOOD, ABSENT, true)
FAULT_CASE(read_only, "fault.read-only", 1, false, 0, GOOD, READ_ONLY, false)
FAULT_CASE(user, "fault.absent-user", 1, false, USER64, GOOD, ABSENT, false)
FAULT_CASE(second_absent, "fault.cross-second-absent", 1, true, 0, GOOD, ABSENT, false)
FAULT_CASE(first_absent, "fault.cross-first-absent", 1, true, 0, ABSENT, GOOD, false)
FAULT_CASE(second_read_only, "fault.cross-second-read-only", 1, true, 0, GOOD, READ_ONLY, false)
FAULT_CASE(first_read_only, "fault.cross-first-read-only", 1, true, 0, READ_ONLY, GOOD, false)
FAULT_CASE(both_absent, "fault.cross-both-absent", 1, true, 0, ABSENT, ABSENT, false)
FAULT_CASE(user_cross, "fault.cross-second-absent-user", 1, true, USER64, GOOD, ABSENT, false)

// Across pages that are all there: the same as in one page
CASE(cross_good, "fault.cross-good", 1) {
  static struct outcome right, is;
  struct input in;
  struct random r = random_stream(2);
  static const struct plan good = {"across good pages"};
  for (const struct form *f = forms_begin; f < forms_end; f++) {
    if (!form_can_run(f) || f->size == 1 || f->kind & FORM_ALIGNED) continue;
    for (u64 i = 0; i < (rounds / 30000 + 1) * (f->size - 1); i++) {
      make_input(&r, f, &in);
      run_on_pages(f, &in, B + 64, &good, &right);
      run_on_pages(f, &in, B - 1 - i % (f->size - 1), &good, &is);
      if (!same_outcome(f, good.what, &is, &right)) break;
    }
  }
}

// All 64 combinations of the six flags stand in the pushed RFLAGS, and come back
CASE(flags, "fault.flags", 1) {
  static struct outcome right, is;
  struct input in;
  struct random r = random_stream(3);
  static const u32 bits[] = {FL_CF, FL_PF, FL_AF, FL_ZF, FL_SF, FL_OF};
  for (const struct form *f = forms_begin; f < forms_end; f++) {
    if (!form_can_run(f)) continue;
    for (u32 n = 0; n < 64 && n < rounds / 6000; n++) {
      u32 pattern = (37 * n + (f - forms_begin)) & 63;
      make_input(&r, f, &in);
      in.flags = 0;
      for (u32 i = 0; i < 6; i++) in.flags |= pattern >> i & 1 ? bits[i] : 0;
      static const struct plan good = {"good pages"}, absent = {"absent", .state = {GOOD, ABSENT}};
      run_on_pages(f, &in, B + 64, &good, &right);
      run_on_pages(f, &in, B + 64, &absent, &is);
      if (!same_outcome(f, "flags", &is, &right)) break;
    }
  }
}
