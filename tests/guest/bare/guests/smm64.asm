; SPDX-License-Identifier: Apache-2.0
; System Management Mode out of long mode and back. AMD64 Architecture Programmer's Manual vol. 2, chapter 10.
;! skerry-args: --smm
;! qemu-machine: q35,smm=on
;! kvm: none
;! bochs: none (another chipset)
%define HOME 64
%include "rt.inc"
%include "smm.inc"

main:
        call    smm_setup
        CASE    "entry"                         ;= cs=a000 cr0=30 cr4=0 efer=0 fl=2
        SMI
        AFTER
        OUT32   "cs", [smm_cs]
        OUT32   "cr0", [smm_cr0]
        OUT32   "cr4", [smm_cr4]
        OUT32   "efer", [smm_efer]
        OUT32   "fl", [smm_fl]
        DONE
        CASE    "saved"                         ;= rev=20064 smbase=a0000 ip=1 cs=a09b0008 r15=f00f00f00f00f00f bx=123456789abcdef0 cr0=80000031 cr3=340000 cr4=20 efer=d01
        mov     r15, 0xf00f00f00f00f00f
        mov     rbx, 0x123456789abcdef0
        SMI
        AFTER
        OUT32   "rev", [SAVED + SA_REVISION]
        OUT32   "smbase", [SAVED + SA_SMBASE]
        OUT_RIP "ip"
        OUT32   "cs", [SAVED + SA_CS]
        OUT     "r15", [SAVED + SA_R15]
        OUT     "bx", [SAVED + SA_RBX]
        OUT     "cr0", [SAVED + SA_CR0]
        OUT     "cr3", [SAVED + SA_CR3]
        OUT     "cr4", [SAVED + SA_CR4]
        OUT     "efer", [SAVED + SA_EFER]
        DONE
        CASE    "back"                          ;= r8=8888888888888888 r9=9999999999999999 r15=f00f00f00f00f00f cr0=80000031 cr4=20 efer=d01 gs=123456789000
        WRMSR_  MSR_GS_BASE, 0x1234, 0x56789000
        mov     r8, 0x8888888888888888
        mov     r9, 0x9999999999999999
        mov     r15, 0xf00f00f00f00f00f
        SMI
        OUT     "r8", r8
        OUT     "r9", r9
        OUT     "r15", r15
        mov     rax, cr0
        OUT     "cr0", rax
        mov     rax, cr4
        OUT     "cr4", rax
        mov     ecx, MSR_EFER
        rdmsr
        OUT32   "efer", eax
        mov     ecx, MSR_GS_BASE
        rdmsr
        shl     rdx, 32
        or      rax, rdx
        OUT     "gs", rax
        AFTER
        WRMSR_  MSR_GS_BASE, 0, 0
        DONE
        CASE    "user"                          ;= cs=a0fb002b back=2b
        USER    2 | FL_IOPL3
        SMI
        mov     eax, cs
        mov     [smm_data], eax
        AFTER
        OUT32   "cs", [SAVED + SA_CS]
        OUT32   "back", [smm_data]
        DONE
        CASE    "compatibility"                 ;= cs=c09b0038 back=38
        COMPAT
        SMI
        mov     eax, cs
        mov     [smm_data], eax
        AFTER
        OUT32   "cs", [SAVED + SA_CS]
        OUT32   "back", [smm_data]
        DONE
        ; The same code before, after and with SMRAM closed: what was known of its pages is known no longer.
        CASE    "many"                          ;= count=3e8 sum=7a1200 smram=ffffffff
        mov     dword [smm_count], 0
        xor     r12d, r12d
        mov     r13d, 1000
.l:     out     APM_CNT, al
        jmp     .n
.n:     add     r12, [smm_count]
        mov     ecx, 15
.w:     add     r12, 500
        loop    .w
        dec     r13d
        jnz     .l
        OUT32   "count", [smm_count]
        sub     r12, 500500
        add     r12, 500000
        OUT     "sum", r12
        mov     eax, [SMRAM + 0x8000]
        OUT32   "smram", eax
        DONE
        ret
