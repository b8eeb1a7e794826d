; SPDX-License-Identifier: Apache-2.0
; Transfers between rings and modes in IA-32e mode. Intel SDM vol. 3, 5.8.3, 5.8.8, 6.14; vol. 2.
; Of Intel's processors, on any host: AMD's differ in SYSCALL, SYSRET and SYSENTER.
;! skerry-args: --cpu x86-64-v3
%define HOME 64
%include "rt.inc"

landing:                                        ; notes everything, goes home
        mov     [scratch + 0x100], rsp
        mov     [scratch + 0x108], rcx
        mov     [scratch + 0x110], r11
        mov     eax, cs
        mov     [scratch + 0x118], rax
        mov     eax, ss
        mov     [scratch + 0x120], rax
        mov     rax, [rsp]
        mov     [scratch + 0x128], rax
        mov     rax, [rsp + 8]
        mov     [scratch + 0x130], rax
        mov     rax, [rsp + 16]
        mov     [scratch + 0x138], rax
        mov     rax, [rsp + 24]
        mov     [scratch + 0x140], rax
        pushfq
        pop     rax
        mov     [scratch + 0x148], rax
        int     HOMEWARD
%macro GATE64 4                                 ; selector, code selector, offset, type
        GATE    gdt + %1, %2, %3, %4
%endmacro
%macro LANDED_FAR 0
        AFTER
        OUT     "cs", [scratch + 0x118]
        OUT     "ss", [scratch + 0x120]
        OUT     "sp", [scratch + 0x100]
        mov     rax, [scratch + 0x128]
        sub     rax, %$t
        OUT     "ret", rax
        OUT     "retcs", [scratch + 0x130]
        OUT     "w2", [scratch + 0x138]
        OUT     "w3", [scratch + 0x140]
        DONE
%endmacro
%macro LANDED_SYSCALL 0
        AFTER
        OUT     "cs", [scratch + 0x118]
        OUT     "ss", [scratch + 0x120]
        OUT     "sp", [scratch + 0x100]
        mov     rax, [scratch + 0x108]
        sub     rax, %$t
        OUT     "cx", rax
        OUT     "r11", [scratch + 0x110]
        OUT     "fl", [scratch + 0x148]
        DONE
%endmacro
%macro STAR 0
        WRMSR_  MSR_STAR, ((CODE3 & ~3) << 16) | CODE0, 0
        WRMSR_  MSR_LSTAR, 0, landing
        WRMSR_  MSR_CSTAR, 0, landing
        WRMSR_  MSR_SFMASK, 0, 0
%endmacro
; ring-3 (or other) arrival: notes CS, SS, RSP, flags
%macro NOTE_MODE 0
        mov     eax, cs
        mov     [scratch], eax
        mov     eax, ss
        mov     [scratch + 8], eax
        mov     [scratch + 16], esp
        pushf
        pop     rax
        mov     [scratch + 24], eax
%endmacro
%macro SHOW_MODE 0
        AFTER
        OUT32   "cs", [scratch]
        OUT32   "ss", [scratch + 8]
        OUT32   "sp", [scratch + 16]
        OUT32   "fl", [scratch + 24]
        DONE
%endmacro

main:
        ; --- call gates are 64-bit
        CASE    "callgate-same-ring"            ;= cs=8 ss=10 ret=7 retcs=8
        GATE64  T0, CODE0, landing, 0x8c00
        mov     word [scratch + 4], T0
 T      call    far dword [scratch]
        LANDED_FAR
        CASE    "callgate-inner"                ;= cs=8 ss=0 sp=30ffe0 ret=7 retcs=2b w2=328000 w3=23
        GATE64  T0, CODE0, landing, 0xec00
        mov     word [scratch + 4], T0 | 3
        USER
 T      call    far dword [scratch]
        LANDED_FAR
        CASE    "callgate-from-compat"          ;= cs=8 ss=0 sp=30ffe0 ret=7 retcs=1b w2=328000 w3=23
        GATE64  T0, CODE0, landing, 0xec00
        COMPAT3
 T      call    (T0 | 3):0
        bits 64
        LANDED_FAR
        CASE    "gp.callgate-to-32-bit-cs"      ;= #1 vec=d err=38 ip=+0
        GATE64  T0, CODE32, landing, 0x8c00
        mov     word [scratch + 4], T0
 T      call    far dword [scratch]
        DONE
        CASE    "gp.callgate-upper-type"        ;= #1 vec=d err=80 ip=+0
        GATE64  T0, CODE0, landing, 0x8c00
        mov     dword [gdt + T0 + 12], 0x0c00
        mov     word [scratch + 4], T0
 T      call    far dword [scratch]
        DONE
        CASE    "gp.callgate-noncanonical"      ;= #1 vec=d err=0 ip=+0
        GATE64  T0, CODE0, landing, 0x8c00
        mov     dword [gdt + T0 + 8], 0x80000000
        mov     word [scratch + 4], T0
 T      call    far dword [scratch]
        DONE
        CASE    "gp.callgate16"                 ;= #1 vec=d err=80 ip=+0
        GATE64  T0, CODE0, landing, 0x8400
        mov     word [scratch + 4], T0
 T      call    far dword [scratch]
        DONE
        CASE    "np.callgate"                   ;= #1 vec=b err=80 ip=+0
        GATE64  T0, CODE0, landing, 0x0c00
        mov     word [scratch + 4], T0
 T      call    far dword [scratch]
        DONE
        CASE    "gp.callgate-jmp-inner"         ;= #1 vec=d err=8 ip=+0 cs=2b
        GATE64  T0, CODE0, landing, 0xec00
        mov     word [scratch + 4], T0 | 3
        USER
 T      jmp     far dword [scratch]
        DONE

        ; --- far return and iret
        CASE    "retfq-to-compat"               ;= cs=38 ss=10 sp=307ef8
        push    CODE32
        push    .there
 T      retfq
        bits 32
