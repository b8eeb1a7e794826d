; SPDX-License-Identifier: Apache-2.0
; String instructions that are stopped in the middle, and locked ones. Intel SDM vol. 2, REP.
;! kvm: gate
%define HOME 64
%include "rt.inc"

; Two pages at 40000000 of which the second is absent, mapped by tables of our own
VA      equ 0x40000000
%macro MAP_ONE_PAGE 0
        mov     edi, PT_AREA
        mov     ecx, 0x1000 / 4
        xor     eax, eax
        rep stosd
        mov     dword [PT_AREA], PAGE_AREA | 7          ; PT: page 0 present, 1 not
        mov     edi, PT_AREA + 0x1000
        mov     ecx, 0x1000 / 4
        rep stosd
        mov     dword [PT_AREA + 0x1000], PT_AREA | 7   ; PD
        mov     dword [HOME_PT + 0x1000 + 8], PT_AREA + 0x1007  ; PDPT entry 1
        mov     rax, cr3
        mov     cr3, rax
%endmacro
%macro UNMAP 0
        mov     dword [HOME_PT + 0x1000 + 8], HOME_PT + 0x3007
        mov     rax, cr3
        mov     cr3, rax
%endmacro
%macro REGS 0
        AFTER
        UNMAP
        OUTEV   "cx", 0, cx
        OUTEV   "si", 0, si
        OUTEV   "di", 0, di
        DONE
%endmacro

