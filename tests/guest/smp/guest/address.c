// SPDX-License-Identifier: Apache-2.0
// Every register in every position: base, index, scale and displacement; bytes with and without REX; BMI's three
// operands. Instructions are made here and compared with what their fields mean. Intel SDM vol. 2, 2.1.5, 2.2.1, 2.3.
#include "rt.h"

#define X WIN(300)
enum { CODE_FRAME = 100, DATA_FRAME = 120, RSP = 4, NO_BASE = 16, NO_INDEX = 4 };

struct code { u8 *p; };
static void byte(struct code *c, u32 b) { *c->p++ = b; }
static void dword(struct code *c, u32 v) {
  memcpy(c->p, &v, 4);
  c->p += 4;
}
static void finish(struct code *c) {
  byte(c, 0xcd);
  byte(c, DONE);
}
static struct code begin(struct random *r) {
  for (u32 i = 0; i < 2; i++) map(X + i * PAGE, frame(CODE_FRAME + 2 * i), PTE_RW);
  return (struct code){X + below(r, PAGE - 8)};
}
static u64 random_value(struct random *r) { return next(r) << (next(r) >> 58) >> (next(r) >> 58); }

static const char *const names[] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "-"};

// ---------------------------------------------------------------------------------------------
// ModRM and SIB

enum op { LOAD64, LOAD32, STORE64, STORE32, STORE8, LEA64, LEA32, MOVZX8, OPS };
enum prefix { NONE, ADDR32, FS, GS, PREFIXES };
static const u8 opcodes[] = {0x8b, 0x8b, 0x89, 0x89, 0x88, 0x8d, 0x8d, 0xb6};

struct access {
  enum op op;
  enum prefix prefix;
  u32 reg, base, index, scale, displacement_size;
  s64 displacement;
};

static void emit_access(struct code *c, const struct access *a) {
  static const u8 prefixes[] = {0, 0x67, 0x64, 0x65};
  if (a->prefix) byte(c, prefixes[a->prefix]);
  bool wide = a->op == LOAD64 || a->op == STORE64 || a->op == LEA64;
  u32 base = a->base == NO_BASE ? 5 : a->base;
  byte(c, 0x40 | wide << 3 | (a->reg >> 3) << 2 | (a->index >> 3) << 1 | base >> 3);
  if (a->op == MOVZX8) byte(c, 0x0f);
  byte(c, opcodes[a->op]);
  u32 mod = a->base == NO_BASE ? 0 : a->displacement_size == 0 ? 0 : a->displacement_size == 1 ? 1 : 2;
  bool sib = a->index != NO_INDEX || a->base == NO_BASE || (a->base & 7) == RSP;
  byte(c, mod << 6 | (a->reg & 7) << 3 | (sib ? 4 : (base & 7)));
  if (sib) byte(c, a->scale << 6 | (a->index & 7) << 3 | (base & 7));
  if (a->displacement_size == 1 && a->base != NO_BASE) byte(c, a->displacement);
  if (a->displacement_size == 4 || a->base == NO_BASE) dword(c, a->displacement);
}

// Gives the registers values with which the operand is at `target`. Returns false if that cannot be.
static bool aim(struct random *r, struct access *a, u64 *gpr, u64 target, u64 segment) {
  bool has_index = a->index != NO_INDEX;
  for (u32 i = 0; i < 16; i++) gpr[i] = random_value(r);
  u64 want = target - segment;
  if (a->base == NO_BASE || (has_index && a->base == a->index)) {
    // the displacement has to make up for the registers
    if (a->base != NO_BASE && a->displacement_size != 4) return false;
    u64 value = below(r, 1 << 24);
    if (has_index) gpr[a->index] = value;
    u64 sum = has_index ? (value << a->scale) + (a->base == NO_BASE ? 0 : value) : 0;
    a->displacement = want - sum;
    return a->displacement == (s64)(int32_t)a->displacement;
  }
  a->displacement = a->displacement_size == 0 ? 0 : a->displacement_size == 1 ? (signed char)next(r) : (int32_t)next(r);
  gpr[a->base] = want - a->displacement - (has_index ? gpr[a->index] << a->scale : 0);
  if (a->prefix == ADDR32) gpr[a->base] ^= next(r) << 32;  // not looked at
  return true;
}