.there: mov     eax, cs
        mov     [scratch], eax
        mov     eax, ss
        mov     [scratch + 8], eax
        mov     [scratch + 16], esp
        bits 64
        SHOW_MODE
        CASE    "retfq-outward"                 ;= cs=2b ss=23 sp=327000
        push    DATA3
        push    0x327000
        push    CODE3L
        push    .there
 T      retfq
.there: NOTE_MODE
        AFTER
        OUT32   "cs", [scratch]
        OUT32   "ss", [scratch + 8]
        OUT32   "sp", [scratch + 16]
        DONE
        CASE    "gp.retfq-null-ss-to-ring3"     ;= #1 vec=d err=0 ip=+0
        push    0
        push    0x327000
        push    CODE3L
        push    .there
 T      retfq
.there: DONE
        CASE    "iretq-null-ss-to-ring0-is-fine" ;= cs=8 ss=0 sp=307000
        push    0
        push    0x307000
        push    2
        push    CODE0
        push    .there
 T      iretq
.there: mov     eax, cs
        mov     [scratch], eax
        mov     eax, ss
        mov     [scratch + 8], eax
        mov     [scratch + 16], rsp
        AFTER
        OUT32   "cs", [scratch]
        OUT32   "ss", [scratch + 8]
        OUT32   "sp", [scratch + 16]
        DONE
        CASE    "gp.iretq-null-ss-to-ring3"     ;= #1 vec=d err=0 ip=+0
        push    3
        push    0x327000
        push    2
        push    CODE3L
        push    .there
 T      iretq
.there: DONE
        CASE    "gp.iretq-null-ss-to-compat"    ;= #1 vec=d err=0 ip=+0
        push    0
        push    0x307000
        push    2
        push    CODE32
        push    .there
 T      iretq
.there: DONE
        CASE    "gp.iretq-ss-dpl"               ;= #1 vec=d err=10 ip=+0
        push    DATA0
        push    0x327000
        push    2
        push    CODE3L
        push    .there
 T      iretq
.there: DONE
        CASE    "iretq-always-pops-ss-rsp"      ;= sp=306ff0
        push    DATA0
        push    0x306ff0
        push    2
        push    CODE0
        push    .there
 T      iretq
.there: mov     [scratch], rsp
        AFTER
        OUT32   "sp", [scratch]
        DONE
        CASE    "iretq-vm-bit-ignored"          ;= fl=2
        push    DATA0
        push    0x307000
        push    FL_VM | 2
        push    CODE0
        push    .there
 T      iretq
.there: pushfq
        pop     rax
        OUT     "fl", rax
        DONE
        CASE    "iretd-in-64-bit-mode"          ;= sp=307000 cs=8
        sub     rsp, 20
        mov     dword [rsp], .there
        mov     dword [rsp + 4], CODE0
        mov     dword [rsp + 8], 2
        mov     dword [rsp + 12], 0x307000
        mov     dword [rsp + 16], DATA0
 T      iretd
.there: mov     [scratch], rsp
        mov     eax, cs
        mov     [scratch + 8], rax
        AFTER
        OUT32   "sp", [scratch]
        OUT32   "cs", [scratch + 8]
        DONE
        CASE    "iret-outward-keeps-null-ds-gs-base" ;= ds=0
        push    DATA3
        push    0x327000
        push    2
        push    CODE3L
        push    .there
 T      iretq
