; SPDX-License-Identifier: Apache-2.0
; Debug exceptions: breakpoints, single step, DR6 and DR7. Intel SDM vol. 3, 17.2, 17.3.
%define HOME 32
%include "rt.inc"

; DR7: breakpoint n enabled (G), with R/W and LEN
%define DR7_EXEC(n)       (2 << ((n) * 2))
%define DR7_ON(n, rw, len) ((2 << ((n) * 2)) | ((rw) << (16 + (n) * 4)) | ((len) << (18 + (n) * 4)))
RW_EXEC  equ 0
RW_WRITE equ 1
RW_IO    equ 2
RW_RW    equ 3
LEN1 equ 0
LEN2 equ 1
LEN8 equ 2
LEN4 equ 3
; BREAK n, address, rw, len
%macro BREAK 4
        mov     eax, %2
        mov     dr%1, eax
        mov     eax, dr7
        or      eax, DR7_ON(%1, %3, %4)
        mov     dr7, eax
%endmacro
; continue after n events with TF off
%macro STEPS 1
        mov     dword [case_cont], %1
%endmacro
%macro TF_ON 0
        pushfd
        or      dword [esp], FL_TF
        popfd
%endmacro

main:
        ; --- instruction breakpoints: faults; RF lets the instruction go
        CASE    "exec"                          ;= #1 vec=1 ip=+0 dr6=ffff0ff1
        BREAK   0, %$t, RW_EXEC, LEN1
 T      nop
        DONE
        CASE    "exec-dr3"                      ;= #1 vec=1 ip=+0 dr6=ffff0ff8
        BREAK   3, %$t, RW_EXEC, LEN1
 T      nop
        DONE
        CASE    "exec-two-match"                ;= #1 vec=1 ip=+0 dr6=ffff0ff6
        BREAK   1, %$t, RW_EXEC, LEN1
        BREAK   2, %$t, RW_EXEC, LEN1
 T      nop
        DONE
        CASE    "exec-middle-of-insn-no"        ;= none
        BREAK   0, %$t + 1, RW_EXEC, LEN1
 T      mov     eax, 0x12345678
        DONE
        CASE    "exec-prefix-first-byte"        ;= #1 vec=1 ip=+0 dr6=ffff0ff1
        BREAK   0, %$t, RW_EXEC, LEN1
 T      lock inc dword [scratch]
        DONE
        CASE    "exec-rf-goes-on"               ;= #1 vec=1 ip=+0 / n=1
        STEPS   1
        mov     dword [case_fl_or], FL_RF
        BREAK   0, %$t, RW_EXEC, LEN1
 T      inc     dword [scratch]
        AFTER
        OUT     "n", [scratch]
        DONE
        CASE    "exec-rf-lasts-one-insn"        ;= #1 vec=1 ip=+0 / #2 vec=1 ip=+1 dr6=ffff0ff2
        STEPS   1
        mov     dword [case_fl_or], FL_RF
        BREAK   0, %$t, RW_EXEC, LEN1
        BREAK   1, %$t + 1, RW_EXEC, LEN1
 T      nop
        nop
        DONE
        CASE    "exec-disabled-sets-nothing"    ;= dr6=ffff0ff0
        mov     eax, %$t
        mov     dr0, eax
 T      nop
        mov     eax, dr6
        OUT     "dr6", eax
        DONE
        CASE    "exec-before-fault"             ;= #1 vec=1 ip=+0
        BREAK   0, %$t, RW_EXEC, LEN1
 T      ud2
        DONE
        CASE    "rf-pushed-by-fault"            ;= #1 vec=6 ip=+0 fl=10000
        mov     dword [case_fl_mask], FL_RF
 T      ud2
        DONE
        CASE    "rf-pushed-by-pf-like-gp"       ;= #1 vec=d ip=+0 fl=10000
        mov     dword [case_fl_mask], FL_RF
        mov     ax, 0x1000
 T      mov     ds, ax
        DONE
        CASE    "rf-not-pushed-by-exec-break"   ;= #1 vec=1 ip=+0 fl=0
        mov     dword [case_fl_mask], FL_RF
        BREAK   0, %$t, RW_EXEC, LEN1
 T      nop
        DONE
        CASE    "rf-not-pushed-by-int-n"        ;= #1 vec=30 ip=+2 fl=0
        mov     dword [case_fl_mask], FL_RF
 T      int     0x30
        DONE
        CASE    "popf-cannot-set-rf"            ;= #1 vec=1 ip=+0
        BREAK   0, %$t, RW_EXEC, LEN1
        push    FL_RF | 2
        popfd
 T      nop
        DONE

        ; --- data breakpoints: traps
        CASE    "write4"                        ;= #1 vec=1 ip=+5 dr6=ffff0ff1 / mem=77
        BREAK   0, scratch, RW_WRITE, LEN4
        mov     eax, 0x77
 T      mov     [scratch], eax
        AFTER
        OUT     "mem", [scratch]
        DONE
        CASE    "write-not-on-read"             ;= none
        BREAK   0, scratch, RW_WRITE, LEN4
 T      mov     eax, [scratch]
        DONE
        CASE    "rw-on-read"                    ;= #1 vec=1 ip=+5 dr6=ffff0ff1
        BREAK   0, scratch, RW_RW, LEN4
 T      mov     eax, [scratch]
        DONE
        CASE    "write-byte-inside"             ;= #1 vec=1 ip=+5 dr6=ffff0ff1
        BREAK   0, scratch, RW_WRITE, LEN4
 T      mov     [scratch + 3], al
        DONE
        CASE    "write-byte-just-outside"       ;= none
        BREAK   0, scratch, RW_WRITE, LEN4
 T      mov     [scratch + 4], al
        DONE
        CASE    "write-dword-overlaps-from-below" ;= #1 vec=1 ip=+5 dr6=ffff0ff1
        BREAK   0, scratch + 4, RW_WRITE, LEN1
 T      mov     [scratch + 1], eax
        DONE
        CASE    "len2-ignores-bit0"             ;= #1 vec=1 ip=+5 dr6=ffff0ff1
        BREAK   0, scratch + 5, RW_WRITE, LEN2  ; watches 4..5
 T      mov     [scratch + 4], al
        DONE
        CASE    "push-breaks"                   ;= #1 vec=1 ip=+1 dr6=ffff0ff1
        lea     eax, [esp - 4]
        mov     dr0, eax
        mov     eax, DR7_ON(0, RW_WRITE, LEN4) | 0x400
        mov     dr7, eax
 T      push    eax
        DONE
        CASE    "read-modify-write"             ;= #1 vec=1 ip=+6 dr6=ffff0ff1
        BREAK   0, scratch, RW_RW, LEN4
 T      inc     dword [scratch]
        DONE
        CASE    "two-data-breakpoints-one-insn" ;= #1 vec=1 ip=+1 dr6=ffff0ff3
        BREAK   0, scratch, RW_RW, LEN4
        BREAK   1, scratch + 16, RW_WRITE, LEN4
        mov     esi, scratch
        mov     edi, scratch + 16
 T      movsd
        DONE
        CASE    "faulting-read-no-trap"         ;= #1 vec=d err=1000 ip=+0 / dr6=ffff0ff0
        BREAK   0, scratch, RW_RW, LEN2
        mov     ebx, scratch
        mov     eax, dr7
        xor     ecx, ecx
        mov     dr7, ecx
        mov     word [ebx], 0x1000
        mov     dr7, eax
 T      mov     ds, [ebx]
        AFTER
        OUTEV   "dr6", 0, dr6
        DONE
        CASE    "rep-movs-stops-inside"         ;= #1 vec=1 ip=+0 dr6=ffff0ff1 / cx=2
        BREAK   0, scratch + 0x104, RW_WRITE, LEN4
        mov     esi, scratch
        mov     edi, scratch + 0x100
        mov     ecx, 4
 T      rep movsd
        AFTER
        OUTEV   "cx", 0, cx
        DONE
        CASE    "rep-movs-last-iteration"       ;= #1 vec=1 ip=+2 dr6=ffff0ff1 / cx=0
        BREAK   0, scratch + 0x10c, RW_WRITE, LEN4
        mov     esi, scratch
        mov     edi, scratch + 0x100
        mov     ecx, 4
 T      rep movsd
        AFTER
        OUTEV   "cx", 0, cx
        DONE
        CASE    "mov-ss-holds-it-back"          ;= #1 vec=1 ip=+3 dr6=ffff0ff1
        mov     word [scratch], DATA0
        BREAK   0, scratch, RW_RW, LEN2
        mov     ebx, scratch
 T      mov     ss, [ebx]
        nop
        nop
        DONE

        ; --- I/O breakpoints
        CASE    "io-in"                         ;= #1 vec=1 ip=+2 dr6=ffff0ff1
        mov     eax, CR4_DE
        mov     cr4, eax
        BREAK   0, 0x80, RW_IO, LEN1
 T      in      al, 0x80
        DONE
        CASE    "io-out"                        ;= #1 vec=1 ip=+2 dr6=ffff0ff1
        mov     eax, CR4_DE
        mov     cr4, eax
        BREAK   0, 0x80, RW_IO, LEN1
 T      out     0x80, al
        DONE
        CASE    "io-other-port"                 ;= none
        mov     eax, CR4_DE
        mov     cr4, eax
        BREAK   0, 0x80, RW_IO, LEN1
 T      out     0x84, al
        DONE

        ; --- single step
        CASE    "tf"                            ;= #1 vec=1 ip=+1 dr6=ffff4ff0 fl=100
        TF_ON
 T      nop
        nop
        DONE
        CASE    "tf-three-steps"                ;= #1 ip=+1 / #2 ip=+2 / #3 ip=+3
        STEPS   2
        TF_ON
 T      nop
        nop
        nop
        DONE
        CASE    "tf-popf-sets-no-trap-itself"   ;= #1 vec=1 ip=+2 dr6=ffff4ff0
        push    FL_TF | 2
 T      popfd
        nop
        DONE
        CASE    "tf-popf-clears-still-traps"    ;= #1 vec=1 ip=+1 dr6=ffff4ff0 fl=0
        push    2
        push    FL_TF | 2
        popfd
 T      popfd
        nop
        DONE
        CASE    "tf-pushf-shows-tf"             ;= #1 vec=1 ip=+1 / fl=100
        TF_ON
 T      pushfd
        AFTER
        mov     eax, [EV(0, sp)]
        mov     eax, [eax]
        and     eax, FL_TF
        OUT     "fl", eax
        DONE
        CASE    "tf-iret-sets"                  ;= #1 vec=1 ip=+1
        push    FL_TF | 2
        push    CODE0
        push    %$t
        iretd
 T      nop
        nop
        DONE
        CASE    "tf-mov-ss-shadow"              ;= #1 vec=1 ip=+3
        mov     ax, ss
        TF_ON
 T      mov     ss, ax
        nop
        nop
        DONE
        CASE    "tf-pop-ss-shadow"              ;= #1 vec=1 ip=+2
        push    ss
        TF_ON
 T      pop     ss
        nop
        nop
        DONE
        CASE    "tf-sti-no-shadow"              ;= #1 vec=1 ip=+1
        TF_ON
 T      sti
        nop
        cli
        DONE
        CASE    "tf-rep-movs-each-iteration"    ;= #1 ip=+0 cx=2 / #2 ip=+0 cx=1 / #3 ip=+2 cx=0
        SHOW    SHOW_REGS
        STEPS   2
        mov     esi, scratch
        mov     edi, scratch + 0x100
        mov     ecx, 3
        TF_ON
 T      rep movsb
        nop
        DONE
        CASE    "tf-rep-cx0"                    ;= #1 ip=+2 cx=0
        SHOW    SHOW_REGS
        mov     esi, scratch
        mov     edi, scratch + 0x100
        xor     ecx, ecx
        TF_ON
 T      rep movsb
        nop
        DONE
        CASE    "tf-int-n-no-trap-in-handler"   ;= #1 vec=30 ip=+2 fl=100 / #2 vec=1 ip=+3
        TF_ON
 T      int     0x30
        nop
        nop
        DONE
        CASE    "tf-fault-first"                ;= #1 vec=6 ip=+0 fl=100
        TF_ON
 T      ud2
        DONE
        CASE    "tf-icebp"                      ;= #1 vec=1 ip=+1 fl=100
        TF_ON
 T      db      0xf1
        nop
        DONE
        CASE    "tf-and-data-breakpoint"        ;= #1 vec=1 ip=+5 dr6=ffff4ff1
        BREAK   0, scratch, RW_WRITE, LEN4
        TF_ON
 T      mov     [scratch], eax
        nop
        DONE
        CASE    "tf-then-exec-breakpoint"       ;= #1 vec=1 ip=+1 dr6=ffff4ff0
        BREAK   0, %$t + 1, RW_EXEC, LEN1
        TF_ON
 T      nop
        nop
        DONE
        CASE    "tf-ring3"                      ;= #1 vec=1 ip=+1 cs=1b dr6=ffff4ff0
        USER
        TF_ON
 T      nop
        DONE
        CASE    "tf-branch"                     ;= #1 vec=1 ip=+2
        TF_ON
 T      jmp     .there
