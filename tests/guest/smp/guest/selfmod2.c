// SPDX-License-Identifier: Apache-2.0
// Code that changes itself in less usual places: what comes next, loops, callers, one page for code and data. Intel SDM
// vol. 3, 8.1.3. Where a case has no jump between store and changed code it says so: the manual asks for one, but every
// processor since the P6 does without (11.6: the check of prefetched instructions), and so does QEMU.
#include "rt.h"

#define X WIN(300)
enum { CODE_FRAME = 100 };

// Code out of this file, copied to X where it can be changed
#define CODE(name, text)                     \
  extern u8 name[], name##_end[];            \
  asm(".pushsection .text\n .align 16\n" #name ":\n" text "\n" #name "_end:\n .popsection")
static void *place(const u8 *begin, const u8 *end, u64 offset) {
  for (u32 i = 0; i < 3; i++) map(X + i * PAGE, frame(CODE_FRAME + 2 * i), PTE_RW);
  // byte by byte: it may go across pages
  for (u64 i = 0; begin + i < end; i++) X[offset + i] = begin[i];
  cpuid_serialize();
  return X + offset;
}
#define PLACE(name, offset) place(name, name##_end, offset)
typedef u64 function(u64 a, u64 b, u64 c);

// The value of the very next instruction, after a jump
CODE(next_jump, "mov %edi, 1f+1(%rip); jmp 1f; 1: mov $0x55555555, %eax; ret");
CASE(next_jump, "smc.next-after-jump", 1) {
  for (u64 offset = 0x40; offset < 0x40 + 64; offset++) {
    function *f = PLACE(next_jump, offset);
    for (u64 i = 0; i < rounds / 1000; i++) CHECK((u32)f(i, 0, 0) == i, "offset %lx: not %lx", offset, i);
  }
}
// ... across a page: store and jump in the first, what they change in both or in the second
CASE(next_page, "smc.next-across-page", 1) {
  for (u64 offset = PAGE - 16; offset < PAGE + 2; offset++) {
    function *f = PLACE(next_jump, offset);
    for (u64 i = 0; i < rounds / 1000; i++) CHECK((u32)f(i, 0, 0) == i, "offset %lx: not %lx", offset, i);
  }
}
// ... with no jump between
CODE(next_straight, "mov %edi, 1f+1(%rip); 1: mov $0x55555555, %eax; ret");
CASE(next_straight, "smc.next-no-jump", 1) {
  function *f = PLACE(next_straight, 0x40);
  for (u64 i = 0; i < rounds / 10; i++) CHECK((u32)f(i, 0, 0) == i, "not %lx", i);
}
// ... by an instruction that is not done when it stores: RMW, push, a string that runs over what follows it
CODE(next_rmw, "incl 1f+1(%rip); 1: mov $0, %eax; lock incl 2f+1(%rip); 2: mov $0, %edx; add %rdx, %rax; ret");
CASE(next_rmw, "smc.next-rmw-no-jump", 1) {
  function *f = PLACE(next_rmw, 0x40);
  for (u64 i = 1; i < rounds / 10; i++) CHECK(f(0, 0, 0) == 2 * i, "not %lx", 2 * i);
}
CODE(next_string, "mov %rdi, %rax; lea 1f(%rip), %rdi; mov $16, %ecx; rep stosb; jmp 1f; 1: .fill 16, 1, 0xcc; ret");
CASE(next_string, "smc.rep-stos-ahead", 1) {
  function *f = PLACE(next_string, 0x40);
  for (u64 i = 0; i < rounds / 10; i++) {
    f(i & 1 ? 0x90 : 0xf8, 0, 0);  // NOP, CLC: both do no harm
    if (i % 16 == 0) PLACE(next_string, 0x40);
  }
}
CODE(next_push, "mov %rsp, %r10; lea 1f+9(%rip), %rsp; push %rdi; mov %r10, %rsp; jmp 1f; nop; 1: .byte 0x48, 0xb8; .quad 0; ret");
CASE(next_push, "smc.push-ahead", 1) {
  function *f = PLACE(next_push, 0x40);
  for (u64 i = 1; i < rounds / 10; i++) {
    // the push writes the byte before the value too
    u64 value = i << 8 | 0xb8, is;
    is = f(value, 0, 0);
    CHECK(is << 8 == i << 8, "%lx, not %lx", is, i);
  }
}

// A loop whose own value changes in each turn
CODE(loop, "xor %eax, %eax; 1: mov $1, %edx; add %rdx, %rax; incl 1b+1(%rip); dec %edi; jnz 1b; movl $1, 1b+1(%rip); ret");
CASE(loop, "smc.loop", 1) {
  function *f = PLACE(loop, 0x40);
  for (u64 n = 1; n <= rounds / 10; n = n * 3 + 1) CHECK(f(n, 0, 0) == n * (n + 1) / 2, "%lu turns: %lu", n, f(n, 0, 0));
}
// A loop whose jump becomes another: its condition, then its target
CODE(loop_jump,
     "xor %eax, %eax; mov $2, %ecx; 1: inc %eax; cmp %edi, %eax; 2: jb 1b; 3: add $1000, %eax; xorb $0x04, 2b(%rip)\n"
     "loop 2b; ret");
CASE(loop_jump, "smc.loop-jump", 1) {
  function *f = PLACE(loop_jump, 0x40);
  for (u64 i = 0; i < rounds / 10; i++) {
    // JB for n turns; then JB has become JBE.. and back: two changes each call leave it as it was
    u64 n = 1 + i % 50, is = f(n, 0, 0);
    CHECK(is == n + 2000, "%lu: %lu", n, is);
  }
}

// Code and data in one page: a counter beside the code that counts, under a function that uses the stack there too
CODE(counter, "mov %edi, %ecx; 1: incq 2f(%rip); addq $2, 2f+8(%rip); movb %cl, 2f+17(%rip); dec %ecx; jnz 1b; mov 2f(%rip), %rax; ret; .align 8; 2: .quad 0, 0, 0");
CASE(counter, "smc.data-beside-code", 1) {
  function *f = PLACE(counter, 0x40);
  u64 n = rounds / 2, is = f(n, 0, 0);
  CHECK(is == n, "%lu, not %lu", is, n);
  for (u64 i = 1; i < rounds / 20; i++) CHECK(f(1, 0, 0) == n + i, "call %lu", i);
}
CODE(stack_code, "mov %rsp, %r10; lea 1f+256(%rip), %rsp; mov %edi, %ecx; xor %eax, %eax; 2: push %rcx; call 3f; pop %rdx; add %rdx, %rax; dec %ecx; jnz 2b\n"
     "mov %r10, %rsp; ret; 3: push %rbp; mov %rsp, %rbp; sub $32, %rsp; mov %rcx, -8(%rbp); leave; ret; .align 16; 1: .fill 256, 1, 0");
CASE(stack_code, "smc.stack-beside-code", 1) {
  function *f = PLACE(stack_code, 0x40);
  for (u64 i = 0; i < rounds / 1000; i++) {
    u64 n = 1 + i % 300, is = f(n, 0, 0);
    CHECK(is == n * (n + 1) / 2, "%lu: %lu", n, is);
  }
}

// Functions side by side in a page, changed and called in a random order
static u32 values[64];
static void put_function(u8 *at, u32 value) {
  at[0] = 0xb8;
  memcpy(at + 1, &value, 4);
  at[5] = 0xc3;
}
static void many(u64 stride, u64 offset) {
  struct random r = random_stream(stride);
  for (u32 i = 0; i < 3; i++) map(X + i * PAGE, frame(CODE_FRAME + 2 * i), PTE_RW);
  for (u32 i = 0; i < 64; i++) put_function(X + offset + i * stride, values[i] = i);
  cpuid_serialize();
  for (u64 i = 0; i < rounds / 4; i++) {
    u64 n = below(&r, 64);
    u8 *at = X + offset + n * stride;
    if (next(&r) >> 62 == 0) {
      values[n] = i;
      *(volatile u32 *)(at + 1) = i;
    }
    u32 is = ((u32(*)(void))at)();
    if (is != values[n]) return fail("function %lu: %x, not %x, at %lu", n, is, values[n], i);
  }
}
CASE(many, "smc.many", 1) {
  many(6, 0);        // no gap between them
  many(64, 0);       // a line each
  many(64, PAGE - 2048 + 61);  // some across lines, one across the page
}

// A function that moves: thousands of addresses, each written for the first time or again
CASE(moves, "smc.moves", 1) {
  struct random r = random_stream(1);
  for (u32 i = 0; i < 3; i++) map(X + i * PAGE, frame(CODE_FRAME + 2 * i), PTE_RW);
  for (u64 i = 0; i < rounds / 4; i++) {
    u8 *at = X + below(&r, 3 * PAGE - 8);
    put_function(at, i);
    u32 is = ((u32(*)(void))at)();
    if (is != (u32)i) return fail("at %p: %x, not %lx", at, is, i);
  }
}

// Two readings of the same bytes: the value of one instruction is the code of another
CODE(overlap, "test %edi, %edi; jz 1f+1; 1: mov $0x90c3c8ff, %eax; ret");  // inside: dec %eax; ret
CASE(overlap, "smc.overlap", 1) {
  function *f = PLACE(overlap, 0x40);
  for (u64 i = 0; i < rounds / 10; i++) {
    u32 is;
    asm volatile("mov $77, %%eax; call *%1" : "=&a"(is) : "r"(f), "D"((u64)(i & 1)) : "memory", "cc", "rcx", "rdx");
    CHECK(is == (i & 1 ? 0x90c3c8ff : 76), "way %lu: %x", i & 1, is);
  }
}
// ... that changes: the value gets another inner meaning (DEC, INC)
CASE(overlap_changes, "smc.overlap-changes", 1) {
  function *f = PLACE(overlap, 0x40);
  u8 *inner = (u8 *)f + (overlap_end - overlap) - 5;  // behind the opcode of MOV: ff c8
  for (u64 i = 0; i < rounds / 10; i++) {
    u32 is, way = i >> 1 & 1;
    inner[1] = i & 1 ? 0xc0 : 0xc8;
    asm volatile("mov $77, %%eax; call *%1" : "=&a"(is) : "r"(f), "D"((u64)way) : "memory", "cc", "rcx", "rdx");
    u32 wanted = way ? (i & 1 ? 0x90c3c0ff : 0x90c3c8ff) : (i & 1 ? 78 : 76);
    CHECK(is == wanted, "round %lu: %x, not %x", i, is, wanted);
  }
}

// A callee that changes what it returns to, by jump, by return
CODE(caller, "push %rbx; mov %edi, %ebx; call 2f; 1: mov $0, %eax; pop %rbx; ret; 2: mov %ebx, 1b+1(%rip); ret");
CASE(caller, "smc.callee-changes-caller", 1) {
  function *f = PLACE(caller, 0x40);
  for (u64 i = 0; i < rounds / 10; i++) CHECK((u32)f(i, 0, 0) == (u32)i, "not %lx", i);
}
// ... in another page
CODE(callee, "mov %rsi, %rax; mov %edi, (%rdx); ret");
CODE(far_caller, "sub $8, %rsp; lea 1f+1(%rip), %rdx; call *%rsi; 1: mov $0, %eax; add $8, %rsp; ret");
CASE(far_caller, "smc.far-callee-changes-caller", 1) {
  function *f = PLACE(far_caller, 0x40), *g = PLACE(callee, 2 * PAGE);
  for (u64 i = 0; i < rounds / 10; i++) CHECK((u32)f(i, (u64)g, 0) == (u32)i, "not %lx", i);
}

// Chains of blocks: A jumps to B jumps to C. What each jumps to, and each itself, changes in turn.
enum { LINKS = 16 };
CASE(chain, "smc.chain", 1) {
  struct random r = random_stream(7);
  u8 order[LINKS];
  for (u32 i = 0; i < 3; i++) map(X + i * PAGE, frame(CODE_FRAME + 2 * i), PTE_RW);
  for (u64 i = 0; i < rounds / 20; i++) {
    // A random way through the links; each appends its number: shl $4, %rax; or $n, %al; jmp next
    u32 length = 1 + below(&r, LINKS - 1);
    for (u32 j = 0; j < LINKS; j++) order[j] = j;
    for (u32 j = 0; j < LINKS; j++) {
      u32 k = below(&r, LINKS);
      u8 swap = order[j];
      order[j] = order[k];
      order[k] = swap;
    }
    u64 wanted = 0;
    for (u32 j = 0; j < length; j++) {
      u8 *at = X + PAGE - 500 + order[j] * 60, *to = X + PAGE - 500 + order[j + 1] * 60;
      s64 distance = j + 1 == length ? 0 : to - (at + 11);
      static const u8 head[] = {0x48, 0xc1, 0xe0, 0x04, 0x0c};
      if (memcmp(at, head, 5)) memcpy(at, head, 5);
      at[5] = order[j];
      at[6] = j + 1 == length ? 0xc3 : 0xe9;
      memcpy(at + 7, &distance, 4);
      wanted = wanted << 4 | order[j];
    }
    u64 is;
    asm volatile("xor %%eax, %%eax; call *%1" : "=&a"(is) : "r"(X + PAGE - 500 + order[0] * 60) : "memory", "cc");
    if (is != wanted) return fail("round %lu: way %lx, not %lx", i, is, wanted);
  }
}

// The handler of a fault changes the instruction that faulted, or puts it back
CODE(faulting, "mov $5, %eax; ud2; inc %eax; int $0x70");
static u8 *fault_at;
static enum after patch_it(struct probe *p, struct trap *t) {
  (void)p;
  CHECK(t->vector == UD && t->rip == (u64)fault_at, "vector %lu at %lx", t->vector, t->rip);
  fault_at[0] = 0xff;  // inc %eax
  fault_at[1] = 0xc0;
  return RESUME;
}
CASE(handler, "smc.fault-handler-patches", 1) {
  u8 *f = PLACE(faulting, 0x40);
  fault_at = f + 5;
  for (u64 i = 0; i < rounds / 50; i++) {
    fault_at[0] = 0x0f;
    fault_at[1] = 0x0b;
    for (u32 j = 0; j < 3; j++) {
      struct probe p = {.hook = patch_it};
      run_probe(&p, f);
      CHECK(p.end.r.rax == 7 && p.events == (j == 0), "round %lu: rax %lu after %d events", i, p.end.r.rax, p.events);
    }
  }
}

// The store itself faults: the page of code is read-only until its handler allows more
static enum after allow_writing(struct probe *p, struct trap *t) {
  (void)p;
  CHECK(t->vector == PF && t->error == (PF_P | PF_W), "vector %lu, error %lx", t->vector, t->error);
  map(X, frame(CODE_FRAME), PTE_RW);
  return RESUME;
}
CODE(patch_and_call, "mov %edi, 1(%rsi); call *%rsi; int $0x70");
CASE(read_only, "smc.read-only-code", 1) {
  put_function(frame(CODE_FRAME) + 0x80, 0);
  memcpy(frame(CODE_FRAME) + 0x800, patch_and_call, patch_and_call_end - patch_and_call);
  const u8 *places[] = {patch_and_call, X + 0x800};
  for (u64 i = 1; i < rounds / 50; i++) {
    map(X, frame(CODE_FRAME), PTE_P | PTE_U);
    for (u32 j = 0; j < 2; j++) CHECK(((u32(*)(void))(X + 0x80))() == i - 1, "round %lu: before", i);
    struct probe p = {.in = {.rdi = i, .rsi = (u64)X + 0x80, .rsp = (u64)frame(1)}, .hook = allow_writing};
    run_probe(&p, places[i & 1]);
    CHECK(p.end.vector == DONE && p.events == 1 && p.end.r.rax == i, "round %lu: %lx after %d events", i, p.end.r.rax, p.events);
  }
}

// The same store again and again: nothing changes, and nothing may get worse than slow
CODE(unchanged, "mov %edi, %ecx; 1: movl $7, 2f+1(%rip); jmp 2f; 2: mov $7, %eax; dec %ecx; jnz 1b; ret");
CASE(unchanged, "smc.unchanged", 1) {
  function *f = PLACE(unchanged, 0x40);
  CHECK(f(rounds / 4, 0, 0) == 7, "not 7");
}

// A page is code, then data that is written all over, then code again
CASE(recycle, "smc.recycle", 1) {
  struct random r = random_stream(3);
  map(X, frame(CODE_FRAME), PTE_RW);
  for (u64 i = 0; i < rounds / 200; i++) {
    u64 offset = below(&r, PAGE - 8), word = below(&r, PAGE / 8 - 2);
    put_function(X + offset, i);
    CHECK(((u32(*)(void))(X + offset))() == (u32)i, "round %lu", i);
    memset(X, i, PAGE);
    for (u32 j = 0; j < PAGE / 8; j++) ((volatile u64 *)X)[j] += j;
    CHECK(((volatile u64 *)X)[word] == (i & 0xff) * 0x0101010101010101 + word, "round %lu: word %lu is %lx", i, word, ((volatile u64 *)X)[word]);
  }
}

// One address, other frames: what is executed goes with the mapping. 4.10.4.1: INVLPG on this vCPU
CASE(remap, "smc.remap", 1) {
  struct random r = random_stream(4);
  // A function across two pages that change independently: opcode and one value byte in the first, the rest in the second
  for (u32 i = 0; i < 8; i++) {
    memcpy(frame(CODE_FRAME + i) + PAGE - 3, (u8[]){0xb8, i, 0x10 + i}, 3);
    memcpy(frame(CODE_FRAME + i), (u8[]){0x20 + i, 0x30 + i, 0xc3}, 3);
  }
  u32 a = 0, b = 0;
  map(X, frame(CODE_FRAME), PTE_P);
  map(X + PAGE, frame(CODE_FRAME), PTE_P);
  for (u64 i = 0; i < rounds / 10; i++) {
    if (next(&r) >> 63) map(X, frame(CODE_FRAME + (a = below(&r, 8))), PTE_P);
    else map(X + PAGE, frame(CODE_FRAME + (b = below(&r, 8))), PTE_P);
    u32 is = ((u32(*)(void))(X + PAGE - 3))(), wanted = a | (0x10 + a) << 8 | (0x20 + b) << 16 | (0x30 + b) << 24;
    if (is != wanted) return fail("round %lu: %x, not %x", i, is, wanted);
  }
}
// A function that maps another frame where its caller is, and returns there. The frames have the same call at the same
// place and different code behind it.
static void switch_page(u8 *page) { map(X, page, PTE_P); }
CASE(remap_caller, "smc.remap-caller", 1) {
  static const u8 call_rdx[] = {0x48, 0x83, 0xec, 0x08, 0xff, 0xd2, 0x48, 0x83, 0xc4, 0x08};  // sub $8, %rsp; call *%rdx; add $8, %rsp
  for (u32 i = 0; i < 2; i++) {
    memcpy(frame(CODE_FRAME + i) + 0x40, call_rdx, sizeof call_rdx);
    put_function(frame(CODE_FRAME + i) + 0x40 + sizeof call_rdx, 0x1000 + i);
  }
  map(X, frame(CODE_FRAME), PTE_P);
  for (u64 i = 0; i < rounds / 10; i++) {
    u32 next_frame = i >> 1 & 1;  // now and then the same
    u32 is = ((function *)(X + 0x40))((u64)frame(CODE_FRAME + next_frame), 0, (u64)switch_page);
    if (is != 0x1000 + next_frame) return fail("round %lu: returned into %x", i, is);
  }
}
// The same by CR3: two sets of tables that differ in one page
extern u64 pml4[512];
static u64 other_pml4[512] __attribute__((aligned(4096))), other_pdpt[512] __attribute__((aligned(4096))),
    other_pd[512] __attribute__((aligned(4096))), other_pt[512] __attribute__((aligned(4096)));
CODE(switching, "mov %rdi, %cr3; mov $0x1111, %eax; ret");
CASE(cr3, "smc.cr3-switch", 1) {
  PLACE(switching, 0x40);
  memcpy(frame(CODE_FRAME + 1), frame(CODE_FRAME), PAGE);
  frame(CODE_FRAME + 1)[0x40 + 4] = 0x22;  // the other value
  memcpy(other_pml4, pml4, PAGE);
  other_pml4[WINDOW >> 39 & 511] = (u64)other_pdpt | PTE_RW;
  other_pdpt[WINDOW >> 30 & 511] = (u64)other_pd | PTE_RW;
  other_pd[0] = (u64)other_pt | PTE_RW;
  other_pt[300] = (u64)frame(CODE_FRAME + 1) | PTE_RW;
  u64 tables[2] = {(u64)pml4, (u64)other_pml4};
  u32 wanted[2] = {0x1111, 0x1122};
  struct random r = random_stream(5);
  for (u64 i = 0; i < rounds / 10; i++) {
    u32 to = next(&r) >> 63, is = ((function *)(X + 0x40))(tables[to], 0, 0);
    if (is != wanted[to]) return fail("round %lu: %x, not %x", i, is, wanted[to]);
  }
  write_cr3(tables[0]);
}