.there: mov     eax, ds
        mov     [scratch], eax
        AFTER
        OUT32   "ds", [scratch]
        DONE

        ; --- SYSCALL, SYSRET
        CASE    "syscall"                       ;= cs=8 ss=10 sp=328000 cx=2 r11=2 fl=2
        STAR
        USER
 T      syscall
        LANDED_SYSCALL
        CASE    "syscall-sfmask"                ;= r11=243ed7 fl=242806
        STAR
        WRMSR_  MSR_SFMASK, 0, 0xffffffff & ~(FL_ID | FL_AC | 0x800 | 4 | 0x2000)
        USER    FL_IOPL3 | FL_ID | FL_AC | FL_DF | FL_IF | 0x800 | 0xd5 | 2
 T      syscall
        LANDED_SYSCALL
        CASE    "syscall-from-ring0"            ;= cs=8 ss=10 cx=2
        STAR
 T      syscall
        LANDED_SYSCALL
        CASE    "ud.syscall-from-compat"        ;= #1 vec=6 ip=+0 cs=1b
        STAR                                    ; Intel; AMD has CSTAR for this
        COMPAT3
 T      db      0x0f, 0x05
        bits 64
        DONE
        CASE    "ud.syscall-sce-clear"          ;= #1 vec=6 ip=+0 cs=2b
        WRMSR_  MSR_EFER, 0, EFER_LME | EFER_NXE
        USER
 T      syscall
        AFTER
        WRMSR_  MSR_EFER, 0, EFER_LME | EFER_NXE | EFER_SCE
        DONE
        CASE    "sysretq"                       ;= cs=2b ss=23 fl=202 sp=327000
        STAR
        mov     ecx, .there
        mov     r11d, FL_IF | 2
        mov     esp, 0x327000
 T      o64 sysret
.there: NOTE_MODE
        SHOW_MODE
        CASE    "sysret-flags"                  ;= fl=247ed7
        STAR
        mov     ecx, .there
        mov     r11d, 0xffffffff & ~FL_TF
        mov     esp, 0x327000
 T      o64 sysret
.there: pushfq
        pop     rax
        cli                                     ; IOPL is 3 now
        mov     [scratch], rax
        AFTER
        mov     eax, [scratch]
        and     eax, ~(FL_VIF | FL_VIP)
        OUT32   "fl", eax
        DONE
        CASE    "sysretd"                       ;= cs=1b ss=23 sp=327000
        STAR
        mov     ecx, .there
        mov     r11d, 2
        mov     esp, 0x327000
 T      sysret
        bits 32
.there: mov     ax, DATA3
        mov     ds, ax
        mov     eax, cs
        mov     [scratch], eax
        mov     eax, ss
        mov     [scratch + 8], eax
        mov     [scratch + 16], esp
        bits 64
        AFTER
        OUT32   "cs", [scratch]
        OUT32   "ss", [scratch + 8]
        OUT32   "sp", [scratch + 16]
        DONE
        CASE    "gp.sysret-cpl3"                ;= #1 vec=d err=0 ip=+0 cs=2b
        STAR
        USER
 T      o64 sysret
        DONE
%ifndef FOR_QEMU
        CASE    "ud.sysret-compat"              ;= #1 vec=6 ip=+0 cs=38
        STAR
        COMPAT
 T      db      0x0f, 0x07
        bits 64
        DONE
%endif
        CASE    "gp.sysret-noncanonical"        ;= #1 vec=d err=0 ip=+0 cs=8
        STAR
        mov     rcx, 0x0000800000000000
        mov     r11d, 2
 T      o64 sysret
        DONE

        ; --- SYSENTER, SYSEXIT
        CASE    "sysenter64"                    ;= cs=8 ss=10 sp=307000
        WRMSR_  MSR_SYSENTER_CS, 0, CODE0
        WRMSR_  MSR_SYSENTER_ESP, 0, 0x307000
        WRMSR_  MSR_SYSENTER_EIP, 0, landing
        USER
 T      sysenter
        AFTER
        OUT     "cs", [scratch + 0x118]
        OUT     "ss", [scratch + 0x120]
        OUT     "sp", [scratch + 0x100]
        DONE
        CASE    "sysenter-from-compat"          ;= cs=8 ss=10 sp=307000
        WRMSR_  MSR_SYSENTER_CS, 0, CODE0
        WRMSR_  MSR_SYSENTER_ESP, 0, 0x307000
        WRMSR_  MSR_SYSENTER_EIP, 0, landing
        COMPAT3
 T      sysenter
        bits 64
        AFTER
        OUT     "cs", [scratch + 0x118]
        OUT     "ss", [scratch + 0x120]
        OUT     "sp", [scratch + 0x100]
        DONE
        CASE    "sysexit-to-32"                 ;= cs=1b ss=23 sp=327000
        WRMSR_  MSR_SYSENTER_CS, 0, CODE0
        mov     ecx, 0x327000
        mov     edx, .there
 T      sysexit
        bits 32
