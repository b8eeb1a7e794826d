; SPDX-License-Identifier: Apache-2.0
; As modes64, for modes that are entered from 32-bit mode without paging. For tests/guest/save/run.
;! cpus: 1
%define HOME 32
%include "rt.inc"
%include "irq.inc"
%include "meet.inc"


        section .low
        bits 16
low_gdt_ptr:
        dw      32 * 8 - 1
        dd      gdt
low_idt_ptr:
        dw      0x3ff
        dd      0
        section .text
        bits 32

tick:   push    eax
        mov     al, 0x20
        out     0x20, al
        pop     eax
        iretd

main:
        CASE    "protected"             ;= bx=11111111 cx=22222222 si=33333333 di=44444444 bp=55555555 fs=81 limit=fff
        SETDESC T0, 0x00400000, 0xfff, 0x40b3
        mov     ax, T0 | 1
        mov     fs, ax
        mov     ebx, 0x11111111
        mov     ecx, 0x22222222
        mov     esi, 0x33333333
        mov     edi, 0x44444444
        mov     ebp, 0x55555555
        MEET
        OUT     "bx", ebx
        OUT     "cx", ecx
        OUT     "si", esi
        OUT     "di", edi
        OUT     "bp", ebp
        xor     eax, eax
        mov     ax, fs
        OUT     "fs", eax
        lsl     eax, eax
        OUT     "limit", eax
        DONE
        CASE    "real"                  ;= bx=1111 cx=2222 ds=1234 es=89ab high=3333
        lidt    [low_idt_ptr]
        jmp     CODE16:real_c16
        section .low
        bits 16
real_c16:
        mov     ax, DATA16
        mov     ds, ax
        mov     es, ax
        mov     fs, ax
        mov     gs, ax
        mov     ss, ax
        mov     sp, 0x7000
        mov     eax, cr0
        and     al, ~1
        mov     cr0, eax
        jmp     0:.real
.real:  xor     ax, ax
        mov     ss, ax
        mov     ax, 0x1234
        mov     ds, ax
        mov     ax, 0x89ab
        mov     es, ax
        mov     ebx, 0x33331111
        mov     cx, 0x2222
        MEET
        mov     [cs:0x7100], ebx
        mov     [cs:0x7104], cx
        mov     [cs:0x7106], ds
        mov     [cs:0x7108], es
        xor     ax, ax
        mov     ds, ax
        o32 lgdt [low_gdt_ptr]
        mov     eax, cr0
        or      al, 1
        mov     cr0, eax
        jmp     dword CODE0:.home
        section .text
        bits 32
.home:  mov     ax, DATA0
        mov     ds, ax
        mov     es, ax
        mov     ss, ax
        mov     esp, 0x7000
        lidt    [idt_ptr]
        AFTER
        movzx   eax, word [0x7100]
        OUT     "bx", eax
        movzx   eax, word [0x7102]
        OUT     "high", eax
        movzx   eax, word [0x7104]
        OUT     "cx", eax
        movzx   eax, word [0x7106]
        OUT     "ds", eax
        movzx   eax, word [0x7108]
        OUT     "es", eax
        DONE
        CASE    "halted"                ;= came=1
        GATE    IDT(0x20), CODE0, tick, 0x8e00
        PIT0    2, 11932
        IMR     0xfe, 0xff
        mov     dx, 0x3f8
        mov     al, '?'
        out     dx, al
.sleep: sti
        hlt
        cli
        mov     dx, 0x3fd
        in      al, dx
        test    al, 1
        jz      .sleep
        mov     dx, 0x3f8
        in      al, dx
        IMR     0xff, 0xff
        PIT0_QUIET
        OUT32   "came", 1
        DONE
        ret
