// SPDX-License-Identifier: Apache-2.0
// Calls and returns that do not pair, and jumps that change their minds: what a translator that predicts returns or
// chains blocks could get wrong. Intel SDM vol. 1, 6.4.
#include "rt.h"

static u8 *stack_of_pages(u32 pages) {
  for (u32 i = 0; i < pages; i++) map(WIN(1000 + i), frame(400 + i), PTE_RW);
  return WIN(1000 + pages);
}
static void expect(const char *what, const struct probe *p, u64 rax) {
  CHECK(p->end.vector == DONE && p->end.r.rax == rax, "%s: vector %lu at %lx, rax %lx, not %lx", what, p->end.vector, p->end.rip, p->end.r.rax, rax);
}

// Recursion, and all the way back
SNIPPET(recursion, "call 1f; int $0x70; 1: push %rcx; inc %rax; dec %rcx; jz 2f; call 1b; 2: pop %rbx; add %rbx, %rdx; ret");
CASE(recursion, "control.recursion", 1) {
  u8 *top = stack_of_pages(420);
  for (u64 depth = 1; depth <= 100000; depth = depth * 10) {
    struct probe p = {.in = {.rcx = depth, .rsp = (u64)top}};
    run_probe(&p, recursion);
    expect("depth", &p, depth);
    CHECK(p.end.r.rdx == depth * (depth + 1) / 2 && p.end.r.rsp == (u64)top, "depth %lu: rdx %lx rsp %lx", depth, p.end.r.rdx, p.end.r.rsp);
  }
}
// Two functions that call each other, from several places
SNIPPET(mutual,
        "call 1f; int $0x70\n"
        "1: test %ecx, %ecx; jz 9f; push %rcx; dec %ecx; call 2f; call 2f; pop %rcx; add %rcx, %rax; ret\n"
        "2: test %ecx, %ecx; jz 9f; push %rcx; dec %ecx; call 1b; lea (%rax,%rcx,2), %rax; pop %rcx; ret; 9: inc %rax; ret");
static u64 mutual_one(u64 n);
static u64 sum_of;
static void mutual_two(u64 n) {
  if (n == 0) { sum_of++; return; }
  mutual_one(n - 1);
  sum_of += 2 * (n - 1);
}
static u64 mutual_one(u64 n) {
  if (n == 0) return ++sum_of;
  mutual_two(n - 1);
  mutual_two(n - 1);
  return sum_of += n;
}
CASE(mutual, "control.mutual-recursion", 1) {
  u8 *top = stack_of_pages(20);
  for (u64 depth = 1; depth < 24; depth++) {
    struct probe p = {.in = {.rcx = depth, .rsp = (u64)top}};
    sum_of = 0;
    mutual_one(depth);
    run_probe(&p, mutual);
    expect("depth", &p, sum_of);
  }
}

// longjmp: from deep inside to the outermost, over and over
SNIPPET(longjmp_, "mov %rsp, %rbp; 1: mov %rcx, %rdx; call 2f; 3: mov %rbp, %rsp; dec %rcx; jnz 1b; int $0x70\n"
                  "2: inc %rax; dec %rdx; jz 3b; call 2b; ud2");
CASE(longjmp_, "control.longjmp", 1) {
  u8 *top = stack_of_pages(20);
  u64 n = 1000;
  struct probe p = {.in = {.rcx = n, .rsp = (u64)top}};
  run_probe(&p, longjmp_);
  expect("longjmp", &p, n * (n + 1) / 2);
}

// RET as a jump: to pushed addresses, one of many in turn
SNIPPET(pushed, "1: mov %rcx, %rdx; and $3, %edx; lea 8f(%rip), %rbx; movslq (%rbx,%rdx,4), %rdx; add %rbx, %rdx; push %rdx; ret\n"
                "2: add $1, %rax; jmp 7f; 3: add $10, %rax; jmp 7f; 4: add $100, %rax; jmp 7f; 5: add $1000, %rax; 7: dec %rcx; jnz 1b; int $0x70\n"
                "8: .long 2b - 8b, 3b - 8b, 4b - 8b, 5b - 8b");
CASE(pushed, "control.ret-to-pushed", 1) {
  u64 n = rounds / 4 * 4;
  struct probe p = {.in = {.rcx = n, .rsp = (u64)stack_of_pages(1)}};
  run_probe(&p, pushed);
  expect("pushed", &p, n / 4 * 1111);
}
// The return address is changed on the stack: skip the next instruction, every third time
SNIPPET(modified, "1: call 2f; 3: add $1, %rax; 4: dec %rcx; jnz 1b; int $0x70\n"
                  "2: inc %rdx; cmp $3, %edx; jne 5f; xor %edx, %edx; addq $4b - 3b, (%rsp); 5: ret");
