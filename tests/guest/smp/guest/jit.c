// SPDX-License-Identifier: Apache-2.0
// A small compiler: random functions in memory, run and compared with a plain evaluation of what they were made from.
#include "rt.h"

enum { RSP = 4, COUNTER = 14, MEMORY = 15, WORDS = 16, MOST = 24 };  // r14 counts loops, r15 points to memory

enum kind { ALU, ALU_VALUE, ALU_LOAD, ALU_STORE, SHIFT, IMUL, LEA, MOVE, CMOV, SETCC, BRANCH, ADD_ADC, UNARY, WIDEN, MUL, XCHG, STACK, CALL, KINDS };

struct op {
  u8 kind, a, b, c, sub;
  bool wide;
  u32 value;
};
struct list { struct op ops[MOST]; u32 n; };
// before; body, `turns` times; after. CALL runs `callee`.
struct function { struct list before, body, after, callee; u32 turns; };

// ---------------------------------------------------------------------------------------------
// Evaluation

struct machine { u64 r[16], memory[WORDS]; };

static u64 cut(u64 v, bool wide) { return wide ? v : (u32)v; }
static u64 alu(u32 sub, u64 a, u64 b) {  // as the opcode's middle bits
  switch (sub) {
    case 0: return a + b;
    case 1: return a | b;
    case 4: return a & b;
    case 5: return a - b;
    default: return a ^ b;
  }
}
static bool condition(u32 code, u64 a, u64 b, bool wide) {  // of `cmp b, a`, by the low nibble of Jcc
  a = cut(a, wide);
  b = cut(b, wide);
  s64 x = wide ? (s64)a : (s64)((int32_t)a), y = wide ? (s64)b : (s64)((int32_t)b);
  u64 difference = cut(a - b, wide);
  bool sign = difference >> (wide ? 63 : 31) & 1, is;
  switch (code >> 1) {
    case 0: is = sign != (x < y); break;  // overflow
    case 1: is = a < b; break;
    case 2: is = a == b; break;
    case 3: is = a <= b; break;
    case 4: is = sign; break;
    case 5: is = !__builtin_parity(difference & 0xff); break;
    case 6: is = x < y; break;
    default: is = x <= y; break;
  }
  return is != (code & 1);
}
static u64 shift(u32 sub, u64 v, u32 count, bool wide) {
  u32 bits = wide ? 64 : 32;
  v = cut(v, wide);
  switch (sub) {
    case 0: return v << count | v >> (bits - count);
    case 1: return v >> count | v << (bits - count);
    case 4: return v << count;
    case 5: return v >> count;
    default: return wide ? (u64)((s64)v >> count) : (u64)((s64)(int32_t)v >> count);
  }
}
static u64 unary(u32 sub, u64 v, bool wide) {
  switch (sub) {
    case 0: return ~v;
    case 1: return -v;
    default: return wide ? __builtin_bswap64(v) : __builtin_bswap32(v);
  }
}

static void evaluate(struct machine *m, const struct list *list, const struct function *f) {
  for (const struct op *o = list->ops; o < list->ops + list->n; o++) {
    u64 *a = &m->r[o->a], *b = &m->r[o->b], *c = &m->r[o->c], *word = &m->memory[o->value % WORDS];
    u64 value = (s64)(int32_t)o->value;
    switch (o->kind) {
      case ALU: *a = cut(alu(o->sub, *a, *b), o->wide); break;
      case ALU_VALUE: *a = cut(alu(o->sub, *a, value), o->wide); break;
      case ALU_LOAD: *a = cut(alu(o->sub, *a, *word), o->wide); break;
      case ALU_STORE: *word = o->wide ? alu(o->sub, *word, *b) : (*word & ~0xfffffffful) | (u32)alu(o->sub, *word, *b); break;
      case SHIFT: *a = cut(shift(o->sub, *a, 1 + o->value % 31, o->wide), o->wide); break;
      case IMUL: *a = cut(*a * *b, o->wide); break;
      case LEA: *a = cut(*b + (*c << o->sub) + value, o->wide); break;
      case MOVE: *a = o->wide ? o->value * 0x100000001ul : o->value; break;
      case CMOV: *a = cut(condition(o->sub, *b, *c, o->wide) ? *c : *a, o->wide); break;
      case SETCC: *a = condition(o->sub, *b, *c, o->wide); break;
      case BRANCH: if (!condition(o->sub, *b, *c, o->wide)) *a = cut(*a ^ value, o->wide); break;
      case ADD_ADC: {
        unsigned __int128 sum = (unsigned __int128)*a + *b;
        *a = sum;
        *c = *c + (u64)(s64)(signed char)o->value + (u64)(sum >> 64);
        break;
      }
      case UNARY: *a = cut(unary(o->sub, *a, o->wide), o->wide); break;
      case WIDEN: *a = o->sub == 0 ? (u8)*b : o->sub == 1 ? (u16)*b : o->sub == 2 ? (u64)(s64)(signed char)*b : (u64)(s64)(short)*b; break;
      case MUL: {
        unsigned __int128 product = (unsigned __int128)m->r[0] * *b;
        m->r[0] = product;
        m->r[2] = product >> 64;
        break;
      }
      case XCHG: { u64 t = *a; *a = *b; *b = t; break; }
      case STACK: { u64 x = *a, y = *b; *c = y; *b = x + 1; break; }  // push a; push b; incq 8(%rsp); pop c; pop b
      case CALL: evaluate(m, &f->callee, f); break;
    }
  }
}

