; SPDX-License-Identifier: Apache-2.0
; Status flags that are wanted somewhere else than where they were made: behind a return, a jump to another page, an access to
; memory, one over the end of a page, an instruction that changes some of them. Intel SDM vol. 1, 3.4.3; vol. 2.
;! kvm: gate
%define HOME 64
%include "rt.inc"

BITS_AT     equ PAGE_AREA + 0x200
WORD_AT     equ PAGE_AREA + 0x100
CROSSING_AT equ PAGE_AREA + 0xffc
ALL         equ 0x8d5                   ; OF SF ZF AF PF CF
NO_AF       equ ALL & ~0x10
CF_OF       equ 0x801
SHIFTED     equ NO_AF & ~0x800          ; by more than one

; An instruction as a routine, the flags that it defines and its place, which is not in the page of what calls it.
%macro OP 2+
%%at:   %2
        ret
        section .data
        dq      %%at, %1
        section .text
%endmacro

; One consumer of flags for each of the instructions, which find the same registers: a digest of flags and results.
; A consumer leaves what it makes of them in r8. %1: of the defined flags, those that are left.
%macro EACH 1
        mov     r13, table
%%next: mov     rax, 0x8000000180000001
        mov     rbx, 0x7fffffff7ffffffe
        mov     ecx, 5
        mov     rdx, -1
        mov     rsi, WORD_AT
        mov     rdi, BITS_AT
        mov     ebp, 77
        mov     r9, 0x10
        mov     r10, -3
        mov     r11, 0x80000000
        mov     r14, 0xfffffffffffffffd
        mov     qword [rsi], 0x76543211
        mov     qword [rsi + 8], -1
        cmp     r14, r14                        ; what was there before
        call    [r13]
        CONSUME
        mov     r12, [r13 + 8]
        and     r12, %1
        and     r8, r12
        add     r15, r8
        rol     r15, 7
        xor     r15, rax
        add     r15, rbx
        rol     r15, 5
        xor     r15, r9
        add     r15, r10
        xor     r15, r11
        rol     r15, 3
        add     r15, [rsi]
        add     r13, 16
        cmp     r13, table.end
        jb      %%next
        OUT     "digest", r15
        DONE
%unmacro CONSUME 0
%endmacro

        section .data
        align   16
table:
        section .text
        bits 64
        align   4096
        OP ALL, add rax, rbx
        OP ALL, add eax, ebx
        OP ALL, add rax, rax
        OP ALL, add ax, bx
        OP ALL, add al, bl
        OP ALL, add rax, [rsi]
        OP ALL, add [rsi], eax
        OP ALL, add dword [rsi], 0x7654321
        OP ALL, add qword [rsi], byte -1
        OP ALL, add byte [rsi], 0x7f
        OP ALL, lock add [rsi], rbx
        OP ALL, add r9, r10
        OP ALL, add r10, [rsi]
        OP ALL, add [rsi], r11
        OP ALL, sub rax, rbx
        OP ALL, sub eax, 0x12345678
        OP ALL, sub rax, [rsi]
        OP ALL, sub [rsi], rbx
        OP ALL, sub dword [rsi], byte 1
        OP ALL, sub r11, r9
        OP ALL, cmp rax, rbx
        OP ALL, cmp ebx, byte -2
        OP ALL, cmp al, bl
        OP ALL, cmp ah, bl
        OP ALL, cmp ax, 0x8001
        OP ALL, cmp rax, [rsi]
        OP ALL, cmp [rsi], ebx
        OP ALL, cmp byte [rsi], 0x91
        OP ALL, cmp word [rsi], 0xffff
        OP ALL, cmp qword [rsi], 0x76543211
        OP ALL, cmp r10, r11
        OP ALL, cmp [rsi], r9
        OP NO_AF, test rax, rax
        OP NO_AF, test eax, 0x80000000
        OP NO_AF, test [rsi], bl
        OP NO_AF, test byte [rsi], 0x80
        OP NO_AF, test r9, r10
        OP NO_AF, and rax, rbx
        OP NO_AF, and dword [rsi], 0x7f
        OP NO_AF, or [rsi + 8], al
        OP NO_AF, or rax, [rsi + 8]
        OP NO_AF, xor [rsi], r10
        OP NO_AF, xor eax, eax
        OP ALL, neg rax
        OP ALL, neg dword [rsi]
        OP ALL, neg r11
        OP ALL, inc rax
        OP ALL, dec dword [rsi]
        OP ALL, adc rax, rbx
        OP ALL, sbb rax, rax
        OP NO_AF, shl rax, 1
        OP SHIFTED, shl eax, 31
        OP SHIFTED, shl r10, 40
        OP SHIFTED, shr rax, 33
        OP NO_AF, shr ebx, 1
        OP SHIFTED, sar rax, 63
        OP NO_AF, sar r11d, 1
        OP SHIFTED, shr bx, 3
        OP SHIFTED, shl dword [rsi], 4
        OP SHIFTED, shl eax, cl
        OP CF_OF, rol rax, 1
        OP CF_OF, imul rax, rbx
        OP CF_OF, imul eax, ebx, -7
        OP CF_OF, imul r9, r9, 100
        OP CF_OF, imul r10, r11
        OP CF_OF, imul rbx, [rsi]
        OP 0x41, bt rax, rcx
        OP ALL, xadd [rsi], rax
        OP ALL, cmpxchg [rsi], rbx
        ; The operands are overwritten before the flags are wanted.
        OP ALL, cmp rax, rbx
        section .data
.end:
        section .text
        align   4096
; To the page of the routines' end, and what is there as long as it is wanted.
elsewhere:
        jmp     back

main:
%macro CONSUME 0
        pushfq
        pop     r8
%endmacro
        CASE    "return"
        xor     r15d, r15d
        EACH    ALL

%macro CONSUME 0
        mov     r8, [rdi]
        mov     [rdi + 64], r8
        lea     rcx, [rdi + rbp]
        pushfq
        pop     r8
%endmacro
        CASE    "access"
        xor     r15d, r15d
        EACH    ALL

%macro CONSUME 0
        mov     r8, [CROSSING_AT]
        pushfq
        pop     r8
%endmacro
        CASE    "crossing"
        xor     r15d, r15d
        EACH    ALL

%macro CONSUME 0
        bt      [rdi], rbp
        pushfq
        pop     r8
%endmacro
        CASE    "bit"                           ; CF only is defined and another, ZF is as it was
        xor     r15d, r15d
        EACH    0x41

%macro CONSUME 0
        mov     r8d, ds
        verw    r8w
        pushfq
        pop     r8
%endmacro
        CASE    "verw"                          ; changes ZF only
        xor     r15d, r15d
        EACH    ALL

%macro CONSUME 0
        mov     r8, [rdi]
        mov     eax, 0
        mov     ebx, 0
        mov     r9, 0
        mov     r10, rax
        mov     r11, r9
        pushfq
        pop     r8
%endmacro
        CASE    "overwritten"
        xor     r15d, r15d
        EACH    ALL

%macro CONSUME 0
        mov     r8, [rdi]
        mov     r12, 0
        adc     r12, 0
        mov     r8, r12
%endmacro
        CASE    "carry"
        xor     r15d, r15d
        EACH    1

        CASE    "jump"                          ; out of the page and back
        xor     r15d, r15d
        jmp     jump_case
back:   pushfq
        pop     r8
        ret
%macro CONSUME 0
        call    elsewhere
%endmacro
jump_case:
        EACH    ALL
        ret
