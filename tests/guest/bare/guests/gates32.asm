; SPDX-License-Identifier: Apache-2.0
; Transfers between rings in protected mode: gates, far calls and returns, SYSENTER.
; Intel SDM vol. 3, 5.8, 6.12; vol. 2, CALL, RET, IRET, INT n.
%define HOME 32
%include "rt.inc"

; the handler behind 16-bit gates
        section .low
handler16:
        bits 16
        int     HOMEWARD
        section .text
        bits 32

; A ring-0 landing for call gates: the frame it found becomes the event of vector 40
landing:
        pushfd
        pop     dword [scratch + 0x100]
        mov     [scratch + 0x104], esp
        mov     eax, cs
        mov     [ss:scratch + 0x108], eax
        mov     eax, ss
        mov     [ss:scratch + 0x10c], eax
        mov     eax, [esp]
        mov     [ss:scratch + 0x110], eax
        mov     eax, [esp + 4]
        mov     [ss:scratch + 0x114], eax
        mov     eax, [esp + 8]
        mov     [ss:scratch + 0x118], eax
        mov     eax, [esp + 12]
        mov     [ss:scratch + 0x11c], eax
        mov     eax, [esp + 16]
        mov     [ss:scratch + 0x120], eax
        mov     eax, [esp + 20]
        mov     [ss:scratch + 0x124], eax
        int     HOMEWARD
%macro LANDED 0
        AFTER
        OUT     "cs", [scratch + 0x108]
        OUT     "ss", [scratch + 0x10c]
        OUT     "sp", [scratch + 0x104]
        mov     eax, [scratch + 0x110]
        sub     eax, %$t
        OUT     "ret", eax
        OUT     "retcs", [scratch + 0x114]
        OUT     "w2", [scratch + 0x118]
        OUT     "w3", [scratch + 0x11c]
        OUT     "w4", [scratch + 0x120]
        OUT     "w5", [scratch + 0x124]
        DONE
%endmacro

; vector 30 to ring 1, whose stack is SS1:ESP1 of the TSS
%macro RING1 0
        SETDESC T7, 0, 0xfffff, 0xc0bb          ; code, DPL 1
        SETDESC T8, 0, 0xfffff, 0xc0b3          ; data, DPL 1
        mov     dword [tss + 16], T8 | 1
        GATE    IDT(0x30), T7, landing, 0xee00
%endmacro
; RETF_TO selector, label, ss, esp : outward far return
%macro RETF_TO 4
        push    %3
        push    %4
        push    %1
        push    %2
        retf
%endmacro

