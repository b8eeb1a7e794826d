// SPDX-License-Identifier: Apache-2.0
// Code that changes itself, on one vCPU. Intel SDM vol. 3, 8.1.3 and 11.6: after a store into code and a jump the new
// code is executed; where store and execution go by different linear addresses a serializing instruction is needed.
#include "rt.h"

#define X WIN(300)      // code under test: two pages that are no neighbours in memory
#define W WIN(310)      // the same by other addresses
#define OTHER WIN(320)  // code that patches, from a page of its own
enum { CODE_FRAME = 100, HALF_PAGE = 2048 };

static void map_code(void) {
  for (u32 i = 0; i < 2; i++) {
    map(X + i * PAGE, frame(CODE_FRAME + 2 * i), PTE_RW);
    map(W + i * PAGE, frame(CODE_FRAME + 2 * i), PTE_RW);
    map(OTHER + i * PAGE, frame(CODE_FRAME + 10 + i), PTE_RW);
  }
}

// The function under test in 32 bytes: NOPs, at FUNCTION `mov $value, %eax; ret`, NOPs
enum { IMAGE = 32, FUNCTION = 8, VALUE = 9 };
static void make_image(u8 *image, u32 value) {
  memset(image, 0x90, IMAGE);
  image[FUNCTION] = 0xb8;
  memcpy(image + VALUE, &value, 4);
  image[FUNCTION + 5] = 0xc3;
}
static u32 call(const void *function) { return ((u32(*)(void))function)(); }

// ---------------------------------------------------------------------------------------------
// Each way to store. A patcher gets: rdi the value's place, esi the new value, rcx an image with the new value (aligned),
// r9d the old value, rdx where to jump, r8 the function. Its position is free.

typedef u32 patcher(u8 *value, u32 new_value, const void *target, const u8 *image, const void *function, u32 old_value);

extern const u8 serialize_first[];
asm(".pushsection .text\n"
    "serialize_first: push %rbx; push %r8; xor %eax, %eax; cpuid; pop %r8; pop %rbx; jmp *%r8\n"
    ".popsection");

struct method { const u8 *begin, *end; u32 alignment; };

// Before it is patched the function has run, so that there is something to throw away.
static void patch_loop(const struct method *m, const char *place, u8 *image_at, u8 *write_at, u8 *patcher_at, bool serialize) {
  static u8 image[IMAGE] __attribute__((aligned(32)));
  struct random r = random_stream((u64)image_at);
  u32 old = 0x11223344;
  make_image(image, old);
  memcpy(write_at, image, IMAGE);
  memcpy(patcher_at, m->begin, m->end - m->begin);
  cpuid_serialize();
  for (u64 i = 0; i < rounds / 500; i++) {
    u32 new = next(&r) >> 32;
    const u8 *function = image_at + FUNCTION;
    for (u32 j = 0; j < 3; j++) {
      u32 is = call(function);
      if (is != old) return fail("%s: round %lu: %x before the change from %x to %x", place, i, is, old, new);
    }
    make_image(image, new);
    u32 is = ((patcher *)patcher_at)(write_at + VALUE, new, serialize ? serialize_first : function, image, function, old);
    if (is != new) return fail("%s: round %lu: %x after the change from %x to %x", place, i, is, old, new);
    old = new;
  }
}

static void patch_everywhere(const struct method *m) {
  map_code();
  bool unaligned = m->alignment == 1;
  patch_loop(m, "code that patches another page", X + 0x100, X + 0x100, OTHER, false);
  patch_loop(m, "code that patches its own page", X + 0x100, X + 0x100, X + HALF_PAGE, false);
  patch_loop(m, "just before itself", X + 0x100, X + 0x100, X + 0x100 + IMAGE, false);
  patch_loop(m, "by an alias", X + 0x100, W + 0x100, OTHER, true);
  patch_loop(m, "by an alias that is a large page", X + 0x100, frame(CODE_FRAME) + 0x100, OTHER, true);
  patch_loop(m, "by an alias, own page", X + 0x100, W + 0x100, X + HALF_PAGE, true);
  if (!unaligned) return;
  patch_loop(m, "a function at the beginning of a page", X + PAGE - FUNCTION, X + PAGE - FUNCTION, OTHER, false);
  patch_loop(m, "an instruction across pages", X + PAGE - FUNCTION - 3, X + PAGE - FUNCTION - 3, OTHER, false);
  patch_loop(m, "an instruction across pages, from the first", X + PAGE - FUNCTION - 2, X + PAGE - FUNCTION - 2, X + HALF_PAGE, false);
  patch_loop(m, "an instruction across pages, from the second", X + PAGE - FUNCTION - 4, X + PAGE - FUNCTION - 4, X + PAGE + HALF_PAGE, false);
  patch_loop(m, "an instruction across pages, by an alias", X + PAGE - FUNCTION - 3, W + PAGE - FUNCTION - 3, OTHER, true);
}

