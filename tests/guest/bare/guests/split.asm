; SPDX-License-Identifier: Apache-2.0
; Instructions that begin in one page and end in the next one, which is written to, mapped elsewhere, taken away.
; Intel SDM vol. 3, 4.10 and 8.1.3.
;! kvm: gate
%define HOME 64
%include "rt.inc"

TPT     equ PT_AREA
TPD     equ PT_AREA + 0x1000
PDPTE   equ HOME_PT + 0x1000 + 8
VA      equ 0x40000000                          ; two pages of code
VA2     equ 0x40001000
FIRST   equ PAGE_AREA                           ; what they are mapped to
SECOND  equ PAGE_AREA + 0x1000
OTHER   equ PAGE_AREA + 0x2000                  ; in place of the second one

; The pages, mapped; the rest of them is RET.
pages:
        mov     edi, PT_AREA
        mov     ecx, 0x2000 / 4
        xor     eax, eax
        rep stosd
        mov     dword [TPT], FIRST | 3
        mov     dword [TPT + 8], SECOND | 3
        mov     dword [TPD], TPT | 3
        mov     dword [PDPTE], TPD | 3
        mov     dword [PDPTE + 4], 0
        mov     edi, FIRST
        mov     ecx, 0x3000 / 4
        mov     eax, 0xc3c3c3c3
        rep stosd
        mov     rax, cr3
        mov     cr3, rax
        ret

; Bytes from rsi up to rdi, so that `ebp` of them are in the first page, RET behind them; rbx: where they are to be called.
place:
        mov     rcx, rdi
        sub     rcx, rsi
        mov     edi, SECOND
        sub     edi, ebp
        rep movsb
        mov     byte [rdi], 0xc3
        mov     ebx, VA2
        sub     ebx, ebp
        ret

; What is placed, twice, with the same registers: their digest in r15.
take:
        mov     r14d, 2
.again: mov     eax, 0x80000007
        mov     ecx, 3
        mov     edx, 5
        mov     rsi, scratch + 0x800
        mov     rdi, scratch + 0x900
        mov     r9, -1
        mov     r10, 0x1122334455667788
        push    rbx
        cmp     ecx, edx
        call    rbx
        pushfq
        pop     r8
        pop     rbx
        and     r8d, 0x8c5                      ; OF SF ZF PF CF
        add     r15, r8
        rol     r15, 5
        xor     r15, rax
        rol     r15, 5
        add     r15, rcx
        rol     r15, 5
        xor     r15, rdx
        add     r15, r9
        xor     r15, r10
        rol     r15, 5
        add     r15, [scratch + 0x800]
        dec     r14d
        jnz     .again
        ret

; A table of pieces of code.
%macro PIECE 1+
%%at:   %1
%%end:
        section .data
        dq      %%at, %%end
        section .text
%endmacro
        section .data
        align   8
pieces:
        section .text
        PIECE   mov eax, 0x12345678
        PIECE   mov rax, 0x123456789abcdef0
        PIECE   add eax, 0x7fffffff
        PIECE   adc edx, 0x01020304
        PIECE   cmp ecx, 0x00000003
        PIECE   mov dword [rsi + 0x10], 0x0badf00d
        PIECE   add qword [rsi + 0x200], 0x00abcdef
        PIECE   mov rdx, [rdi + 0x12345 - 0x12300]
        PIECE   lea rdx, [rax + 4 * rcx + 0x11223344]
        PIECE   lea r10, [rel $ + 0x1000]
        PIECE   movzx r9d, word [rdi + 4 * rcx + 0x100]
        PIECE   lock add [rsi + 0x100], r10
        PIECE   test edx, 0x00000004
        PIECE   movdqu xmm3, [rdi + 0x110]
        PIECE   db 0x0f, 0x83, 2, 0, 0, 0, 0xb0, 0x55                 ; jae, over a mov al, 55
        PIECE   db 0x0f, 0x82, 2, 0, 0, 0, 0xb0, 0x56                 ; jb
        PIECE   db 0xe9, 2, 0, 0, 0, 0xb0, 0x57                       ; jmp
        PIECE   db 0xe8, 1, 0, 0, 0, 0xc3, 0xff, 0xc2                 ; call, of an inc edx; ret
        PIECE   db 0xff, 0xc9, 0x0f, 0x85, 0xf8, 0xff, 0xff, 0xff     ; dec ecx; jnz to the dec
        PIECE   db 0xe2, 0xfe                                         ; loop to itself
        PIECE   db 0x48, 0xff, 0x34, 0x24, 0x8f, 0xc2                 ; push [rsp]; pop rdx
        PIECE   db 0xf3, 0x48, 0xab                                   ; rep stosq
        PIECE   db 0x0f, 0x01, 0xd0                                   ; xgetbv: #UD without OSXSAVE, which is off
        section .data
