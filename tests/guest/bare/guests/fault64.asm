; SPDX-License-Identifier: Apache-2.0
; What 64-bit mode adds to and takes from the exceptions. Intel SDM vol. 3, 6.14, 6.15; vol. 2.
%define HOME 64
%include "rt.inc"

%macro FAULT 2+
        CASE    %1
 T      %2
        DONE
%endmacro
%macro FAULTB 2+
        CASE    %1
 T      db      %2
        DONE
%endmacro
; the stack itself is what is wrong: handlers on one of their own
%macro BAD_STACK 0
        mov     word [IDT(SS_) + 4], 0x8e01
        mov     word [IDT(GP) + 4], 0x8e01
        mov     word [IDT(PF) + 4], 0x8e01
        mov     word [IDT(DF) + 4], 0x8e02
%endmacro
%define NONCANON 0x8000000000000000

main:
        ; --- canonical addresses
        CASE    "gp.noncanonical-read"          ;= #1 vec=d err=0 ip=+0
        mov     rsi, NONCANON
 T      mov     eax, [rsi]
        DONE
        CASE    "gp.noncanonical-write"         ;= #1 vec=d err=0 ip=+0
        mov     rsi, 0x0000800000000000
 T      mov     [rsi], eax
        DONE
        CASE    "ss.noncanonical-rbp"           ;= #1 vec=c err=0 ip=+0
        mov     rbp, NONCANON
 T      mov     eax, [rbp]
        DONE
        CASE    "ss.noncanonical-rsp"           ;= #1 vec=c err=0 ip=+0
        BAD_STACK
        mov     rsp, NONCANON
 T      push    rax
        DONE
        CASE    "ss.noncanonical-pop"           ;= #1 vec=c err=0 ip=+0
        BAD_STACK
        mov     rsp, NONCANON
 T      pop     rax
        DONE
        CASE    "ss.noncanonical-call"          ;= #1 vec=c err=0 ip=+0
        BAD_STACK
        mov     rsp, NONCANON
        mov     eax, .t
 T      call    rax
.t:     DONE
        CASE    "ss.noncanonical-ds-override-rbp" ;= #1 vec=c err=0 ip=+0
        mov     rbp, NONCANON
 T      db      0x3e, 0x8b, 0x45, 0x00          ; mov eax, [ds:rbp]: the override is ignored
        DONE
        CASE    "gp.noncanonical-gs-rbp"        ;= #1 vec=d err=0 ip=+0
        mov     rbp, NONCANON
 T      mov     eax, [gs:rbp]
        DONE
        CASE    "gp.jmp-noncanonical"           ;= #1 vec=d err=0 ip=+0
        mov     rax, NONCANON
 T      jmp     rax
        DONE
        CASE    "gp.call-noncanonical-no-push"  ;= #1 vec=d err=0 ip=+0 / same=1
        mov     rax, NONCANON
        mov     [scratch], rsp
 T      call    rax
        AFTER
        mov     rax, [EV(0, sp)]
        xor     ecx, ecx
        cmp     rax, [scratch]
        sete    cl
        OUT     "same", rcx
        DONE
        CASE    "gp.ret-noncanonical"           ;= #1 vec=d err=0 ip=+0 / same=1
        mov     rax, NONCANON
        push    rax
        mov     [scratch], rsp
 T      ret
        AFTER
        mov     rax, [EV(0, sp)]
        xor     ecx, ecx
        cmp     rax, [scratch]
        sete    cl
        OUT     "same", rcx
        DONE
        CASE    "gp.iretq-noncanonical"         ;= #1 vec=d err=0 ip=+0
        push    DATA0
        push    STACK0_TOP
        push    2
        push    CODE0
        mov     rax, NONCANON
        push    rax
 T      iretq
        DONE
        CASE    "gp.lldt-noncanonical-base"     ;= #1 vec=d err=60 ip=+0
        mov     dword [gdt + LDT_SEL + 8], 0x80000000
        mov     ax, LDT_SEL
 T      lldt    ax
        DONE
%ifndef FOR_QEMU
        CASE    "gp.lgdt-noncanonical"          ;= #1 vec=d err=0 ip=+0
        mov     word [scratch], 0xff
        mov     rax, NONCANON
        mov     [scratch + 2], rax
 T      lgdt    [scratch]
        DONE
        CASE    "gp.lidt-noncanonical"          ;= #1 vec=d err=0 ip=+0
        mov     word [scratch], 0xfff
        mov     rax, NONCANON
        mov     [scratch + 2], rax
 T      lidt    [scratch]
        DONE
