; SPDX-License-Identifier: Apache-2.0
; Hardware task switches. Intel SDM vol. 3, 7.
%define HOME 32
%include "rt.inc"

; Two more tasks: A (32-bit) in T0, B (16-bit) in T1; T2 a task gate to A. Each case sets them up.
tss_a   equ scratch + 0x200
tss_b   equ scratch + 0x300
old_tss equ scratch + 0x400                      ; a copy: a case's end makes the TSS new
A_STACK equ 0x307000
%macro TASK_A 1                                 ; entry
        SETDESC T0, tss_a, 0x67, 0x0089
        mov     dword [gdt + T2], T0 << 16
        mov     dword [gdt + T2 + 4], 0x8500
        mov     dword [tss_a + 4], STACK0_TOP
        mov     dword [tss_a + 8], DATA0
        mov     dword [tss_a + 0x20], %1
        mov     dword [tss_a + 0x24], 2
        mov     dword [tss_a + 0x28], 0xaaaaaaa0        ; eax
        mov     dword [tss_a + 0x2c], 0xaaaaaaa1        ; ecx
        mov     dword [tss_a + 0x38], A_STACK
        mov     dword [tss_a + 0x48], DATA0             ; es
        mov     dword [tss_a + 0x4c], CODE0
        mov     dword [tss_a + 0x50], DATA0
        mov     dword [tss_a + 0x54], DATA0
        mov     word [tss_a + 0x66], 0x68
%endmacro
; what the new task finds
note:
        mov     [scratch], eax
        mov     [scratch + 4], ecx
        mov     [scratch + 8], esp
        pushfd
        pop     dword [scratch + 12]
        str     [scratch + 16]
        movzx   eax, byte [gdt + TSS_SEL + 5]
        mov     [scratch + 24], eax
        movzx   eax, byte [gdt + T0 + 5]
        mov     [scratch + 28], eax
        mov     eax, [tss_a]
        mov     [scratch + 32], eax
        mov     eax, cr0
        mov     [scratch + 36], eax
        mov     esi, tss
        mov     edi, old_tss
        mov     ecx, 26
        rep movsd
        pushfd                                  ; NT off: the way home is no task return
        and     dword [esp], ~FL_NT
        popfd
        int     HOMEWARD
%macro NOTED 0
        AFTER
        OUT     "ax", [scratch]
        OUT     "cx", [scratch + 4]
        OUT     "sp", [scratch + 8]
        mov     eax, [scratch + 12]
        and     eax, FL_NT
        OUT     "nt", eax
        movzx   eax, word [scratch + 16]
        OUT     "tr", eax
        OUT     "oldattr", [scratch + 24]
        OUT     "newattr", [scratch + 28]
        movzx   eax, word [scratch + 32]
        OUT     "link", eax
        mov     eax, [scratch + 36]
        and     eax, CR0_TS
        OUT     "ts", eax
        mov     eax, [old_tss + 0x20]
        sub     eax, %$t
        OUT     "oldip", eax
        mov     eax, [old_tss + 0x24]
        and     eax, FL_NT
        OUT     "oldnt", eax
        DONE
%endmacro