// ---------------------------------------------------------------------------------------------
// Code

struct code { u8 *p; const u8 *callee; };

static void byte(struct code *c, u8 b) { *c->p++ = b; }
static void dword(struct code *c, u32 v) {
  memcpy(c->p, &v, 4);
  c->p += 4;
}
static void rex(struct code *c, bool wide, u32 reg, u32 index, u32 rm) { byte(c, 0x40 | wide << 3 | (reg >> 3) << 2 | (index >> 3) << 1 | rm >> 3); }
static void modrm(struct code *c, u32 reg, u32 rm) { byte(c, 0xc0 | (reg & 7) << 3 | (rm & 7)); }
static void rr(struct code *c, bool wide, u8 opcode, u32 reg, u32 rm) {
  rex(c, wide, reg, 0, rm);
  byte(c, opcode);
  modrm(c, reg, rm);
}
static void rr0f(struct code *c, bool wide, u8 opcode, u32 reg, u32 rm) {
  rex(c, wide, reg, 0, rm);
  byte(c, 0x0f);
  byte(c, opcode);
  modrm(c, reg, rm);
}
static void r_word(struct code *c, bool wide, u8 opcode, u32 reg, u32 word) {  // disp8(%r15)
  rex(c, wide, reg, 0, MEMORY);
  byte(c, opcode);
  byte(c, 0x47 | (reg & 7) << 3);
  byte(c, word * 8);
}
static void push_pop(struct code *c, u8 opcode, u32 reg) {
  if (reg >= 8) byte(c, 0x41);
  byte(c, opcode + (reg & 7));
}

