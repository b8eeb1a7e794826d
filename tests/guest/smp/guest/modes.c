// SPDX-License-Identifier: Apache-2.0
// The same bytes in other modes: what they mean depends on CS, CPL, CR0, CR4 and RFLAGS, so a translation has to know
// for which it was made. Compatibility mode: Intel SDM vol. 3, 3.4.5, 10.2 (of IA-32e mode); vol. 1, 3.4.1.1.
#include "rt.h"

#define X WIN(300)
enum { CODE_FRAME = 100 };
#define CODE_AT_X(...)                                        \
  do {                                                        \
    static const u8 bytes_[] = {__VA_ARGS__, 0xcd, DONE};     \
    map(X, frame(CODE_FRAME), PTE_RW);                        \
    memcpy(X, bytes_, sizeof bytes_);                         \
    cpuid_serialize();                                        \
  } while (0)

// Compatibility mode reaches 4 GiB only: its code is at the frame's identity address.
static const u8 *low_code(void) { return frame(CODE_FRAME); }

struct way { const char *name; u16 cs; };
static const struct way ways[] = {{"64-bit", CODE64}, {"64-bit user", USER64}, {"32-bit", CODE32}, {"32-bit user", USER32}, {"16-bit user", USER16}};
enum { WAY64, WAY64_USER, WAY32, WAY32_USER, WAY16_USER, WAYS };

// REX.W ADD, or DEC and ADD; in 16-bit code DEC AX and ADD AX,BX
CASE(same_bytes, "modes.rex-or-dec", 1) {
  struct random r = random_stream(1);
  CODE_AT_X(0x48, 0x01, 0xd8);
  for (u64 i = 0; i < rounds / 10; i++) {
    u32 way = below(&r, WAYS);
    struct probe p = {.in = {.rax = next(&r), .rbx = next(&r), .rsp = (u64)frame(3)}, .cs = ways[way].cs};
    run_probe(&p, low_code());
    u64 a = p.in.rax, b = p.in.rbx, mask, wanted;
    switch (way) {
      case WAY64: case WAY64_USER: wanted = a + b; mask = ~0ul; break;
      case WAY16_USER: wanted = a - 1 + b; mask = 0xffff; break;
      default: wanted = a - 1 + b; mask = 0xffffffff;
    }
    if (p.end.vector != DONE || (p.end.r.rax ^ wanted) & mask) return fail("%s: vector %lu, %lx + %lx is %lx", ways[way].name, p.end.vector, a, b, p.end.r.rax);
  }
}
// MOV EAX, imm32; or MOV AX, imm16, INC AX, NOP
CASE(same_bytes_16, "modes.operand-size", 1) {
  struct random r = random_stream(2);
  CODE_AT_X(0xb8, 0x01, 0x00, 0x40, 0x90);
  for (u64 i = 0; i < rounds / 10; i++) {
    u32 way = below(&r, WAYS);
    struct probe p = {.in = {.rax = 0x7777, .rsp = (u64)frame(3)}, .cs = ways[way].cs};
    run_probe(&p, low_code());
    u32 wanted = way == WAY16_USER ? 2 : 0x90400001;
    if (p.end.vector != DONE || (u32)p.end.r.rax != wanted) return fail("%s: vector %lu, %lx, not %x", ways[way].name, p.end.vector, p.end.r.rax, wanted);
  }
}
// PUSH: 8, 4 or 2 bytes; and the address size of (%rdi), (%edi), (%bx): not in a 16-bit segment here
CASE(push_size, "modes.stack-width", 1) {
  struct random r = random_stream(3);
  CODE_AT_X(0x50, 0x51, 0x5b);  // push rax; push rcx; pop rbx
  for (u64 i = 0; i < rounds / 20; i++) {
    u32 way = below(&r, WAYS);
    u8 *stack = frame(3) + 512;
    memset(stack - 32, 0xee, 32);
    struct probe p = {.in = {.rax = next(&r), .rcx = next(&r), .rsp = (u64)stack}, .cs = ways[way].cs};
    run_probe(&p, low_code());
    u32 width = way <= WAY64_USER ? 8 : way == WAY16_USER ? 2 : 4;
    u64 mask = width == 8 ? ~0ul : (1ul << 8 * width) - 1;
    bool good = p.end.vector == DONE && p.end.r.rsp == (u64)stack - width && ((p.end.r.rbx ^ p.in.rcx) & mask) == 0 && !memcmp(stack - width, &p.in.rax, width) && stack[-2 * (int)width - 1] == 0xee;
    if (!good) return fail("%s: vector %lu rsp %lx from %lx, rbx %lx", ways[way].name, p.end.vector, p.end.r.rsp, p.in.rsp, p.end.r.rbx);
  }
}

