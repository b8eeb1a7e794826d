; SPDX-License-Identifier: Apache-2.0
; Model-specific registers, CR0 and CR4 bits, XSETBV and the XSAVE area.
; Intel SDM vol. 3, 2.5, 2.6, 11.11, 11.12; vol. 4; vol. 1, 13.
%define HOME 64
%include "rt.inc"

; WRMSR_GP "name", msr, high, low : the write must give #GP(0)
%macro WRMSR_GP 4
        CASE    %1
        mov     ecx, %2
        mov     edx, %3
        mov     eax, %4
 T      wrmsr
        DONE
%endmacro
%macro RDMSR_GP 2
        CASE    %1
        mov     ecx, %2
 T      rdmsr
        DONE
%endmacro
; HOLDS "name", msr, high, low: written and read back, then put back
%macro HOLDS 4
        CASE    %1
        mov     ecx, %2
        rdmsr
        mov     [scratch], eax
        mov     [scratch + 4], edx
        mov     ecx, %2
        mov     edx, %3
        mov     eax, %4
        wrmsr
        rdmsr
        shl     rdx, 32
        or      rax, rdx
        OUT     "msr", rax
        mov     ecx, %2
        mov     edx, [scratch + 4]
        mov     eax, [scratch]
        wrmsr
        DONE
%endmacro
%macro CR4_GP 2
        CASE    %1
        mov     rax, cr4
        mov     rbx, %2
        xor     rax, rbx
 T      mov     cr4, rax
        DONE
%endmacro
%macro OSXSAVE_ON 0
        REQUIRE 1, 0, ecx, 26
        mov     rax, cr4
        or      eax, CR4_OSXSAVE | CR4_OSFXSR
        mov     cr4, rax
        xor     ecx, ecx
        xor     edx, edx
        mov     eax, 3
        xsetbv
%endmacro

        section .data
        align 64
xarea:  times 4096 db 0
        section .text

main:
        ; --- EFER
        CASE    "efer-reads"                    ;= msr=d01
        mov     ecx, MSR_EFER
        rdmsr
        shl     rdx, 32
        or      rax, rdx
        OUT     "msr", rax
        DONE
        WRMSR_GP "gp.efer-reserved-bit", MSR_EFER, 0, EFER_LME | EFER_SCE | EFER_NXE | 2       ;= #1 vec=d err=0 ip=+0
        WRMSR_GP "gp.efer-high", MSR_EFER, 1, EFER_LME | EFER_SCE | EFER_NXE    ;= #1 vec=d err=0 ip=+0
        WRMSR_GP "gp.efer-clear-lme-in-long-mode", MSR_EFER, 0, EFER_SCE | EFER_NXE     ;= #1 vec=d err=0 ip=+0
        CASE    "efer-lma-write-ignored"        ;= msr=d01
        mov     ecx, MSR_EFER
        xor     edx, edx
        mov     eax, EFER_LME | EFER_SCE | EFER_NXE     ; LMA clear
        wrmsr
        rdmsr
        OUT     "msr", rax
        DONE

        ; --- canonical addresses. KVM checks for what the host's processor could have, which may be 57 bits, so these are wrong then too
        WRMSR_GP "gp.lstar", MSR_LSTAR, 0x1000000, 0            ;= #1 vec=d err=0 ip=+0
        WRMSR_GP "gp.cstar", MSR_CSTAR, 0x1000000, 0            ;= #1 vec=d err=0 ip=+0
        WRMSR_GP "gp.kernel-gs-base", MSR_KERNEL_GS_BASE, 0x80000000, 0 ;= #1 vec=d err=0 ip=+0
        WRMSR_GP "gp.gs-base", MSR_GS_BASE, 0xfeffffff, 0       ;= #1 vec=d err=0 ip=+0
        WRMSR_GP "gp.sysenter-esp", MSR_SYSENTER_ESP, 0x1000000, 0      ;= #1 vec=d err=0 ip=+0
        WRMSR_GP "gp.sysenter-eip", MSR_SYSENTER_EIP, 0x1000000, 0      ;= #1 vec=d err=0 ip=+0
        WRMSR_GP "gp.tsc-aux-high", MSR_TSC_AUX, 1, 0           ;= #1 vec=d err=0 ip=+0
        HOLDS   "lstar", MSR_LSTAR, 0xffff8000, 0x12345678      ;= msr=ffff800012345678
        HOLDS   "star", MSR_STAR, 0x12345678, 0x9abcdef0        ;= msr=123456789abcdef0
        HOLDS   "sfmask", MSR_SFMASK, 0, 0x47700                ;= msr=47700
        HOLDS   "kernel-gs-base", MSR_KERNEL_GS_BASE, 0xffffffff, 0x80000000    ;= msr=ffffffff80000000
        HOLDS   "sysenter-eip-64-bits", MSR_SYSENTER_EIP, 0xffff8000, 0x1000    ;= msr=ffff800000001000
        CASE    "fs-base-is-used"               ;= ax=5a
        WRMSR_  MSR_FS_BASE, 0, scratch
        mov     dword [scratch + 8], 0x5a
        mov     eax, [fs:8]
        OUT     "ax", rax
        DONE
        CASE    "tsc-aux-rdtscp"                ;= cx=12345678
        REQUIRE 0x80000001, 0, edx, 27
        WRMSR_  MSR_TSC_AUX, 0, 0x12345678
        rdtscp
        OUT     "cx", rcx
        DONE
        CASE    "rdpid"                         ;= cx=12345678
        REQUIRE 7, 0, ecx, 22
        WRMSR_  MSR_TSC_AUX, 0, 0x12345678
        rdpid   rcx
        OUT     "cx", rcx
        DONE
        CASE    "tsc-goes-up"                   ;= up=1
        rdtsc
        shl     rdx, 32
        or      rax, rdx
        mov     rbx, rax
        mov     ecx, 1000