static void emit_op(struct code *c, const struct op *o) {
  switch (o->kind) {
    case ALU: rr(c, o->wide, o->sub << 3 | 1, o->b, o->a); break;
    case ALU_VALUE: rr(c, o->wide, 0x81, o->sub, o->a); dword(c, o->value); break;
    case ALU_LOAD: r_word(c, o->wide, o->sub << 3 | 3, o->a, o->value % WORDS); break;
    case ALU_STORE: r_word(c, o->wide, o->sub << 3 | 1, o->b, o->value % WORDS); break;
    case SHIFT: rr(c, o->wide, 0xc1, o->sub, o->a); byte(c, 1 + o->value % 31); break;
    case IMUL: rr0f(c, o->wide, 0xaf, o->a, o->b); break;
    case LEA:
      rex(c, o->wide, o->a, o->c, o->b);
      byte(c, 0x8d);
      byte(c, 0x84 | (o->a & 7) << 3);
      byte(c, o->sub << 6 | (o->c & 7) << 3 | (o->b & 7));
      dword(c, o->value);
      break;
    case MOVE:
      rex(c, o->wide, 0, 0, o->a);
      byte(c, 0xb8 | (o->a & 7));
      dword(c, o->value);
      if (o->wide) dword(c, o->value);
      break;
    case CMOV:
      rr(c, o->wide, 0x39, o->c, o->b);
      rr0f(c, o->wide, 0x40 | o->sub, o->a, o->c);
      break;
    case SETCC:
      rr(c, o->wide, 0x39, o->c, o->b);
      rr0f(c, false, 0x90 | o->sub, 0, o->a);
      rr0f(c, false, 0xb6, o->a, o->a);  // movzbl
      break;
    case BRANCH:
      rr(c, o->wide, 0x39, o->c, o->b);
      byte(c, 0x70 | o->sub);
      byte(c, 7);
      rr(c, o->wide, 0x81, 6, o->a);
      dword(c, o->value);
      break;
    case ADD_ADC:
      rr(c, true, 0x01, o->b, o->a);
      rr(c, true, 0x83, 2, o->c);
      byte(c, o->value);
      break;
    case UNARY:
      if (o->sub < 2) {
        rr(c, o->wide, 0xf7, 2 + o->sub, o->a);
      } else {
        rex(c, o->wide, 0, 0, o->a);
        byte(c, 0x0f);
        byte(c, 0xc8 | (o->a & 7));
      }
      break;
    case WIDEN: rr0f(c, true, (u8[]){0xb6, 0xb7, 0xbe, 0xbf}[o->sub], o->a, o->b); break;
    case MUL: rr(c, true, 0xf7, 4, o->b); break;
    case XCHG: rr(c, true, 0x87, o->a, o->b); break;
    case STACK:
      push_pop(c, 0x50, o->a);
      push_pop(c, 0x50, o->b);
      memcpy(c->p, (u8[]){0x48, 0xff, 0x44, 0x24, 0x08}, 5);
      c->p += 5;
      push_pop(c, 0x58, o->c);
      push_pop(c, 0x58, o->b);
      break;
    case CALL:
      byte(c, 0xe8);
      dword(c, c->callee - (c->p + 4));
      break;
  }
}
static void emit_list(struct code *c, const struct list *list) {
  for (u32 i = 0; i < list->n; i++) emit_op(c, &list->ops[i]);
}
// Callee, then the function. Returns its entry.
static const u8 *emit(u8 *buffer, u8 *end, const struct function *f) {
  struct code c = {buffer, buffer};
  emit_list(&c, &f->callee);
  byte(&c, 0xc3);
  const u8 *entry = c.p;
  emit_list(&c, &f->before);
  byte(&c, 0x41);  // mov $turns, %r14d
  byte(&c, 0xbe);
  dword(&c, f->turns);
  const u8 *loop = c.p;
  emit_list(&c, &f->body);
  rr(&c, true, 0xff, 1, COUNTER);  // dec
  byte(&c, 0x0f);                  // jnz
  byte(&c, 0x85);
  dword(&c, loop - (c.p + 4));
  emit_list(&c, &f->after);
  byte(&c, 0xcd);  // int $DONE
  byte(&c, DONE);
  if (c.p > end) die("the buffer is too small");
  return entry;
}

// ---------------------------------------------------------------------------------------------
// Random functions

static u32 any_register(struct random *r) {
  for (;;) {
    u32 n = below(r, 14);
    if (n != RSP) return n;
  }
}
static void make_list(struct random *r, struct list *list, u32 most, bool calls) {
  list->n = below(r, most + 1);
  for (u32 i = 0; i < list->n; i++) {
    struct op *o = &list->ops[i];
    *o = (struct op){.kind = below(r, calls ? KINDS : KINDS - 1), .a = any_register(r), .b = any_register(r), .c = any_register(r),
                     .wide = next(r) >> 63, .value = next(r) >> 32};
    static const u8 alus[] = {0, 1, 4, 5, 6}, shifts[] = {0, 1, 4, 5, 7};
    switch (o->kind) {
      case SHIFT: o->sub = shifts[below(r, 5)]; break;
      case LEA: case WIDEN: o->sub = below(r, 4); break;
      case CMOV: case SETCC: case BRANCH: o->sub = below(r, 16); break;
      case UNARY: o->sub = below(r, 3); break;
      case ADD_ADC: o->c = o->a == o->c || o->b == o->c ? (o->a == 1 || o->b == 1 ? (o->a == 2 || o->b == 2 ? 3 : 2) : 1) : o->c; break;
      default: o->sub = alus[below(r, 5)];
    }
  }
}
static void make_function(struct random *r, struct function *f) {
  make_list(r, &f->before, 12, true);
  make_list(r, &f->body, 10, true);
  make_list(r, &f->after, 6, true);
  make_list(r, &f->callee, 6, false);
  f->turns = next(r) >> 62 ? 1 + below(r, 4) : 1 + below(r, 60);
}

