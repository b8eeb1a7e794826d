; SPDX-License-Identifier: Apache-2.0
; Every way of an interrupt, page faults and breakpoints in 64-bit mode, with all the time in the world: interrupts are awaited,
; not expected within a few instructions, so that it is the same on every accelerator.
; Intel SDM vol. 3, 4.7, 6.12, 10, 17.2; IA-PC HPET specification 1.0a, 2.3.
;! qemu-machine: pc,hpet=on
;! qemu-args: -global hpet.msi=on
;! kvm: gate
%define HOME 64
%include "rt.inc"
%include "irq.inc"

HPET_CONFIG equ HPET + 0x10
HPET_COUNT  equ HPET + 0xf0
%define HPET_TIMER(n, reg) HPET + 0x100 + 0x20 * (n) + (reg)    ; 0 configuration, 8 comparator, 10 message
MSR_DEADLINE equ 0x6e0

        section .text
        bits 64
%macro ON 0                             ; the local APIC, with the 8259s by LINT0
        PUT32   LAPIC_SVR, 0x1ff
        PUT32   LVT_LINT0, 0x700
        PUT32   LVT_LINT1, LVT_MASKED
        PUT32   LVT_TIMER, LVT_MASKED
        PUT32   LAPIC_TPR, 0
        mov     dword [case_hook], eoi_hook
%endmacro
%macro ONLY_APIC 0
        ON
        PUT32   LVT_LINT0, LVT_MASKED
%endmacro
%macro PIN 2                            ; of the I/O APIC: number, low half (to this processor)
        PUT32   IOAPIC, REDIR(%1) + 1
        PUT32   IOWIN, 0
        PUT32   IOAPIC, REDIR(%1)
        PUT32   IOWIN, %2
%endmacro

eoi_hook:                               ; whoever has sent it; faults end the case
        mov     eax, [rbp + fr.vec]
        cmp     eax, NMI
        je      .done
        cmp     eax, 32
        jb      .fault
        cmp     eax, 0x30
        jae     .apic
        mov     al, 0x20
        out     0x20, al
        jmp     .done
.apic:  cmp     dword [rbp + fr.vec], 0x54
        jne     .end
        UART_IRQ_OFF                    ; the level's reason
.end:   PUT32   LAPIC_EOI, 0
.done:  clc
        ret
.fault: stc
        ret

await:                                  ; ecx events, interrupts on meanwhile
        mov     edx, 20000000
        sti
.again: cmp     [n_events], ecx
        jae     .there
        in      al, 0x61                ; leaves the guest: only then does a VMM hear of CR8 from some kernels
        dec     edx
        jnz     .again
.there: cli
        ret
quiet_hpet:
        mov     r15d, HPET_CONFIG
        mov     qword [r15], 0
        mov     r15d, HPET_TIMER(0, 0)
        mov     qword [r15], 0
        ret