.there: nop
        DONE
        CASE    "tf-cleared-in-handler"         ;= #1 vec=1 hfl=0
        SHOW    SHOW_HANDLER
        TF_ON
 T      nop
        DONE

        ; --- general detect, DR6 and DR7 themselves
        CASE    "gd"                            ;= #1 vec=1 ip=+0 dr6=ffff2ff0
        mov     eax, 0x2400
        mov     dr7, eax
 T      mov     eax, dr0
        DONE
        CASE    "gd-cleared-in-handler"         ;= #1 vec=1 ip=+0 / dr7=400
        mov     eax, 0x2400
        mov     dr7, eax
        STEPS   1
 T      mov     eax, dr7                        ; the handler's own accesses need GD clear
        mov     [scratch], eax
        AFTER
        OUT     "dr7", [scratch]
        DONE
        CASE    "gd-write"                      ;= #1 vec=1 ip=+0 dr6=ffff2ff0
        mov     eax, 0x2400
        mov     dr7, eax
 T      mov     dr0, eax
        DONE
        CASE    "dr6-fixed-bits"                ;= zero=ffff0ff0 ones=ffffefff
        xor     eax, eax
        mov     dr6, eax
        mov     eax, dr6
        OUT     "zero", eax
        or      eax, -1
        mov     dr6, eax
        mov     eax, dr6
        or      eax, 0x10000                    ; RTM, where there is one
        OUT     "ones", eax
        DONE
        CASE    "dr7-fixed-bits"                ;= zero=400 ones=ffff27ff
        xor     eax, eax
        mov     dr7, eax
        mov     eax, dr7
        OUT     "zero", eax
        mov     eax, 0xffffffff & ~0x2000
        mov     dr7, eax
        mov     eax, dr7
        mov     ebx, 0x400
        mov     dr7, ebx
        or      eax, 0x2000
        and     eax, ~0x800                     ; RTM, where there is one
        OUT     "ones", eax
        DONE
        CASE    "dr0-holds"                     ;= a=12345678
        mov     eax, 0x12345678
        mov     dr0, eax
        xor     eax, eax
        mov     eax, dr0
        OUT     "a", eax
        DONE
        CASE    "dr6-bs-is-sticky"              ;= #1 vec=1 dr6=ffff4ff1
        BREAK   0, scratch, RW_WRITE, LEN4
        mov     eax, 0xffff4ff0
        mov     dr6, eax
 T      mov     [scratch], eax
        DONE
        CASE    "icebp-sets-no-bits"            ;= #1 vec=1 ip=+1 dr6=ffff0ff0
 T      db      0xf1
        DONE
        ret
