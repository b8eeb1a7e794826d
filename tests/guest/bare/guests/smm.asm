; SPDX-License-Identifier: Apache-2.0
; System Management Mode: the state that it begins with, what is saved of protected and real mode and comes back, what is held meanwhile,
; who sees SMRAM. AMD64 Architecture Programmer's Manual vol. 2, chapter 10; Intel SDM vol. 3, chapter 33.
;! skerry-args: --smm
;! qemu-machine: q35,smm=on
;! kvm: none
;! bochs: none (another chipset)
%define HOME 32
%include "rt.inc"
%include "irq.inc"
%include "smm.inc"

TSEG        equ 0x3f00000               ; the last MiB of 64

        section .low
        bits 16
smm_write_tseg:
        mov     dword [dword TSEG + 0x40], 0x87654321
        mov     eax, [dword TSEG + 0x40]
        mov     [smm_data], eax
        ret
smm_change:                             ; EAX of who was interrupted
        mov     dword [esi + SA_RAX], 0x77
        ret
smm_nmi:
        mov     dword [dword LAPIC_ICR], ICR_SELF | ICR_NMI | ICR_ASSERT
        jmp     smm_wait
smm_ipi:
        mov     dword [dword LAPIC_ICR], ICR_SELF | ICR_ASSERT | 0x60
smm_wait:
        mov     ecx, 1000
.l:     dec     ecx
        jnz     .l
        mov     eax, [dword n_events]
        mov     [smm_data], eax
        ret
smm_again:                              ; another SMI, in SMM
        mov     word [smm_action], 0
        out     APM_CNT, al
        jmp     .next
.next:  mov     eax, [smm_count]
        mov     [smm_data], eax
        ret

; The real mode of a case.
real_code:
        mov     eax, cr0
        and     al, ~1
        mov     cr0, eax
        jmp     0:.real
.real:  xor     ax, ax
        mov     ds, ax
        mov     ss, ax
        mov     ax, 0x1234
        mov     es, ax
        mov     ebx, 0x11112222
        out     APM_CNT, al
.after: jmp     .next
.next:  mov     [smm_data], ebx
        mov     eax, cr0
        mov     [smm_more], eax
        or      al, 1
        mov     cr0, eax
        jmp     dword CODE0:real_back

        section .text
        bits 32
real_back:
        mov     ax, DATA0
        mov     ds, ax
        mov     es, ax
        mov     ss, ax
        mov     esp, 0x7000
        int     HOMEWARD