#define STORE_CASE(id, name, cpus, alignment, text)                                                   \
  extern const u8 method_##id[], method_end_##id[];                                                   \
  asm(".pushsection .text\nmethod_" #id ":\n" text "\n jmp *%rdx\nmethod_end_" #id ":\n.popsection"); \
  CASE(store_##id, name, cpus) { patch_everywhere(&(struct method){method_##id, method_end_##id, alignment}); }

STORE_CASE(movl, "smc.movl", 1, 1, "mov %esi, (%rdi)")
STORE_CASE(movb, "smc.movb", 1, 1,
           "mov %sil, (%rdi); ror $8, %esi; mov %sil, 1(%rdi); ror $8, %esi; mov %sil, 2(%rdi); ror $8, %esi; mov %sil, 3(%rdi)")
STORE_CASE(movw, "smc.movw", 1, 1, "mov %si, (%rdi); shr $16, %esi; mov %si, 2(%rdi)")
STORE_CASE(high_byte, "smc.mov-high-byte", 1, 1, "mov %esi, %eax; mov %ah, 1(%rdi); mov %al, (%rdi); shr $16, %eax; mov %ax, 2(%rdi)")
STORE_CASE(movq, "smc.movq", 1, 1, "mov 8(%rcx), %rax; mov %rax, -1(%rdi)")
STORE_CASE(movq_before, "smc.movq-reaches-in", 1, 1, "mov 5(%rcx), %rax; mov %rax, -4(%rdi)")
STORE_CASE(xchg, "smc.xchg", 1, 1, "xchg %esi, (%rdi)")
STORE_CASE(cmpxchg, "smc.lock-cmpxchg", 1, 1, "mov %r9d, %eax; lock cmpxchg %esi, (%rdi)")
STORE_CASE(cmpxchg_plain, "smc.cmpxchg", 1, 1, "mov %r9d, %eax; cmpxchg %esi, (%rdi)")
STORE_CASE(cmpxchg8b, "smc.lock-cmpxchg8b", 1, 1,
           "push %rbx; push %rdx; mov -1(%rdi), %eax; mov 3(%rdi), %edx; mov 8(%rcx), %ebx; mov 12(%rcx), %ecx\n"
           "lock cmpxchg8b -1(%rdi); pop %rdx; pop %rbx")
STORE_CASE(cmpxchg16b, "smc.lock-cmpxchg16b", 1, 16,
           "push %rbx; push %rdx; mov -9(%rdi), %rax; mov -1(%rdi), %rdx; mov (%rcx), %rbx; mov 8(%rcx), %rcx\n"
           "lock cmpxchg16b -9(%rdi); pop %rdx; pop %rbx")
STORE_CASE(xadd, "smc.lock-xadd", 1, 1, "sub %r9d, %esi; lock xadd %esi, (%rdi)")
STORE_CASE(add, "smc.add", 1, 1, "sub %r9d, %esi; add %esi, (%rdi)")
STORE_CASE(lock_add, "smc.lock-add", 1, 1, "sub %r9d, %esi; lock add %esi, (%rdi)")
STORE_CASE(xor, "smc.xor-byte", 1, 1, "xor %r9d, %esi; xor %sil, (%rdi); shr $8, %esi; xor %esi, 1(%rdi)")
STORE_CASE(inc, "smc.inc-loop", 1, 1, "and $63, %esi; mov %r9d, (%rdi); 1: jmp 2f; 2: incl (%rdi); decl (%rdi); dec %esi; jns 1b; mov 9(%rcx), %eax; mov %eax, (%rdi)")
STORE_CASE(rep_movsb, "smc.rep-movsb", 1, 1, "lea 9(%rcx), %rsi; mov $4, %ecx; rep movsb")
STORE_CASE(rep_movsb_long, "smc.rep-movsb-32", 1, 1, "mov %rcx, %rsi; sub $9, %rdi; mov $32, %ecx; rep movsb")
STORE_CASE(rep_movsb_down, "smc.rep-movsb-down", 1, 1, "lea 31(%rcx), %rsi; add $22, %rdi; mov $32, %ecx; std; rep movsb; cld")
STORE_CASE(rep_movsq, "smc.rep-movsq", 1, 1, "mov %rcx, %rsi; sub $9, %rdi; mov $4, %ecx; rep movsq")
STORE_CASE(movsd, "smc.movsd", 1, 1, "lea 9(%rcx), %rsi; movsl")
STORE_CASE(rep_stosd, "smc.rep-stosd", 1, 1, "mov %esi, %eax; mov $1, %ecx; rep stosl")
STORE_CASE(stosb, "smc.stosb", 1, 1, "mov %esi, %eax; stosb; shr $8, %eax; stosb; shr $8, %eax; stosb; shr $8, %eax; stosb")
STORE_CASE(movups, "smc.movups", 1, 1, "movups (%rcx), %xmm0; movups %xmm0, -9(%rdi)")
STORE_CASE(movaps, "smc.movaps", 1, 16, "movaps (%rcx), %xmm0; movaps %xmm0, -9(%rdi)")
STORE_CASE(movntdq, "smc.movntdq", 1, 16, "movdqa (%rcx), %xmm0; movntdq %xmm0, -9(%rdi); sfence")
STORE_CASE(movd, "smc.movd", 1, 1, "movd %esi, %xmm0; movd %xmm0, (%rdi)")
STORE_CASE(movlps, "smc.movq-xmm", 1, 1, "movq 8(%rcx), %xmm0; movq %xmm0, -1(%rdi)")
STORE_CASE(movnti, "smc.movnti", 1, 1, "movnti %esi, (%rdi); sfence")
STORE_CASE(maskmov, "smc.maskmovdqu", 1, 1, "pcmpeqd %xmm1, %xmm1; movups (%rcx), %xmm0; sub $9, %rdi; maskmovdqu %xmm1, %xmm0; sfence")
STORE_CASE(pextrb, "smc.pextrb", 1, 1, "movd %esi, %xmm0; pextrb $0, %xmm0, (%rdi); pextrb $1, %xmm0, 1(%rdi); pextrw $1, %xmm0, 2(%rdi)")
STORE_CASE(push, "smc.push", 1, 1, "mov 8(%rcx), %rax; mov %rsp, %r10; lea 7(%rdi), %rsp; push %rax; mov %r10, %rsp")
STORE_CASE(pop, "smc.pop-memory", 1, 1, "push 8(%rcx); pop -1(%rdi)")
STORE_CASE(fistp, "smc.fistp", 1, 1, "fildl 9(%rcx); fistpl (%rdi)")
STORE_CASE(fistp64, "smc.fistp-64", 1, 1, "fildq 8(%rcx); fistpq -1(%rdi)")
STORE_CASE(rotate, "smc.rol-ror", 1, 1, "bswap %esi; mov %esi, (%rdi); mov (%rdi), %eax; bswap %eax; mov %eax, (%rdi); roll $8, (%rdi); rorl $8, (%rdi)")
STORE_CASE(bts, "smc.bts", 1, 1, "xor %r9d, %esi; xor %eax, %eax; 1: bt %eax, %esi; jnc 2f; btcl %eax, (%rdi); 2: inc %eax; cmp $32, %eax; jb 1b")
STORE_CASE(clflush, "smc.movl-clflush", 1, 1, "mov %esi, (%rdi); clflush (%rdi); mfence")

// 32 bytes at once
extern const u8 method_vmovups[], method_end_vmovups[];
asm(".pushsection .text\nmethod_vmovups: vmovups (%rcx), %ymm0; vmovups %ymm0, -9(%rdi); vzeroupper; jmp *%rdx\nmethod_end_vmovups: .popsection");
CASE(store_vmovups, "smc.vmovups-32", 1) {
  REQUIRE_AVX();
  patch_everywhere(&(struct method){method_vmovups, method_end_vmovups, 1});
}