main:
        CASE    "movsb-write-faults"            ;= #1 vec=e err=2 ip=+0 cr2=40001000 / cx=6 si=20a di=40001000
        MAP_ONE_PAGE
        mov     esi, 0x200
        mov     edi, VA + 0xff6
        mov     ecx, 16
 T      rep movsb
        REGS
        CASE    "movsb-read-faults"             ;= #1 vec=e err=0 ip=+0 cr2=40001000 / cx=6 si=40001000 di=120a
        MAP_ONE_PAGE
        mov     esi, VA + 0xff6
        mov     edi, 0x1200
        mov     ecx, 16
 T      rep movsb
        REGS
        CASE    "movsq-write-crosses"           ;= #1 vec=e err=2 ip=+0 cr2=40001000 / cx=3 si=208 di=40000ffc
        MAP_ONE_PAGE
        mov     esi, 0x200
        mov     edi, VA + 0xff4
        mov     ecx, 4
 T      rep movsq
        REGS
        CASE    "movsb-backwards"               ;= #1 vec=e err=2 ip=+0 cr2=3fffffff / cx=10 si=1fff di=3fffffff
        MAP_ONE_PAGE
        ; below VA is identity-mapped RAM space: take it away by a hole at VA - 16 of the PD before
        std
        mov     esi, 0x200f
        mov     edi, VA + 0xf
        mov     ecx, 32
        and     dword [HOME_PT + 0x2000 + 511 * 8], ~1
        mov     rax, cr3
        mov     cr3, rax
 T      rep movsb
        AFTER
        or      dword [HOME_PT + 0x2000 + 511 * 8], 1
        UNMAP
        OUTEV   "cx", 0, cx
        OUTEV   "si", 0, si
        OUTEV   "di", 0, di
        DONE
        CASE    "stosd-faults"                  ;= #1 vec=e err=2 ip=+0 cr2=40001000 / cx=6 di=40001000
        MAP_ONE_PAGE
        mov     edi, VA + 0xff8
        mov     ecx, 8
 T      rep stosd
        REGS
        CASE    "lodsb-faults"                  ;= #1 vec=e err=0 ip=+0 cr2=40001000 / cx=8 si=40001000
        MAP_ONE_PAGE
        mov     esi, VA + 0xff8
        mov     ecx, 16
 T      rep lodsb
        REGS
        CASE    "scasb-faults"                  ;= #1 vec=e err=0 ip=+0 cr2=40001000 / cx=8 di=40001000
        MAP_ONE_PAGE
        mov     edi, VA + 0xff0
        mov     ecx, 16
        mov     al, 0
        rep stosb
        mov     edi, VA + 0xff8
        mov     ecx, 16
 T      repe scasb
        REGS
        CASE    "cmpsb-faults-on-second"        ;= #1 vec=e err=0 ip=+0 cr2=40001000 / cx=8 si=1208 di=40001000
        MAP_ONE_PAGE
        mov     edi, VA + 0xff0
        mov     ecx, 16
        mov     al, 0
        rep stosb
        mov     edi, 0x1200
        mov     ecx, 16
        rep stosb
        mov     esi, 0x1200
        mov     edi, VA + 0xff8
        mov     ecx, 16
 T      repe cmpsb
        REGS
        CASE    "movs-cx0-touches-nothing"      ;= none
        MAP_ONE_PAGE
        mov     esi, VA + 0x1000
        mov     edi, VA + 0x1000
        xor     ecx, ecx
 T      rep movsb
        AFTER
        UNMAP
        DONE
        CASE    "movs-single-fault-no-change"   ;= #1 vec=e err=2 ip=+0 cr2=40001000 / si=1200 di=40001000
        MAP_ONE_PAGE
        mov     esi, 0x1200
        mov     edi, VA + 0x1000
        mov     ecx, 5
 T      movsb
        REGS
        CASE    "insb-faults"                   ;= #1 vec=e err=2 ip=+0 cr2=40001000 / cx=2 di=40001000
        MAP_ONE_PAGE
        mov     dx, 0x80
        mov     edi, VA + 0xffe
        mov     ecx, 4
 T      rep insb
        REGS
        CASE    "outsb-faults"                  ;= #1 vec=e err=0 ip=+0 cr2=40001000 / cx=2 si=40001000
        MAP_ONE_PAGE
        mov     dx, 0x80
        mov     esi, VA + 0xffe
        mov     ecx, 4
 T      rep outsb
        REGS
        CASE    "push-faults-rsp-same"          ;= #1 vec=e err=2 ip=+0 cr2=40001000 sp=40001008
        SHOW    SHOW_STACK
        MAP_ONE_PAGE
        mov     word [IDT(PF) + 4], 0x8e01
        mov     esp, VA + 0x1008
 T      push    rax
        AFTER
        UNMAP
        DONE
        CASE    "call-faults-rip-same"          ;= #1 vec=e err=2 ip=+0 cr2=40001ff8
        MAP_ONE_PAGE
        mov     word [IDT(PF) + 4], 0x8e01
        mov     esp, VA + 0x2000
 T      call    near main
        AFTER
        UNMAP
        DONE
        CASE    "pop-mem-faults-rsp-same"       ;= #1 vec=e err=2 ip=+0 cr2=40001000 / same=1
        MAP_ONE_PAGE
        mov     ebx, VA + 0x1000
        push    0x55
        mov     [scratch], rsp
 T      pop     qword [rbx]
        AFTER
        UNMAP
        mov     rax, [scratch]
        xor     ecx, ecx
        cmp     rax, [EV(0, sp)]
        sete    cl
        OUT     "same", rcx
        DONE
        CASE    "xchg-faults-register-same"     ;= #1 vec=e err=2 ip=+0 cr2=40001000 / bx=1234
        MAP_ONE_PAGE
        mov     ecx, VA + 0x1000
        mov     ebx, 0x1234
 T      xchg    [rcx], rbx
        AFTER
        UNMAP
        OUTEV   "bx", 0, bx
        DONE
        CASE    "cmpxchg-fails-still-writes"    ;= #1 vec=e err=3 ip=+0 cr2=40000000
        MAP_ONE_PAGE
        mov     dword [PT_AREA], PAGE_AREA | 5          ; read-only
        mov     rax, cr0
        or      eax, CR0_WP
        mov     cr0, rax
        mov     ecx, VA
        mov     dword [PAGE_AREA], 1
        mov     eax, 2                                  ; not equal
 T      cmpxchg [rcx], ebx
        AFTER
        UNMAP
        DONE
        CASE    "enter-faults-rsp-same"         ;= #1 vec=e err=2 ip=+0 / same=1
        MAP_ONE_PAGE
        mov     word [IDT(PF) + 4], 0x8e01
        mov     esp, VA + 0x1004
        mov     [scratch], rsp
 T      enter   16, 0
        AFTER
        UNMAP
        mov     rax, [scratch]
        xor     ecx, ecx
        cmp     rax, [EV(0, sp)]
        sete    cl
        OUT     "same", rcx
        DONE
        CASE    "a32-rep-counts-ecx"            ;= cx=0 di=1004
        mov     rcx, 0x100000004                        ; ECX is 4
        mov     edi, 0x1000
 T      a32 rep stosb
        mov     [scratch], rcx
        mov     [scratch + 8], rdi
        AFTER
        OUT32   "cx", [scratch]
        OUT     "di", [scratch + 8]
        DONE
        CASE    "rep-ret-and-rep-nop"           ;= none
 T      db      0xf3, 0x90
        DONE
        CASE    "interrupt-in-rep-movs"         ;= same=1 irqs=1
        ; a slow PIT tick arrives in one very long rep movsb
        GATE    IDT(PIC0_BASE), CODE0, .irq, 0x8e00
        mov     ebx, 0xfee00000                 ; the PIC comes through the LAPIC's LINT0
        mov     dword [rbx + 0xf0], 0x1ff
        mov     dword [rbx + 0x350], 0x700
        mov     al, 0x30
        out     0x43, al
        mov     al, 0x40
        out     0x40, al
        mov     al, 0x01
        out     0x40, al
        mov     al, 0xfe
        out     0x21, al
        sti
 .again:
        mov     esi, PAGE_AREA
        mov     edi, PAGE_AREA + 0x100000
        mov     ecx, 0x80000
 T      rep movsb
        cmp     dword [scratch], 0
        je      .again
        jmp     .done
 .irq:  inc     dword [scratch]
        push    rax
        mov     al, 0xff                        ; one is enough
        out     0x21, al
        mov     al, 0x20
        out     0x20, al
        pop     rax
        iretq
 .done: cli
        mov     al, 0xff
        out     0x21, al
        xor     eax, eax
        cmp     rcx, 0
        jne     .bad
        cmp     rdi, PAGE_AREA + 0x180000
        jne     .bad
        inc     eax
 .bad:  mov     [scratch + 8], eax
        AFTER
        OUT32   "same", [scratch + 8]
        OUT32   "irqs", [scratch]
        DONE
        ret