main:
        ; --- interrupt and trap gates
        CASE    "int-gate-flags"                ;= #1 vec=30 ip=+2 fl=4200 hfl=0 hss=10 hcs=8
        SHOW    SHOW_HANDLER
        push    FL_IF | FL_NT | 2
        popfd
 T      int     0x30
        DONE
        CASE    "trap-gate-keeps-if"            ;= #1 vec=30 ip=+2 fl=200 hfl=200
        SHOW    SHOW_HANDLER
        mov     word [IDT(0x30) + 4], 0x8f00
        push    FL_IF | 2
        popfd
 T      int     0x30
        DONE
        CASE    "gate-clears-tf-not-df-ac"      ;= #1 vec=30 ip=+2 fl=40400 hfl=40400
        SHOW    SHOW_HANDLER
        push    FL_AC | FL_DF | 2
        popfd
 T      int     0x30
        DONE
        CASE    "inner-stack"                   ;= #1 vec=30 ip=+2 cs=1b ss=23 sp=328000 hss=10 hsp=30ffec hcs=8
        SHOW    SHOW_HANDLER
        or      word [IDT(0x30) + 4], 3 << 13
        USER
 T      int     0x30
        DONE
        CASE    "inner-stack-with-error-code"   ;= #1 vec=d err=0 ip=+0 hsp=30ffe8
        SHOW    SHOW_HANDLER
        USER
 T      hlt
        DONE
        ; Handlers outside ring 0 cannot be the runtime's: they land.
        CASE    "ring3-to-ring1"                ;= cs=b9 ss=c1 sp=317fec ret=2 retcs=1b w3=328000 w4=23
        RING1
        USER
 T      int     0x30
        LANDED
        CASE    "conforming-handler-stays"      ;= cs=83 ss=23 sp=327ff4 ret=2 retcs=1b
        SETDESC T0, 0, 0xfffff, 0xc09f          ; conforming, DPL 0: runs at CPL 3
        GATE    IDT(0x30), T0, landing, 0xee00
        USER
 T      int     0x30
        LANDED
        CASE    "gate16-same-ring"              ;= ip=2 cs=8 fl=0
        mov     word [IDT(0x30)], handler16
        mov     word [IDT(0x30) + 2], CODE16
        mov     dword [IDT(0x30) + 4], 0x8600
        mov     esp, 0x7000
        mov     dword [0x6ff8], 0xdeadbeef
 T      int     0x30
        AFTER
        movzx   eax, word [0x6ffa]
        movzx   ecx, word [0x6ffe]
        and     ecx, 0x7200
        movzx   edx, word [0x6ffc]
        sub     ax, %$t
        movzx   eax, ax
        OUT     "ip", eax
        movzx   eax, word [0x6ffc]
        OUT     "cs", eax
        OUT     "fl", ecx
        DONE
        CASE    "gate16-inner"                  ;= w0=2 cs=1b ss=23 sp=8000
        mov     word [IDT(0x30)], handler16
        mov     word [IDT(0x30) + 2], CODE16
        mov     dword [IDT(0x30) + 4], 0xe600
        mov     dword [tss + 4], 0x7000
        USER
 T      int     0x30
        AFTER
        mov     ax, [0x6ff6]
        sub     ax, %$t
        movzx   eax, ax
        OUT     "w0", eax
        movzx   eax, word [0x6ff8]
        OUT     "cs", eax
        movzx   eax, word [0x6ffe]
        OUT     "ss", eax
        movzx   eax, word [0x6ffc]
        OUT     "sp", eax
        DONE

        ; --- the inner stack is wrong: ring 1's, so that the handler in ring 0 has a good one
        CASE    "ts.inner-ss-null"              ;= #1 vec=a err=0 ip=+0 cs=1b
        RING1
        mov     word [tss + 16], 0
        USER
 T      int     0x30
        DONE
        CASE    "ts.inner-ss-rpl"               ;= #1 vec=a err=c0 ip=+0 cs=1b
        RING1
        mov     word [tss + 16], T8 | 3
        USER
 T      int     0x30
        DONE
        CASE    "ts.inner-ss-dpl"               ;= #1 vec=a err=20 ip=+0 cs=1b
        RING1
        mov     word [tss + 16], DATA3 & ~3 | 1
        USER
 T      int     0x30
        DONE
        CASE    "ts.inner-ss-read-only"         ;= #1 vec=a err=c0 ip=+0 cs=1b
        RING1
        SETDESC T8, 0, 0xfffff, 0xc0b1
        USER
 T      int     0x30
        DONE
        CASE    "ts.inner-ss-beyond-gdt"        ;= #1 vec=a err=1230 ip=+0 cs=1b
        RING1
        mov     word [tss + 16], 0x1231
        USER
 T      int     0x30
        DONE
        CASE    "ss.inner-ss-np"                ;= #1 vec=c err=c0 ip=+0 cs=1b
        RING1
        SETDESC T8, 0, 0xfffff, 0xc033
        USER
 T      int     0x30
        DONE
        CASE    "ss.inner-stack-too-small"      ;= #1 vec=c err=c0 ip=+0 cs=1b
        RING1
        SETDESC T8, 0, 0x00fff, 0x40b3          ; limit FFF, the stack at 318000
        USER
 T      int     0x30
        DONE
        CASE    "ss.callgate-stack-too-small"   ;= #1 vec=c err=c0 ip=+0 cs=1b
        RING1
        SETDESC T8, 0, 0x00fff, 0x40b3
        GATE    gdt + T0, T7, landing, 0xec00
        USER
 T      call    (T0 | 3):0
        DONE
        CASE    "ts.callgate-ss-null"           ;= #1 vec=a err=0 ip=+0 cs=1b
        RING1
        mov     word [tss + 16], 0
        GATE    gdt + T0, T7, landing, 0xec00
        USER
 T      call    (T0 | 3):0
        DONE
        CASE    "ts.beyond-tss-limit"           ;= #1 vec=a err=50 ip=+0 cs=1b
        RING1
        mov     word [gdt + TSS_SEL], 0xf       ; ESP1 in, SS1 out
        and     byte [gdt + TSS_SEL + 5], ~2
        mov     ax, TSS_SEL
        ltr     ax
        USER
 T      int     0x30
        DONE
        CASE    "ts.ext-bit-for-exception"      ;= #1 vec=a err=1 ip=+0 cs=1b
        RING1
        mov     word [tss + 16], 0
        GATE    IDT(UD), T7, landing, 0x8e00
        USER
 T      ud2
        DONE

        ; --- call gates
        CASE    "callgate32-same-ring"          ;= cs=8 ss=10 sp=307ef0 ret=7 retcs=8
        GATE    gdt + T0, CODE0, landing, 0x8c02        ; parameters are not copied
        push    0x22222222
 T      call    T0:0
        LANDED
        CASE    "callgate32-inner"              ;= cs=8 ss=10 sp=30ffe8 ret=7 retcs=1b w2=22222222 w3=33333333 w4=327ff8 w5=23
        GATE    gdt + T0, CODE0, landing, 0xec02
        USER
        push    0x33333333
        push    0x22222222
 T      call    (T0 | 3):0
        LANDED
        CASE    "callgate32-inner-no-params"    ;= cs=8 ss=10 sp=30fff0 ret=7 retcs=1b w2=328000 w3=23
        GATE    gdt + T0, CODE0, landing, 0xec00
        USER
 T      call    (T0 | 3):0
        LANDED
        CASE    "callgate16-inner"              ;= cs=8 ss=10 sp=30fff4
        GATE    gdt + T0, CODE0, 0, 0xe402
        mov     word [gdt + T0], 0x8000 + landing16 - low_start
        SETDESC T1, 0, 0xfffff, 0xc09b
        mov     word [gdt + T0 + 2], T1
        USER
        push    0x33333333
 T      call    (T0 | 3):0
        AFTER
        mov     eax, [scratch + 0x108]
        sub     eax, T1 - CODE0
        OUT     "cs", eax
        OUT     "ss", [scratch + 0x10c]
        OUT     "sp", [scratch + 0x104]
        movzx   eax, word [0x30fff4]
        sub     ax, %$t
        movzx   eax, ax
        OUT     "ret", eax
        OUT     "w1", [0x30fff6]
        OUT     "w3", [0x30fffa]
        DONE
        CASE    "callgate-jmp-same-ring"        ;= cs=8 ss=10 sp=307efc
        GATE    gdt + T0, CODE0, landing, 0x8c00
 T      jmp     T0:0
        AFTER
        OUT     "cs", [scratch + 0x108]
        OUT     "ss", [scratch + 0x10c]
        OUT     "sp", [scratch + 0x104]
        DONE
        CASE    "gp.callgate-jmp-inner"         ;= #1 vec=d err=8 ip=+0 cs=1b
        GATE    gdt + T0, CODE0, landing, 0xec00
        USER
 T      jmp     (T0 | 3):0
        DONE
        CASE    "gp.callgate-dpl"               ;= #1 vec=d err=80 ip=+0 cs=1b
        GATE    gdt + T0, CODE0, landing, 0x8c00
        USER
 T      call    (T0 | 3):0
        DONE
        CASE    "gp.callgate-rpl"               ;= #1 vec=d err=80 ip=+0 cs=8
        GATE    gdt + T0, CODE0, landing, 0x8c00
 T      call    (T0 | 3):0
        DONE
        CASE    "np.callgate"                   ;= #1 vec=b err=80 ip=+0
        GATE    gdt + T0, CODE0, landing, 0x0c00
 T      call    T0:0
        DONE
        CASE    "gp.callgate-null-cs"           ;= #1 vec=d err=0 ip=+0
        GATE    gdt + T0, 0, landing, 0x8c00
 T      call    T0:0
        DONE
        CASE    "gp.callgate-data"              ;= #1 vec=d err=10 ip=+0
        GATE    gdt + T0, DATA0, landing, 0x8c00
 T      call    T0:0
        DONE
        CASE    "np.callgate-cs-np"             ;= #1 vec=b err=88 ip=+0
        GATE    gdt + T0, T1, landing, 0x8c00
        SETDESC T1, 0, 0xfffff, 0xc01b
 T      call    T0:0
        DONE
        CASE    "gp.callgate-outward"           ;= #1 vec=d err=18 ip=+0
        GATE    gdt + T0, CODE3, landing, 0x8c00
 T      call    T0:0
        DONE
        CASE    "callgate-conforming"           ;= cs=8b ss=23 sp=327ff8 ret=7 retcs=1b
        SETDESC T1, 0, 0xfffff, 0xc09f
        GATE    gdt + T0, T1, landing, 0xec00
        USER
 T      call    (T0 | 3):0
        LANDED

        ; --- far jumps, calls and returns without gates
        CASE    "gp.jmp-null"                   ;= #1 vec=d err=0 ip=+0
 T      jmp     0:0
        DONE
        CASE    "gp.jmp-data"                   ;= #1 vec=d err=10 ip=+0
 T      jmp     DATA0:0
        DONE
        CASE    "gp.jmp-beyond-gdt"             ;= #1 vec=d err=100 ip=+0
 T      jmp     0x103:0
        DONE
        CASE    "np.jmp"                        ;= #1 vec=b err=80 ip=+0
        SETDESC T0, 0, 0xfffff, 0xc01b
 T      jmp     T0:0
        DONE
        CASE    "gp.jmp-limit"                  ;= #1 vec=d err=0 ip=+0
        SETDESC T0, 0, 0x00fff, 0x409b
 T      jmp     T0:0x1000
        DONE
        CASE    "gp.jmp-inward"                 ;= #1 vec=d err=8 ip=+0 cs=1b
        USER
 T      jmp     CODE0:0
        DONE
        CASE    "gp.jmp-outward"                ;= #1 vec=d err=18 ip=+0 cs=8
 T      jmp     CODE3:0
        DONE
        CASE    "gp.jmp-rpl-above-cpl"          ;= #1 vec=d err=8 ip=+0 cs=8
 T      jmp     (CODE0 | 3):0
        DONE
        CASE    "jmp-conforming-from-ring3"     ;= cs=83
        SETDESC T0, 0, 0xfffff, 0xc09f
        USER
 T      jmp     T0:.there                       ; RPL 0: CPL stays 3 and shows in CS