main:
        CASE    "jmp-tss"                       ;= ax=aaaaaaa0 cx=aaaaaaa1 sp=307000 nt=0 tr=80 oldattr=89 newattr=8b link=0 ts=8 oldip=7
        TASK_A  note
        mov     eax, 0x11
 T      jmp     T0:0
        NOTED
        CASE    "call-tss"                      ;= nt=4000 tr=80 oldattr=8b newattr=8b link=50 ts=8 oldip=7
        TASK_A  note
 T      call    T0:0
        NOTED
        CASE    "call-task-gate"                ;= nt=4000 tr=80 oldattr=8b newattr=8b link=50 oldip=7
        TASK_A  note
 T      call    T2:0
        NOTED
        CASE    "jmp-task-gate"                 ;= nt=0 tr=80 oldattr=89 newattr=8b link=0 oldip=7
        TASK_A  note
 T      jmp     T2:0
        NOTED
        CASE    "int-task-gate"                 ;= nt=4000 tr=80 oldattr=8b newattr=8b link=50 oldip=2
        TASK_A  note
        mov     dword [IDT(0x30)], T0 << 16
        mov     dword [IDT(0x30) + 4], 0x8500
 T      int     0x30
        NOTED
        CASE    "int-task-gate-from-ring3"      ;= nt=4000 tr=80 oldattr=8b newattr=8b link=50 oldip=2 oldcs=1b oldss=23 oldsp=328000
        TASK_A  note
        mov     dword [IDT(0x30)], T0 << 16
        mov     dword [IDT(0x30) + 4], 0xe500
        USER
 T      int     0x30
        AFTER
        mov     eax, [scratch + 12]
        and     eax, FL_NT
        OUT     "nt", eax
        movzx   eax, word [scratch + 16]
        OUT     "tr", eax
        OUT     "oldattr", [scratch + 24]
        OUT     "newattr", [scratch + 28]
        OUT     "link", [scratch + 32]
        mov     eax, [old_tss + 0x20]
        sub     eax, %$t
        OUT     "oldip", eax
        OUT     "oldcs", [old_tss + 0x4c]
        OUT     "oldss", [old_tss + 0x50]
        OUT     "oldsp", [old_tss + 0x38]
        DONE
        CASE    "fault-task-gate-error-code"    ;= errcode=1000 sp=306ffc link=50 oldip=0
        TASK_A  .handler
        mov     dword [IDT(GP)], T0 << 16
        mov     dword [IDT(GP) + 4], 0x8500
        mov     ax, 0x1000
 T      mov     ds, ax
.handler:
        mov     eax, [esp]
        mov     [scratch + 40], eax
        mov     [scratch + 44], esp
        jmp     note
        AFTER
        OUT     "errcode", [scratch + 40]
        OUT     "sp", [scratch + 44]
        movzx   eax, word [tss_a]
        OUT     "link", eax
        mov     eax, [old_tss + 0x20]
        sub     eax, %$t
        OUT     "oldip", eax
        DONE
        CASE    "iret-back"                     ;= ax=11 a=cccc oldattr=8b newattr=89 nt=0 savednt=0
        TASK_A  .task
        mov     eax, 0x11
        call    T0:0
 T      nop
        mov     [scratch], eax
        movzx   eax, byte [gdt + TSS_SEL + 5]
        mov     [scratch + 24], eax
        movzx   eax, byte [gdt + T0 + 5]
        mov     [scratch + 28], eax
        pushfd
        pop     eax
        and     eax, FL_NT
        mov     [scratch + 12], eax
        jmp     .out
.task:  mov     eax, 0xcccc
        iretd
        jmp     $
.out:   AFTER
        OUT     "ax", [scratch]
        OUT     "a", [tss_a + 0x28]
        OUT     "oldattr", [scratch + 24]
        OUT     "newattr", [scratch + 28]
        OUT     "nt", [scratch + 12]
        mov     eax, [tss_a + 0x24]
        and     eax, FL_NT
        OUT     "savednt", eax
        DONE
        CASE    "task-resumes-behind-iret"      ;= n=2
        TASK_A  .task
        call    T0:0
        call    T0:0
        jmp     .out
.task:  inc     dword [scratch]
        iretd
        inc     dword [scratch]
        iretd
.out:   AFTER
        OUT     "n", [scratch]
        DONE
        CASE    "tss16"                         ;= ax=1234 cx=5678 sp=7000 tr=88 oldip=7 link=50 nt=4000
        SETDESC T1, tss_b, 0x2b, 0x0081
        mov     word [tss_b + 0x0e], low_note
        mov     word [tss_b + 0x10], 2
        mov     word [tss_b + 0x12], 0x1234
        mov     word [tss_b + 0x14], 0x5678
        mov     word [tss_b + 0x1a], 0x7000
        mov     word [tss_b + 0x22], DATA0
        mov     word [tss_b + 0x24], CODE0
        mov     word [tss_b + 0x26], DATA16     ; what the upper half of ESP holds is not defined
        mov     word [tss_b + 0x28], DATA0
 T      call    T1:0
        section .low
