// SPDX-License-Identifier: Apache-2.0
// Running the instructions of forms.S.
#include "forms.h"

#define STACK WIN(520)
enum { STACK_FRAME = 210 };

static bool has_avx(void) {
  static u32 known;
  if (!known) known = 1 + (has_cpuid(1, 0, 'c', 28) && has_cpuid(7, 0, 'b', 5));
  return known == 2;
}
bool form_can_run(const struct form *f) {
  if (f->kind & FORM_AVX) return has_avx();
  if (f->kind & FORM_BMI) return has_cpuid(7, 0, 'b', 3) && has_cpuid(7, 0, 'b', 8);
  return true;
}

void save_vectors(u8 to[2][32]) {
  if (has_avx()) asm volatile("vmovdqu %%ymm0, (%0); vmovdqu %%ymm1, 32(%0)" : : "r"(to) : "memory");
  else asm volatile("movdqu %%xmm0, (%0); movdqu %%xmm1, 32(%0)" : : "r"(to) : "memory");
}
static void load_vectors(const u8 from[2][32]) {
  if (has_avx()) asm volatile("vmovdqu (%0), %%ymm0; vmovdqu 32(%0), %%ymm1" : : "r"(from) : "memory");
  else asm volatile("movdqu (%0), %%xmm0; movdqu 32(%0), %%xmm1" : : "r"(from) : "memory");
}

static void fill(struct random *r, void *to, u32 n) {
  for (u8 *p = to; n; n--) *p++ = next(r) >> 32;
}

void make_input(struct random *r, const struct form *f, struct input *in) {
  fill(r, in, sizeof *in);
  in->cs = 0;
  in->flags = next(r) & FL_SIX;
  in->r.rcx &= 31;
  in->r.rdx &= 255;
  in->r.r12 = 0;
  u8 *operand = in->memory + MARGIN;
  if (!memcmp(f->name, "div", 3)) operand[f->size - 1] |= 0x80;  // no overflow
  if (next(r) >> 63) {  // CMPXCHG finds what it looks for
    memcpy(&in->r.rax, operand, f->size < 8 ? f->size : 8);
    if (!memcmp(f->name + strlen(f->name) - 3, "16b", 3) || f->size == 16) memcpy(&in->r.rdx, operand + 8, 8);
    else if (f->size == 8) memcpy(&in->r.rdx, operand + 4, 4);
    if (!memcmp(f->name, "div", 3)) in->r.rdx &= 255;
  }
}

void execute(const struct form *f, const struct input *in, u8 *operand, enum after (*hook)(struct probe *, struct trap *), void *data, struct outcome *out) {
  map(STACK, frame(STACK_FRAME), PTE_RW);
  u8 *stack = frame(STACK_FRAME) + 2048 - STACK_BYTES / 2;
  memset(stack, 0x77, STACK_BYTES);
  struct probe p = {.in = in->r, .rflags = in->flags, .cs = in->cs, .hook = hook, .data = data};
  p.in.rdi = p.in.rsi = p.in.r13 = (u64)operand;
  p.in.rsp = (u64)STACK + 2048;
  load_vectors(in->vectors);
  run_probe(&p, f->code);
  save_vectors(out->vectors);
  out->r = p.end.r;
  out->r.rdi -= (u64)operand;
  out->r.rsi -= (u64)operand;
  out->r.r13 -= (u64)operand;
  out->flags = p.end.rflags & ~(u64)(FL_RF | f->undefined);
  out->vector = p.end.vector;
  memcpy(out->stack, stack, STACK_BYTES);
}

bool same_outcome(const struct form *f, const char *what, const struct outcome *is, const struct outcome *wanted) {
  if (is->vector != wanted->vector) return fail("%s: %s: ended by %lu, not %lu", what, f->name, is->vector, wanted->vector), false;
  for (u32 i = 0; i < 16; i++) {
    u64 a = ((const u64 *)&is->r)[i], b = ((const u64 *)&wanted->r)[i];
    if (a != b) return fail("%s: %s: register %u is %lx, not %lx", what, f->name, i, a, b), false;
  }
  if (is->flags != wanted->flags) return fail("%s: %s: flags %lx, not %lx", what, f->name, is->flags, wanted->flags), false;
  for (u32 i = 0; i < SPAN; i++)
    if (is->memory[i] != wanted->memory[i])
      return fail("%s: %s: memory at %d is %x, not %x", what, f->name, (int)i - MARGIN, is->memory[i], wanted->memory[i]), false;
  if (memcmp(is->stack, wanted->stack, STACK_BYTES)) return fail("%s: %s: other bytes on the stack", what, f->name), false;
  if (memcmp(is->vectors, wanted->vectors, sizeof is->vectors)) return fail("%s: %s: other vector registers", what, f->name), false;
  return true;
}
