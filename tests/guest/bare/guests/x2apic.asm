; SPDX-License-Identifier: Apache-2.0
; x2APIC mode. Once on, it stays on to the last cases. Intel SDM vol. 3, 10.12. QEMU 7.2's TCG has none: every case is skipped there.
%define HOME 64
%include "rt.inc"

X2_ID   equ 0x802
X2_VER  equ 0x803
X2_TPR  equ 0x808
X2_PPR  equ 0x80a
X2_EOI  equ 0x80b
X2_LDR  equ 0x80d
X2_SVR  equ 0x80f
X2_ISR  equ 0x810
X2_IRR  equ 0x820
X2_ESR  equ 0x828
X2_ICR  equ 0x830
X2_TIMER equ 0x832
X2_LINT0 equ 0x835
X2_INIT equ 0x838
X2_CUR  equ 0x839
X2_DCR  equ 0x83e
X2_SELF equ 0x83f

eoi_hook:
        cmp     dword [rbp + fr.vec], 32
        jb      .fault
        WRMSR_  X2_EOI, 0, 0
        clc
        ret
.fault: stc
        ret
%macro X2_ON 0
        REQUIRE 1, 0, ecx, 21
        mov     ecx, MSR_APIC_BASE
        rdmsr
        or      eax, 0xc00
        wrmsr
        WRMSR_  X2_SVR, 0, 0x1ff
        WRMSR_  X2_LINT0, 0, 1 << 16
        WRMSR_  X2_TPR, 0, 0
        mov     dword [case_hook], eoi_hook
%endmacro
%macro RD 2                                     ; "name", msr
        mov     ecx, %2
        rdmsr
        OUT32   %1, eax
%endmacro
%macro X2_GP_WR 4
        CASE    %1
        X2_ON
        mov     ecx, %2
        mov     edx, %3
        mov     eax, %4
        mov     dword [case_hook], 0
 T      wrmsr
        DONE
%endmacro
%macro X2_GP_RD 2
        CASE    %1
        X2_ON
        mov     dword [case_hook], 0
        mov     ecx, %2
 T      rdmsr
        DONE
%endmacro

main:
        CASE    "xapic.tpr-is-cr8"              ;= tpr=60 cr8=7
        mov     ebx, 0xfee00000
        mov     eax, 6
        mov     cr8, rax
        mov     eax, [rbx + 0x80]
        OUT     "tpr", rax
        mov     dword [rbx + 0x80], 0x70
        mov     rax, cr8
        OUT     "cr8", rax
        xor     eax, eax
        mov     cr8, rax
        DONE
        CASE    "gp.x2-msr-in-xapic-mode"       ;= #1 vec=d err=0 ip=+0
        REQUIRE 1, 0, ecx, 21
        mov     ecx, X2_ID
 T      rdmsr
        DONE
        CASE    "mode-switch"                   ;= base=d00 id=0
        X2_ON
        mov     ecx, MSR_APIC_BASE
        rdmsr
        and     eax, 0xfff
        OUT32   "base", eax
        RD      "id", X2_ID
        DONE
        CASE    "ldr-from-id"                   ;= ldr=1
        X2_ON
        RD      "ldr", X2_LDR
        DONE
        CASE    "self-ipi-msr"                  ;= #1 vec=50
        X2_ON
        WRMSR_  X2_SELF, 0, 0x50
        sti
        nop
        nop
        cli
        DONE
        CASE    "icr-64-bits"                   ;= #1 vec=51
        X2_ON
        WRMSR_  X2_ICR, 0, 1 << 14 | 0x51       ; physical, to 0
        sti
        nop
        nop
        cli
        DONE
        CASE    "irr-then-isr"                  ;= #1 vec=50 / irr=10000 isr=10000
        X2_ON
        mov     dword [case_hook], .hook
        WRMSR_  X2_SELF, 0, 0x50
        RD      "irr", X2_IRR + 2
        sti
        nop
        nop
        cli
        jmp     .out
.hook:  mov     ecx, X2_ISR + 2
        rdmsr
        mov     [scratch], eax
        jmp     eoi_hook
.out:   AFTER
        OUT32   "isr", [scratch]
        DONE
        CASE    "tpr-is-cr8"                    ;= tpr=60 cr8=7
        X2_ON
        mov     eax, 6
        mov     cr8, rax
        RD      "tpr", X2_TPR
        WRMSR_  X2_TPR, 0, 0x70
        mov     rax, cr8
        OUT     "cr8", rax
        xor     eax, eax
        mov     cr8, rax
        DONE
        CASE    "timer"                         ;= #1 vec=40 ip=+2
        X2_ON
        WRMSR_  X2_DCR, 0, 0xb
        WRMSR_  X2_TIMER, 0, 0x40
        WRMSR_  X2_INIT, 0, 100000
 T      sti
        hlt
        cli
        DONE
        X2_GP_WR "gp.write-id", X2_ID, 0, 0             ;= #1 vec=d err=0 ip=+0
        X2_GP_WR "gp.write-ldr", X2_LDR, 0, 0           ;= #1 vec=d err=0 ip=+0
        X2_GP_WR "gp.eoi-nonzero", X2_EOI, 0, 1         ;= #1 vec=d err=0 ip=+0
        X2_GP_WR "gp.esr-nonzero", X2_ESR, 0, 1         ;= #1 vec=d err=0 ip=+0
        X2_GP_WR "gp.tpr-reserved", X2_TPR, 0, 0x100    ;= #1 vec=d err=0 ip=+0
        X2_GP_WR "gp.svr-reserved", X2_SVR, 0, 0x80000000       ;= #1 vec=d err=0 ip=+0
        X2_GP_WR "gp.write-cur-count", X2_CUR, 0, 0     ;= #1 vec=d err=0 ip=+0
        X2_GP_RD "gp.read-eoi", X2_EOI                  ;= #1 vec=d err=0 ip=+0
        X2_GP_RD "gp.read-self-ipi", X2_SELF            ;= #1 vec=d err=0 ip=+0
        X2_GP_RD "gp.dfr-is-gone", 0x80e                ;= #1 vec=d err=0 ip=+0
        X2_GP_RD "gp.icr2-is-gone", 0x831               ;= #1 vec=d err=0 ip=+0
        ; --- and off again
        CASE    "gp.x2-to-x1-directly"          ;= #1 vec=d err=0 ip=+0
        X2_ON
        mov     dword [case_hook], 0
        mov     ecx, MSR_APIC_BASE
        rdmsr
        and     eax, ~0x400
 T      wrmsr
        DONE
        CASE    "gp.disabled-to-x2-directly"    ;= #1 vec=d err=0 ip=+0
        REQUIRE 1, 0, ecx, 21
        mov     ecx, MSR_APIC_BASE
        rdmsr
        and     eax, ~0xc00
        wrmsr
        or      eax, 0xc00
 T      wrmsr
        DONE
        CASE    "disabled-to-xapic"             ;= base=900 svr=ff
        REQUIRE 1, 0, ecx, 21
        mov     ecx, MSR_APIC_BASE
        rdmsr
        and     eax, ~0xc00
        wrmsr
        or      eax, 0x800
        wrmsr
        rdmsr
        and     eax, 0xfff
        OUT32   "base", eax
        mov     ebx, 0xfee00000
        mov     eax, [rbx + 0xf0]               ; as after reset
        OUT     "svr", rax
        DONE
        ret