low_note:
        bits 32
        movzx   esp, sp
        jmp     note
        section .text
        bits 32
        AFTER
        movzx   eax, word [scratch]
        OUT     "ax", eax
        movzx   eax, word [scratch + 4]
        OUT     "cx", eax
        movzx   eax, word [scratch + 8]
        OUT     "sp", eax
        movzx   eax, word [scratch + 16]
        OUT     "tr", eax
        movzx   eax, word [tss_b]
        OUT     "link", eax
        mov     eax, [scratch + 12]
        and     eax, FL_NT
        OUT     "nt", eax
        mov     eax, [old_tss + 0x20]
        sub     eax, %$t
        OUT     "oldip", eax
        DONE
        CASE    "t-bit-traps"                   ;= #1 vec=1 ip=+0 dr6=ffff8ff0
        TASK_A  .task
        mov     word [tss_a + 0x64], 1
        jmp     T0:0
.task:
 T      nop
        DONE
        CASE    "clears-local-breakpoints"      ;= dr7=400
        TASK_A  .task
        mov     eax, 0x755                      ; L0-L3, LE, GE and no G
        mov     dr7, eax
        jmp     T0:0
.task:  mov     eax, dr7
        and     eax, ~0x200
        mov     [scratch], eax
        and     dword [scratch], 0x4ff
        AFTER
        OUT     "dr7", [scratch]
        DONE
        ; --- faults before the switch: in the old task
        CASE    "gp.jmp-busy"                   ;= #1 vec=d err=80 ip=+0
        TASK_A  note
        or      byte [gdt + T0 + 5], 2
 T      jmp     T0:0
        DONE
        CASE    "gp.call-self-busy"             ;= #1 vec=d err=50 ip=+0
 T      call    TSS_SEL:0
        DONE
        CASE    "np.jmp-tss"                    ;= #1 vec=b err=80 ip=+0
        TASK_A  note
        and     byte [gdt + T0 + 5], 0x7f
 T      jmp     T0:0
        DONE
        CASE    "np.task-gate"                  ;= #1 vec=b err=90 ip=+0
        TASK_A  note
        mov     dword [gdt + T2 + 4], 0x0500
 T      jmp     T2:0
        DONE
        CASE    "gp.tss-dpl"                    ;= #1 vec=d err=80 ip=+0 cs=1b
        TASK_A  note
        USER
 T      jmp     T0:0
        DONE
        CASE    "gp.task-gate-dpl"              ;= #1 vec=d err=90 ip=+0 cs=1b
        TASK_A  note
        USER
 T      jmp     T2:0
        DONE
        CASE    "ts.limit-too-small"            ;= #1 vec=a err=80 ip=+0
        TASK_A  note
        mov     word [gdt + T0], 0x66
 T      jmp     T0:0
        DONE
        CASE    "gp.task-gate-not-a-tss"        ;= #1 vec=d err=10 ip=+0
        TASK_A  note
        mov     word [gdt + T2 + 2], DATA0
 T      jmp     T2:0
        DONE
        CASE    "gp.task-gate-in-ldt"           ;= #1 vec=d err=84 ip=+0
        TASK_A  note
        mov     word [gdt + T2 + 2], T0 | 4
 T      jmp     T2:0
        DONE
        CASE    "ts.iret-link-not-busy"         ;= #1 vec=a err=80 ip=+0
        TASK_A  note
        mov     word [tss], T0
        push    FL_NT | 2
        popfd
 T      iretd
        DONE
        CASE    "ts.iret-link-null"             ;= #1 vec=a err=0 ip=+0
        mov     word [tss], 0
        push    FL_NT | 2
        popfd
 T      iretd
        DONE
        CASE    "ts.iret-link-in-ldt"           ;= #1 vec=a err=84 ip=+0
        mov     word [tss], T0 | 4
        push    FL_NT | 2
        popfd
 T      iretd
        DONE

        ; --- faults after it: in the new one
        CASE    "ts.new-cs-null"                ;= #1 vec=a err=0 ip=+0
        TASK_A  note
        mov     dword [case_ip], note
        mov     word [tss_a + 0x4c], 0
 T      jmp     T0:0
        DONE
        CASE    "ts.new-cs-data"                ;= #1 vec=a err=10 ip=+0
        TASK_A  note
        mov     dword [case_ip], note
        mov     word [tss_a + 0x4c], DATA0
 T      jmp     T0:0
        DONE
        CASE    "np.new-cs"                     ;= #1 vec=b err=98 ip=+0
        TASK_A  note
        mov     dword [case_ip], note
        SETDESC T3, 0, 0xfffff, 0xc01b
        mov     word [tss_a + 0x4c], T3
 T      jmp     T0:0
        DONE
        CASE    "ss.new-ss-np"                  ;= #1 vec=c err=98
        TASK_A  note
        SETDESC T3, 0, 0xfffff, 0xc013
        mov     word [tss_a + 0x50], T3
        mov     dword [IDT(SS_)], T4 << 16      ; the new SS cannot take a frame: another task does
        mov     dword [IDT(SS_) + 4], 0x8500
        SETDESC T4, tss_b, 0x67, 0x0089
        mov     esi, tss_a
        mov     edi, tss_b
        mov     ecx, 26
        rep movsd
        mov     word [tss_b + 0x50], DATA0
        mov     dword [tss_b + 0x20], .handler
 T      jmp     T0:0