main:
        CASE    "pic"                           ;= #1 vec=20
        ON
        IMR     0xfe, 0xff
        PIT0    0, 2000
        mov     ecx, 1
        call    await
        IMR     0xff, 0xff
        DONE
        CASE    "ioapic-edge"                   ;= #1 vec=52
        ONLY_APIC
        PIN     2, 0x52
        PIT0    0, 2000
        mov     ecx, 1
        call    await
        PIN     2, LVT_MASKED
        PIT0_QUIET
        DONE
        CASE    "msi"                           ;= #1 vec=55 / has=1
        ONLY_APIC
        call    quiet_hpet
        mov     r15d, HPET_TIMER(0, 0)
        mov     eax, [r15]
        shr     eax, 15                         ; it can send messages
        and     eax, 1
        OUT     "has", rax
        mov     r15d, HPET_COUNT
        mov     qword [r15], 0
        mov     r15d, HPET_TIMER(0, 0x10)
        mov     rax, 0xfee00000_00000055
        mov     [r15], rax
        mov     r15d, HPET_TIMER(0, 0)
        mov     qword [r15], 1 << 14 | 1 << 2
        mov     r15d, HPET_TIMER(0, 8)
        mov     qword [r15], 20000
        mov     r15d, HPET_CONFIG
        mov     qword [r15], 1
        mov     ecx, 1
        call    await
        call    quiet_hpet
        DONE
        CASE    "nmi"                           ;= #1 vec=2
        ONLY_APIC
        mov     r15d, LAPIC_ID
        mov     eax, [r15]
        PUT32   LAPIC_ICR2, eax
        sti
        PUT32   LAPIC_ICR, ICR_NMI | ICR_ASSERT
        mov     ecx, 1
        call    await
        DONE
        CASE    "self-ipi"                      ;= #1 vec=56
        ONLY_APIC
        PUT32   LAPIC_ICR, ICR_SELF | ICR_ASSERT | 0x56
        mov     ecx, 1
        call    await
        DONE
        CASE    "higher-before-lower"           ;= #1 vec=67 / #2 vec=56
        ONLY_APIC
        PUT32   LAPIC_ICR, ICR_SELF | ICR_ASSERT | 0x56
        PUT32   LAPIC_ICR, ICR_SELF | ICR_ASSERT | 0x67
        mov     ecx, 2
        call    await
        DONE
        CASE    "cr8-holds-back"                ;= #1 vec=67 / #2 vec=56 / first=1
        ONLY_APIC
        mov     eax, 5
        mov     cr8, rax
        PUT32   LAPIC_ICR, ICR_SELF | ICR_ASSERT | 0x56
        PUT32   LAPIC_ICR, ICR_SELF | ICR_ASSERT | 0x67
        mov     ecx, 1
        call    await
        mov     eax, [n_events]
        OUT     "first", rax
        xor     eax, eax
        mov     cr8, rax
        mov     ecx, 2
        call    await
        DONE
        CASE    "timer-one-shot"                ;= #1 vec=57 / left=0
        ONLY_APIC
        PUT32   TIMER_DCR, 0xb
        PUT32   LVT_TIMER, 0x57
        PUT32   TIMER_INIT, 1000000
        mov     ecx, 1
        call    await
        mov     r15d, TIMER_CUR
        mov     eax, [r15]
        OUT     "left", rax
        DONE
        CASE    "timer-periodic"                ;= #1 vec=57 / #2 vec=57 / #3 vec=57 / many=1
        ONLY_APIC
        PUT32   TIMER_DCR, 0xb
        PUT32   LVT_TIMER, 0x57 | LVT_PERIODIC
        PUT32   TIMER_INIT, 50000000            ; 50 ms where it counts nanoseconds
        mov     ecx, 3
        call    await
        PUT32   LVT_TIMER, LVT_MASKED
        PUT32   TIMER_INIT, 0
        xor     eax, eax
        cmp     dword [n_events], 3
        setae   al
        OUT     "many", rax
        DONE
        CASE    "timer-deadline"                ;= #1 vec=57 / left=0 late=0
        REQUIRE 1, 0, ecx, 24
        ONLY_APIC
        PUT32   LVT_TIMER, 0x57 | LVT_DEADLINE
        mfence
        rdtsc
        shl     rdx, 32
        or      rax, rdx
        add     rax, 3000000
        mov     r14, rax
        mov     rdx, rax
        shr     rdx, 32
        mov     ecx, MSR_DEADLINE
        wrmsr
        mov     ecx, 1
        call    await
        rdtsc
        shl     rdx, 32
        or      rax, rdx
        xor     ecx, ecx
        cmp     rax, r14                        ; not before its time
        setb    cl
        OUT     "late", rcx
        mov     ecx, MSR_DEADLINE
        rdmsr
        OUT     "left", rax
        PUT32   LVT_TIMER, LVT_MASKED
        DONE
        CASE    "hlt"                           ;= #1 vec=57 ip=+1
        ONLY_APIC
        PUT32   TIMER_DCR, 0xb
        PUT32   LVT_TIMER, 0x57
        PUT32   TIMER_INIT, 10000000
        sti
 T      hlt
        cli
        DONE
        CASE    "page-fault-read"               ;= #1 vec=e err=0 ip=+0 cr2=80000000000
        mov     rbx, 0x80000000000
 T      mov     rax, [rbx]
        DONE
        CASE    "page-fault-write"              ;= #1 vec=e err=2 ip=+0 cr2=80000000008
        mov     rbx, 0x80000000008
 T      mov     [rbx], rax
        DONE
        CASE    "page-fault-then-mapped"        ;= #1 vec=e err=2 ip=+0 cr2=4e0123 / value=77 accessed=1 dirty=1
        mov     dword [case_hook], map_hook     ; PAGE_AREA + 0xe0000 gets a table, in which it is not there yet
        mov     edi, PT_AREA
        xor     eax, eax
        mov     ecx, 1024
        rep stosd
        mov     edi, PT_AREA
        mov     eax, 0x400003
        mov     ecx, 512