static void try_access(struct random *r, struct access a) {
  u64 bases[PREFIXES] = {0, 0, 0x123000, 0x45000};
  wrmsr(0xc0000100, bases[FS]);
  wrmsr(0xc0000101, bases[GS]);
  u8 *target = frame(DATA_FRAME) + below(r, PAGE - 16);
  struct probe p = {.rflags = next(r) & FL_SIX};
  u64 *in = (u64 *)&p.in;
  if ((a.displacement_size == 0 && (a.base & 7) == 5) || !aim(r, &a, in, (u64)target, bases[a.prefix])) return;
  u64 before = next(r);
  memcpy(target, &before, 8);
  struct code c = begin(r);
  const u8 *entry = c.p;
  emit_access(&c, &a);
  finish(&c);
  u64 wanted[16], after = before, address = (u64)target - bases[a.prefix];
  memcpy(wanted, in, sizeof wanted);
  if (a.prefix == ADDR32) address = (u32)address;
  switch (a.op) {
    case LOAD64: wanted[a.reg] = before; break;
    case LOAD32: wanted[a.reg] = (u32)before; break;
    case STORE64: after = in[a.reg]; break;
    case STORE32: after = (before & ~0xfffffffful) | (u32)in[a.reg]; break;
    case STORE8: after = (before & ~0xfful) | (u8)in[a.reg]; break;
    case LEA64: wanted[a.reg] = address; break;
    case LEA32: wanted[a.reg] = (u32)address; break;
    default: wanted[a.reg] = (u8)before;
  }
  run_probe(&p, entry);
  u64 is;
  memcpy(&is, target, 8);
  for (u32 i = 0; i < 16; i++) CHECK(p.end.gpr[i] == wanted[i], "%s is %lx, not %lx", names[i], p.end.gpr[i], wanted[i]);
  CHECK(p.end.vector == DONE && is == after && (p.end.rflags & FL_SIX) == p.rflags, "vector %lu; memory %lx, not %lx; flags %lx", p.end.vector, is, after, p.end.rflags);
  if (failed()) die("op %u prefix %u reg %s: %lx(%s,%s,%u), displacement of %u bytes", a.op, a.prefix, names[a.reg], a.displacement, names[a.base], names[a.index], 1 << a.scale, a.displacement_size);
}
CASE(modrm, "address.base-index", 1) {
  struct random r = random_stream(1);
  static const u8 sizes[] = {0, 1, 4};
  for (u64 i = 0; i < rounds / 50000 + 1; i++)
    for (u32 base = 0; base <= NO_BASE; base++)
      for (u32 index = 0; index < 16; index++)
        for (u32 scale = 0; scale < 4; scale++)
          for (u32 size = 0; size < 3; size++)
            try_access(&r, (struct access){below(&r, OPS), below(&r, PREFIXES), below(&r, 16), base, index, scale, sizes[size], 0});
}

// RIP-relative: from the end of the instruction, whatever comes after the displacement
CASE(rip, "address.rip", 1) {
  struct random r = random_stream(2);
  // opcode bytes up to ModRM (with reg field), bytes after the displacement
  static const struct { u8 n, code[4], after; } forms[] = {
      {3, {0x48, 0x8b, 0x05}, 0},        // mov d(%rip), %rax
      {2, {0xc7, 0x05}, 4},              // movl $i, d(%rip)
      {3, {0x66, 0xc7, 0x05}, 2},        // movw $i, d(%rip)
      {2, {0xc6, 0x05}, 1},              // movb $i, d(%rip)
  };
  for (u64 i = 0; i < rounds / 50; i++) {
    u32 n = below(&r, ARRAY_SIZE(forms));
    struct code c = begin(&r);
    const u8 *entry = c.p;
    // a target within 2 GiB of the code: the window's own pages
    u8 *target = WIN(330) + below(&r, PAGE - 8);
    map(WIN(330), frame(DATA_FRAME), PTE_RW);
    u64 before = next(&r), value = next(&r);
    memcpy(target, &before, 8);
    for (u32 j = 0; j < forms[n].n; j++) byte(&c, forms[n].code[j]);
    dword(&c, target - (c.p + 4 + forms[n].after));
    for (u32 j = 0; j < forms[n].after; j++) byte(&c, value >> 8 * j);
    finish(&c);
    struct probe p = {0};
    run_probe(&p, entry);
    u64 is, mask = forms[n].after == 0 ? 0 : (1ul << 8 * forms[n].after) - 1, wanted = (before & ~mask) | (value & mask);
    memcpy(&is, target, 8);
    CHECK(p.end.vector == DONE && is == wanted && (n || p.end.r.rax == before), "form %u: %lx, not %lx; rax %lx", n, is, wanted, p.end.r.rax);
  }
}

// ---------------------------------------------------------------------------------------------
// Byte registers: AH, CH, DH, BH without a REX prefix; SPL, BPL, SIL, DIL, R8B to R15B with one