.l:     loop    .l
        rdtsc
        shl     rdx, 32
        or      rax, rdx
        cmp     rax, rbx
        seta    al
        movzx   eax, al
        OUT     "up", rax
        DONE
        CASE    "tsc-is-writable"               ;= near=1
        mov     ecx, MSR_TSC
        rdmsr
        mov     [scratch], eax
        mov     [scratch + 4], edx
        mov     ecx, MSR_TSC
        mov     edx, 0x1000
        xor     eax, eax
        wrmsr
        rdtsc
        cmp     edx, 0x1000
        sete    bl
        movzx   ebx, bl
        mov     edx, [scratch + 4]
        mov     eax, [scratch]
        mov     ecx, MSR_TSC
        wrmsr
        OUT     "near", rbx
        DONE
        CASE    "rdtsc-and-msr-agree"           ;= ok=1
        rdtsc
        shl     rdx, 32
        or      rax, rdx
        mov     rbx, rax
        mov     ecx, MSR_TSC
        rdmsr
        shl     rdx, 32
        or      rax, rdx
        cmp     rax, rbx
        setae   al
        movzx   eax, al
        OUT     "ok", rax
        DONE

        ; --- unknown ones
        RDMSR_GP "gp.rdmsr-unknown", 0x4b564dff                 ;= #1 vec=d err=0 ip=+0
        RDMSR_GP "gp.rdmsr-unknown-high", 0xc0001fff            ;= #1 vec=d err=0 ip=+0
        WRMSR_GP "gp.wrmsr-unknown", 0xc0001fff, 0, 0           ;= #1 vec=d err=0 ip=+0
        CASE    "gp.rdpmc-ring3"                ;= #1 vec=d err=0 ip=+0 cs=2b
        USER
        xor     ecx, ecx
 T      rdpmc
        DONE
        CASE    "gp.rdmsr-ring3"                ;= #1 vec=d err=0 ip=+0 cs=2b
        USER
        mov     ecx, MSR_TSC
 T      rdmsr
        DONE

        ; --- PAT, MTRR
        HOLDS   "pat", MSR_PAT, 0x00070106, 0x04050607          ;= msr=7010604050607
        WRMSR_GP "gp.pat-type-2", MSR_PAT, 0x00070106, 0x00070206       ;= #1 vec=d err=0 ip=+0
        WRMSR_GP "gp.pat-type-3", MSR_PAT, 0x03070106, 0x00070106       ;= #1 vec=d err=0 ip=+0
        WRMSR_GP "gp.pat-type-8", MSR_PAT, 0x00070106, 0x00070806       ;= #1 vec=d err=0 ip=+0
        HOLDS   "mtrr-def-type", 0x2ff, 0, 0xc06                ;= msr=c06
        WRMSR_GP "gp.mtrr-def-type-2", 0x2ff, 0, 0xc02          ;= #1 vec=d err=0 ip=+0
        WRMSR_GP "gp.mtrr-def-reserved", 0x2ff, 0, 0x1c06       ;= #1 vec=d err=0 ip=+0
        WRMSR_GP "gp.mtrrcap-read-only", 0xfe, 0, 0             ;= #1 vec=d err=0 ip=+0
        HOLDS   "mtrr-fix64k", 0x250, 0x06060606, 0x06060606    ;= msr=606060606060606
        WRMSR_GP "gp.mtrr-fix64k-type-2", 0x250, 0, 2           ;= #1 vec=d err=0 ip=+0
        HOLDS   "mtrr-physbase0", 0x200, 0, 0xc0000000          ;= msr=c0000000
        WRMSR_GP "gp.mtrr-physbase0-type", 0x200, 0, 0xc0000007 ;= #1 vec=d err=0 ip=+0
        CASE    "mtrrcap"                       ;= fix=100 some=1
        mov     ecx, 0xfe
        rdmsr
        mov     ebx, eax
        and     ebx, 0x100
        OUT     "fix", rbx
        and     eax, 0xff
        cmp     eax, 7                          ; eight variable ranges or more
        seta    al
        movzx   eax, al
        OUT     "some", rax
        DONE

        ; --- APIC_BASE
        CASE    "apic-base"                     ;= msr=fee00900
        mov     ecx, MSR_APIC_BASE
        rdmsr
        shl     rdx, 32
        or      rax, rdx
        OUT     "msr", rax
        DONE
        WRMSR_GP "gp.apic-base-reserved", MSR_APIC_BASE, 0, 0xfee00901  ;= #1 vec=d err=0 ip=+0
        WRMSR_GP "gp.apic-base-extd-without-en", MSR_APIC_BASE, 0, 0xfee00500   ;= #1 vec=d err=0 ip=+0

        ; --- CR4