%endif
        CASE    "invlpg-noncanonical-is-nop"    ;= none
        mov     rax, NONCANON
 T      invlpg  [rax]
        DONE
        CASE    "gp.noncanonical-straddle"      ;= #1 vec=d err=0 ip=+0
        mov     rsi, 0x00007ffffffffffc
 T      mov     rax, [rsi]
        DONE

        ; --- opcodes that 64-bit mode took away
        FAULTB  "ud.push-es", 0x06              ;= #1 vec=6 ip=+0
        FAULTB  "ud.pop-ds", 0x1f               ;= #1 vec=6 ip=+0
        FAULTB  "ud.daa", 0x27                  ;= #1 vec=6 ip=+0
        FAULTB  "ud.aaa", 0x37                  ;= #1 vec=6 ip=+0
        FAULTB  "ud.aam", 0xd4, 0x0a            ;= #1 vec=6 ip=+0
        FAULTB  "ud.salc", 0xd6                 ;= #1 vec=6 ip=+0
        FAULTB  "ud.pusha", 0x60                ;= #1 vec=6 ip=+0
        FAULTB  "ud.82", 0x82, 0xc0, 0x00       ;= #1 vec=6 ip=+0
        FAULTB  "ud.call-far-imm", 0x9a, 0,0,0,0, 0,0   ;= #1 vec=6 ip=+0
        FAULTB  "ud.jmp-far-imm", 0xea, 0,0,0,0, 0,0    ;= #1 vec=6 ip=+0
        FAULTB  "ud.into", 0xce                 ;= #1 vec=6 ip=+0
        FAULTB  "ud.mov-cr1", 0x0f, 0x20, 0xc8  ;= #1 vec=6 ip=+0
        FAULTB  "ud.mov-cr9", 0x44, 0x0f, 0x20, 0xc8    ;= #1 vec=6 ip=+0
        FAULTB  "ud.mov-dr8", 0x44, 0x0f, 0x21, 0xc0    ;= #1 vec=6 ip=+0
        FAULTB  "ud.lock-vex", 0xf0, 0xc5, 0xf8, 0x28, 0xc1     ;= #1 vec=6 ip=+0
        FAULTB  "ud.les", 0xc4, 0x06, 0x00, 0x00        ;= #1 vec=6 ip=+0
        CASE    "ud.sysenter-like-arpl-is-movsxd" ;= ax=ffffffff80000000
        mov     ecx, 0x80000000
 T      movsxd  rax, ecx
        OUT     "ax", rax
        DONE

        ; --- segments hardly matter
        CASE    "null-segments-work"            ;= none
        xor     eax, eax
        mov     ds, ax
        mov     es, ax
        mov     fs, ax
        mov     gs, ax
 T      mov     eax, [scratch]
        mov     eax, [fs:scratch]
        mov     [es:scratch], eax
        DONE
        CASE    "null-ss-in-ring0"              ;= none
        xor     eax, eax
 T      mov     ss, ax
        push    rax
        pop     rax
        DONE
        CASE    "ss.noncanonical-pop-in-ring3"  ;= #1 vec=c err=0 ip=+0 cs=2b
        USER
        mov     rsp, 0x0000800000000100         ; the lowest that is not canonical
 T      pop     rax
        DONE
        CASE    "gp.noncanonical-write-in-ring3";= #1 vec=d err=0 ip=+0 cs=2b
        USER
        mov     rsi, 0x0000800000000100
 T      mov     [rsi], eax
        DONE
        CASE    "gp.null-ss-in-ring3"           ;= #1 vec=d err=0 ip=+0 cs=2b
        USER
        xor     eax, eax
 T      mov     ss, ax
        DONE
        CASE    "gp.null-ss-rpl3-in-ring3"      ;= #1 vec=d err=0 ip=+0 cs=2b
        USER
        mov     eax, 3
 T      mov     ss, ax
        DONE
        CASE    "write-through-cs-works"        ;= none
 T      mov     [cs:scratch], eax
        DONE
        CASE    "gp.code-l-and-d"               ;= #1 vec=d err=80 ip=+0
        SETDESC T0, 0, 0xfffff, 0xe09b          ; L and D both
        push    T0
        push    .here
 T      retfq