static u64 byte_of(const u64 *gpr, bool rex, u32 n) { return !rex && n >= 4 ? gpr[n - 4] >> 8 & 0xff : gpr[n] & 0xff; }
static void set_byte(u64 *gpr, bool rex, u32 n, u8 v) {
  if (!rex && n >= 4) gpr[n - 4] = (gpr[n - 4] & ~0xff00ul) | v << 8;
  else gpr[n] = (gpr[n] & ~0xfful) | v;
}
static u32 flags_of(u32 result, u32 carry, u32 aux, u32 overflow) {
  u32 f = carry ? FL_CF : 0;
  f |= aux ? FL_AF : 0;
  f |= overflow ? FL_OF : 0;
  f |= (result & 0xff) == 0 ? FL_ZF : 0;
  f |= result & 0x80 ? FL_SF : 0;
  return f | (__builtin_parity(result & 0xff) ? 0 : FL_PF);
}
// add or adc sbb and sub xor cmp on bytes: the result, and the flags (AF is undefined for the logical ones)
static u32 alu8(u32 op, u32 a, u32 b, bool carry, u32 *flags, u32 *defined) {
  u32 c = (op == 2 || op == 3) && carry, result;
  *defined = FL_SIX;
  switch (op) {
    case 0: case 2:
      result = a + b + c;
      *flags = flags_of(result, result > 255, (a & 15) + (b & 15) + c > 15, (a ^ result) & (b ^ result) & 0x80);
      break;
    case 3: case 5: case 7:
      result = a - b - c;
      *flags = flags_of(result, a < b + c, (a & 15) < (b & 15) + c, (a ^ b) & (a ^ result) & 0x80);
      break;
    default:
      result = op == 1 ? a | b : op == 4 ? a & b : a ^ b;
      *flags = flags_of(result, 0, 0, 0);
      *defined = FL_SIX & ~FL_AF;
  }
  return result & 0xff;
}

enum byte_kind { ALU_RM_R, ALU_R_RM, MOV_RM_R, MOV_R_RM, XCHG, MOVZX, BYTE_KINDS };
static void try_bytes(struct random *r, bool memory, bool rex) {
  struct probe p = {.rflags = next(r) & FL_SIX};
  u64 *in = (u64 *)&p.in, wanted[16];
  for (u32 i = 0; i < 16; i++) in[i] = next(r);
  u32 kind = below(r, BYTE_KINDS), op = below(r, 8), limit = rex ? 16 : 8, reg = below(r, limit), rm = memory ? 7 : below(r, limit);
  u8 *operand = frame(DATA_FRAME) + below(r, PAGE - 8);
  in[7] = memory ? (u64)operand : in[7];  // (%rdi)
  u64 before = next(r), after = before;
  memcpy(operand, &before, 8);
  memcpy(wanted, in, sizeof wanted);
  static const u8 codes[] = {0, 2, 0x88, 0x8a, 0x86, 0xb6};
  struct code c = begin(r);
  const u8 *entry = c.p;
  if (rex) byte(&c, 0x40 | (reg >> 3) << 2 | rm >> 3);
  if (kind == MOVZX) byte(&c, 0x0f);
  byte(&c, codes[kind] | (kind <= ALU_R_RM ? op << 3 : 0));
  byte(&c, (memory ? 0 : 0xc0) | (reg & 7) << 3 | (rm & 7));
  finish(&c);
  u32 x = byte_of(in, rex, reg), y = memory ? (u8)before : byte_of(in, rex, rm), flags = p.rflags, defined = FL_SIX, result;
  bool to_reg = kind == ALU_R_RM || kind == MOV_R_RM, none = false;
  switch (kind) {
    case ALU_RM_R: result = alu8(op, y, x, p.rflags & FL_CF, &flags, &defined); none = op == 7; break;
    case ALU_R_RM: result = alu8(op, x, y, p.rflags & FL_CF, &flags, &defined); none = op == 7; break;
    case MOV_RM_R: case XCHG: result = x; break;
    default: result = y;
  }
  if (kind == MOVZX) {
    wanted[reg] = y;  // movzbl: a register of 32 bits
  } else if (!none) {
    if (kind == XCHG) set_byte(wanted, rex, reg, y);
    if (to_reg) set_byte(wanted, rex, reg, result);
    else if (memory) after = (before & ~0xfful) | result;
    else set_byte(wanted, rex, rm, result);
  }
  run_probe(&p, entry);
  u64 is;
  memcpy(&is, operand, 8);
  for (u32 i = 0; i < 16; i++) CHECK(p.end.gpr[i] == wanted[i], "%s is %lx, not %lx", names[i], p.end.gpr[i], wanted[i]);
  CHECK(p.end.vector == DONE && is == after && ((p.end.rflags ^ flags) & defined) == 0, "vector %lu; memory %lx, not %lx; flags %lx, not %x", p.end.vector, is, after, p.end.rflags, flags);
  if (failed()) die("kind %u op %u reg %u rm %u memory %u rex %u", kind, op, reg, rm, memory, rex);
}
CASE(bytes, "address.byte-registers", 1) {
  struct random r = random_stream(3);
  for (u64 i = 0; i < rounds / 5; i++) try_bytes(&r, i & 1, i & 2);
}