%ifndef FOR_QEMU
        CR4_GP  "gp.cr4-reserved-bit-31", 1 << 31               ;= #1 vec=d err=0 ip=+0
%endif
%ifndef FOR_QEMU
        CR4_GP  "gp.cr4-reserved-bit-15", 1 << 15               ;= #1 vec=d err=0 ip=+0
%endif
        CR4_GP  "gp.cr4-la57-in-long-mode", 1 << 12             ;= #1 vec=d err=0 ip=+0
        CASE    "cr4-holds"                     ;= cr4=6bc
        mov     eax, CR4_TSD | CR4_DE | CR4_PSE | CR4_PAE | CR4_PGE | CR4_OSFXSR | CR4_OSXMMEXCPT
        mov     cr4, rax
        mov     rax, cr4
        OUT     "cr4", rax
        DONE

        ; --- XCR0 and XSAVE
        CASE    "gp.xsetbv-without-x87"         ;= #1 vec=d err=0 ip=+0
        OSXSAVE_ON
        xor     ecx, ecx
        xor     edx, edx
        mov     eax, 2
 T      xsetbv
        DONE
        CASE    "gp.xsetbv-avx-without-sse"     ;= #1 vec=d err=0 ip=+0
        OSXSAVE_ON
        xor     ecx, ecx
        xor     edx, edx
        mov     eax, 5
 T      xsetbv
        DONE
        CASE    "gp.xsetbv-reserved"            ;= #1 vec=d err=0 ip=+0
        OSXSAVE_ON
        xor     ecx, ecx
        mov     edx, 0x40000000
        mov     eax, 3
 T      xsetbv
        DONE
        CASE    "gp.xsetbv-xcr1"                ;= #1 vec=d err=0 ip=+0
        OSXSAVE_ON
        mov     ecx, 1
        xor     edx, edx
        mov     eax, 3
 T      xsetbv
        DONE
        CASE    "gp.xsetbv-ring3"               ;= #1 vec=d err=0 ip=+0 cs=2b
        OSXSAVE_ON
        USER
        xor     ecx, ecx
        xor     edx, edx
        mov     eax, 3
 T      xsetbv
        DONE
        CASE    "gp.xgetbv-bad-index"           ;= #1 vec=d err=0 ip=+0
        OSXSAVE_ON
        mov     ecx, 0x12
 T      xgetbv
        DONE
        CASE    "xgetbv"                        ;= ax=3 dx=0
        OSXSAVE_ON
        xor     ecx, ecx
        xgetbv
        OUT     "ax", rax
        OUT     "dx", rdx
        DONE
        CASE    "osxsave-in-cpuid"              ;= off=0 on=1
        REQUIRE 1, 0, ecx, 26
        mov     eax, 1
        cpuid
        shr     ecx, 27
        and     ecx, 1
        OUT     "off", rcx
        OSXSAVE_ON
        mov     eax, 1
        cpuid
        shr     ecx, 27
        and     ecx, 1
        OUT     "on", rcx
        DONE
        CASE    "gp.xsave-unaligned"            ;= #1 vec=d err=0 ip=+0
        OSXSAVE_ON
        mov     eax, 3
        xor     edx, edx
 T      xsave   [xarea + 16]
        DONE
        CASE    "gp.xrstor-xstate-bv-reserved"  ;= #1 vec=d err=0 ip=+0
        OSXSAVE_ON
        mov     eax, 3
        xor     edx, edx
        xsave   [xarea]
        mov     dword [xarea + 516], 0x10000    ; a component that XCR0 has not
 T      xrstor  [xarea]
        AFTER
        mov     edi, xarea
        mov     ecx, 1024
        xor     eax, eax
        rep stosd
        DONE
        CASE    "gp.xrstor-header-reserved"     ;= #1 vec=d err=0 ip=+0
        OSXSAVE_ON
        mov     eax, 3
        xor     edx, edx
        xsave   [xarea]
        mov     dword [xarea + 528], 1          ; byte 16 of the header
 T      xrstor  [xarea]
        AFTER
        mov     edi, xarea
        mov     ecx, 1024
        xor     eax, eax
        rep stosd
        DONE
        CASE    "gp.xrstor-mxcsr"               ;= #1 vec=d err=0 ip=+0
        OSXSAVE_ON
        mov     eax, 3
        xor     edx, edx
        xsave   [xarea]
        or      dword [xarea + 24], 0x80000000
 T      xrstor  [xarea]
        AFTER
        mov     edi, xarea
        mov     ecx, 1024
        xor     eax, eax
        rep stosd
        DONE
        CASE    "nm.xsave-ts"                   ;= #1 vec=7 ip=+0
        OSXSAVE_ON
        mov     rax, cr0
        or      eax, CR0_TS
        mov     cr0, rax
        mov     eax, 3
        xor     edx, edx
 T      xsave   [xarea]
        DONE
        CASE    "xsave-init-then-used"          ;= bv=2
        OSXSAVE_ON
        mov     edi, xarea
        mov     ecx, 1024
        xor     eax, eax
        rep stosd
        pcmpeqd xmm3, xmm3
        mov     eax, 2
        xor     edx, edx
        xsave   [xarea]
        mov     eax, [xarea + 512]
        and     eax, 2
        OUT     "bv", rax
        DONE
        CASE    "xrstor-init"                   ;= lo=0
        OSXSAVE_ON
        mov     edi, xarea
        mov     ecx, 1024
        xor     eax, eax
        rep stosd
        mov     dword [xarea + 24], 0x1f80
        pcmpeqd xmm3, xmm3
        mov     eax, 2                          ; XSTATE_BV is 0: SSE goes to its initial state
        xor     edx, edx
        xrstor  [xarea]
        movq    rax, xmm3
        OUT     "lo", rax
        DONE
        CASE    "ud.xsave-osxsave-clear"        ;= #1 vec=6 ip=+0
 T      xsave   [xarea]
        DONE
        CASE    "nm.avx-ts"                     ;= #1 vec=7 ip=+0
        REQUIRE 1, 0, ecx, 28
        OSXSAVE_ON
        xor     ecx, ecx
        xor     edx, edx
        mov     eax, 7
        xsetbv
        mov     rax, cr0
        or      eax, CR0_TS
        mov     cr0, rax
 T      vmovaps ymm0, ymm1
        DONE
        CASE    "ud.avx-xcr0-without-ymm"       ;= #1 vec=6 ip=+0
        REQUIRE 1, 0, ecx, 28
        OSXSAVE_ON
 T      vmovaps ymm0, ymm1
        DONE
        CASE    "gp.fxsave64-unaligned"         ;= #1 vec=d err=0 ip=+0
        mov     rax, cr4
        or      eax, CR4_OSFXSR
        mov     cr4, rax
 T      fxsave64 [xarea + 8]
        DONE
        ret