pieces_end:
        section .text

main:
        CASE    "all"
        call    pages
        mov     rax, cr4
        or      eax, CR4_OSFXSR
        mov     cr4, rax
        mov     r12, pieces
        xor     r15d, r15d
.piece: mov     ebp, 1
.split: mov     rsi, [r12]
        mov     rdi, [r12 + 8]
        mov     r13, rdi
        sub     r13, rsi
        call    place
        call    take
        inc     ebp
        cmp     rbp, r13
        jb      .split
        OUT     "digest", r15
        add     r12, 16
        cmp     r12, pieces_end
        jb      .piece
        DONE

        CASE    "written"                       ;= sum=8910
        call    pages
        xor     edx, edx
        mov     dword [SECOND - 1], 0x110000b8  ; mov eax, 11000000 up
        mov     ecx, 16
.next:  mov     byte [SECOND + 3], cl
        mov     ebx, VA2 - 1
        call    rbx
        shr     eax, 16
        add     edx, eax
        loop    .next
        OUT     "sum", rdx
        DONE

        CASE    "elsewhere"                     ;= one=11111111 two=22222222 three=11111111 four=33333333
        call    pages
        mov     byte [SECOND - 1], 0xb8
        mov     dword [SECOND], 0x11111111
        mov     dword [OTHER], 0x22222222
        mov     ebx, VA2 - 1
        call    rbx
        call    rbx
        OUT     "one", rax
        mov     dword [TPT + 8], OTHER | 3
        invlpg  [VA2]
        call    rbx
        call    rbx
        OUT     "two", rax
        mov     dword [TPT + 8], SECOND | 3
        invlpg  [VA2]
        call    rbx
        OUT     "three", rax
        mov     dword [TPT + 8], OTHER | 3
        mov     dword [OTHER], 0x33333333
        mov     rax, cr3
        mov     cr3, rax
        call    rbx
        OUT     "four", rax
        DONE

        CASE    "longer"                        ;= short=77 long=1234 again=77
        call    pages
        mov     word [SECOND - 2], 0x8948       ; mov r/m64, r64
        mov     byte [SECOND], 0xc8             ; rax, rcx
        mov     ebx, VA2 - 2
        mov     ecx, 0x77
        call    rbx
        call    rbx
        OUT     "short", rax
        mov     byte [SECOND], 0x0d             ; [rip + 100], rcx
        mov     dword [SECOND + 1], 0x100
        mov     ecx, 0x1234
        call    rbx
        OUT     "long", qword [SECOND + 0x105]
        mov     dword [SECOND], 0xc3c3c3c8
        mov     ecx, 0x77
        call    rbx
        OUT     "again", rax
        DONE

        CASE    "itself"                        ;= first=11223344 then=55667788
        call    pages
        ; c7 05 fc ff ff ff imm32: stores the immediate at the last four bytes of itself
        mov     word [SECOND - 5], 0x05c7
        mov     dword [SECOND - 3], 0xfffffffc
        mov     dword [SECOND + 1], 0x11223344
        mov     byte [SECOND + 5], 0xc3
        mov     ebx, VA2 - 5
        call    rbx
        call    rbx
        mov     eax, [SECOND + 1]
        OUT     "first", rax
        mov     dword [SECOND + 1], 0x55667788
        call    rbx
        mov     eax, [SECOND + 1]
        OUT     "then", rax
        DONE

        CASE    "absent"                        ;= #1 vec=e cr2=40001000 / value=44444444
        call    pages
        mov     byte [SECOND - 1], 0xb8
        mov     dword [SECOND], 0x44444444
        mov     ebx, VA2 - 1
        call    rbx
        call    rbx
        OUT     "value", rax
        mov     dword [TPT + 8], 0
        invlpg  [VA2]
        call    rbx
        DONE

        CASE    "first"                         ;= #1 vec=e cr2=40001000
        call    pages
        mov     byte [SECOND - 1], 0xb8
        mov     dword [TPT + 8], 0
        mov     rax, cr3
        mov     cr3, rax
        mov     ebx, VA2 - 1
        call    rbx
        DONE

        CASE    "invalid"                       ;= #1 vec=6
        call    pages
        mov     byte [SECOND - 1], 0x0f
        mov     byte [SECOND], 0xa2             ; cpuid
        xor     eax, eax
        mov     ebx, VA2 - 1
        push    rbx
        call    rbx
        pop     rbx
        push    rbx
        call    rbx
        pop     rbx
        mov     byte [SECOND], 0x0b             ; ud2
        call    rbx
        DONE
        ret