.handler:
        pushfd
        and     dword [esp], ~FL_NT
        popfd
        jmp     STUB(SS_)                       ; now as if a plain gate had been here
        DONE
        CASE    "ts.new-ds-exec-only"           ;= #1 vec=a err=98 ip=+0
        TASK_A  note
        mov     dword [case_ip], note
        SETDESC T3, 0, 0xfffff, 0xc099
        mov     word [tss_a + 0x54], T3
 T      jmp     T0:0
        DONE
        CASE    "np.new-ds"                     ;= #1 vec=b err=98 ip=+0
        TASK_A  note
        mov     dword [case_ip], note
        SETDESC T3, 0, 0xfffff, 0xc013
        mov     word [tss_a + 0x54], T3
 T      jmp     T0:0
        DONE
        CASE    "ts.new-ldt"                    ;= #1 vec=a err=10 ip=+0
        TASK_A  note
        mov     dword [case_ip], note
        mov     word [tss_a + 0x60], DATA0
 T      jmp     T0:0
        DONE
        CASE    "new-ldt-is-loaded"             ;= ldt=60
        TASK_A  .task
        mov     word [tss_a + 0x60], LDT_SEL
        jmp     T0:0
.task:  sldt    [scratch]
        AFTER
        movzx   eax, word [scratch]
        OUT     "ldt", eax
        DONE
        CASE    "gp.new-eip-beyond-cs"          ;= #1 vec=d err=0 ip=@2000 cs=98
        TASK_A  0x2000
        SETDESC T3, 0, 0x00fff, 0x409b
        mov     word [tss_a + 0x4c], T3
 T      jmp     T0:0
        DONE

        ; --- LTR
        CASE    "gp.ltr-null"                   ;= #1 vec=d err=0 ip=+0
        xor     eax, eax
 T      ltr     ax
        DONE
        CASE    "gp.ltr-busy"                   ;= #1 vec=d err=50 ip=+0
        mov     ax, TSS_SEL
 T      ltr     ax
        DONE
        CASE    "gp.ltr-data"                   ;= #1 vec=d err=10 ip=+0
        mov     ax, DATA0
 T      ltr     ax
        DONE
        CASE    "np.ltr"                        ;= #1 vec=b err=80 ip=+0
        SETDESC T0, tss_a, 0x67, 0x0009
        mov     ax, T0
 T      ltr     ax
        DONE
        CASE    "gp.ltr-ldt"                    ;= #1 vec=d err=4 ip=+0
        mov     ax, 4
 T      ltr     ax
        DONE
        CASE    "ltr-sets-busy"                 ;= attr=8b tr=80
        TASK_A  note
        mov     ax, T0
        ltr     ax
        movzx   eax, byte [gdt + T0 + 5]
        OUT     "attr", eax
        str     eax
        OUT     "tr", eax
        DONE
        ret