.fill:  mov     [rdi], eax
        add     eax, 0x1000
        add     edi, 8
        loop    .fill
        mov     dword [PT_AREA + 8 * 0xe0], 0
        mov     dword [HOME_PT + 0x2000 + 8 * 2], PT_AREA + 7
        mov     rax, cr3
        mov     cr3, rax
        mov     dword [case_cont], 1
        mov     eax, 0x77
 T      mov     [PAGE_AREA + 0xe0123], al
        movzx   eax, byte [PAGE_AREA + 0xe0123]
        OUT     "value", rax
        mov     eax, [PT_AREA + 8 * 0xe0]
        mov     ecx, eax
        shr     eax, 5
        and     eax, 1
        OUT     "accessed", rax
        shr     ecx, 6
        and     ecx, 1
        OUT     "dirty", rcx
        AFTER
        mov     dword [HOME_PT + 0x2000 + 8 * 2], 0x400000 | 0x80 | HOME_PAGES
        mov     rax, cr3
        mov     cr3, rax
        DONE
        CASE    "remapped"                      ;= a=11 b=22
        mov     byte [PAGE_AREA + 0x10000], 0x11
        mov     byte [PAGE_AREA + 0x11000], 0x22
        mov     edi, PT_AREA
        mov     eax, 0x400003
        mov     ecx, 512
.fill:  mov     [rdi], eax
        mov     dword [rdi + 4], 0
        add     eax, 0x1000
        add     edi, 8
        loop    .fill
        mov     dword [HOME_PT + 0x2000 + 8 * 2], PT_AREA + 7
        mov     rax, cr3
        mov     cr3, rax
        movzx   eax, byte [PAGE_AREA + 0x10000]
        OUT     "a", rax
        mov     dword [PT_AREA + 8 * 0x10], 0x411003
        invlpg  [PAGE_AREA + 0x10000]
        movzx   eax, byte [PAGE_AREA + 0x10000]
        OUT     "b", rax
        AFTER
        mov     dword [HOME_PT + 0x2000 + 8 * 2], 0x400000 | 0x80 | HOME_PAGES
        mov     rax, cr3
        mov     cr3, rax
        DONE
        CASE    "breakpoint"                    ;= #1 vec=1 ip=+0 dr6=ffff0ff1
        mov     eax, %$t
        mov     dr0, rax
        mov     eax, 0x402
        mov     dr7, rax
 T      nop
        DONE
        CASE    "debug-registers"               ;= a=123456789abcdef0 b=1000 c=ffff0ff0 d=400
        mov     rax, 0x123456789abcdef0
        mov     dr1, rax
        mov     eax, 0x1000
        mov     dr3, rax
        xor     eax, eax
        mov     dr6, rax
        mov     rax, dr1
        OUT     "a", rax
        mov     rax, dr3
        OUT     "b", rax
        mov     rax, dr6
        OUT     "c", rax
        mov     rax, dr7
        OUT     "d", rax
        DONE
; Last, since kvm_pvm itself ends each interrupt of its local APICs: before the line is low again, and then it comes once more.
        CASE    "ioapic-level"                  ;= #1 vec=54 / remote=0
        ONLY_APIC
        PIN     4, 0x54 | 1 << 15
        UART_IRQ_ON
        mov     ecx, 1
        call    await
        PUT32   IOAPIC, REDIR(4)
        mov     r15d, IOWIN
        mov     eax, [r15]
        shr     eax, 14
        and     eax, 1
        OUT     "remote", rax
        PIN     4, LVT_MASKED
        DONE
        CASE    "ioapic-level-twice"            ;= #1 vec=54 / #2 vec=54
        ONLY_APIC
        PIN     4, 0x54 | 1 << 15
        UART_IRQ_ON
        mov     ecx, 1
        call    await
        UART_IRQ_ON
        mov     ecx, 2
        call    await
        PIN     4, LVT_MASKED
        DONE
        ret

map_hook:                               ; the page is there from now on
        mov     dword [PT_AREA + 8 * 0xe0], 0x4e0003
        clc
        ret