.there: mov     eax, cs
        mov     [scratch], eax
        AFTER
        OUT     "cs", [scratch]
        DONE
        CASE    "gp.jmp-conforming-outward"     ;= #1 vec=d err=80 ip=+0
        SETDESC T0, 0, 0xfffff, 0xc0ff          ; conforming, DPL 3, from ring 0
 T      jmp     T0:0
        DONE
        CASE    "accessed-bit-set-by-jmp"       ;= attr=9b
        SETDESC T0, 0, 0xfffff, 0xc09a
 T      jmp     T0:.there
.there: movzx   eax, byte [gdt + T0 + 5]
        OUT     "attr", eax
        DONE
        CASE    "accessed-bit-set-by-mov-ds"    ;= attr=93
        SETDESC T0, 0, 0xfffff, 0xc092
        mov     ax, T0
        mov     es, ax
        movzx   eax, byte [gdt + T0 + 5]
        OUT     "attr", eax
        DONE
        CASE    "retf-outward"                  ;= cs=1b ss=23 sp=328000 ds=0 es=23
        mov     ax, DATA3
        mov     es, ax
        RETF_TO CODE3, .there, DATA3, USTACK_TOP
.there: mov     ebx, ds                         ; DATA0 is too good for ring 3
        push    DATA3
        pop     ds
        mov     [scratch], ebx
        mov     eax, es
        mov     [scratch + 4], eax
        mov     eax, cs
        mov     [scratch + 8], eax
        mov     eax, ss
        mov     [scratch + 12], eax
        mov     [scratch + 16], esp
        AFTER
        OUT     "cs", [scratch + 8]
        OUT     "ss", [scratch + 12]
        OUT     "sp", [scratch + 16]
        OUT     "ds", [scratch]
        OUT     "es", [scratch + 4]
        DONE
        CASE    "retf-imm-outward"              ;= sp=328008
        push    DATA3
        push    USTACK_TOP
        push    0x55555555
        push    0x66666666
        push    CODE3
        push    .there
 T      retf    8
