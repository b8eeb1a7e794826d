; SPDX-License-Identifier: Apache-2.0
; Virtual-8086 mode. Intel SDM vol. 3, 20.2, 20.3.
%define HOME 32
%include "rt.inc"

%define T_LOW  NUM(%$t)
; V86 label, flags: go on at a label of section .low with CS 0, SS:SP 0:7000, DS 1111, ES 2222 ...
%macro V86 1-2 2
        push    0x4444                          ; gs
        push    0x3333                          ; fs
        push    0x1111                          ; ds
        push    0x2222                          ; es
        push    0                               ; ss
        push    0x7000
        push    FL_VM | %2
        push    0                               ; cs
        push    %1
        iretd
%endmacro
; IN_V86 [flags]: the code up to OUT_V86 runs in v86 mode
%macro IN_V86 0-1 2
        V86     %%there, %1
        section .low
        bits 16
%%there:
%endmacro
%macro OUT_V86 0
        int     HOMEWARD                        ; #GP when IOPL < 3; ends the case all the same
        section .text
        bits 32
%endmacro

%macro VCASE 2-3 2                              ; name, bytes, flags
        CASE    %1
        IN_V86  %3
 T      db      %2
        OUT_V86
        DONE
%endmacro

; VME with every interrupt left to protected mode
%macro VME_ON 0
        mov     eax, CR4_VME
        mov     cr4, eax
        mov     edi, tss + 0x48
        mov     ecx, 8
        or      eax, -1
        rep stosd
%endmacro

