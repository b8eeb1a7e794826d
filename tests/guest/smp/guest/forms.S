# SPDX-License-Identifier: Apache-2.0
# Instructions with a memory operand, each a piece of code that begins with the instruction. forms.c runs them on plain
# memory, on pages that fault, across pages and on devices, and compares.
#
# FORM name, size of the operand, R reads / W writes / M does both, undefined flags, instructions
# Registers: rdi, rsi, r13 hold the operand's address, r12 is 0, rsp a stack; rax, rcx, rdx, rbx and the other registers
# hold data (rcx below 32, rdx below 256), xmm0 and xmm1 too.

R = 1
W = 2
M = 3
AVX = 0x10                                      # needs AVX2
BMI = 0x20                                      # needs BMI1 and BMI2
ALIGNED = 0x40                                  # faults unless aligned
STRING = 0x80                                   # reads first, then writes: a fault of either kind
CF = 1
PF = 4
AF = 0x10
ZF = 0x40
SF = 0x80
OF = 0x800

.macro FORM name, size, kind, undefined, text:vararg
        .pushsection .rodata.names
9:      .asciz  "\name"
        .popsection
        .pushsection .text.forms
7:      \text
        int     $0x70
        .popsection
        .pushsection forms, "a"
        .quad   9b, 7b
        .long   \size, \kind, \undefined, 0
        .popsection
.endm

# The form with the operand at (%rdi) and at (%r13,%r12): other ModRM, SIB and REX bytes
.macro BOTH name, size, kind, undefined, before, after
        FORM    "\name", \size, \kind, \undefined, \before (%rdi)\after
        FORM    "\name r13", \size, \kind, \undefined, \before (%r13,%r12)\after
.endm

# The same for AH, CH, DH, BH, which a REX prefix would turn into other registers
.macro HIGH name, size, kind, undefined, before, after
        FORM    "\name", \size, \kind, \undefined, \before (%rdi)\after
        FORM    "\name rsi", \size, \kind, \undefined, \before (%rsi)\after
.endm

# ALU operations in every size: into memory, out of memory, with a value
.macro ALU op, undefined
        BOTH    "\op r8,m", 1, M, \undefined, "\op\()b %cl,"
        HIGH    "\op rh,m", 1, M, \undefined, "\op\()b %dh,"
        BOTH    "\op r16,m", 2, M, \undefined, "\op\()w %cx,"
        BOTH    "\op r32,m", 4, M, \undefined, "\op\()l %ecx,"
        BOTH    "\op r64,m", 8, M, \undefined, "\op\()q %rcx,"
        BOTH    "\op imm,m32", 4, M, \undefined, "\op\()l $0x12345678,"
        BOTH    "\op imm8,m64", 8, M, \undefined, "\op\()q $-3,"
        BOTH    "\op m,r8", 1, R, \undefined, "\op\()b ", ", %al"
        BOTH    "\op m,r32", 4, R, \undefined, "\op\()l ", ", %eax"
        BOTH    "\op m,r64", 8, R, \undefined, "\op\()q ", ", %r9"
        HIGH    "lock \op r8,m", 1, M, \undefined, "lock \op\()b %ch,"
        BOTH    "lock \op r16,m", 2, M, \undefined, "lock \op\()w %cx,"
        BOTH    "lock \op r32,m", 4, M, \undefined, "lock \op\()l %r10d,"
        BOTH    "lock \op r64,m", 8, M, \undefined, "lock \op\()q %rcx,"
.endm
        ALU     add, 0
        ALU     or, AF
        ALU     adc, 0
        ALU     sbb, 0
        ALU     and, AF
        ALU     sub, 0
        ALU     xor, AF

.macro UNARY op
        BOTH    "\op m8", 1, M, 0, "\op\()b "
        BOTH    "\op m16", 2, M, 0, "\op\()w "
        BOTH    "\op m32", 4, M, 0, "\op\()l "
        BOTH    "\op m64", 8, M, 0, "\op\()q "
        BOTH    "lock \op m32", 4, M, 0, "lock \op\()l "
        BOTH    "lock \op m64", 8, M, 0, "lock \op\()q "