// A program of 32-bit code: recursion, strings, instructions that 64-bit mode has not
asm(".pushsection .text.snippets\n .code32\n"
    "compat_program: pushal; popal; push %ecx; mov %edi, %ebx; call 1f; mov %eax, %esi; pop %ecx; xor %edx, %edx\n"
    "2: mov %esi, %eax; aam; add %ah, %dl; aad; das; lahf; push %ds; pop %es; mov %eax, (%edi); lea 4(%edi), %edi; dec %ecx; jnz 2b\n"
    "mov %edi, %eax; sub %ebx, %eax; mov %eax, %ecx; shr $2, %ecx; mov %ebx, %esi; rep movsl; inc %edx; bound %edx, 800(%ebx); int $0x70\n"
    "1: cmp $2, %ecx; jb 3f; dec %ecx; push %ecx; call 1b; pop %ecx; push %eax; dec %ecx; call 1b; pop %ecx; add %ecx, %eax; ret; 3: mov %ecx, %eax; ret\n"
    " .code64\n .popsection");
extern const u8 compat_program[];
CASE(compat, "modes.compat-program", 1) {
  u32 *data = (u32 *)frame(5);
  u8 *stack = frame(4);
  u32 fibonacci[] = {0, 1, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 233, 377, 610, 987, 1597};
  for (u64 i = 0; i < rounds / 500; i++) {
    u32 n = 2 + i % 15, f = fibonacci[n];
    struct probe p = {.in = {.rcx = n, .rdi = (u64)data, .rsp = (u64)stack, .r8 = i, .r15 = ~i}, .cs = USER32, .ss = USER_DATA};
    memset(data, 0xee, 64 * 4);
    data[200] = 0;  // the limits of BOUND
    data[201] = 0x7fffffff;
    run_probe(&p, compat_program);
    u32 tens = (u8)f / 10;
    bool good = p.end.vector == DONE && (u8)p.end.r.rdx == (u8)(tens * n + 1) && p.end.r.r8 == i && p.end.r.r15 == ~i && (u32)p.end.r.rcx == 0 && p.end.r.rsp == (u64)stack;
    for (u32 j = 0; j < n; j++) good = good && data[j] == data[j + n] && data[j] != 0xeeeeeeee;
    if (!good) return fail("n %u: vector %lu at %lx, rdx %lx, rcx %lx", n, p.end.vector, p.end.rip, p.end.r.rdx, p.end.r.rcx);
  }
}
// Addresses wrap at 4 GiB there, not in 64-bit mode
CASE(wrap, "modes.address-wrap", 1) {
  CODE_AT_X(0x8b, 0x83, 0x00, 0x00, 0x20, 0x00);  // mov 0x200000(%rbx), %eax
  *(volatile u32 *)0x6f00 = 0x12345678;
  struct probe p = {.in = {.rbx = 0xffe06f00, .rsp = (u64)frame(3)}};
  for (u32 i = 0; i < 20; i++) {
    p.cs = i & 1 ? USER32 : CODE64;
    run_probe(&p, low_code());
    if (p.cs == USER32) CHECK(p.end.vector == DONE && (u32)p.end.r.rax == 0x12345678, "32-bit: vector %lu, %lx", p.end.vector, p.end.r.rax);
    else CHECK(p.end.vector == PF && p.cr2 == 0x100006f00, "64-bit: vector %lu, cr2 %lx", p.end.vector, p.cr2);
  }
}
// System calls by INT from compatibility mode: the kernel sees and returns 64 bits
static void double_rax(struct trap *t) { t->r.rax = 2 * t->r.rax + 1; }
extern u8 stubs[];
asm(".pushsection .text.snippets\n .code32\ncompat_int: mov $20, %ecx; 1: int $0x71; dec %ecx; jnz 1b; int $0x70\n .code64\n .popsection");
extern const u8 compat_int[];
CASE(compat_int, "modes.compat-int", 1) {
  set_gate(0x71, stubs + 16 * 0x71, 3, 0);
  handlers[0x71] = double_rax;
  struct probe p = {.cs = USER32, .in = {.rsp = (u64)frame(3), .r9 = 0x123456789abcdef0}};
  for (u64 i = 0; i < rounds / 500; i++) {
    run_probe(&p, compat_int);
    if (p.end.vector != DONE || (u32)p.end.r.rax != (1 << 20) - 1 || p.end.r.r9 != p.in.r9) return fail("vector %lu at %lx, rax %lx", p.end.vector, p.end.rip, p.end.r.rax);
  }
}
// From 32-bit code to 64-bit code and back by far jumps
asm(".pushsection .text.snippets\n .code32\n"
    "switch_mode: ljmp $0x2b, $1f; 4: dec %ecx; jnz switch_mode; int $0x70\n .code64\n"
    "1: lea 2f(%rip), %rdx; mov %rdx, (%rdi); movl $0x1b, 4(%rdi); inc %rax; bswap %rax; bswap %rax; ljmp *(%rdi)\n .code32\n2: .byte 0x40; nop; jmp 4b\n .code64\n .popsection");