main:
        ; --- IOPL-sensitive instructions, IOPL 0. (The second event would be OUT_V86's.)
        CASE    "gp.cli"                        ;= #1 vec=d err=0 ip=+0 cs=0 fl=20000 ss=0 sp=7000
        IN_V86
 T      cli
        OUT_V86
        DONE
        CASE    "gp.sti"                        ;= #1 vec=d err=0 ip=+0
        IN_V86
 T      sti
        OUT_V86
        DONE
        CASE    "gp.pushf"                      ;= #1 vec=d err=0 ip=+0
        IN_V86
 T      pushf
        OUT_V86
        DONE
        CASE    "gp.popf"                       ;= #1 vec=d err=0 ip=+0
        IN_V86
 T      popf
        OUT_V86
        DONE
        CASE    "gp.int-n"                      ;= #1 vec=d err=0 ip=+0
        IN_V86
 T      int     0x30
        OUT_V86
        DONE
        CASE    "gp.iret"                       ;= #1 vec=d err=0 ip=+0
        IN_V86
 T      iret
        OUT_V86
        DONE
        CASE    "gp.hlt"                        ;= #1 vec=d err=0 ip=+0
        IN_V86  FL_IOPL3 | 2
 T      hlt
        OUT_V86
        DONE
        CASE    "int3-is-not-sensitive-but-dpl" ;= #1 vec=d err=1a ip=+0
        IN_V86
 T      int3
        OUT_V86
        DONE
        CASE    "int3"                          ;= #1 vec=3 ip=+1
        or      word [IDT(BP_) + 4], 3 << 13
        IN_V86
 T      int3
        OUT_V86
        DONE
        CASE    "into"                          ;= #1 vec=4 ip=+1
        or      word [IDT(OF_) + 4], 3 << 13
        IN_V86
        mov     al, 0x7f
        add     al, 1
 T      into
        OUT_V86
        DONE
        ; --- IOPL 3
        CASE    "iopl3.cli-sti-pushf"           ;= fl=3002 cx=3202
        IN_V86  FL_IOPL3 | 2
        sti
        pushf
        pop     cx
        cli
        pushf
        pop     ax
        mov     [cs:0x7100], ax
        mov     [cs:0x7102], cx
        OUT_V86
        AFTER
        movzx   eax, word [0x7100]
        and     eax, 0x7202
        OUT     "fl", eax
        movzx   eax, word [0x7102]
        and     eax, 0x7202
        OUT     "cx", eax
        DONE
        CASE    "iopl3.popf-keeps-iopl-vm"      ;= fl=23202
        SHOW    SHOW_HANDLER
        IN_V86  FL_IOPL3 | 2
        push    word 0x0202
        popf
        OUT_V86
        AFTER
        OUT     "fl", 0x23202
        DONE
        CASE    "iopl3.int-to-ring0"            ;= #1 vec=30 ip=+2 cs=0 fl=23000 ss=0 sp=7000 hcs=8 hss=10 hsp=30ffdc hfl=3000
        SHOW    SHOW_HANDLER
        or      word [IDT(0x30) + 4], 3 << 13
        IN_V86  FL_IOPL3 | 2
 T      int     0x30
        OUT_V86
        DONE
        CASE    "iopl3.int-frame-has-segments"  ;= es=2222 ds=1111 fs=3333 gs=4444
        or      word [IDT(0x30) + 4], 3 << 13
        IN_V86  FL_IOPL3 | 2
 T      int     0x30
        OUT_V86
        AFTER
        OUT     "es", [STACK0_TOP - 16]
        OUT     "ds", [STACK0_TOP - 12]
        OUT     "fs", [STACK0_TOP - 8]
        OUT     "gs", [STACK0_TOP - 4]
        DONE                                    ;= #1 vec=30
        CASE    "handler-segments-null"         ;= ds=0 es=0 fs=0 gs=0
        GATE    IDT(0x30), CODE0, .handler, 0xee00
        IN_V86  FL_IOPL3 | 2
 T      int     0x30
        OUT_V86
.handler:
        mov     eax, ds
        mov     [ss:scratch], eax
        mov     eax, es
        mov     [ss:scratch + 4], eax
        mov     eax, fs
        mov     [ss:scratch + 8], eax
        mov     eax, gs
        mov     [ss:scratch + 12], eax
        AFTER
        OUT     "ds", [scratch]
        OUT     "es", [scratch + 4]
        OUT     "fs", [scratch + 8]
        OUT     "gs", [scratch + 12]
        DONE
        CASE    "gp.iopl3.int-gate-dpl"         ;= #1 vec=d err=182 ip=+0
        IN_V86  FL_IOPL3 | 2
 T      int     0x30
        OUT_V86
        DONE
        CASE    "gp.int-to-conforming"          ;= #1 vec=d err=80 ip=+0
        SETDESC T0, 0, 0xfffff, 0xc09f
        GATE    IDT(0x30), T0, 0, 0xee00
        IN_V86  FL_IOPL3 | 2
 T      int     0x30
        OUT_V86
        DONE
        CASE    "gp.int-to-ring1"               ;= #1 vec=d err=80 ip=+0
        SETDESC T0, 0, 0xfffff, 0xc0bb
        GATE    IDT(0x30), T0, 0, 0xee00
        IN_V86  FL_IOPL3 | 2
 T      int     0x30
        OUT_V86
        DONE
        CASE    "iopl3.iret-inside"             ;= ax=77
        IN_V86  FL_IOPL3 | 2
        push    word 0x3002
        push    word 0x0100
        push    word .v86_there - 0x1000
        iret
.v86_there:
        mov     word [cs:0x7100 - 0x1000], 0x77
        OUT_V86
        AFTER
        movzx   eax, word [0x7100]
        OUT     "ax", eax
        DONE

        ; --- instructions that v86 mode has not
        VCASE   "ud.lldt", {0x0f, 0x00, 0xd0}   ;= #1 vec=6 ip=+0
        VCASE   "ud.ltr", {0x0f, 0x00, 0xd8}    ;= #1 vec=6 ip=+0
        VCASE   "ud.sldt", {0x0f, 0x00, 0xc0}   ;= #1 vec=6 ip=+0
        VCASE   "ud.str", {0x0f, 0x00, 0xc8}    ;= #1 vec=6 ip=+0
        VCASE   "ud.lar", {0x0f, 0x02, 0xc0}    ;= #1 vec=6 ip=+0
        VCASE   "ud.lsl", {0x0f, 0x03, 0xc0}    ;= #1 vec=6 ip=+0
        VCASE   "ud.verr", {0x0f, 0x00, 0xe0}   ;= #1 vec=6 ip=+0
        VCASE   "ud.arpl", {0x63, 0xc0}         ;= #1 vec=6 ip=+0
        VCASE   "gp.mov-cr0", {0x0f, 0x20, 0xc0} ;= #1 vec=d err=0 ip=+0
        VCASE   "gp.mov-to-cr0", {0x0f, 0x22, 0xc0} ;= #1 vec=d err=0 ip=+0
        VCASE   "gp.lmsw", {0x0f, 0x01, 0xf0}   ;= #1 vec=d err=0 ip=+0
        VCASE   "gp.lgdt", {0x0f, 0x01, 0x16, 0x00, 0x70}       ;= #1 vec=d err=0 ip=+0
        VCASE   "gp.clts", {0x0f, 0x06}         ;= #1 vec=d err=0 ip=+0
        VCASE   "gp.rdmsr", {0x0f, 0x32}        ;= #1 vec=d err=0 ip=+0
        VCASE   "gp.mov-dr", {0x0f, 0x21, 0xc0} ;= #1 vec=d err=0 ip=+0
        VCASE   "gp.sysenter-cs-zero", {0x0f, 0x34}     ;= #1 vec=d err=0 ip=+0
        VCASE   "gp.sysexit", {0x0f, 0x35}      ;= #1 vec=d err=0 ip=+0

        ; --- I/O goes by the map, whatever IOPL
        CASE    "gp.in-no-map-iopl3"            ;= #1 vec=d err=0 ip=+0
        IN_V86  FL_IOPL3 | 2
 T      in      al, 0x80
        OUT_V86
        DONE
        CASE    "in-map-allows"                 ;= #1 vec=d err=0 ip=+2
        mov     word [gdt + TSS_SEL], 0x207f
        and     byte [gdt + TSS_SEL + 5], ~2
        mov     byte [tss + 0x68 + 0x2000], 0xff
        mov     ax, TSS_SEL
        ltr     ax
        IN_V86
 T      in      al, 0x80
        cli
        OUT_V86
        DONE

        ; --- addressing: like real mode, limit FFFF
        CASE    "segment-times-16"              ;= ax=beef
        mov     word [0x7234], 0xbeef
        IN_V86  FL_IOPL3 | 2
        mov     ax, 0x0700
        mov     ds, ax
        mov     ax, [0x234]
        mov     [cs:0x7100], ax
        OUT_V86
        AFTER
        movzx   eax, word [0x7100]
        OUT     "ax", eax
        DONE
        CASE    "gp.offset-beyond-64k"          ;= #1 vec=d err=0 ip=+0
        IN_V86  FL_IOPL3 | 2
        mov     ebx, 0x10000
 T      mov     al, [ebx]
        OUT_V86
        DONE
        CASE    "gp.word-at-ffff"               ;= #1 vec=d err=0 ip=+0
        IN_V86  FL_IOPL3 | 2
        mov     bx, 0xffff
 T      mov     ax, [bx]
        OUT_V86
        DONE
        CASE    "ss.word-at-ffff"               ;= #1 vec=c err=0 ip=+0
        IN_V86  FL_IOPL3 | 2
        mov     bp, 0xffff
 T      mov     ax, [bp]
        OUT_V86
        DONE

        ; --- VME: virtual IF instead of #GP, and the redirection map
        CASE    "vme.cli-sti"                   ;= fla=20000 flb=a0000
        VME_ON
        or      word [IDT(BP_) + 4], 3 << 13
        mov     dword [case_cont], 2
        IN_V86  FL_VIF | 2
        cli
 T      int3
        sti
        int3
        OUT_V86
        AFTER
        mov     eax, [EV(0, fl)]
        and     eax, 0xb7000
        OUT     "fla", eax
        mov     eax, [EV(1, fl)]
        and     eax, 0xb7000
        OUT     "flb", eax
        DONE                                    ;= #1 vec=3 ip=+1 / #2 vec=3 ip=+3 / #3 vec=d
        CASE    "vme.pushf-shows-vif-as-if-iopl3" ;= fl=3202
        VME_ON
        or      word [IDT(BP_) + 4], 3 << 13
        IN_V86  FL_VIF | 2
        pushf
        pop     ax
        mov     [cs:0x7100], ax
 T      int3
        OUT_V86
        AFTER
        movzx   eax, word [0x7100]
        OUT     "fl", eax
        DONE                                    ;= #1 vec=3 ip=+1
        CASE    "vme.sti-with-vip"              ;= #1 vec=d err=0 ip=+0
        VME_ON
        IN_V86  FL_VIP | 2
 T      sti
        OUT_V86
        DONE
        CASE    "vme.int-redirected"            ;= ip=2 cs=0 fl=3202 landed=1
        VME_ON
        or      word [IDT(BP_) + 4], 3 << 13
        mov     word [tss + 102], 0x88          ; the 32-byte redirection map is below the I/O map; all zero
        mov     word [gdt + TSS_SEL], 0x207f
        and     byte [gdt + TSS_SEL + 5], ~2
        mov     ax, TSS_SEL
        ltr     ax
        push    dword [4 * 0x30]
        mov     dword [4 * 0x30], .vme_handler
        IN_V86  FL_VIF | 2
 T      int     0x30
.vme_handler:
        mov     byte [cs:0x7110], 1
        int3
        OUT_V86
        AFTER
        movzx   eax, word [0x6ffa]
        sub     eax, %$t
        OUT     "ip", eax
        movzx   eax, word [0x6ffc]
        OUT     "cs", eax
        movzx   eax, word [0x6ffe]
        OUT     "fl", eax
        movzx   eax, byte [0x7110]
        OUT     "landed", eax
        DONE                                    ;= #1 vec=3
        ret