main:
        call    smm_setup
        CASE    "relocated"                     ;= count=1
        OUT     "count", [smm_count]
        DONE
        CASE    "entry"                         ;= cs=a000 cr0=32 cr4=0 efer=0 dr7=400 fl=2
        mov     eax, 0x12345
        mov     dr0, eax
        mov     eax, 0x401
        mov     dr7, eax
        mov     eax, cr0
        or      eax, CR0_TS | CR0_MP
        mov     cr0, eax
        stc
        SMI
        AFTER
        OUT     "cs", [smm_cs]
        OUT     "cr0", [smm_cr0]
        OUT     "cr4", [smm_cr4]
        OUT     "efer", [smm_efer]
        OUT     "dr7", [smm_dr7]
        OUT     "fl", [smm_fl]
        DONE
        CASE    "saved.protected"               ;= rev=20064 smbase=a0000 ip=1 cs=c09b0008 ss=c0930010 lim=ffffffff bx=11111111 cr0=31 fl=3 gdt=1 gl=ff tr=8b0050 tl=67 halt=0
        mov     ebx, 0x11111111
        stc
        SMI
        AFTER
        OUT     "rev", [SAVED + SA_REVISION]
        OUT     "smbase", [SAVED + SA_SMBASE]
        OUT_RIP "ip"
        OUT     "cs", [SAVED + SA_CS]
        OUT     "ss", [SAVED + SA_SS]
        OUT     "lim", [SAVED + SA_CS + 4]
        OUT     "bx", [SAVED + SA_RBX]
        OUT     "cr0", [SAVED + SA_CR0]
        mov     eax, [SAVED + SA_RFLAGS]
        and     eax, 0xff & ~0x54               ; CF and what is always 1: what was tested before is nobody's
        OUT     "fl", eax
        xor     ebx, ebx
        cmp     dword [SAVED + SA_GDTR + 8], gdt
        sete    bl
        OUT     "gdt", ebx
        OUT     "gl", [SAVED + SA_GDTR + 4]
        OUT     "tr", [SAVED + SA_TR]
        OUT     "tl", [SAVED + SA_TR + 4]
        movzx   eax, byte [SAVED + SA_HALT]
        OUT     "halt", eax
        DONE
        CASE    "back.protected"                ;= bx=1111 cx=2222 si=3333 di=4444 bp=5555 cf=1 dr7=401 cr0=39
        mov     eax, 0x12345
        mov     dr0, eax
        mov     eax, 0x401
        mov     dr7, eax
        mov     eax, cr0
        or      eax, CR0_TS
        mov     cr0, eax
        mov     ebx, 0x1111
        mov     ecx, 0x2222
        mov     esi, 0x3333
        mov     edi, 0x4444
        mov     ebp, 0x5555
        stc
        SMI
        setc    al
        movzx   eax, al
        OUT     "bx", ebx
        OUT     "cx", ecx
        OUT     "si", esi
        OUT     "di", edi
        OUT     "bp", ebp
        OUT     "cf", eax
        mov     eax, dr7
        OUT     "dr7", eax
        mov     eax, cr0
        OUT     "cr0", eax
        DONE
        CASE    "user"                          ;= cs=c0fb001b ss=c0f30023 back=1b
        USER    2 | FL_IOPL3
        SMI
        mov     [smm_data], cs
        AFTER
        OUT     "cs", [SAVED + SA_CS]
        OUT     "ss", [SAVED + SA_SS]
        movzx   eax, word [smm_data]
        OUT     "back", eax
        DONE
        CASE    "real"                          ;= cs=0 base=0 es=12340 cr0=30 ip=1 bx=11112222 now=30
        mov     dword [smm_data], 0
        jmp     CODE16:real_code
        AFTER
        movzx   eax, word [SAVED + SA_CS]
        OUT     "cs", eax
        OUT     "base", [SAVED + SA_CS + 8]
        OUT     "es", [SAVED + SA_ES + 8]
        OUT     "cr0", [SAVED + SA_CR0]
        xor     ebx, ebx
        mov     eax, [SAVED + SA_RIP]
        cmp     eax, real_code.after
        sete    bl
        cmp     eax, real_code.next
        sete    cl
        or      bl, cl
        OUT     "ip", ebx
        OUT     "bx", [smm_data]
        OUT     "now", [smm_more]
        DONE
        CASE    "changed"                       ;= ax=77
        ACTION  smm_change
        SMI
        OUT     "ax", eax
        AFTER
        ACTION  0
        DONE
        CASE    "rsm-outside"                   ;= #1 vec=6 ip=+0
 T      rsm
        DONE
        CASE    "smram.closed"                  ;= first=ffffffff in=12345678 out=ffffffff open=12345678
        mov     eax, [SMRAM + 0x9000]
        OUT     "first", eax
        ACTION  smm_write
        SMI
        OUT     "in", [smm_data]
        mov     dword [SMRAM + 0x9000], 0x5555
        mov     eax, [SMRAM + 0x9000]
        OUT     "out", eax
        MCH_PUT MCH_SMRAM, SMRAM_OPEN
        mov     eax, [SMRAM + 0x9000]
        OUT     "open", eax
        MCH_PUT MCH_SMRAM, SMRAM_CLOSED
        AFTER
        ACTION  0
        DONE
        CASE    "smram.string"                  ;= cx=0 a=ffffffff b=12345678
        mov     edi, SMRAM + 0x9000
        mov     ecx, 64
        mov     eax, 0x66666666
        rep stosd
        OUT     "cx", ecx
        lock inc dword [SMRAM + 0x9000]
        mov     eax, [SMRAM + 0x9000]
        OUT     "a", eax
        MCH_PUT MCH_SMRAM, SMRAM_OPEN
        mov     eax, [SMRAM + 0x9000]
        OUT     "b", eax
        MCH_PUT MCH_SMRAM, SMRAM_CLOSED
        DONE
        CASE    "tseg"                          ;= before=13579bdf hidden=ffffffff in=87654321 out=ffffffff beside=2468ace after=87654321
        mov     dword [TSEG + 0x40], 0x13579bdf
        mov     dword [TSEG - 4], 0x2468ace
        mov     eax, [TSEG + 0x40]
        OUT     "before", eax
        MCH_PUT MCH_ESMRAMC, 0x39               ; 1 MiB
        mov     eax, [TSEG + 0x40]
        OUT     "hidden", eax
        ACTION  smm_write_tseg
        SMI
        OUT     "in", [smm_data]
        mov     dword [TSEG + 0x40], 0
        mov     eax, [TSEG + 0x40]
        OUT     "out", eax
        mov     eax, [TSEG - 4]
        OUT     "beside", eax
        MCH_PUT MCH_ESMRAMC, 0x38
        mov     eax, [TSEG + 0x40]
        OUT     "after", eax
        AFTER
        ACTION  0
        DONE
        CASE    "dma"                           ;= error=1 kept=12345678
        ; fw_cfg's item 0, "QEMU", by DMA into SMRAM
        mov     dword [scratch], 0x0a000000     ; big-endian: select 0 (in the upper half), read
        mov     byte [scratch + 0], 0
        mov     byte [scratch + 1], 0
        mov     byte [scratch + 2], 0
        mov     byte [scratch + 3], 0x0a
        mov     dword [scratch + 4], 0x04000000
        mov     dword [scratch + 8], 0
        mov     eax, SMRAM + 0x9000
        bswap   eax
        mov     [scratch + 12], eax
        mov     edx, 0x514
        xor     eax, eax
        out     dx, eax
        mov     edx, 0x518
        mov     eax, scratch
        bswap   eax
        out     dx, eax
        mov     eax, [scratch]
        bswap   eax
        OUT     "error", eax
        MCH_PUT MCH_SMRAM, SMRAM_OPEN
        mov     eax, [SMRAM + 0x9000]
        OUT     "kept", eax
        MCH_PUT MCH_SMRAM, SMRAM_CLOSED
        DONE
        CASE    "nmi-held"                      ;= #1 vec=2 / held=0
        APIC_ON
        ACTION  smm_nmi
        SMI
        AFTER
        OUT     "held", [smm_data]
        ACTION  0
        DONE
        CASE    "interrupt-held"                ;= #1 vec=60 / held=0
        APIC_ON
        ACTION  smm_ipi
        mov     dword [case_hook], .hook
        sti
        SMI
        cli
        jmp     .out