.here:  DONE
        CASE    "ring3-stack-after-gate"        ;= #1 vec=30 ip=+2 cs=2b ss=23 sp=328000 hss=0 hsp=30ffd8
        SHOW    SHOW_HANDLER
        or      word [IDT(0x30) + 4], 3 << 13
        USER
 T      int     0x30
        DONE

        ; --- control registers
        CASE    "gp.cr0-high"                   ;= #1 vec=d err=0 ip=+0
        mov     rax, cr0
        bts     rax, 32
 T      mov     cr0, rax
        DONE
%ifndef FOR_QEMU
        CASE    "gp.cr4-high"                   ;= #1 vec=d err=0 ip=+0
        mov     rax, cr4
        bts     rax, 63
 T      mov     cr4, rax
        DONE
%endif
        CASE    "gp.cr8-reserved"               ;= #1 vec=d err=0 ip=+0
        mov     eax, 0x10
 T      mov     cr8, rax
        DONE
        CASE    "cr8"                           ;= a=b b=0
        mov     eax, 0xb
        mov     cr8, rax
        mov     rax, cr8
        OUT     "a", rax
        xor     eax, eax
        mov     cr8, rax
        mov     rax, cr8
        OUT     "b", rax
        DONE
%ifndef FOR_QEMU
        CASE    "gp.cr3-high"                   ;= #1 vec=d err=0 ip=+0
        mov     rax, cr3
        bts     rax, 62
 T      mov     cr3, rax
        DONE
%endif
        CASE    "gp.dr7-high"                   ;= #1 vec=d err=0 ip=+0
        mov     rax, 0x100000400
 T      mov     dr7, rax
        DONE
        CASE    "gp.dr6-high"                   ;= #1 vec=d err=0 ip=+0
        mov     rax, 0x100000000
 T      mov     dr6, rax
        DONE
%ifndef FOR_QEMU
        CASE    "gp.clear-pae-in-long-mode"     ;= #1 vec=d err=0 ip=+0
        xor     eax, eax
 T      mov     cr4, rax
        DONE
%endif
%ifndef FOR_QEMU
        CASE    "gp.clear-pg-in-64-bit-code"    ;= #1 vec=d err=0 ip=+0
        mov     rax, cr0
        btr     rax, 31
 T      mov     cr0, rax
        DONE
%endif
%ifndef FOR_QEMU
        CASE    "gp.cr0-pg-without-pe"          ;= #1 vec=d err=0 ip=+0
        mov     rax, cr0
        and     eax, ~1
 T      mov     cr0, rax
        DONE
