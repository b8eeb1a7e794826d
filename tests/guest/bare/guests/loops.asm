; SPDX-License-Identifier: Apache-2.0
; Loops of the kinds that a translator does something about: flags that live from one round to the next, accesses off one register
; that is moved over the ends of pages, a fault in the midst, a loop that changes itself.
; Intel SDM vol. 1, 3.4.3; vol. 3, 8.1.3.
;! kvm: gate
%define HOME 64
%include "rt.inc"

WORDS       equ 700                     ; 5600 bytes: over a page and a half
A_AT        equ PAGE_AREA + 0x7f8       ; so that pairs of words lie on both sides of a page's end
B_AT        equ PAGE_AREA + 0x4004      ; and here single ones
SUM_AT      equ PAGE_AREA + 0x8008

        section .text
        bits 64
; rdi: to; rsi: first value. WORDS of them, each the last one times 5 and 3.
fill:   mov     ecx, WORDS
        mov     rax, rsi
.next:  mov     [rdi], rax
        lea     rax, [rax + 4 * rax + 3]
        add     rdi, 8
        dec     ecx
        jnz     .next
        ret

; rsi, ecx words: their sum in rax, turned by one bit after each.
digest: xor     eax, eax
.next:  add     rax, [rsi]
        rol     rax, 1
        add     rsi, 8
        dec     ecx
        jnz     .next
        ret

main:
        mov     rsi, 0x123456789abcdef1
        mov     rdi, A_AT
        call    fill
        mov     rsi, 0xfedcba9876543211
        mov     rdi, B_AT
        call    fill

        CASE    "count"                         ;= a=7a120
        xor     eax, eax
        mov     ecx, 999
.round: add     eax, ecx
        dec     ecx
        jnz     .round
        inc     eax
        add     eax, 499
        add     eax, 1
        sub     eax, 1
        OUT     "a", rax
        DONE

        CASE    "carry"                         ; a sum of 5600 bytes: the carry goes from round to round beside the count
        mov     rsi, A_AT
        mov     rbx, B_AT
        mov     rdi, SUM_AT
        mov     ecx, WORDS
        clc
.round: mov     rax, [rsi]
        adc     rax, [rbx]
        mov     [rdi], rax
        lea     rsi, [rsi + 8]
        lea     rbx, [rbx + 8]
        lea     rdi, [rdi + 8]
        dec     ecx
        jnz     .round
        setc    bl
        movzx   ebx, bl
        OUT     "carry", rbx
        mov     rsi, SUM_AT
        mov     ecx, WORDS
        call    digest
        OUT     "digest", rax
        DONE

        CASE    "pairs"                         ; two accesses off one register, which goes over the ends of pages
        mov     rbx, A_AT
        xor     eax, eax
        mov     ecx, WORDS / 2
.round: mov     rdx, [rbx]
        xor     rdx, [rbx + 8]
        add     rax, rdx
        adc     rax, 0
        mov     [rbx + 8], rdx
        add     rbx, 16
        dec     ecx
        jnz     .round
        OUT     "sum", rax
        mov     rsi, A_AT
        mov     ecx, WORDS
        call    digest
        OUT     "digest", rax
        DONE

        CASE    "stack"                         ;= sum=3e7 rsp=0
        mov     rbp, rsp
        mov     rsp, PAGE_AREA + 0x9010         ; from here it goes down over a page's end
        mov     ecx, 37
        xor     eax, eax
.down:  push    rcx
        push    rax
        mov     rdx, [rsp + 8]
        add     rdx, [rsp]
        mov     rax, rdx
        dec     ecx
        jnz     .down
        mov     ebx, eax
        mov     ecx, 37
.up:    pop     rdx
        pop     rsi
        sub     rbx, rsi
        cmp     rbx, rdx                        ; as it was before
        jne     .bad
        dec     ecx
        jnz     .up
.bad:   add     eax, 0x128
        sub     rsp, PAGE_AREA + 0x9010
        mov     rdi, rsp
        mov     rsp, rbp
        OUT     "sum", rax
        OUT     "rsp", rdi
        DONE

        CASE    "fault"                         ;= #1 vec=e err=0 ip=+0 cr2=100000000 / rounds=100
        mov     rbx, 0x100000000 - 0x1000       ; the last page that is mapped
        mov     dword [scratch], 0
.round:
 T      mov     rax, [rbx]
        inc     dword [scratch]
        xor     rax, [rbx + 8]
        add     rbx, 16
        cmp     dword [scratch], 1000
        jne     .round
        AFTER
        OUT32   "rounds", [scratch]
        DONE

        CASE    "itself"                        ;= a=9b
        xor     eax, eax
        mov     ecx, 20
.round: db      0x05                            ; add eax, imm32
.value: dd      1
        cmp     ecx, 15
        jne     .same
        mov     dword [rel .value], 10
        jmp     .same
.same:  dec     ecx
        jnz     .round
        sub     eax, -9
        mov     dword [rel .value], 1
        OUT     "a", rax
        DONE

        CASE    "search"                        ; the flags of the round that ends it
        mov     rdi, A_AT
        mov     ecx, WORDS
        xor     edx, edx
.round: mov     rax, [rdi]
        add     rdi, 8
        cmp     al, 0x77
        je      .found
        add     edx, eax
        adc     edx, 0
        cmp     rdi, A_AT + 8 * WORDS
        jb      .round
.found: setz    al
        setc    ah
        movzx   ebx, ax
        OUT     "flags", rbx
        OUT     "sum", rdx
        DONE
        ret
