; SPDX-License-Identifier: Apache-2.0
; What must not change when a VM is saved under one accelerator and goes on under another: each case fills the registers, says
; '?' on the serial port, waits there for a byte, and looks whether all is as it was. For tests/guest/save/run.
;! cpus: 1
%define HOME 64
%include "rt.inc"
%include "irq.inc"
%include "meet.inc"

MSR_STEAL_TIME equ 0x4b564d03           ; KVM's
MSR_PV_EOI  equ 0x4b564d04

        section .text
        bits 64
%macro FILL 0                           ; registers that no case needs otherwise
        mov     rbx, 0x1111111122222222
        mov     rcx, 0x3333333344444444
        mov     rsi, 0x5555555566666666
        mov     rdi, 0x7777777788888888
        mov     r8, 0x0123456789abcdef
        mov     r9, 0xfedcba9876543210
        mov     r10, 0x9999999999999999
        mov     r14, 0xeeeeeeeeeeeeeeee
%endmacro
%macro SUM 0                            ; of them, into rax
        mov     rax, rbx
        rol     rax, 1
        add     rax, rcx
        rol     rax, 1
        add     rax, rsi
        rol     rax, 1
        add     rax, rdi
        rol     rax, 1
        add     rax, r8
        rol     rax, 1
        add     rax, r9
        rol     rax, 1
        add     rax, r10
        rol     rax, 1
        add     rax, r14
%endmacro

%macro SHOW_MSR 2
        mov     ecx, %2
        rdmsr
        shl     rdx, 32
        or      rax, rdx
        OUT     %1, rax
%endmacro
self_nmi:
        mov     r15d, LAPIC_ID
        mov     eax, [r15]
        PUT32   LAPIC_ICR2, eax
        PUT32   LAPIC_ICR, ICR_NMI | ICR_ASSERT
        ret
nmi_hook:                               ; in the first: another comes, and waits until this one returns
        cmp     dword [rbp + fr.vec], NMI
        jne     .fault
        cmp     dword [n_events], 1
        jne     .done
        MEET
        call    self_nmi
        mov     ecx, 100000
.while: pause
        loop    .while
        mov     eax, [n_events]
        mov     [scratch], rax
.done:  clc
        ret
.fault: stc
        ret
nmi_waits_hook:                         ; likewise, and it waits already where the first is saved
        cmp     dword [rbp + fr.vec], NMI
        jne     .fault
        cmp     dword [n_events], 1
        jne     .done
        call    self_nmi
        MEET
        mov     eax, [n_events]
        mov     [scratch], rax
.done:  clc
        ret
.fault: stc
        ret
; The timer's interrupt meets in place of a program, which may not use ports.
tick:   push    rax
        push    rdx
        mov     al, 0x20
        out     0x20, al
        cmp     dword [scratch + 32], 0
        jne     .said
        mov     dword [scratch + 32], 1
        mov     edx, 0x3f8
        mov     al, '?'
        out     dx, al
.said:  mov     edx, 0x3fd
        in      al, dx
        test    al, 1
        jz      .end
        mov     edx, 0x3f8
        in      al, dx
        mov     dword [scratch + 40], 1
.end:   pop     rdx
        pop     rax
        iretq
plain_hook:
        cmp     dword [rbp + fr.vec], 32
        jb      .fault
        UART_IRQ_OFF
        clc
        ret
.fault: stc
        ret
eoi_hook:
        cmp     dword [rbp + fr.vec], 32
        jb      .fault
        PUT32   LAPIC_EOI, 0
        clc
        ret
.fault: stc
        ret
await:                                  ; ecx events, interrupts on meanwhile
        mov     edx, 200000000
        sti
.again: cmp     [n_events], ecx
        jae     .there
        pause
        dec     edx
        jnz     .again
.there: cli
        ret