CASE(modified, "control.return-address-changed", 1) {
  u64 n = rounds / 3 * 3;
  struct probe p = {.in = {.rcx = n, .rsp = (u64)stack_of_pages(1)}};
  run_probe(&p, modified);
  expect("modified", &p, n / 3 * 2);
}
// CALL just to learn RIP, with no RET; then RETs that belong to other CALLs
SNIPPET(call_pop, "1: call 2f; 2: pop %rbx; call 3f; inc %rax; jmp 4f; 3: call 5f; inc %rax; ret; 5: pop %rdx; push %rdx; ret; 4: dec %rcx; jnz 1b; int $0x70");
CASE(call_pop, "control.call-pop", 1) {
  struct probe p = {.in = {.rcx = rounds, .rsp = (u64)stack_of_pages(1)}};
  run_probe(&p, call_pop);
  expect("call pop", &p, 2 * rounds);
}
// A function that returns to its caller's caller
SNIPPET(two_up, "1: call 2f; inc %rax; dec %rcx; jnz 1b; int $0x70; 2: call 3f; add $1000, %rax; ret; 3: add $8, %rsp; ret");
CASE(two_up, "control.return-two-up", 1) {
  struct probe p = {.in = {.rcx = rounds, .rsp = (u64)stack_of_pages(1)}};
  run_probe(&p, two_up);
  expect("two up", &p, rounds);
}
// A stack that is nothing but return addresses
extern const u8 rop_add1[], rop_add16[], rop_shift[], rop_end[];
asm(".pushsection .text.snippets; rop_add1: inc %rax; ret; rop_add16: add $16, %rax; ret; rop_shift: add %rax, %rax; ret; rop_end: int $0x70; .popsection");
SNIPPET(rop_start, "ret");
CASE(rop, "control.chain-of-returns", 1) {
  struct random r = random_stream(1);
  stack_of_pages(20);
  for (u64 i = 0; i < rounds / 500; i++) {
    u64 n = below(&r, 2000), *top = (u64 *)WIN(1000), wanted = 0;
    for (u64 j = 0; j < n; j++) {
      switch (below(&r, 3)) {
        case 0: top[j] = (u64)rop_add1; wanted++; break;
        case 1: top[j] = (u64)rop_add16; wanted += 16; break;
        default: top[j] = (u64)rop_shift; wanted *= 2;
      }
    }
    top[n] = (u64)rop_end;
    struct probe p = {.in = {.rsp = (u64)top}};
    run_probe(&p, rop_start);
    expect("chain", &p, wanted);
  }
}
// Coroutines: two stacks, a switch in the depth of each
SNIPPET(coroutines,
        "mov %rsp, %rbp; lea -4096(%rsp), %rsp; lea 2f(%rip), %rbx; push %rbx; xchg %rsp, %rbp; 1: inc %rax; call 3f; dec %rcx; jnz 1b; int $0x70\n"
        "2: add $100, %rax; call 4f; jmp 2b; 4: call 3f; ret; 3: xchg %rsp, %rbp; ret");
CASE(coroutines, "control.coroutines", 1) {
  struct probe p = {.in = {.rcx = rounds, .rsp = (u64)stack_of_pages(4)}};
  run_probe(&p, coroutines);
  expect("coroutines", &p, 101 * rounds);
}
// RET n; and far returns, IRETQ, far jumps and calls as ordinary transfers
SNIPPET(ret_imm, "1: push %rcx; push %rcx; call 2f; dec %rcx; jnz 1b; int $0x70; 2: add 8(%rsp), %rax; ret $16");
CASE(ret_imm, "control.ret-immediate", 1) {
  struct probe p = {.in = {.rcx = rounds, .rsp = (u64)stack_of_pages(1)}};
  run_probe(&p, ret_imm);
  expect("ret n", &p, rounds * (rounds + 1) / 2);
  CHECK(p.end.r.rsp == p.in.rsp, "rsp %lx, not %lx", p.end.r.rsp, p.in.rsp);
}
SNIPPET(far, "1: push $8; lea 2f(%rip), %rbx; push %rbx; lretq; ud2; 2: inc %rax; mov %rsp, %rbx; push $0x10; push %rbx; pushfq; push $8; lea 3f(%rip), %rdx; push %rdx; iretq; ud2\n"
             "3: inc %rax; lea 4f(%rip), %rbx; mov %rbx, (%rdi); movw $8, 8(%rdi); rex.w lcall *(%rdi); rex.w ljmp *16(%rdi); ud2; 4: inc %rax; lretq; 5: inc %rax; dec %rcx; jnz 1b; int $0x70\n"
             " .globl far_target\n .set far_target, 5b");
extern const u8 far_target[];
CASE(far, "control.far", 1) {
  u64 *pointers = (u64 *)frame(1);
  pointers[2] = (u64)far_target;
  pointers[3] = CODE64;
  struct probe p = {.in = {.rcx = rounds / 10, .rdi = (u64)pointers, .rsp = (u64)stack_of_pages(1)}};
  run_probe(&p, far);
  expect("far", &p, 4 * (rounds / 10));
}