.hook:  mov     dword [LAPIC_EOI], 0
        clc
        ret
.out:   AFTER
        OUT     "held", [smm_data]
        ACTION  0
        DONE
        CASE    "smi-held"                      ;= inside=1 after=2
        mov     dword [smm_count], 0
        ACTION  smm_again
        SMI
        nop
        OUT     "inside", [smm_data]
        OUT     "after", [smm_count]
        AFTER
        ACTION  0
        DONE
        CASE    "disabled"                      ;= count=0
        mov     dword [smm_count], 0
        mov     edx, SMI_EN
        in      eax, dx
        mov     ebx, eax
        and     eax, ~0x20
        out     dx, eax
        SMI
        OUT     "count", [smm_count]
        mov     edx, SMI_EN
        mov     eax, ebx
        out     dx, eax
        DONE
        CASE    "locked"                        ;= lock=1a open=1a tseg=38 out=ffffffff count=1
        MCH_PUT MCH_SMRAM, SMRAM_LOCKED | 0x40  ; opens nothing
        MCH_GET MCH_SMRAM
        OUT     "lock", eax
        MCH_PUT MCH_SMRAM, SMRAM_OPEN
        MCH_GET MCH_SMRAM
        OUT     "open", eax
        MCH_PUT MCH_ESMRAMC, 0x39
        MCH_GET MCH_ESMRAMC
        OUT     "tseg", eax
        mov     eax, [SMRAM + 0x9000]
        OUT     "out", eax
        mov     dword [smm_count], 0
        SMI
        OUT     "count", [smm_count]
        DONE
        ret