.there: push    DATA3
        pop     ds
        mov     [scratch], esp
        AFTER
        OUT     "sp", [scratch]
        DONE
        CASE    "gp.retf-inward"                ;= #1 vec=d err=8 ip=+0 cs=1b
        USER
        push    CODE0
        push    0
 T      retf
        DONE
        CASE    "gp.retf-null"                  ;= #1 vec=d err=0 ip=+0
        push    0
        push    0
 T      retf
        DONE
        CASE    "np.retf"                       ;= #1 vec=b err=80 ip=+0
        SETDESC T0, 0, 0xfffff, 0xc01b
        push    T0
        push    0
 T      retf
        DONE
        CASE    "gp.retf-outward-ss-null"       ;= #1 vec=d err=0 ip=+0 cs=8
        push    0
        push    USTACK_TOP
        push    CODE3
        push    0
 T      retf
        DONE
        CASE    "gp.retf-outward-ss-dpl"        ;= #1 vec=d err=10 ip=+0 cs=8
        push    DATA0
        push    USTACK_TOP
        push    CODE3
        push    0
 T      retf
        DONE
        CASE    "ss.retf-outward-ss-np"         ;= #1 vec=c err=80 ip=+0 cs=8
        SETDESC T0, 0, 0xfffff, 0xc073
        push    T0 | 3
        push    USTACK_TOP
        push    CODE3
        push    0
 T      retf
        DONE

        ; --- IRET
        CASE    "iret-same-ring"                ;= fl=6
        push    6
        push    CODE0
        push    .there
 T      iretd