main:
        CASE    "registers"             ;= same=1 df=400
        FILL
        SUM
        mov     [scratch], rax
        std
        MEET
        pushfq
        pop     r11
        cld
        SUM
        xor     ebx, ebx
        cmp     rax, [scratch]
        sete    bl
        OUT     "same", rbx
        and     r11d, FL_DF
        OUT     "df", r11
        DONE
        CASE    "system-registers"      ;= fs=123456789000 gs=abcdef000 kgs=77777000 star=1b00080000beef lstar=123400 mask=3f7fd5 dr0=1000 dr7=400 cr8=5 pat=7010600070106
        WRMSR_  0xc0000100, 0x1234, 0x56789000
        WRMSR_  0xc0000101, 0xa, 0xbcdef000
        WRMSR_  0xc0000102, 0, 0x77777000
        WRMSR_  0xc0000081, 0x1b0008, 0xbeef
        WRMSR_  0xc0000082, 0, 0x123400
        WRMSR_  0xc0000084, 0, 0x3f7fd5
        WRMSR_  0x277, 0x00070106, 0x00070106
        mov     eax, 0x1000
        mov     dr0, rax
        mov     eax, 5
        mov     cr8, rax
        MEET
        SHOW_MSR "fs", 0xc0000100
        SHOW_MSR "gs", 0xc0000101
        SHOW_MSR "kgs", 0xc0000102
        SHOW_MSR "star", 0xc0000081
        SHOW_MSR "lstar", 0xc0000082
        SHOW_MSR "mask", 0xc0000084
        mov     rax, dr0
        OUT     "dr0", rax
        mov     rax, dr7
        OUT     "dr7", rax
        mov     rax, cr8
        OUT     "cr8", rax
        SHOW_MSR "pat", 0x277
        AFTER
        xor     eax, eax
        mov     cr8, rax
        WRMSR_  0xc0000100, 0, 0
        WRMSR_  0xc0000101, 0, 0
        WRMSR_  0x277, 0x00070406, 0x00070406
        DONE
        CASE    "fpu"                   ;= cw=27f tag=c90fdaa22168c235 exp=4000
        fninit
        mov     word [scratch], 0x27f
        fldcw   [scratch]
        fld1
        fldpi
        MEET
        fnstcw  [scratch]
        movzx   eax, word [scratch]
        OUT     "cw", rax
        fstp    tword [scratch]
        movzx   eax, word [scratch + 8]
        OUT     "exp", rax
        mov     rax, [scratch]
        OUT     "tag", rax
        DONE
        CASE    "avx"                   ;= low=1111111122222222 high=5555555566666666 last=7777777788888888 mxcsr=1fa0
        REQUIRE 1, 0, ecx, 28
        mov     rax, cr4
        or      eax, CR4_OSFXSR | CR4_OSXSAVE
        mov     cr4, rax
        xor     ecx, ecx
        xor     edx, edx
        mov     eax, 7
        xsetbv
        FILL
        mov     [scratch], rbx
        mov     [scratch + 8], rcx
        mov     [scratch + 16], rsi
        mov     [scratch + 24], rdi
        vmovdqu ymm0, [scratch]
        vmovdqa ymm15, ymm0
        mov     dword [scratch + 64], 0x1fa0
        ldmxcsr [scratch + 64]
        vpxor   ymm7, ymm7, ymm7
        MEET
        vpaddq  ymm8, ymm15, ymm7
        vmovdqu [scratch + 128], ymm8
        vmovdqu [scratch + 160], ymm0
        stmxcsr [scratch + 64]
        vzeroupper
        OUT     "low", [scratch + 160]
        OUT     "high", [scratch + 144]
        OUT     "last", [scratch + 152]
        mov     eax, [scratch + 64]
        OUT     "mxcsr", rax
        DONE
        CASE    "interrupt-pending"     ;= #1 vec=56 / before=0
        PUT32   LAPIC_SVR, 0x1ff
        mov     dword [case_hook], eoi_hook
        PUT32   LAPIC_ICR, ICR_SELF | ICR_ASSERT | 0x56
        MEET
        mov     eax, [n_events]
        OUT     "before", rax
        mov     ecx, 1
        call    await
        DONE
        CASE    "timer-under-way"       ;= #1 vec=57
        PUT32   LAPIC_SVR, 0x1ff
        mov     dword [case_hook], eoi_hook
        PUT32   TIMER_DCR, 0xb
        PUT32   LVT_TIMER, 0x57
        PUT32   TIMER_INIT, 2000000000
        MEET
        mov     ecx, 1
        call    await
        DONE
        CASE    "level-in-service"      ;= #1 vec=54 / remote=1 after=0
        PUT32   LAPIC_SVR, 0x1ff
        PUT32   IOAPIC, REDIR(4) + 1
        PUT32   IOWIN, 0
        PUT32   IOAPIC, REDIR(4)
        PUT32   IOWIN, 0x54 | 1 << 15
        mov     dword [case_hook], plain_hook
        UART_IRQ_ON
        mov     ecx, 1
        call    await                   ; without its end
        UART_IRQ_OFF
        MEET
        PUT32   IOAPIC, REDIR(4)
        mov     r15d, IOWIN
        mov     eax, [r15]
        shr     eax, 14
        and     eax, 1
        OUT     "remote", rax
        PUT32   LAPIC_EOI, 0
        mov     r15d, IOWIN
        mov     ecx, 100000             ; it hears of it soon