.endm
        UNARY   inc
        UNARY   dec
        UNARY   not
        UNARY   neg

# Compare and test only read
        HIGH    "cmp r8,m", 1, R, 0, "cmpb %ah,"
        BOTH    "cmp r16,m", 2, R, 0, "cmpw %cx,"
        BOTH    "cmp r32,m", 4, R, 0, "cmpl %ecx,"
        BOTH    "cmp m,r32", 4, R, 0, "cmpl ", ", %ecx"
        BOTH    "cmp m,r64", 8, R, 0, "cmpq ", ", %r8"
        BOTH    "cmp imm,m32", 4, R, 0, "cmpl $0x1234567,"
        HIGH    "test r8,m", 1, R, AF, "testb %bh,"
        BOTH    "test r32,m", 4, R, AF, "testl %ebx,"
        BOTH    "test imm,m32", 4, R, AF, "testl $0x12345678,"
        BOTH    "test r64,m", 8, R, AF, "testq %rbx,"

# Moves
        HIGH    "mov m,r8", 1, R, 0, "movb ", ", %ch"
        BOTH    "mov m,r16", 2, R, 0, "movw ", ", %cx"
        BOTH    "mov m,r32", 4, R, 0, "movl ", ", %ecx"
        BOTH    "mov m,r64", 8, R, 0, "movq ", ", %r15"
        HIGH    "mov r8,m", 1, W, 0, "movb %ah,"
        BOTH    "mov r16,m", 2, W, 0, "movw %cx,"
        BOTH    "mov r32,m", 4, W, 0, "movl %ecx,"
        BOTH    "mov r64,m", 8, W, 0, "movq %r11,"
        BOTH    "mov imm,m8", 1, W, 0, "movb $0x5a,"
        BOTH    "mov imm,m16", 2, W, 0, "movw $0x5aa5,"
        BOTH    "mov imm,m32", 4, W, 0, "movl $0x12345678,"
        BOTH    "mov imm,m64", 8, W, 0, "movq $-5,"
        BOTH    "movzx m8,r32", 1, R, 0, "movzbl ", ", %ecx"
        BOTH    "movzx m16,r64", 2, R, 0, "movzwq ", ", %rcx"
        BOTH    "movsx m8,r64", 1, R, 0, "movsbq ", ", %rcx"
        BOTH    "movsx m16,r32", 2, R, 0, "movswl ", ", %ecx"
        BOTH    "movsxd m32,r64", 4, R, 0, "movslq ", ", %rcx"
        BOTH    "movbe m,r32", 4, R, 0, "movbel ", ", %ecx"
        BOTH    "movbe r32,m", 4, W, 0, "movbel %eax,"
        BOTH    "movbe r64,m", 8, W, 0, "movbeq %rax,"
        BOTH    "movnti r32,m", 4, W, 0, "movntil %ecx,"
        BOTH    "cmovb m,r32", 4, R, 0, "cmovbl ", ", %ecx"
        BOTH    "cmovnb m,r32", 4, R, 0, "cmovnbl ", ", %ecx"
        BOTH    "cmovle m,r64", 8, R, 0, "cmovleq ", ", %rcx"
        BOTH    "setbe m8", 1, W, 0, "setbe "
        BOTH    "push m64", 8, R, 0, "pushq "
        BOTH    "pop m64", 8, W, 0, "popq "
        BOTH    "push m16", 2, R, 0, "pushw "
        BOTH    "pop m16", 2, W, 0, "popw "