%endif
        CASE    "gp.cr0-nw-without-cd"          ;= #1 vec=d err=0 ip=+0
        mov     rax, cr0
        or      eax, CR0_NW
 T      mov     cr0, rax
        DONE
        CASE    "cr0-cd"                        ;= cr0=c0000031
        mov     rax, cr0
        or      eax, CR0_CD
 T      mov     cr0, rax
        mov     rax, cr0
        OUT     "cr0", rax
        DONE
        CASE    "cr0-et-is-stuck"               ;= cr0=80000031
        mov     rax, cr0
        and     eax, ~CR0_ET
 T      mov     cr0, rax
        mov     rax, cr0
        OUT     "cr0", rax
        DONE

        ; --- gates
        CASE    "np.int-gate-np"                ;= #1 vec=b err=182 ip=+0
        and     word [IDT(0x30) + 4], 0x7fff
 T      int     0x30
        DONE
        CASE    "gp.int-gate-task"              ;= #1 vec=d err=182 ip=+0
        mov     word [IDT(0x30) + 4], 0x8500
 T      int     0x30
        DONE
        CASE    "gp.int-gate-16"                ;= #1 vec=d err=182 ip=+0
        mov     word [IDT(0x30) + 4], 0x8600
 T      int     0x30
        DONE
        CASE    "gp.int-gate-cs-32"             ;= #1 vec=d err=38 ip=+0
        mov     word [IDT(0x30) + 2], CODE32
 T      int     0x30
        DONE
        CASE    "gp.int-gate-noncanonical"      ;= #1 vec=d err=0 ip=+0
        mov     dword [IDT(0x30) + 8], 0x80000000
 T      int     0x30
        DONE
        CASE    "gp.int-beyond-limit"           ;= #1 vec=d err=7f2 ip=+0
        mov     word [idt_ptr], 0xfe * 16 + 7
        lidt    [idt_ptr]
 T      int     0xfe
        DONE
        CASE    "gp.int-dpl"                    ;= #1 vec=d err=182 ip=+0 cs=2b
        USER
 T      int     0x30
        DONE
        CASE    "df.gp-np"                      ;= #1 vec=8 err=0 ip=+0 cs=2b
        and     word [IDT(GP) + 4], 0x7fff
        USER
 T      cli
        DONE
        CASE    "df.ss-noncanonical-twice"      ;= #1 vec=8 err=0 ip=+0
        mov     word [IDT(DF) + 4], 0x8e02      ; IST 2
        mov     rsp, NONCANON
 T      push    rax
        DONE
        CASE    "ist1"                          ;= #1 vec=30 ip=+2 hsp=32ffd8 hss=10
        SHOW    SHOW_HANDLER
        mov     word [IDT(0x30) + 4], 0x8e01
 T      int     0x30
        DONE
        CASE    "ist2-from-ring3"               ;= #1 vec=30 ip=+2 hsp=337fd8 hss=0
        SHOW    SHOW_HANDLER
        mov     word [IDT(0x30) + 4], 0xee02
        USER
 T      int     0x30
        DONE
        CASE    "ist-aligned"                   ;= #1 vec=30 ip=+2 hsp=32ffc8 hss=10
        SHOW    SHOW_HANDLER
        mov     word [IDT(0x30) + 4], 0x8e01
        mov     dword [tss + 36], IST1_TOP - 5
 T      int     0x30
        DONE
        CASE    "same-ring-stack-aligned"       ;= #1 vec=30 ip=+2 hsp=307f58 sp=307f83
        SHOW    SHOW_HANDLER | SHOW_STACK
        mov     rsp, STACK_TOP - 0x7d
 T      int     0x30
        DONE
        CASE    "ts.ist-noncanonical"           ;= #1 vec=c err=0 ip=+0
        mov     word [IDT(0x30) + 4], 0x8e01
        mov     dword [tss + 40], 0x80000000
 T      int     0x30
        DONE
        CASE    "gate-flags-interrupt"          ;= #1 vec=30 ip=+2 fl=204200 hfl=200000
        SHOW    SHOW_HANDLER
        push    FL_IF | FL_NT | FL_ID | 2
        popfq
 T      int     0x30
        DONE
        CASE    "gate-flags-trap"               ;= #1 vec=30 ip=+2 fl=204200 hfl=200200
        SHOW    SHOW_HANDLER
        mov     word [IDT(0x30) + 4], 0x8f00
        push    FL_IF | FL_NT | FL_ID | 2
        popfq
 T      int     0x30
        DONE
        ; --- compatibility mode
        CASE    "compat.int"                    ;= #1 vec=30 ip=+2 cs=38 hss=10 hsp=30ffd8 hcs=8
        SHOW    SHOW_HANDLER
        COMPAT
 T      int     0x30
        DONE
        CASE    "compat.aaa"                    ;= ax=105
        COMPAT
        mov     eax, 0x0f
 T      aaa
        mov     [scratch], eax
        AFTER
        OUT32   "ax", [scratch]
        DONE
        CASE    "compat.null-ds"                ;= #1 vec=d err=0 ip=+0
        COMPAT
        xor     eax, eax
        mov     es, ax
 T      mov     eax, [es:scratch]
        DONE
        CASE    "compat.gp-null-ss"             ;= #1 vec=d err=0 ip=+0
        COMPAT
        xor     eax, eax
 T      mov     ss, ax
        DONE
        CASE    "compat.address-wraps-at-4G"    ;= ax=deadbeef
        mov     dword [scratch], 0xdeadbeef
        COMPAT
        mov     esi, 0xfffffff0
 T      mov     eax, [esi + scratch + 0x10]
        mov     [scratch + 8], eax
        AFTER
        OUT32   "ax", [scratch + 8]
        DONE
        CASE    "compat.gp-iret-nt"             ;= #1 vec=d err=0 ip=+0
        COMPAT
        push    FL_NT | 2
        popfd
 T      iretd
        DONE
        CASE    "gp.iretq-nt"                   ;= #1 vec=d err=0 ip=+0
        push    FL_NT | 2
        popfq
 T      iretq
        DONE
        CASE    "gp.jmp-tss"                    ;= #1 vec=d err=50 ip=+0
        mov     dword [scratch], 0
        mov     word [scratch + 4], TSS_SEL
        and     byte [gdt + TSS_SEL + 5], ~2
 T      jmp     far dword [scratch]
        DONE
        ret