.hears: mov     eax, [r15]
        test    eax, 1 << 14
        loopnz  .hears
        shr     eax, 14
        and     eax, 1
        OUT     "after", rax
        PUT32   IOWIN, LVT_MASKED
        DONE
        CASE    "nmi-blocked"           ;= #1 vec=2 / #2 vec=2 / between=1
        PUT32   LAPIC_SVR, 0x1ff
        mov     dword [case_hook], nmi_hook
        call    self_nmi
        mov     ecx, 100000000
.first: cmp     qword [scratch], 0      ; the handler's end
        loope   .first
        mov     eax, [scratch]
        OUT     "between", rax
        mov     ecx, 2
        call    await
        DONE
        CASE    "nmi-waits"             ;= #1 vec=2 / #2 vec=2 / between=1
        PUT32   LAPIC_SVR, 0x1ff
        mov     dword [case_hook], nmi_waits_hook
        call    self_nmi
        mov     ecx, 2
        call    await
        mov     eax, [scratch]
        OUT     "between", rax
        DONE
        CASE    "paravirtual"           ;= steal=400001 eoi=400101 preempted=0 odd=0
        WRMSR_  MSR_STEAL_TIME, 0, PAGE_AREA | 1
        WRMSR_  MSR_PV_EOI, 0, (PAGE_AREA + 0x100) | 1
        mov     byte [PAGE_AREA + 16], 1
        MEET
        SHOW_MSR "steal", MSR_STEAL_TIME
        SHOW_MSR "eoi", MSR_PV_EOI
        movzx   eax, byte [PAGE_AREA + 16]
        OUT     "preempted", rax        ; it runs
        mov     eax, [PAGE_AREA + 8]
        and     eax, 1
        OUT     "odd", rax
        WRMSR_  MSR_STEAL_TIME, 0, 0
        WRMSR_  MSR_PV_EOI, 0, 0
        DONE
        CASE    "ring-3"                ;= #1 vec=d cs=2b / same=1
        FILL
        SUM
        mov     [scratch], rax
        GATE    IDT(0x20), CODE0, tick, 0x8e00
        PUT32   LAPIC_SVR, 0x1ff
        PUT32   LVT_LINT0, 0x700
        PIT0    2, 11932
        IMR     0xfe, 0xff
        USER    FL_IF | 2
.spin:  cmp     dword [scratch + 40], 0
        je      .spin
        SUM
        mov     [scratch + 8], rax
        hlt                             ; faults, and ends the case
        AFTER
        IMR     0xff, 0xff
        PIT0_QUIET
        PUT32   LVT_LINT0, LVT_MASKED
        mov     rax, [scratch]
        xor     ebx, ebx
        cmp     rax, [scratch + 8]
        sete    bl
        OUT     "same", rbx
        DONE
        CASE    "compatibility"         ;= bx=22222222 si=66666666 cs=38
        FILL
        COMPAT
        MEET
        mov     [scratch], ebx
        mov     [scratch + 4], esi
        mov     [scratch + 8], cs
        AFTER
        mov     eax, [scratch]
        OUT     "bx", rax
        mov     eax, [scratch + 4]
        OUT     "si", rax
        movzx   eax, word [scratch + 8]
        OUT     "cs", rax
        DONE
        ret