.there: pushfd
        pop     eax
        OUT     "fl", eax
        DONE
        CASE    "iret-ring0-sets-system-flags"  ;= fl=247202
        push    FL_ID | FL_IOPL3 | FL_NT | FL_IF | FL_AC | 2
        push    CODE0
        push    .there
 T      iretd
.there: pushfd
        pop     eax
        OUT     "fl", eax
        DONE
        CASE    "iret-outward-nulls-ds"         ;= ds=0 es=23
        mov     ax, DATA3
        mov     es, ax
        push    DATA3
        push    USTACK_TOP
        push    2
        push    CODE3
        push    .there
 T      iretd
.there: mov     ebx, ds
        push    DATA3
        pop     ds
        mov     [scratch], ebx
        mov     eax, es
        mov     [scratch + 4], eax
        AFTER
        OUT     "ds", [scratch]
        OUT     "es", [scratch + 4]
        DONE
        CASE    "gp.iret-null-cs"               ;= #1 vec=d err=0 ip=+0
        push    2
        push    0
        push    0
 T      iretd
        DONE
        CASE    "gp.iret-inward"                ;= #1 vec=d err=8 ip=+0 cs=1b
        USER
        push    2
        push    CODE0
        push    0
 T      iretd
        DONE
        CASE    "iret16"                        ;= sp=6
        mov     [scratch], esp
        push    word 2
        push    word CODE16
        push    word low_iret16
 T      iretw
        bits 32
        section .low
