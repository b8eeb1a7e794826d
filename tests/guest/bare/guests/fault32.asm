; SPDX-License-Identifier: Apache-2.0
; Each exception of 32-bit protected mode and its error code. Intel SDM vol. 3, 6.15.
%define HOME 32
%include "rt.inc"

%macro SSE_ON 0
        mov     eax, CR4_OSFXSR | CR4_OSXMMEXCPT
        mov     cr4, eax
%endmacro
%macro CR0_SET 1
        mov     eax, cr0
        or      eax, %1
        mov     cr0, eax
%endmacro
; FAULT "name", insn : the one instruction in ring 0
%macro FAULT 2+
        CASE    %1
 T      %2
        DONE
%endmacro
; FAULTB "name", bytes
%macro FAULTB 2+
        CASE    %1
 T      db      %2
        DONE
%endmacro
; PRIV "name", insn : the one instruction in ring 3
%macro PRIV 2+
        CASE    %1
        USER
 T      %2
        DONE
%endmacro

        section .data
        align 16
sse_one: dd 1.0, 1.0, 1.0, 1.0
bounds: dd 1, 5
div_mxcsr: dd 0x1d80               ; ZM clear
        section .text

main:
        ; --- #DE
        CASE    "de.div0"                       ;= #1 vec=0 ip=+0 cs=8
        xor     ecx, ecx
 T      div     ecx
        DONE
        CASE    "de.div-overflow"               ;= #1 vec=0 ip=+0
        mov     edx, 5
        mov     ecx, 5
 T      div     ecx
        DONE
        CASE    "de.idiv-overflow"              ;= #1 vec=0 ip=+0
        mov     edx, 0xffffffff
        mov     eax, 0x80000000
        mov     ecx, -1
 T      idiv    ecx
        DONE
        CASE    "de.idiv8-minus128"             ;= ax=80
        mov     ax, -128
        mov     cl, 1
 T      idiv    cl
        movzx   eax, ax
        OUT     "ax", eax
        DONE
        CASE    "de.div8"                       ;= #1 vec=0 ip=+0 / axafter=200
        mov     eax, 0x200
        mov     cl, 2
 T      div     cl
        AFTER
        OUTEV   "axafter", 0, ax
        DONE
        FAULTB  "de.aam0", 0xd4, 0              ;= #1 vec=0 ip=+0

        ; --- #DB #BP #OF: traps
        FAULTB  "db.int1", 0xf1                 ;= #1 vec=1 ip=+1
        FAULTB  "db.int-1", 0xcd, 1             ;= #1 vec=1 ip=+2
        FAULTB  "bp.int3", 0xcc                 ;= #1 vec=3 ip=+1
        FAULTB  "bp.int-3", 0xcd, 3             ;= #1 vec=3 ip=+2
        CASE    "of.into"                       ;= #1 vec=4 ip=+1
        mov     al, 0x7f
        add     al, 1
 T      into
        DONE
        CASE    "of.into-no-overflow"           ;= none
        xor     eax, eax
 T      into
        DONE
        FAULTB  "of.int-4", 0xcd, 4             ;= #1 vec=4 ip=+2

        ; --- #BR
        CASE    "br.low"                        ;= #1 vec=5 ip=+0
        xor     eax, eax
 T      bound   eax, [bounds]
        DONE
        CASE    "br.high"                       ;= #1 vec=5 ip=+0
        mov     eax, 6
 T      bound   eax, [bounds]
        DONE
        CASE    "br.edges"                      ;= none
        mov     eax, 1
        bound   eax, [bounds]
        mov     eax, 5
 T      bound   eax, [bounds]
        DONE

        ; --- #UD
        FAULTB  "ud.ud2", 0x0f, 0x0b            ;= #1 vec=6 ip=+0
        FAULTB  "ud.ud1", 0x0f, 0xb9, 0xc0      ;= #1 vec=6 ip=+0
        FAULTB  "ud.ud0", 0x0f, 0xff, 0xc0      ;= #1 vec=6 ip=+0
        FAULTB  "ud.lock-nop", 0xf0, 0x90       ;= #1 vec=6 ip=+0
        FAULTB  "ud.lock-add-reg", 0xf0, 0x01, 0xc0  ;= #1 vec=6 ip=+0
        CASE    "ud.lock-mov-mem"               ;= #1 vec=6 ip=+0
        mov     esi, scratch
 T      db      0xf0, 0x89, 0x06
        DONE
        CASE    "ud.lock-cmp-mem"               ;= #1 vec=6 ip=+0
        mov     esi, scratch
 T      db      0xf0, 0x39, 0x06
        DONE
        CASE    "ud.lock-bt-mem"                ;= #1 vec=6 ip=+0
        mov     esi, scratch
 T      db      0xf0, 0x0f, 0xa3, 0x06
        DONE
        CASE    "ud.lock-add-load"              ;= #1 vec=6 ip=+0
        mov     esi, scratch
 T      db      0xf0, 0x03, 0x06                ; the form whose memory is the source
        DONE
        CASE    "lock-xchg-mem"                 ;= none
        mov     esi, scratch
 T      db      0xf0, 0x87, 0x06
        DONE
        FAULTB  "ud.mov-cs-ax", 0x8e, 0xc8      ;= #1 vec=6 ip=+0
        FAULTB  "ud.mov-sreg6", 0x8e, 0xf0      ;= #1 vec=6 ip=+0
        FAULTB  "ud.lea-reg", 0x8d, 0xc0        ;= #1 vec=6 ip=+0
        FAULTB  "ud.les-reg", 0xc4, 0xc0, 0x00, 0x00   ;= #1 vec=6 ip=+0
        FAULTB  "ud.lds-reg", 0xc5, 0xc0, 0x00  ;= #1 vec=6 ip=+0
        FAULTB  "ud.lss-reg", 0x0f, 0xb2, 0xc0  ;= #1 vec=6 ip=+0
        FAULTB  "ud.bound-reg", 0x62, 0xc0, 0x00, 0x00, 0x00, 0x00  ;= #1 vec=6 ip=+0
        FAULTB  "ud.cmpxchg8b-reg", 0x0f, 0xc7, 0xc8    ;= #1 vec=6 ip=+0
        FAULTB  "ud.mov-cr1", 0x0f, 0x20, 0xc8  ;= #1 vec=6 ip=+0
        FAULTB  "ud.mov-to-cr5", 0x0f, 0x22, 0xe8       ;= #1 vec=6 ip=+0
        FAULTB  "ud.far-jmp-reg", 0xff, 0xe8    ;= #1 vec=6 ip=+0
        FAULTB  "ud.far-call-reg", 0xff, 0xd8   ;= #1 vec=6 ip=+0
        FAULTB  "ud.ff7", 0xff, 0xf8            ;= #1 vec=6 ip=+0
        FAULTB  "ud.fe2", 0xfe, 0xd0            ;= #1 vec=6 ip=+0
        FAULTB  "ud.pop-8f1", 0x8f, 0x08        ;= #1 vec=6 ip=+0
        FAULTB  "ud.sgdt-reg", 0x0f, 0x01, 0xc5 ;= #1 vec=6 ip=+0
        FAULTB  "ud.lidt-reg", 0x0f, 0x01, 0xdc ;= #1 vec=6 ip=+0
        CASE    "ud.dr4-with-de"                ;= #1 vec=6 ip=+0
        mov     eax, CR4_DE
        mov     cr4, eax
 T      db      0x0f, 0x21, 0xe0                ; mov eax, dr4
        DONE
        CASE    "dr4-is-dr6-without-de"         ;= ax=ffff0ff0
 T      db      0x0f, 0x21, 0xe0
        OUT     "ax", eax
        DONE
        CASE    "ud.syscall-sce-clear"          ;= #1 vec=6 ip=+0
        WRMSR_  MSR_EFER, 0, 0
 T      db      0x0f, 0x05
        DONE
        FAULTB  "ud.sysret-sce-clear", 0x0f, 0x07       ;= #1 vec=6 ip=+0
        CASE    "ud.sse-em"                     ;= #1 vec=6 ip=+0
        SSE_ON
        CR0_SET CR0_EM
 T      movaps  xmm0, xmm1
        DONE
        CASE    "ud.sse-osfxsr-clear"           ;= #1 vec=6 ip=+0
 T      movaps  xmm0, xmm1
        DONE
        CASE    "ud.xgetbv-osxsave-clear"       ;= #1 vec=6 ip=+0
        xor     ecx, ecx
 T      xgetbv
        DONE
        CASE    "ud.xsetbv-osxsave-clear-cpl3"  ;= #1 vec=6 ip=+0
        USER
        xor     ecx, ecx
 T      xsetbv
        DONE
        CASE    "ud.vex-osxsave-clear"          ;= #1 vec=6 ip=+0
        SSE_ON
 T      vmovaps xmm0, xmm1
        DONE
        FAULTB  "ud.rsm", 0x0f, 0xaa            ;= #1 vec=6 ip=+0

        ; --- #NM
        CASE    "nm.fpu-ts"                     ;= #1 vec=7 ip=+0
        CR0_SET CR0_TS
 T      fld1
        DONE
        CASE    "nm.fpu-em"                     ;= #1 vec=7 ip=+0
        CR0_SET CR0_EM
 T      fld1
        DONE
        CASE    "nm.mmx-ts"                     ;= #1 vec=7 ip=+0
        CR0_SET CR0_TS
 T      movq    mm0, mm1
        DONE
        CASE    "ud.mmx-em"                     ;= #1 vec=6 ip=+0
        CR0_SET CR0_EM
 T      movq    mm0, mm1
        DONE
        CASE    "nm.sse-ts"                     ;= #1 vec=7 ip=+0
        SSE_ON
        CR0_SET CR0_TS
 T      movaps  xmm0, xmm1
        DONE
        CASE    "nm.fxsave-ts"                  ;= #1 vec=7 ip=+0
        CR0_SET CR0_TS
        mov     esi, scratch
 T      fxsave  [esi]
        DONE
        CASE    "nm.wait-mp-ts"                 ;= #1 vec=7 ip=+0
        CR0_SET CR0_TS | CR0_MP
 T      wait
        DONE
        CASE    "wait-ts"                       ;= none
        CR0_SET CR0_TS
 T      wait
        DONE
        CASE    "wait-mp"                       ;= none
        CR0_SET CR0_MP
 T      wait
        DONE
        CASE    "clts"                          ;= cr0=31
        CR0_SET CR0_TS | CR0_EM
        clts
        mov     eax, cr0
        and     eax, ~CR0_EM
        mov     cr0, eax
 T      fld1
        fstp    st0
        mov     eax, cr0
        OUT     "cr0", eax
        DONE

        ; --- #DF: a contributory exception in the delivery of a contributory one
        CASE    "df.gp-np"                      ;= #1 vec=8 err=0 ip=+0 cs=1b
        and     word [IDT(GP) + 4], 0x7fff
        USER
 T      cli
        DONE
        CASE    "df.de-np"                      ;= #1 vec=8 err=0
        and     word [IDT(DE) + 4], 0x7fff
        xor     ecx, ecx
 T      div     ecx
        DONE
        CASE    "df.np-gp"                      ;= #1 vec=8 err=0
        SETDESC T0, 0, 0xfffff, 0xc013          ; not present
        mov     word [IDT(NP) + 2], 0
        mov     ax, T0
 T      mov     ds, ax
        DONE
        CASE    "df.gp-bad-type"                ;= #1 vec=8 err=0
        mov     word [IDT(GP) + 4], 0x8000
        mov     ax, 0x1000
 T      mov     ds, ax
        DONE
        ; ... but a benign one first gives the second alone, with EXT
        CASE    "np.ud-gate-np"                 ;= #1 vec=b err=33 ip=+0
        and     word [IDT(UD) + 4], 0x7fff
 T      ud2
        DONE
        CASE    "np.bp-gate-np"                 ;= #1 vec=b err=1a ip=+0
        and     word [IDT(BP_) + 4], 0x7fff
 T      int3
        DONE
        CASE    "np.icebp-gate-np"              ;= #1 vec=b err=b ip=+0
        and     word [IDT(DB_) + 4], 0x7fff
 T      db      0xf1
        DONE
        CASE    "np.into-gate-np"               ;= #1 vec=b err=22 ip=+0
        and     word [IDT(OF_) + 4], 0x7fff
        mov     al, 0x7f
        add     al, 1
 T      into
        DONE
        CASE    "gp.ud-gate-null-cs"            ;= #1 vec=d err=1 ip=+0
        mov     word [IDT(UD) + 2], 0
 T      ud2
        DONE
        CASE    "gp.ud-gate-data-cs"            ;= #1 vec=d err=11 ip=+0
        mov     word [IDT(UD) + 2], DATA0
 T      ud2
        DONE
        CASE    "np.ud-gate-cs-np"              ;= #1 vec=b err=81 ip=+0
        SETDESC T0, 0, 0xfffff, 0xc01b
        mov     word [IDT(UD) + 2], T0
 T      ud2
        DONE
        CASE    "gp.ud-gate-bad-type"           ;= #1 vec=d err=33 ip=+0
        mov     word [IDT(UD) + 4], 0x8000
 T      ud2
        DONE

        ; --- INT n
        CASE    "gp.int-dpl"                    ;= #1 vec=d err=182 ip=+0 cs=1b
        USER
 T      int     0x30
        DONE
        CASE    "gp.int3-dpl"                   ;= #1 vec=d err=1a ip=+0 cs=1b
        USER
 T      int3
        DONE
        CASE    "gp.into-dpl"                   ;= #1 vec=d err=22 ip=+0 cs=1b
        USER
        mov     al, 0x7f
        add     al, 1
 T      into
        DONE
        CASE    "db.int1-ignores-dpl"           ;= #1 vec=1 ip=+1 cs=1b
        USER
 T      db      0xf1
        DONE
        CASE    "np.int-gate-np"                ;= #1 vec=b err=182 ip=+0
        and     word [IDT(0x30) + 4], 0x7fff
 T      int     0x30
        DONE
        CASE    "gp.int-dpl-before-present"     ;= #1 vec=d err=182 ip=+0 cs=1b
        and     word [IDT(0x30) + 4], 0x7fff
        USER
 T      int     0x30
        DONE
        CASE    "gp.int-gate-type"              ;= #1 vec=d err=182 ip=+0
        mov     word [IDT(0x30) + 4], 0x8c00    ; a call gate is none of the IDT's
 T      int     0x30
        DONE
        CASE    "gp.int-beyond-limit"           ;= #1 vec=d err=7f2 ip=+0
        mov     word [idt_ptr], 0xfe * 8 - 1
        lidt    [idt_ptr]
 T      int     0xfe
        DONE
        CASE    "gp.int-half-beyond-limit"      ;= #1 vec=d err=7f2 ip=+0
        mov     word [idt_ptr], 0xfe * 8 + 6
        lidt    [idt_ptr]
 T      int     0xfe
        DONE
        CASE    "gp.int-gate-null-cs"           ;= #1 vec=d err=0 ip=+0
        mov     word [IDT(0x30) + 2], 3
 T      int     0x30
        DONE
        CASE    "gp.int-gate-data-cs"           ;= #1 vec=d err=10 ip=+0
        mov     word [IDT(0x30) + 2], DATA0
 T      int     0x30
        DONE
        CASE    "gp.int-gate-cs-beyond-gdt"     ;= #1 vec=d err=1230 ip=+0
        mov     word [IDT(0x30) + 2], 0x1233
 T      int     0x30
        DONE
        CASE    "gp.int-gate-cs-dpl"            ;= #1 vec=d err=18 ip=+0
        mov     word [IDT(0x30) + 2], CODE3     ; outward: DPL 3 from ring 0
 T      int     0x30
        DONE
        CASE    "np.int-gate-cs-np"             ;= #1 vec=b err=80 ip=+0
        SETDESC T0, 0, 0xfffff, 0xc01b
        mov     word [IDT(0x30) + 2], T0
 T      int     0x30
        DONE
        CASE    "gp.int-gate-offset-beyond-cs"  ;= #1 vec=d err=0 ip=+0
        SETDESC T0, 0, 0x00fff, 0x409b
        mov     word [IDT(0x30) + 2], T0
 T      int     0x30
        DONE

        ; --- #GP: loading segments
        CASE    "gp.ds-beyond-gdt"              ;= #1 vec=d err=1000 ip=+0
        mov     ax, 0x1000
 T      mov     ds, ax
        DONE
        CASE    "gp.ds-beyond-gdt-rpl"          ;= #1 vec=d err=1000 ip=+0
        mov     ax, 0x1003
 T      mov     ds, ax
        DONE
        CASE    "gp.ds-ldt-null"                ;= #1 vec=d err=4 ip=+0
        mov     ax, 4
 T      mov     ds, ax
        DONE
        CASE    "gp.ds-exec-only"               ;= #1 vec=d err=80 ip=+0
        SETDESC T0, 0, 0xfffff, 0xc099
        mov     ax, T0
 T      mov     ds, ax
        DONE
        CASE    "gp.ds-system"                  ;= #1 vec=d err=50 ip=+0
        mov     ax, TSS_SEL
 T      mov     ds, ax
        DONE
        CASE    "np.ds"                         ;= #1 vec=b err=80 ip=+0
        SETDESC T0, 0, 0xfffff, 0xc013
        mov     ax, T0
 T      mov     ds, ax
        DONE
        CASE    "gp.ds-rpl"                     ;= #1 vec=d err=10 ip=+0
        mov     ax, DATA0 | 3
 T      mov     ds, ax
        DONE
        CASE    "gp.ds-cpl"                     ;= #1 vec=d err=10 ip=+0 cs=1b
        USER
        mov     ax, DATA0
 T      mov     ds, ax
        DONE
        CASE    "ds-conforming-from-ring3"      ;= none
        SETDESC T0, 0, 0xfffff, 0xc09f          ; conforming, readable, DPL 0
        USER
        mov     ax, T0
 T      mov     ds, ax
        DONE
        CASE    "gp.ss-null"                    ;= #1 vec=d err=0 ip=+0
        xor     eax, eax
 T      mov     ss, ax
        DONE
        CASE    "gp.ss-read-only"               ;= #1 vec=d err=80 ip=+0
        SETDESC T0, 0, 0xfffff, 0xc091
        mov     ax, T0
 T      mov     ss, ax
        DONE
        CASE    "gp.ss-code"                    ;= #1 vec=d err=8 ip=+0
        mov     ax, CODE0
 T      mov     ss, ax
        DONE
        CASE    "gp.ss-rpl"                     ;= #1 vec=d err=10 ip=+0
        mov     ax, DATA0 | 3
 T      mov     ss, ax
        DONE
        CASE    "gp.ss-dpl"                     ;= #1 vec=d err=20 ip=+0
        mov     ax, DATA3 & ~3
 T      mov     ss, ax
        DONE
        CASE    "ss.ss-not-present"             ;= #1 vec=c err=80 ip=+0
        SETDESC T0, 0, 0xfffff, 0xc013
        mov     ax, T0
 T      mov     ss, ax
        DONE
        CASE    "gp.lss-then-esp-unchanged"     ;= #1 vec=d err=0 ip=+0 / same=1
        mov     dword [scratch], 0x1234
        mov     word [scratch + 4], 0
        mov     [scratch + 16], esp
 T      lss     esp, [scratch]
        AFTER
        mov     eax, [EV(0, sp)]
        cmp     eax, [scratch + 16]
        sete    al
        movzx   eax, al
        OUT     "same", eax
        DONE
        CASE    "gp.les-register-unchanged"     ;= #1 vec=d err=1000 ip=+0 / bx=55
        mov     dword [scratch], 0x1234
        mov     word [scratch + 4], 0x1000
        mov     ebx, 0x55
 T      les     ebx, [scratch]
        AFTER
        OUTEV   "bx", 0, bx
        DONE
        CASE    "gp.pop-ds-sp-unchanged"        ;= #1 vec=d err=1000 ip=+0 / same=1
        push    0x1000
        mov     [scratch], esp
 T      pop     ds
        AFTER
        mov     eax, [EV(0, sp)]
        cmp     eax, [scratch]
        sete    al
        movzx   eax, al
        OUT     "same", eax
        DONE

        ; --- #GP: using segments
        CASE    "gp.null-read"                  ;= #1 vec=d err=0 ip=+0
        xor     eax, eax
        mov     es, ax
 T      mov     eax, [es:scratch]
        DONE
        CASE    "gp.null-write"                 ;= #1 vec=d err=0 ip=+0
 T      mov     [fs:scratch], eax
        DONE
        CASE    "gp.write-read-only"            ;= #1 vec=d err=0 ip=+0
        SETDESC T0, 0, 0xfffff, 0xc091
        mov     ax, T0
        mov     es, ax
 T      mov     [es:scratch], eax
        DONE
        CASE    "gp.write-code"                 ;= #1 vec=d err=0 ip=+0
 T      mov     [cs:scratch], eax
        DONE
        CASE    "gp.read-exec-only"             ;= #1 vec=d err=0 ip=+0
        SETDESC T0, 0, 0xfffff, 0xc099
        jmp     T0:.exec_only