static void print_list(const char *name, const struct list *list) {
  print("%s:\n", name);
  for (const struct op *o = list->ops; o < list->ops + list->n; o++)
    print("  kind %u sub %u a %u b %u c %u wide %u value %x\n", o->kind, o->sub, o->a, o->b, o->c, o->wide, o->value);
}
static bool run_once(struct random *r, const struct function *f, const u8 *entry, u64 *memory, u8 *stack, u64 round) {
  struct machine m;
  for (u32 i = 0; i < 16; i++) m.r[i] = next(r) >> (next(r) >> 58);
  for (u32 i = 0; i < WORDS; i++) memory[i] = m.memory[i] = next(r);
  m.r[MEMORY] = (u64)memory;
  m.r[RSP] = (u64)stack;
  struct probe p;
  memset(&p, 0, sizeof p);
  memcpy(&p.in, m.r, sizeof m.r);
  run_probe(&p, entry);
  evaluate(&m, &f->before, f);
  for (u32 i = 0; i < f->turns; i++) evaluate(&m, &f->body, f);
  evaluate(&m, &f->after, f);
  m.r[COUNTER] = 0;
  if (p.end.vector != DONE) return fail("round %lu: exception %lu at %lx", round, p.end.vector, p.end.rip), false;
  for (u32 i = 0; i < 16; i++)
    if (p.end.gpr[i] != m.r[i]) return fail("round %lu: register %u is %lx, not %lx", round, i, p.end.gpr[i], m.r[i]), false;
  for (u32 i = 0; i < WORDS; i++)
    if (memory[i] != m.memory[i]) return fail("round %lu: word %u is %lx, not %lx", round, i, memory[i], m.memory[i]), false;
  return true;
}
static void compile_and_run(u32 stream, u64 n, u8 *buffer, u64 size, u64 *memory, u8 *stack) {
  struct random r = random_stream(stream);
  static struct function functions[MAX_CPUS];
  struct function *f = &functions[this_cpu()->number];
  for (u64 i = 0; i < n; i++) {
    make_function(&r, f);
    u8 *at = buffer + below(&r, 16);
    const u8 *entry = emit(at, buffer + size, f);
    u32 times = next(&r) >> 62 ? 1 : 3;
    for (u32 j = 0; j < times; j++) {
      if (run_once(&r, f, entry, memory, stack, i)) continue;
      print_list("callee", &f->callee);
      print_list("before", &f->before);
      print_list("body", &f->body);
      print_list("after", &f->after);
      return;
    }
  }
}

#define X WIN(300)
static void map_buffers(void) {
  for (u32 i = 0; i < 4; i++) map(X + i * PAGE, frame(100 + 2 * i), PTE_RW);
}
CASE(jit, "jit.same-buffer", 1) {
  map_buffers();
  compile_and_run(1, rounds / 20, X, PAGE, (u64 *)frame(1), frame(3));
}
CASE(jit_page, "jit.across-pages", 1) {
  map_buffers();
  compile_and_run(2, rounds / 20, X + PAGE - 300, PAGE, (u64 *)frame(1), frame(3));
}
CASE(jit_data, "jit.data-and-stack-beside-code", 1) {
  map_buffers();
  compile_and_run(3, rounds / 20, X, PAGE - 512, (u64 *)(X + PAGE - 128), X + PAGE - 192);
}
// The buffer goes by, as a heap of code does: written, run, and not looked at again for a while
CASE(jit_heap, "jit.heap", 1) {
  map_buffers();
  for (u64 i = 0; i < rounds / 200; i++) compile_and_run(100 + i, 10, X + i * 97 % (3 * PAGE), PAGE - 100, (u64 *)frame(1), frame(3));
}
// Four vCPUs compile, two in each page
static void compile_on(u32 me) {
  barrier(cpus);
  compile_and_run(10 + me, rounds / 50, X + me * 2048, 2048, (u64 *)frame(10 + me), frame(21 + me));
}
CASE(jit_cpus, "jit.two-in-a-page", 4) {
  map_buffers();
  run_on(cpus, compile_on);
}
// Never writable and executable at once: the page's rights change for each function
static void switch_rights(u64 n) {
  struct random r = random_stream(5);
  static struct function f;
  for (u64 i = 0; i < n; i++) {
    map(X, frame(100), PTE_RW | PTE_NX);
    make_function(&r, &f);
    u8 *at = X + below(&r, 2000);
    const u8 *entry = emit(at, X + PAGE, &f);
    map(X, frame(100), PTE_P | PTE_U);
    if (!run_once(&r, &f, entry, (u64 *)frame(1), frame(3), i)) return;
  }
}
CASE(jit_rights, "jit.write-xor-execute", 1) { switch_rights(rounds / 20); }