// ---------------------------------------------------------------------------------------------
// BMI1 and BMI2

enum bmi { ANDN, BEXTR, BZHI, PDEP, PEXT, MULX, SARX, SHLX, SHRX, BLSR, BLSMSK, BLSI, RORX, BMIS };
static const struct { u8 map, pp, opcode, digit; bool flags; } bmis[BMIS] = {
    {2, 0, 0xf2, 0, true}, {2, 0, 0xf7, 0, true}, {2, 0, 0xf5, 0, true}, {2, 3, 0xf5, 0, false}, {2, 2, 0xf5, 0, false},
    {2, 3, 0xf6, 0, false}, {2, 2, 0xf7, 0, false}, {2, 1, 0xf7, 0, false}, {2, 3, 0xf7, 0, false},
    {2, 0, 0xf3, 1, true}, {2, 0, 0xf3, 2, true}, {2, 0, 0xf3, 3, true}, {3, 3, 0xf0, 0, false}};

static u64 deposit(u64 v, u64 mask) {
  u64 out = 0;
  for (u32 i = 0, k = 0; i < 64; i++)
    if (mask >> i & 1) out |= (v >> k++ & 1) << i;
  return out;
}
static u64 extract(u64 v, u64 mask) {
  u64 out = 0;
  for (u32 i = 0, k = 0; i < 64; i++)
    if (mask >> i & 1) out |= (v >> i & 1) << k++;
  return out;
}
static u64 evaluate_bmi(enum bmi op, u64 v, u64 rm, u32 bits, u32 imm) {
  u64 all = bits == 64 ? ~0ul : 0xffffffff;
  u32 start = v & 0xff, length = v >> 8 & 0xff, count = v & (bits - 1);
  switch (op) {
    case ANDN: return ~v & rm;
    case BEXTR: return start >= bits ? 0 : (rm >> start) & (length >= 64 ? all : (1ul << length) - 1);
    case BZHI: return start >= bits ? rm : rm & ((1ul << start) - 1);
    case PDEP: return deposit(v, rm);
    case PEXT: return extract(v, rm);
    case SARX: return bits == 64 ? (u64)((s64)rm >> count) : (u64)((int32_t)rm >> count);
    case SHLX: return rm << count;
    case SHRX: return rm >> count;
    case BLSR: return rm & (rm - 1);
    case BLSMSK: return rm ^ (rm - 1);
    case BLSI: return rm & -rm;
    default: imm &= bits - 1; return imm ? rm >> imm | rm << (bits - imm) : rm;
  }
}
static void try_bmi(struct random *r, bool memory) {
  struct probe p = {.rflags = next(r) & FL_SIX};
  u64 *in = (u64 *)&p.in, wanted[16];
  for (u32 i = 0; i < 16; i++) in[i] = next(r) >> (next(r) >> 60);
  enum bmi op = below(r, BMIS);
  bool wide = next(r) >> 63;
  u32 bits = wide ? 64 : 32, reg = below(r, 16), v = below(r, 16), rm = below(r, 16), imm = next(r) >> 56;
  if (memory && ((rm & 7) == RSP || (rm & 7) == 5)) rm ^= 2;  // those need SIB or a displacement
  if (next(r) >> 63) in[v] &= 0x3f3f;
  u64 *operand = (u64 *)(frame(DATA_FRAME) + 8 * below(r, 500));
  *operand = next(r);
  if (memory) in[rm] = (u64)operand;
  memcpy(wanted, in, sizeof wanted);
  bool group = op >= BLSR && op <= BLSI;
  u32 modrm_reg = group ? bmis[op].digit : reg, vvvv = op == RORX ? 0 : v;
  struct code c = begin(r);
  const u8 *entry = c.p;
  byte(&c, 0xc4);
  byte(&c, (modrm_reg < 8) << 7 | 1 << 6 | (rm < 8) << 5 | bmis[op].map);
  byte(&c, wide << 7 | (~vvvv & 15) << 3 | bmis[op].pp);
  byte(&c, bmis[op].opcode);
  byte(&c, (memory ? 0 : 0xc0) | (modrm_reg & 7) << 3 | (rm & 7));
  if (op == RORX) byte(&c, imm);
  finish(&c);
  u64 a = wide ? in[v] : (u32)in[v], b = memory ? *operand : in[rm];
  if (!wide) b = (u32)b;
  if (op == MULX) {
    unsigned __int128 product = (unsigned __int128)(wide ? in[2] : (u32)in[2]) * b;
    wanted[v] = wide ? (u64)product : (u32)product;
    wanted[reg] = wide ? (u64)(product >> 64) : (u32)(product >> 32);  // the same register: the upper half
  } else {
    u64 result = evaluate_bmi(op, a, b, bits, imm);
    wanted[group ? v : reg] = wide ? result : (u32)result;
  }
  run_probe(&p, entry);
  for (u32 i = 0; i < 16; i++) CHECK(p.end.gpr[i] == wanted[i], "%s is %lx, not %lx", names[i], p.end.gpr[i], wanted[i]);
  CHECK(p.end.vector == DONE && (bmis[op].flags || (p.end.rflags & FL_SIX) == p.rflags), "vector %lu at %lx, flags %lx, not %lx", p.end.vector, p.end.rip, p.end.rflags, p.rflags);
  if (failed()) die("op %u wide %u memory %u: reg %s v %s rm %s imm %u; a %lx b %lx", op, wide, memory, names[reg], names[v], names[rm], imm, a, b);
}
CASE(bmi, "address.bmi", 1) {
  REQUIRE_BMI();
  struct random r = random_stream(4);
  for (u64 i = 0; i < rounds / 5; i++) try_bmi(&r, i & 1);
}