.exec_only:
 T      mov     eax, [cs:scratch]
        DONE
        FAULTB  "gp.too-long", 0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x90     ;= #1 vec=d err=0 ip=+0
        FAULTB  "fifteen-bytes", 0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x90       ;= none
        FAULTB  "gp.too-long-before-ud", 0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x0f,0x0b  ;= #1 vec=d err=0 ip=+0

        ; --- #GP: privileged instructions in ring 3
        PRIV    "gp.hlt", hlt                   ;= #1 vec=d err=0 ip=+0 cs=1b
        PRIV    "gp.cli", cli                   ;= #1 vec=d err=0 ip=+0 cs=1b
        PRIV    "gp.sti", sti                   ;= #1 vec=d err=0 ip=+0 cs=1b
        PRIV    "gp.in-imm", in al, 0x80        ;= #1 vec=d err=0 ip=+0 cs=1b
        PRIV    "gp.out-imm", out 0x80, al      ;= #1 vec=d err=0 ip=+0 cs=1b
        PRIV    "gp.in-dx", in eax, dx          ;= #1 vec=d err=0 ip=+0 cs=1b
        PRIV    "gp.insb", insb                 ;= #1 vec=d err=0 ip=+0 cs=1b
        PRIV    "gp.rep-outsd", rep outsd       ;= #1 vec=d err=0 ip=+0 cs=1b
        PRIV    "gp.lgdt", lgdt [gdt_ptr]       ;= #1 vec=d err=0 ip=+0 cs=1b
        PRIV    "gp.lidt", lidt [idt_ptr]       ;= #1 vec=d err=0 ip=+0 cs=1b
        PRIV    "gp.lldt", lldt ax              ;= #1 vec=d err=0 ip=+0 cs=1b
        PRIV    "gp.ltr", ltr ax                ;= #1 vec=d err=0 ip=+0 cs=1b
        PRIV    "gp.lmsw", lmsw ax              ;= #1 vec=d err=0 ip=+0 cs=1b
        PRIV    "gp.clts", clts                 ;= #1 vec=d err=0 ip=+0 cs=1b
        PRIV    "gp.invd", invd                 ;= #1 vec=d err=0 ip=+0 cs=1b
        PRIV    "gp.wbinvd", wbinvd             ;= #1 vec=d err=0 ip=+0 cs=1b
        PRIV    "gp.invlpg", invlpg [0]         ;= #1 vec=d err=0 ip=+0 cs=1b
        PRIV    "gp.mov-from-cr0", mov eax, cr0 ;= #1 vec=d err=0 ip=+0 cs=1b
        PRIV    "gp.mov-to-cr3", mov cr3, eax   ;= #1 vec=d err=0 ip=+0 cs=1b
        PRIV    "gp.mov-from-dr0", mov eax, dr0 ;= #1 vec=d err=0 ip=+0 cs=1b
        PRIV    "gp.mov-to-dr7", mov dr7, eax   ;= #1 vec=d err=0 ip=+0 cs=1b
        PRIV    "gp.rdmsr", rdmsr               ;= #1 vec=d err=0 ip=+0 cs=1b
        PRIV    "gp.wrmsr", wrmsr               ;= #1 vec=d err=0 ip=+0 cs=1b
        PRIV    "gp.rdpmc", rdpmc               ;= #1 vec=d err=0 ip=+0 cs=1b
        PRIV    "gp.sysexit", sysexit           ;= #1 vec=d err=0 ip=+0 cs=1b
        PRIV    "smsw-is-free", smsw eax        ;= none
        PRIV    "sgdt-is-free", sgdt [scratch]  ;= none
        PRIV    "sidt-is-free", sidt [scratch]  ;= none
        PRIV    "sldt-is-free", sldt eax        ;= none
        PRIV    "str-is-free", str eax          ;= none
        CASE    "gp.umip-sgdt"                  ;= #1 vec=d err=0 ip=+0 cs=1b
        mov     eax, CR4_UMIP
        mov     cr4, eax
        USER
 T      sgdt    [scratch]
        DONE
        CASE    "gp.umip-smsw"                  ;= #1 vec=d err=0 ip=+0 cs=1b
        mov     eax, CR4_UMIP
        mov     cr4, eax
        USER
 T      smsw    eax
        DONE
        CASE    "gp.rdtsc-tsd"                  ;= #1 vec=d err=0 ip=+0 cs=1b
        mov     eax, CR4_TSD
        mov     cr4, eax
        USER
 T      rdtsc
        DONE
        CASE    "rdtsc-tsd-ring0"               ;= none
        mov     eax, CR4_TSD
        mov     cr4, eax
 T      rdtsc
        DONE
        PRIV    "rdtsc-ring3", rdtsc            ;= none
        CASE    "iopl3-cli-sti"                 ;= none
        USER    FL_IOPL3 | 2
 T      sti
        cli
        in      al, 0x80
        DONE
        CASE    "popf-keeps-iopl-and-if"        ;= fl=2
        USER
        push    FL_IOPL3 | FL_IF | 2
        popfd
        pushfd
        pop     eax
        and     eax, 0x3202
        mov     [scratch], eax
        AFTER
        OUT     "fl", [scratch]
        DONE
        CASE    "popf-iopl3-changes-if-not-iopl" ;= fl=3202
        USER    FL_IOPL3 | 2
        push    FL_IF | 2
        popfd
        pushfd
        pop     eax
        cli
        and     eax, 0x3202
        mov     [scratch], eax
        AFTER
        OUT     "fl", [scratch]
        DONE
        ; the I/O permission map
        CASE    "io-map-allows"                 ;= none
        mov     word [gdt + TSS_SEL], 0x207f    ; limit
        mov     byte [tss + 0x68 + 0x2000], 0xff
        and     byte [gdt + TSS_SEL + 5], ~2
        mov     ax, TSS_SEL
        ltr     ax
        USER
 T      in      al, 0x80
        in      al, 0x61
        DONE
        CASE    "gp.io-map-denies"              ;= #1 vec=d err=0 ip=+0 cs=1b
        mov     word [gdt + TSS_SEL], 0x207f
        and     byte [gdt + TSS_SEL + 5], ~2
        mov     byte [tss + 0x68 + 0x80/8], 1
        mov     ax, TSS_SEL
        ltr     ax
        USER
 T      in      al, 0x80
        DONE
        CASE    "gp.io-map-word-second-bit"     ;= #1 vec=d err=0 ip=+0 cs=1b
        mov     word [gdt + TSS_SEL], 0x207f
        and     byte [gdt + TSS_SEL + 5], ~2
        mov     byte [tss + 0x68 + 0x80/8], 2
        mov     ax, TSS_SEL
        ltr     ax
        USER
 T      in      ax, 0x80
        DONE
        CASE    "gp.io-map-beyond-limit"        ;= #1 vec=d err=0 ip=+0 cs=1b
        mov     word [gdt + TSS_SEL], 0x68 + 0x80/8  ; the byte is in, the one after it is not
        and     byte [gdt + TSS_SEL + 5], ~2
        mov     ax, TSS_SEL
        ltr     ax
        USER
 T      in      al, 0x80
        DONE

        ; --- #MF
        CASE    "mf.fwait"                      ;= #1 vec=10 ip=+0
        fninit
        mov     word [scratch], 0x037b          ; ZM clear
        fldcw   [scratch]
        fld1
        fldz
        fdivp   st1, st0
 T      fwait
        DONE
        CASE    "mf.next-fp-insn"               ;= #1 vec=10 ip=+0
        fninit
        mov     word [scratch], 0x037b
        fldcw   [scratch]
        fld1
        fldz
        fdivp   st1, st0
        nop
 T      fld1
        DONE
        CASE    "mf.fninit-clears"              ;= none
        fninit
        mov     word [scratch], 0x037b
        fldcw   [scratch]
        fld1
        fldz
        fdivp   st1, st0
 T      fninit
        fwait
        DONE
        CASE    "mf.by-fldcw"                   ;= #1 vec=10 ip=+0
        fninit
        fld1
        fldz
        fdivp   st1, st0                        ; masked so far
        mov     word [scratch], 0x037b
        fldcw   [scratch]
 T      fwait
        DONE

        ; --- #AC
        CASE    "ac.read"                       ;= #1 vec=11 err=0 ip=+0 cs=1b
        CR0_SET CR0_AM
        USER    FL_AC | 2
 T      mov     eax, [scratch + 1]
        DONE
        CASE    "ac.write-word"                 ;= #1 vec=11 err=0 ip=+0 cs=1b
        CR0_SET CR0_AM
        USER    FL_AC | 2
 T      mov     [scratch + 1], ax
        DONE
        CASE    "ac.aligned"                    ;= none
        CR0_SET CR0_AM
        USER    FL_AC | 2
 T      mov     eax, [scratch + 4]
        DONE
        CASE    "ac.ring0-free"                 ;= none
        CR0_SET CR0_AM
        push    FL_AC | 2
        popfd
 T      mov     eax, [scratch + 1]
        DONE
        CASE    "ac.am-clear"                   ;= none
        USER    FL_AC | 2
 T      mov     eax, [scratch + 1]
        DONE
        CASE    "ac.ac-clear"                   ;= none
        CR0_SET CR0_AM
        USER
 T      mov     eax, [scratch + 1]
        DONE
        CASE    "ac.push"                       ;= #1 vec=11 err=0 ip=+0 cs=1b
        CR0_SET CR0_AM
        USER    FL_AC | 2
        mov     esp, USTACK_TOP - 2
 T      push    eax
        DONE

        ; --- #XM
        CASE    "xm.divps"                      ;= #1 vec=13 ip=+0
        SSE_ON
        ldmxcsr [div_mxcsr]
        movaps  xmm0, [sse_one]
        xorps   xmm1, xmm1
 T      divps   xmm0, xmm1
        DONE
        CASE    "xm.osxmmexcpt-clear-ud"        ;= #1 vec=6 ip=+0
        mov     eax, CR4_OSFXSR
        mov     cr4, eax
        ldmxcsr [div_mxcsr]
        movaps  xmm0, [sse_one]
        xorps   xmm1, xmm1
 T      divps   xmm0, xmm1
        DONE
        CASE    "gp.mxcsr-reserved"             ;= #1 vec=d err=0 ip=+0
        SSE_ON
        mov     dword [scratch], 0x80000000
 T      ldmxcsr [scratch]
        DONE
        CASE    "gp.movaps-unaligned"           ;= #1 vec=d err=0 ip=+0
        SSE_ON
 T      movaps  xmm0, [scratch + 8]
        DONE
        CASE    "movups-unaligned"              ;= none
        SSE_ON
 T      movups  xmm0, [scratch + 8]
        DONE
        CASE    "gp.fxsave-unaligned"           ;= #1 vec=d err=0 ip=+0
        SSE_ON
 T      fxsave  [scratch + 8]
        DONE
        CASE    "gp.fxrstor-mxcsr"              ;= #1 vec=d err=0 ip=+0
        SSE_ON
        fxsave  [scratch]
        or      dword [scratch + 24], 0x10000
 T      fxrstor [scratch]
        DONE
        ret
