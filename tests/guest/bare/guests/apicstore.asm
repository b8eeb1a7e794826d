; SPDX-License-Identifier: Apache-2.0
; Stores to the local APIC by an instruction that no emulator of a hypervisor need know: what they do there is the same.
; Intel SDM vol. 3, 11.4.1: "accessed using loads and stores of 32 bits".
;! kvm: gate
%define HOME 32
%include "rt.inc"
%include "irq.inc"

%macro SPUT 2                                   ; address, value; clobbers eax
        mov     eax, %2
        movd    xmm0, eax
        movd    [%1], xmm0
%endmacro

main:
        CASE    "registers"                     ;= tpr=40 cr8=40 ldr=5000000 dfr=fffffff lvt=10057 svr=1fe
        call    sse_on
        APIC_ON
        SPUT    LAPIC_TPR, 0x40
        OUT     "tpr", [LAPIC_TPR]
        OUT     "cr8", [LAPIC_PPR]
        SPUT    LAPIC_LDR, 0x05000000
        OUT     "ldr", [LAPIC_LDR]
        SPUT    LAPIC_DFR, 0x0fffffff
        OUT     "dfr", [LAPIC_DFR]
        SPUT    LAPIC_DFR, 0xffffffff
        SPUT    LVT_TIMER, LVT_MASKED | 0x57
        OUT     "lvt", [LVT_TIMER]
        SPUT    LAPIC_SVR, 0x1fe
        OUT     "svr", [LAPIC_SVR]
        SPUT    LAPIC_TPR, 0
        DONE
        CASE    "message-to-itself"             ;= #1 vec=56 / #2 vec=58
        call    sse_on
        mov     dword [case_hook], eoi
        SPUT    LAPIC_ICR, ICR_SELF | ICR_ASSERT | 0x56
        sti
        mov     ecx, 1
        call    await
        mov     eax, [LAPIC_ID]
        mov     [LAPIC_ICR2], eax
        SPUT    LAPIC_ICR, ICR_ASSERT | 0x58
        mov     ecx, 2
        call    await
        cli
        DONE
        CASE    "end-of-interrupt"              ;= #1 vec=59 / #2 vec=59 / #3 vec=59 / in-service=0
        call    sse_on
        mov     dword [case_hook], eoi
        sti
%assign n 1
%rep 3
        mov     dword [LAPIC_ICR], ICR_SELF | ICR_ASSERT | 0x59
        mov     ecx, n
        call    await
%assign n n + 1
%endrep
        cli
        mov     eax, [ISRBIT(0x59)]
        OUT     "in-service", eax
        DONE
        CASE    "timer"                         ;= #1 vec=5a / left=0
        call    sse_on
        mov     dword [case_hook], eoi
        SPUT    TIMER_DCR, 0xb
        SPUT    LVT_TIMER, 0x5a
        SPUT    TIMER_INIT, 2000000
        sti
        mov     ecx, 1
        call    await
        cli
        OUT     "left", [TIMER_CUR]
        SPUT    LVT_TIMER, LVT_MASKED
        DONE
        CASE    "interrupts-meanwhile"          ;= missed=0 ticks=1
        call    sse_on
        GATE    IDT(0x5b), CODE0, tick, 0x8e00
        GATE    IDT(0x5c), CODE0, count, 0x8e00
        mov     dword [LVT_TIMER], LVT_PERIODIC | 0x5b
        mov     dword [TIMER_DCR], 0xb
        mov     dword [TIMER_INIT], 1000000
        mov     ebx, 300
.again: cli
        mov     dword [LAPIC_ICR], ICR_SELF | ICR_ASSERT | 0x5c ; waits while others are stored
        SPUT    LAPIC_LDR, 0x03000000
        SPUT    LAPIC_EOI, 0
        sti
        DELAY   4
        dec     ebx
        jnz     .again
        cli
        mov     dword [LVT_TIMER], LVT_MASKED
        mov     eax, 300
        sub     eax, [scratch]
        OUT     "missed", eax
        xor     eax, eax
        cmp     dword [scratch + 4], 0
        setne   al
        OUT     "ticks", eax
        DONE
        ret

sse_on: mov     eax, cr4
        or      eax, CR4_OSFXSR
        mov     cr4, eax
        ret
eoi:    cmp     dword [ebp + fr.vec], 32
        jb      .fault
        SPUT    LAPIC_EOI, 0
        clc
        ret
.fault: stc
        ret
tick:   inc     dword [scratch + 4]
        mov     dword [LAPIC_EOI], 0
        iretd
count:  inc     dword [scratch]
        mov     dword [LAPIC_EOI], 0
        iretd
await:                                          ; ecx events
        mov     edx, 100000000
.again: cmp     [n_events], ecx
        jae     .there
        pause
        dec     edx
        jnz     .again
.there: ret
