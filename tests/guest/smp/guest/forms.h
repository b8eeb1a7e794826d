// SPDX-License-Identifier: Apache-2.0
// Running the instructions of forms.S.
#pragma once

#include "rt.h"

enum { FORM_R = 1, FORM_W = 2, FORM_M = 3, FORM_KIND = 3, FORM_AVX = 0x10, FORM_BMI = 0x20, FORM_ALIGNED = 0x40, FORM_STRING = 0x80 };

struct form {
  const char *name;
  const u8 *code;
  u32 size, kind, undefined, zero;
};
extern const struct form forms_begin[], forms_end[];

enum { MARGIN = 16, SPAN = 64, STACK_BYTES = 64 };

// What goes in: the same for the run that shows what is right and the run under test
struct input {
  struct regs r;
  u64 flags;
  u16 cs;
  u8 memory[SPAN];  // around the operand, from MARGIN before it
  u8 vectors[2][32] __attribute__((aligned(32)));
};
// What comes out, addresses relative to the operand
struct outcome {
  struct regs r;
  u64 flags, vector;
  u8 memory[SPAN], stack[STACK_BYTES];
  u8 vectors[2][32] __attribute__((aligned(32)));
};

bool form_can_run(const struct form *f);
void make_input(struct random *r, const struct form *f, struct input *in);
// Runs it with the operand at `operand`. The operand's bytes are the caller's business.
void execute(const struct form *f, const struct input *in, u8 *operand, enum after (*hook)(struct probe *, struct trap *), void *data, struct outcome *out);
bool same_outcome(const struct form *f, const char *what, const struct outcome *is, const struct outcome *wanted);
void save_vectors(u8 to[2][32]);