// Indirect calls and jumps that go somewhere else each time
SNIPPET(table, "1: mov (%rsi), %rdx; lea 8f(%rip), %rbx; movslq (%rbx,%rdx,4), %rdx; add %rbx, %rdx; add $8, %rsi; test $1, %cl; jz 2f; call *%rdx; jmp 3f; 2: lea 3f(%rip), %rbx; push %rbx; jmp *%rdx\n"
               "3: dec %rcx; jnz 1b; int $0x70; 4: add $1, %rax; ret; 5: rol $3, %rax; ret; 6: xor $0x55, %rax; ret; 7: imul $7, %rax, %rax; ret\n"
               "8: .long 4b - 8b, 5b - 8b, 6b - 8b, 7b - 8b");
CASE(table, "control.indirect", 1) {
  struct random r = random_stream(2);
  u64 *list = (u64 *)frame(2);  // several frames
  for (u64 i = 0; i < rounds / 200; i++) {
    u64 n = 1 + below(&r, 1000), wanted = i;
    for (u64 j = 0; j < n; j++) {
      list[j] = below(&r, 4);
      switch (list[j]) {
        case 0: wanted++; break;
        case 1: wanted = wanted << 3 | wanted >> 61; break;
        case 2: wanted ^= 0x55; break;
        default: wanted *= 7;
      }
    }
    struct probe p = {.in = {.rax = i, .rcx = n, .rsi = (u64)list, .rsp = (u64)stack_of_pages(1)}};
    run_probe(&p, table);
    expect("table", &p, wanted);
  }
}

// An exception in the depth of a recursion, and its handler leaves to the top, as a language's exceptions do
static const u8 *landing_pad;
static u64 landing_stack;
static enum after unwind(struct probe *p, struct trap *t) {
  (void)p;
  if (t->vector != UD) return fail("exception %lu at %lx", t->vector, t->rip), STOP;
  t->rip = (u64)landing_pad;
  t->rsp = landing_stack;
  return RESUME;
}
extern const u8 throw_pad[];
SNIPPET(throw_, "1: mov %rcx, %rdx; and $63, %edx; inc %edx; call 2f; ud2; .globl throw_pad; throw_pad: dec %rcx; jnz 1b; int $0x70; 2: inc %rax; dec %edx; jz 3f; call 2b; ud2; 3: ud2");
CASE(throw_, "control.exception-unwinds", 1) {
  u64 n = rounds / 64 / 4 * 64;
  landing_pad = throw_pad;
  landing_stack = (u64)stack_of_pages(2);
  struct probe p = {.in = {.rcx = n, .rsp = landing_stack}, .hook = unwind};
  run_probe(&p, throw_);
  expect("exceptions", &p, n / 64 * (64 * 65 / 2));
  CHECK(p.events == (int)n, "%d exceptions, not %lu", p.events, n);
}

// Jumps by every condition, both ways, on all combinations of the flags
#define JUMPS(X) X("o") X("no") X("b") X("ae") X("e") X("ne") X("be") X("a") X("s") X("ns") X("p") X("np") X("l") X("ge") X("le") X("g")
#define ONE_JUMP(cc) "push %rdx; popfq; j" cc " 1f; jmp 2f; 1: inc %rax; 2: rol $1, %rax; push %rdx; popfq; set" cc " %cl; or %cl, %al; xor %ebx, %ebx; push %rdx; popfq; cmov" cc " %rsi, %rbx; xor %rbx, %rdi;"
SNIPPET(conditions, JUMPS(ONE_JUMP));
CASE(conditions, "control.conditions", 1) {
  for (u32 i = 0; i < 64; i++) {
    u32 cf = i & 1, pf = i >> 1 & 1, zf = i >> 2 & 1, sf = i >> 3 & 1, of = i >> 4 & 1, af = i >> 5;
    u32 truth[8] = {of, cf, zf, cf | zf, sf, pf, sf != of, zf | (sf != of)};
    u64 flags = FL_1 | cf | pf << 2 | af << 4 | zf << 6 | sf << 7 | of << 11, wanted = 0, parity = 0;
    for (u32 j = 0; j < 16; j++) {
      u32 is = truth[j / 2] != (j & 1);
      wanted = (wanted + is) << 1 | is;
      parity ^= is;
    }
    struct probe p = {.in = {.rdx = flags, .rsi = 1, .rsp = (u64)stack_of_pages(1)}};
    run_probe(&p, conditions);
    expect("conditions", &p, wanted);
    CHECK(p.end.r.rdi == parity, "cmov, flags %lx: %lx, not %lx", flags, p.end.r.rdi, parity);
  }
}