# Exchanges: locked, with the prefix or without
        HIGH    "xchg r8,m", 1, M, 0, "xchgb %dh,"
        BOTH    "xchg r16,m", 2, M, 0, "xchgw %cx,"
        BOTH    "xchg r32,m", 4, M, 0, "xchgl %ecx,"
        BOTH    "xchg r64,m", 8, M, 0, "xchgq %rcx,"
        HIGH    "xadd r8,m", 1, M, 0, "xaddb %ah,"
        BOTH    "xadd r32,m", 4, M, 0, "xaddl %ecx,"
        BOTH    "lock xadd r16,m", 2, M, 0, "lock xaddw %cx,"
        BOTH    "lock xadd r32,m", 4, M, 0, "lock xaddl %ecx,"
        BOTH    "lock xadd r64,m", 8, M, 0, "lock xaddq %rcx,"
        HIGH    "cmpxchg r8,m", 1, M, 0, "cmpxchgb %dh,"
        BOTH    "cmpxchg r32,m", 4, M, 0, "cmpxchgl %ecx,"
        BOTH    "lock cmpxchg r16,m", 2, M, 0, "lock cmpxchgw %cx,"
        BOTH    "lock cmpxchg r32,m", 4, M, 0, "lock cmpxchgl %ecx,"
        BOTH    "lock cmpxchg r64,m", 8, M, 0, "lock cmpxchgq %rcx,"
        BOTH    "cmpxchg8b", 8, M, 0, "cmpxchg8b "
        BOTH    "lock cmpxchg8b", 8, M, 0, "lock cmpxchg8b "
        BOTH    "cmpxchg16b", 16, M|ALIGNED, 0, "cmpxchg16b "
        BOTH    "lock cmpxchg16b", 16, M|ALIGNED, 0, "lock cmpxchg16b "

# Shifts
        BOTH    "shl 1,m8", 1, M, AF, "shlb $1,"
        BOTH    "shr 3,m16", 2, M, AF|OF, "shrw $3,"
        BOTH    "sar 1,m32", 4, M, AF, "sarl $1,"
        BOTH    "shl 4,m32", 4, M, AF|OF, "shll $4,"
        BOTH    "sar 9,m64", 8, M, AF|OF, "sarq $9,"
        BOTH    "rol 5,m32", 4, M, OF, "roll $5,"
        BOTH    "ror 1,m64", 8, M, 0, "rorq $1,"
        BOTH    "rcl 1,m32", 4, M, 0, "rcll $1,"
        BOTH    "rcr 7,m64", 8, M, OF, "rcrq $7,"
        BOTH    "shl cl,m32", 4, M, AF|OF, "shll %cl,"
        BOTH    "rcl cl,m8", 1, M, OF, "rclb %cl,"
        BOTH    "shld 5,r32,m", 4, M, AF|OF, "shldl $5, %ebx,"
        BOTH    "shrd 9,r64,m", 8, M, AF|OF, "shrdq $9, %rbx,"

# Bits
        BOTH    "bt 5,m32", 4, R, OF|SF|AF|PF, "btl $5,"
        BOTH    "bts 7,m32", 4, M, OF|SF|AF|PF, "btsl $7,"
        BOTH    "btr 40,m64", 8, M, OF|SF|AF|PF, "btrq $40,"
        BOTH    "btc r,m32", 4, M, OF|SF|AF|PF, "btcl %ecx,"
        BOTH    "lock bts 3,m16", 2, M, OF|SF|AF|PF, "lock btsw $3,"
        BOTH    "lock btr 9,m32", 4, M, OF|SF|AF|PF, "lock btrl $9,"
        BOTH    "lock btc r,m64", 8, M, OF|SF|AF|PF, "lock btcq %rcx,"
        BOTH    "bsf m,r32", 4, R, OF|SF|AF|PF|CF, "bsfl ", ", %ecx"
        BOTH    "bsr m,r64", 8, R, OF|SF|AF|PF|CF, "bsrq ", ", %rcx"
        BOTH    "popcnt m,r32", 4, R, 0, "popcntl ", ", %ecx"
        BOTH    "crc32 m8,r32", 1, R, 0, "crc32b ", ", %ecx"
        BOTH    "crc32 m32,r32", 4, R, 0, "crc32l ", ", %ecx"
        BOTH    "crc32 m64,r64", 8, R, 0, "crc32q ", ", %rcx"

