; SPDX-License-Identifier: Apache-2.0
; Debug exceptions in 64-bit mode. Intel SDM vol. 3, 17.2, 17.3.
%define HOME 64
%include "rt.inc"

%macro TF_ON 0
        pushfq
        or      dword [rsp], FL_TF
        popfq
%endmacro
%macro TF_USER 0
        USER    FL_TF | 2
%endmacro

main:
        CASE    "exec-high-address"             ;= #1 vec=1 ip=+0 dr6=ffff0ff1
        mov     eax, %$t
        mov     dr0, rax
        mov     eax, 0x402
        mov     dr7, rax
 T      nop
        DONE
        CASE    "write8"                        ;= #1 vec=1 ip=+2 dr6=ffff0ff1
        mov     eax, scratch
        mov     dr0, rax
        mov     eax, 0x402 | 1 << 16 | 2 << 18
        mov     dr7, rax
        mov     ebx, scratch + 7
 T      mov     [rbx], al
        nop
        DONE
        CASE    "dr0-64-bits"                   ;= a=123456789abcdef0
        mov     rax, 0x123456789abcdef0
        mov     dr0, rax
        xor     eax, eax
        mov     rax, dr0
        OUT     "a", rax
        DONE
        CASE    "dr6-high-zero"                 ;= a=ffff0ff0
        xor     eax, eax
        mov     dr6, rax
        mov     rax, dr6
        OUT     "a", rax
        DONE
        CASE    "tf-syscall-fmask-clears"       ;= #1 vec=30 ip=+2 fl=0 / r11=100
        WRMSR_  MSR_STAR, ((CODE3 & ~3) << 16) | CODE0, 0
        WRMSR_  MSR_LSTAR, 0, %$t
        WRMSR_  MSR_SFMASK, 0, FL_TF | FL_IF
        USER    2
        pushfq
        or      dword [rsp], FL_TF
        mov     dword [case_cont], 1            ; the step over `mov` is of no interest
        popfq
        syscall
 T      int     0x30
        mov     [scratch], r11
        AFTER
        mov     rax, [scratch]
        and     eax, FL_TF
        OUT     "r11", rax
        DONE
        CASE    "tf-syscall-not-masked"         ;= #1 vec=1 cs=8 ip=+0
        WRMSR_  MSR_STAR, ((CODE3 & ~3) << 16) | CODE0, 0
        WRMSR_  MSR_LSTAR, 0, %$t
        WRMSR_  MSR_SFMASK, 0, 0
        USER
        TF_ON
        syscall
 T      nop
        nop
        DONE
        ; TF is looked at when SYSRET is done: as if the SYSCALL before it had been stepped over
        CASE    "tf-sysret-sets"                ;= #1 vec=1 cs=2b ip=+0
        WRMSR_  MSR_STAR, ((CODE3 & ~3) << 16) | CODE0, 0
        mov     ecx, %$t
        mov     r11d, FL_TF | 2
        mov     esp, USTACK_TOP
        o64 sysret
 T      nop
        nop
        DONE
        CASE    "tf-iretq-mov-ss"               ;= #1 vec=1 ip=+3
        mov     ax, ss
        TF_ON
 T      mov     ss, ax
        nop
        nop
        DONE
        CASE    "tf-int-ist"                    ;= #1 vec=30 ip=+2 fl=100 / #2 vec=1 ip=+3
        mov     word [IDT(0x30) + 4], 0x8e01
        TF_ON
 T      int     0x30
        nop
        nop
        DONE
        CASE    "tf-rep-stosq"                  ;= #1 ip=+0 cx=1 / #2 ip=+3 cx=0
        SHOW    SHOW_REGS
        mov     dword [case_cont], 1
        mov     edi, scratch + 0x100
        mov     ecx, 2
        TF_ON
 T      rep stosq
        nop
        DONE
        CASE    "rf-iretq"                      ;= n=1
        mov     eax, %$t
        mov     dr0, rax
        mov     eax, 0x402
        mov     dr7, rax
        push    DATA0
        push    0x307000
        push    FL_RF | 2
        push    CODE0
        push    %$t
        iretq
 T      inc     dword [scratch]
        AFTER
        OUT32   "n", [scratch]
        DONE
        CASE    "compat.exec"                   ;= #1 vec=1 ip=+0 cs=38
        mov     eax, %$t
        mov     dr0, rax
        mov     eax, 0x402
        mov     dr7, rax
        COMPAT
 T      nop
        bits 64
        DONE
        ret