extern const u8 switch_mode[];
CASE(switching, "modes.far-jumps", 1) {
  struct probe p = {.cs = USER32, .in = {.rcx = rounds / 10, .rdi = (u64)frame(6), .rsp = (u64)frame(3)}};
  run_probe(&p, switch_mode);
  CHECK(p.end.vector == DONE && (u32)p.end.r.rax == 2 * (u32)(rounds / 10), "vector %lu at %lx, rax %lx", p.end.vector, p.end.rip, p.end.r.rax);
}

// ---------------------------------------------------------------------------------------------
// Privilege and control bits: the code is allowed, then not, then allowed

struct expectation { u64 vector, error; };
static void expect(const char *what, const struct probe *p, struct expectation e, u64 offset) {
  bool done = e.vector == DONE;
  CHECK(p->end.vector == e.vector && (done || (p->end.error == e.error && p->end.rip == (u64)X + offset)), "%s: vector %lu error %lx at %lx, not %lu", what, p->end.vector, p->end.error, p->end.rip, e.vector);
}
static const struct expectation fine = {DONE, 0};

CASE(privileged, "modes.privileged", 1) {
  CODE_AT_X(0xff, 0xc0, 0xfa, 0xff, 0xc0);  // inc %eax; cli; inc %eax
  for (u64 i = 0; i < rounds / 100 && !failed(); i++) {
    struct probe p = {.cs = i % 3 ? CODE64 : USER64, .in = {.rsp = (u64)frame(3)}};
    run_probe(&p, X);
    expect(i % 3 ? "ring 0" : "ring 3", &p, i % 3 ? fine : (struct expectation){GP, 0}, 2);
    CHECK(p.end.r.rax == (i % 3 ? 2 : 1), "rax %lu", p.end.r.rax);
  }
}
// A page of the supervisor, from ring 0 and ring 3 in turn by the same code
CASE(supervisor_page, "modes.supervisor-page", 1) {
  CODE_AT_X(0xff, 0x07, 0x03, 0x07);  // incl (%rdi); add (%rdi), %eax
  map(WIN(310), frame(110), PTE_P | PTE_W);
  for (u64 i = 0; i < rounds / 100 && !failed(); i++) {
    struct probe p = {.cs = i & 1 ? USER64 : CODE64, .in = {.rdi = (u64)WIN(310), .rsp = (u64)frame(3)}};
    run_probe(&p, X);
    if (p.end.vector == PF) p.end.error |= PF_W;  // or as a read: see fault.absent-rmw-is-a-write
    expect(i & 1 ? "ring 3" : "ring 0", &p, i & 1 ? (struct expectation){PF, PF_P | PF_U | PF_W} : fine, 0);
  }
}
CASE(write_protect, "modes.cr0-wp", 1) {
  CODE_AT_X(0xff, 0x07);  // incl (%rdi)
  map(WIN(310), frame(110), PTE_P);
  u64 cr0 = read_cr0();
  for (u64 i = 0; i < rounds / 100 && !failed(); i++) {
    write_cr0(i & 1 ? cr0 : cr0 & ~(1ul << 16));
    struct probe p = {.in = {.rdi = (u64)WIN(310)}};
    run_probe(&p, X);
    expect(i & 1 ? "WP" : "no WP", &p, i & 1 ? (struct expectation){PF, PF_P | PF_W} : fine, 0);
  }
  write_cr0(cr0);
}
CASE(task_switched, "modes.cr0-ts", 1) {
  CODE_AT_X(0xff, 0xc0, 0x0f, 0x28, 0xc1, 0xff, 0xc0);  // inc %eax; movaps %xmm1, %xmm0; inc %eax
  u64 cr0 = read_cr0();
  for (u64 i = 0; i < rounds / 100 && !failed(); i++) {
    write_cr0(i & 1 ? cr0 | 8 : cr0);
    struct probe p = {0};
    run_probe(&p, X);
    expect(i & 1 ? "TS" : "no TS", &p, i & 1 ? (struct expectation){NM, 0} : fine, 2);
  }
  write_cr0(cr0);
}
CASE(osfxsr, "modes.cr4-osfxsr", 1) {
  CODE_AT_X(0x90, 0x66, 0x0f, 0xfe, 0xc1);  // nop; paddd %xmm1, %xmm0
  u64 cr4 = read_cr4();
  for (u64 i = 0; i < rounds / 100 && !failed(); i++) {
    write_cr4(i & 1 ? cr4 & ~(1ul << 9) : cr4);
    struct probe p = {0};
    run_probe(&p, X);
    write_cr4(cr4);
    expect(i & 1 ? "no OSFXSR" : "OSFXSR", &p, i & 1 ? (struct expectation){UD, 0} : fine, 1);
  }
}
CASE(xcr0, "modes.xcr0-avx", 1) {
  REQUIRE_AVX();
  CODE_AT_X(0x90, 0xc5, 0xf8, 0x28, 0xc1);  // nop; vmovaps %xmm1, %xmm0
  for (u64 i = 0; i < rounds / 100 && !failed(); i++) {
    asm volatile("xsetbv" : : "c"(0), "a"(i & 1 ? 3 : 7), "d"(0));
    struct probe p = {0};
    run_probe(&p, X);
    expect(i & 1 ? "no AVX in XCR0" : "AVX", &p, i & 1 ? (struct expectation){UD, 0} : fine, 1);
  }
  asm volatile("xsetbv" : : "c"(0), "a"(7), "d"(0));
}
CASE(tsd, "modes.cr4-tsd", 1) {
  CODE_AT_X(0x90, 0x0f, 0x31);  // nop; rdtsc
  u64 cr4 = read_cr4();
  for (u64 i = 0; i < rounds / 100 && !failed(); i++) {
    bool tsd = i & 1, user = i & 2;
    write_cr4(tsd ? cr4 | 4 : cr4);
    struct probe p = {.cs = user ? USER64 : CODE64, .in = {.rsp = (u64)frame(3)}};
    run_probe(&p, X);
    expect("rdtsc", &p, tsd && user ? (struct expectation){GP, 0} : fine, 1);
  }
  write_cr4(cr4);
}
// Alignment checks in ring 3: by RFLAGS.AC
CASE(alignment, "modes.alignment-check", 1) {
  CODE_AT_X(0x90, 0x8b, 0x07, 0x89, 0x07);  // nop; mov (%rdi), %eax; mov %eax, (%rdi)
  write_cr0(read_cr0() | 1 << 18);          // AM
  for (u64 i = 0; i < rounds / 100 && !failed(); i++) {
    bool ac = i & 1, odd = i & 2, user = i & 4;
    struct probe p = {.cs = user ? USER64 : CODE64, .rflags = ac ? FL_AC : 0, .in = {.rdi = (u64)frame(6) + (odd ? 2 : 0), .rsp = (u64)frame(3)}};
    run_probe(&p, X);
    expect("mov", &p, ac && odd && user ? (struct expectation){AC, 0} : fine, 1);
  }
}