# Products and quotients
        BOTH    "imul m,r32", 4, R, SF|ZF|AF|PF, "imull ", ", %ecx"
        BOTH    "imul imm,m,r64", 8, R, SF|ZF|AF|PF, "imulq $77,", ", %rcx"
        BOTH    "mul m8", 1, R, SF|ZF|AF|PF, "mulb "
        BOTH    "mul m32", 4, R, SF|ZF|AF|PF, "mull "
        BOTH    "mul m64", 8, R, SF|ZF|AF|PF, "mulq "
        BOTH    "imul m64", 8, R, SF|ZF|AF|PF, "imulq "
        BOTH    "div m32", 4, R, OF|SF|ZF|AF|PF|CF, "divl "
        BOTH    "div m64", 8, R, OF|SF|ZF|AF|PF|CF, "divq "

# BMI: VEX-coded, three operands
        BOTH    "andn m,r,r32", 4, R|BMI, AF|PF, "andnl ", ", %ecx, %r9d"
        BOTH    "bextr r,m,r32", 4, R|BMI, OF|SF|AF|PF, "bextrl %ecx,", ", %r9d"
        BOTH    "bzhi r,m,r64", 8, R|BMI, AF|PF, "bzhiq %rcx,", ", %r9"
        BOTH    "blsr m,r32", 4, R|BMI, AF|PF, "blsrl ", ", %r9d"
        BOTH    "blsi m,r64", 8, R|BMI, AF|PF, "blsiq ", ", %r9"
        BOTH    "blsmsk m,r32", 4, R|BMI, AF|PF, "blsmskl ", ", %r9d"
        BOTH    "pdep m,r,r32", 4, R|BMI, 0, "pdepl ", ", %ebx, %r9d"
        BOTH    "pext m,r,r64", 8, R|BMI, 0, "pextq ", ", %rbx, %r9"
        BOTH    "mulx m,r,r64", 8, R|BMI, 0, "mulxq ", ", %rbx, %r9"
        BOTH    "rorx 7,m,r32", 4, R|BMI, 0, "rorxl $7,", ", %r9d"
        BOTH    "shlx r,m,r64", 8, R|BMI, 0, "shlxq %rcx,", ", %r9"
        BOTH    "sarx r,m,r32", 4, R|BMI, 0, "sarxl %ecx,", ", %r9d"
        BOTH    "tzcnt m,r32", 4, R|BMI, OF|SF|AF|PF, "tzcntl ", ", %r9d"

# String instructions, which have no ModRM; one element
        FORM    "lodsb", 1, R, 0, lodsb
        FORM    "lodsl", 4, R, 0, lodsl
        FORM    "lodsq", 8, R, 0, lodsq
        FORM    "stosb", 1, W, 0, stosb
        FORM    "stosl", 4, W, 0, stosl
        FORM    "stosq", 8, W, 0, stosq
        FORM    "movsl", 4, M|STRING, 0, movsl
        FORM    "movsq", 8, M|STRING, 0, movsq
        FORM    "cmpsl", 4, R, 0, cmpsl
        FORM    "scasl", 4, R, 0, scasl
        FORM    "scasq", 8, R, 0, scasq

# x87; the result goes to the stack
        BOTH    "fild m16", 2, R, 0, "filds ", "; fistpl -32(%rsp)"
        BOTH    "fild m32", 4, R, 0, "fildl ", "; fistpl -32(%rsp)"
        BOTH    "fild m64", 8, R, 0, "fildq ", "; fistpq -32(%rsp)"
        BOTH    "fld m64", 8, R, 0, "fldl ", "; fstpt -32(%rsp)"
        BOTH    "fnstcw", 2, W, 0, "fnstcw "
        BOTH    "fnstsw", 2, W, 0, "fnstsw "