low_iret16:
        bits 16
        mov     ecx, esp
        int     HOMEWARD
        section .text
        bits 32
        AFTER
        OUT     "sp", 6
        DONE

        ; --- SYSENTER, SYSEXIT
        CASE    "sysenter"                      ;= cs=8 ss=10 sp=307000 fl=0
        WRMSR_  MSR_SYSENTER_CS, 0, CODE0
        WRMSR_  MSR_SYSENTER_ESP, 0, 0x307000
        WRMSR_  MSR_SYSENTER_EIP, 0, landing
        USER    FL_IOPL3 | FL_IF | 2
        cli
        sti
 T      sysenter
        AFTER
        OUT     "cs", [scratch + 0x108]
        OUT     "ss", [scratch + 0x10c]
        OUT     "sp", [scratch + 0x104]
        mov     eax, [scratch + 0x100]
        and     eax, 0x34200 & ~0x3000          ; VM, IF, NT
        OUT     "fl", eax
        DONE
        CASE    "sysenter-from-ring0"           ;= cs=8 sp=307000
        WRMSR_  MSR_SYSENTER_CS, 0, CODE0
        WRMSR_  MSR_SYSENTER_ESP, 0, 0x307000
        WRMSR_  MSR_SYSENTER_EIP, 0, landing
 T      sysenter
        AFTER
        OUT     "cs", [scratch + 0x108]
        OUT     "sp", [scratch + 0x104]
        DONE
        CASE    "sysenter-forces-cs-rpl0"       ;= cs=8
        WRMSR_  MSR_SYSENTER_CS, 0, CODE0 | 3
        WRMSR_  MSR_SYSENTER_ESP, 0, 0x307000
        WRMSR_  MSR_SYSENTER_EIP, 0, landing
        USER
 T      sysenter
        AFTER
        OUT     "cs", [scratch + 0x108]
        DONE
        CASE    "gp.sysenter-cs-zero"           ;= #1 vec=d err=0 ip=+0 cs=1b
        WRMSR_  MSR_SYSENTER_CS, 0, 0
        USER
 T      sysenter
        DONE
        CASE    "gp.sysexit-cs-zero"            ;= #1 vec=d err=0 ip=+0 cs=8
        WRMSR_  MSR_SYSENTER_CS, 0, 0
 T      sysexit
        DONE
        CASE    "sysexit"                       ;= cs=1b ss=23 sp=327000
        WRMSR_  MSR_SYSENTER_CS, 0, CODE0
        mov     ax, DATA3
        mov     ds, ax
        mov     ecx, 0x327000
        mov     edx, .there
 T      sysexit
.there: mov     eax, cs
        mov     [scratch], eax
        mov     eax, ss
        mov     [scratch + 4], eax
        mov     [scratch + 8], esp
        AFTER
        OUT     "cs", [scratch]
        OUT     "ss", [scratch + 4]
        OUT     "sp", [scratch + 8]
        DONE
        ret

        section .low
landing16:
        bits 32
        mov     [scratch + 0x104], esp
        mov     eax, cs
        mov     [ss:scratch + 0x108], eax
        mov     eax, ss
        mov     [ss:scratch + 0x10c], eax
        int     HOMEWARD
        section .text