// SMAP and SMEP need a kernel on pages of its own: the one-to-one mapping loses its U bits
extern u64 pds[2048];
static void supervisor_only(void) {
  for (u32 i = 0; i < 2048; i++) pds[i] &= ~(u64)PTE_U;
  write_cr3(read_cr3());
}
CASE(smap, "modes.smap", 1) {
  require_cpuid(7, 0, 'b', 20, "SMAP");
  CODE_AT_X(0xff, 0x07);  // incl (%rdi)
  map(X, frame(CODE_FRAME), PTE_P | PTE_W);
  map(WIN(310), frame(110), PTE_RW);
  supervisor_only();
  u64 cr4 = read_cr4();
  for (u64 i = 0; i < rounds / 100 && !failed(); i++) {
    bool on = i & 1, ac = i & 2;
    write_cr4(on ? cr4 | 1 << 21 : cr4);
    struct probe p = {.rflags = ac ? FL_AC : 0, .in = {.rdi = (u64)WIN(310)}};
    run_probe(&p, X);
    if (p.end.vector == PF) p.end.error |= PF_W;
    expect("incl", &p, on && !ac ? (struct expectation){PF, PF_P | PF_W} : fine, 0);
  }
  write_cr4(cr4);
}
CASE(smep, "modes.smep", 1) {
  require_cpuid(7, 0, 'b', 7, "SMEP");
  CODE_AT_X(0xff, 0xc0);  // inc %eax; X is a user page
  supervisor_only();
  u64 cr4 = read_cr4();
  for (u64 i = 0; i < rounds / 100 && !failed(); i++) {
    write_cr4(i & 1 ? cr4 | 1 << 20 : cr4);
    struct probe p = {0};
    run_probe(&p, X);
    expect(i & 1 ? "SMEP" : "no SMEP", &p, i & 1 ? (struct expectation){PF, PF_P | PF_I} : fine, 0);
  }
  write_cr4(cr4);
}

// FS and GS bases change under the same code; SWAPGS
SNIPPET(segment_code, "mov %gs:8, %rax; add %fs:(%rdi), %rax; swapgs; mov %gs:8, %rbx; swapgs; mov %gs:(%rdi,%rdi), %rcx");
CASE(segments, "modes.fs-gs-base", 1) {
  struct random r = random_stream(5);
  u64 *words = (u64 *)frame(6);
  for (u32 i = 0; i < 512; i++) words[i] = next(&r);
  for (u64 i = 0; i < rounds / 50 && !failed(); i++) {
    u64 f = below(&r, 400), g = below(&r, 400), k = below(&r, 400);
    wrmsr(0xc0000100, (u64)&words[f]);
    wrmsr(0xc0000101, (u64)&words[g]);
    wrmsr(0xc0000102, (u64)&words[k]);
    struct probe p = {.in = {.rdi = 16}};
    run_probe(&p, segment_code);
    CHECK(p.end.r.rax == words[g + 1] + words[f + 2] && p.end.r.rbx == words[k + 1] && p.end.r.rcx == words[g + 4], "round %lu: %lx %lx %lx", i, p.end.r.rax, p.end.r.rbx, p.end.r.rcx);
  }
}