.there: mov     ax, DATA3
        mov     ds, ax
        mov     eax, cs
        mov     [scratch], eax
        mov     eax, ss
        mov     [scratch + 8], eax
        mov     [scratch + 16], esp
        bits 64
        AFTER
        OUT32   "cs", [scratch]
        OUT32   "ss", [scratch + 8]
        OUT32   "sp", [scratch + 16]
        DONE
        CASE    "sysexit-to-64"                 ;= cs=2b ss=33 sp=327000
        WRMSR_  MSR_SYSENTER_CS, 0, CODE0
        mov     ecx, 0x327000
        mov     edx, .there
 T      o64 sysexit
.there: NOTE_MODE
        AFTER
        OUT32   "cs", [scratch]
        OUT32   "ss", [scratch + 8]
        OUT32   "sp", [scratch + 16]
        DONE
        CASE    "gp.sysexit-noncanonical"       ;= #1 vec=d err=0 ip=+0 cs=8
        WRMSR_  MSR_SYSENTER_CS, 0, CODE0
        mov     ecx, 0x327000
        mov     rdx, 0x0000800000000000
 T      o64 sysexit
        DONE
        CASE    "gp.sysexit-cs-zero"            ;= #1 vec=d err=0 ip=+0 cs=8
        WRMSR_  MSR_SYSENTER_CS, 0, 0
 T      o64 sysexit
        DONE

        ; --- SWAPGS and segment bases
        CASE    "swapgs"                        ;= gs=1122334455667788 kgs=7fff00000000
        WRMSR_  MSR_GS_BASE, 0x7fff, 0
        WRMSR_  MSR_KERNEL_GS_BASE, 0, 0
        WRMSR_  MSR_KERNEL_GS_BASE, 0, scratch
        mov     rax, 0x1122334455667788
        mov     [scratch + 8], rax
        swapgs
        mov     rax, [gs:8]
        OUT     "gs", rax
        mov     ecx, MSR_KERNEL_GS_BASE
        rdmsr
        shl     rdx, 32
        or      rax, rdx
        OUT     "kgs", rax
        DONE
        CASE    "gp.swapgs-cpl3"                ;= #1 vec=d err=0 ip=+0 cs=2b
        USER
 T      swapgs
        DONE
        CASE    "mov-fs-loads-descriptor-base"  ;= fsbase=12345000
        SETDESC T0, 0x12345000, 0xfffff, 0xc093
        mov     ax, T0
        mov     fs, ax
        mov     ecx, MSR_FS_BASE
        rdmsr
        shl     rdx, 32
        or      rax, rdx
        OUT     "fsbase", rax
        DONE
        CASE    "null-selector-base-is-read"    ;= ev=0
        WRMSR_  MSR_FS_BASE, 0, 0x5000
        xor     eax, eax
        mov     fs, ax
        DONE
        CASE    "gp.fs-base-noncanonical"       ;= #1 vec=d err=0 ip=+0
        mov     ecx, MSR_FS_BASE
        mov     edx, 0x1000000          ; not with 57 bits either
        xor     eax, eax
 T      wrmsr
        DONE
        CASE    "fsgsbase"                      ;= fs=1234567890 gs=7fffffffffff
        mov     rax, cr4
        or      eax, CR4_FSGSBASE
        mov     cr4, rax
        mov     rax, 0x1234567890
        wrfsbase rax
        mov     rax, 0x7fffffffffff
        wrgsbase rax
        rdfsbase rax
        OUT     "fs", rax
        rdgsbase rax
        OUT     "gs", rax
        DONE
        CASE    "ud.fsgsbase-disabled"          ;= #1 vec=6 ip=+0
 T      rdfsbase rax
        DONE
        CASE    "gp.wrgsbase-noncanonical"      ;= #1 vec=d err=0 ip=+0
        mov     rax, cr4
        or      eax, CR4_FSGSBASE
        mov     cr4, rax
        mov     rax, 0x0000800000000000
 T      wrgsbase rax
        DONE
        ret