// ---------------------------------------------------------------------------------------------
// RSP: forms of their own, and what PUSH and POP make of it. Vol. 2, PUSH, POP.

SNIPPET(rsp_forms,
        "mov (%rsp), %rax; mov 8(%rsp), %rcx; mov 256(%rsp), %rdx; mov (%rsp,%rbx,8), %rsi; mov 8(%rsp,%rbx,4), %rdi; lea 16(%rsp), %r8; lea -300(%rsp,%rbx,2), %r9\n"
        "lea (%esp), %r10; movzbl 3(%rsp), %r11d; cmp %rax, (%rsp); sete %bpl; movzx %bpl, %ebp");
SNIPPET(rsp_push, "push %rsp; pop %rax; push 8(%rsp); pop 16(%rsp); push (%rsp); pop %rcx; pushq %rsp; pop (%rsp); mov (%rsp), %rdx");
SNIPPET(rsp_odd, "add $3, %rsp; push %rax; mov (%rsp), %rbx; call 1f; 1: pop %rcx; push %cx; pop %dx; sub $1, %rsp; pop %rsi; sub $8, %rsp");
CASE(rsp, "address.rsp", 1) {
  u64 *stack = (u64 *)frame(DATA_FRAME) + 256;
  for (s64 i = -64; i < 64; i++) stack[i] = 0x1000 + i;
  struct probe p = {.in = {.rsp = (u64)stack, .rbx = 2}};
  run_probe(&p, rsp_forms);
  struct regs *o = &p.end.r;
  CHECK(o->rax == 0x1000 && o->rcx == 0x1001 && o->rdx == 0x1020 && o->rsi == 0x1002 && o->rdi == 0x1002 && o->r8 == (u64)stack + 16 &&
        o->r9 == (u64)stack - 296 && o->r10 == (u64)stack && o->r11 == 0 && o->rbp == 1, "rdx %lx rsi %lx rdi %lx r8 %lx r9 %lx", o->rdx, o->rsi, o->rdi, o->r8, o->r9);
  run_probe(&p, rsp_push);
  // PUSH RSP pushes the old value; POP m with RSP addresses by the new one: 16(%rsp) is stack[2]
  CHECK(o->rax == (u64)stack && stack[2] == 0x1001 && o->rcx == 0x1000 && o->rsp == (u64)stack && o->rdx == (u64)stack, "rax %lx [2] %lx rcx %lx rsp %lx rdx %lx", o->rax, stack[2], o->rcx, o->rsp, o->rdx);
  p.in.rax = 0x1122334455667788;
  run_probe(&p, rsp_odd);
  CHECK(o->rbx == p.in.rax && o->rsp == (u64)stack + 3 - 8 - 1 + 8 - 8 && (u16)o->rdx == (u16)o->rcx, "rbx %lx rsp %lx", o->rbx, o->rsp);
}