# Vectors
        BOTH    "movd m,xmm", 4, R, 0, "movd ", ", %xmm1"
        BOTH    "movd xmm,m", 4, W, 0, "movd %xmm0,"
        BOTH    "movss m,xmm", 4, R, 0, "movss ", ", %xmm1"
        BOTH    "movss xmm,m", 4, W, 0, "movss %xmm0,"
        BOTH    "movq m,xmm", 8, R, 0, "movq ", ", %xmm1"
        BOTH    "movq xmm,m", 8, W, 0, "movq %xmm0,"
        BOTH    "movhps m,xmm", 8, R, 0, "movhps ", ", %xmm1"
        BOTH    "movhps xmm,m", 8, W, 0, "movhps %xmm0,"
        BOTH    "pinsrd m,xmm", 4, R, 0, "pinsrd $2,", ", %xmm1"
        BOTH    "pextrd xmm,m", 4, W, 0, "pextrd $1, %xmm0,"
        BOTH    "pextrb xmm,m", 1, W, 0, "pextrb $5, %xmm0,"
        BOTH    "cvtsi2sd m32,xmm", 4, R, 0, "cvtsi2sdl ", ", %xmm1"
        BOTH    "cvtsi2sd m64,xmm", 8, R, 0, "cvtsi2sdq ", ", %xmm1"
        BOTH    "pmovzxbw m,xmm", 8, R, 0, "pmovzxbw ", ", %xmm1"
        BOTH    "stmxcsr", 4, W, 0, "stmxcsr "
        BOTH    "movups m,xmm", 16, R, 0, "movups ", ", %xmm1"
        BOTH    "movups xmm,m", 16, W, 0, "movups %xmm0,"
        BOTH    "movdqu m,xmm", 16, R, 0, "movdqu ", ", %xmm1"
        BOTH    "movdqu xmm,m", 16, W, 0, "movdqu %xmm0,"
        BOTH    "lddqu m,xmm", 16, R, 0, "lddqu ", ", %xmm1"
        BOTH    "movaps m,xmm", 16, R|ALIGNED, 0, "movaps ", ", %xmm1"
        BOTH    "movaps xmm,m", 16, W|ALIGNED, 0, "movaps %xmm0,"
        BOTH    "movntdq xmm,m", 16, W|ALIGNED, 0, "movntdq %xmm0,"
        BOTH    "paddd m,xmm", 16, R|ALIGNED, 0, "paddd ", ", %xmm1"
        BOTH    "pshufb m,xmm", 16, R|ALIGNED, 0, "pshufb ", ", %xmm1"
        BOTH    "vmovd m,xmm", 4, R|AVX, 0, "vmovd ", ", %xmm1"
        BOTH    "vmovdqu m,xmm", 16, R|AVX, 0, "vmovdqu ", ", %xmm1"
        BOTH    "vmovdqu xmm,m", 16, W|AVX, 0, "vmovdqu %xmm0,"
        BOTH    "vmovups m,ymm", 32, R|AVX, 0, "vmovups ", ", %ymm1"
        BOTH    "vmovups ymm,m", 32, W|AVX, 0, "vmovups %ymm0,"
        BOTH    "vpaddd m,ymm,ymm", 32, R|AVX, 0, "vpaddd ", ", %ymm0, %ymm1"
        BOTH    "vpxor m,ymm,ymm", 32, R|AVX, 0, "vpxor ", ", %ymm0, %ymm1"
        BOTH    "vbroadcastss m,ymm", 4, R|AVX, 0, "vbroadcastss ", ", %ymm1"
        BOTH    "vbroadcasti128 m,ymm", 16, R|AVX, 0, "vbroadcasti128 ", ", %ymm1"
        BOTH    "vextracti128 ymm,m", 16, W|AVX, 0, "vextracti128 $1, %ymm0,"
