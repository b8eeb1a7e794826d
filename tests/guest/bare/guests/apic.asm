; SPDX-License-Identifier: Apache-2.0
; The local APIC in xAPIC mode, its timer, the I/O APIC, NMI on one processor.
; Intel SDM vol. 3, 10; 82093AA data sheet.
%define HOME 32
%include "rt.inc"
%include "irq.inc"

eoi_hook:                                       ; EOI to the LAPIC; faults end the case
        mov     eax, [ebp + fr.vec]
        cmp     eax, NMI
        je      .nmi
        cmp     eax, 32
        jb      .fault
        mov     dword [LAPIC_EOI], 0
.nmi:   clc
        ret
.fault: stc
        ret
no_eoi_hook:
        clc
        ret
%macro BEGIN_APIC 1
        APIC_ON
        mov     dword [case_hook], %1
        mov     dword [LAPIC_ESR], 0
%endmacro
%macro SELF_IPI 1                               ; and wait until it is in IRR (or in service)
        mov     dword [LAPIC_ICR], ICR_SELF | ICR_ASSERT | (%1)
        mov     ecx, 100000
%%wait: mov     eax, [IRRBIT(%1)]
        or      eax, [ISRBIT(%1)]
        test    eax, 1 << ((%1) % 32)
        loopz   %%wait
%endmacro
%macro OUTBIT 3                                 ; name, register, vector
        mov     eax, [%2]
        shr     eax, (%3) % 32
        and     eax, 1
        OUT     %1, eax
%endmacro
; an NMI to ourselves through the ICR
%macro SELF_NMI 0
        mov     eax, [LAPIC_ID]
        mov     [LAPIC_ICR2], eax
        mov     dword [LAPIC_ICR], ICR_NMI | ICR_ASSERT
%endmacro

main:
        CASE    "version"                       ;= ok=1 lvt=1
        mov     eax, [LAPIC_VER]                ; (LAPIC registers are for aligned 32-bit access alone)
        movzx   eax, al
        xor     ecx, ecx
        cmp     eax, 0x10
        setae   cl
        OUT     "ok", ecx
        mov     eax, [LAPIC_VER]
        shr     eax, 16
        movzx   eax, al
        xor     ecx, ecx
        cmp     eax, 4
        setae   cl
        OUT     "lvt", ecx
        DONE
        CASE    "id-is-0"                       ;= id=0
        OUT     "id", [LAPIC_ID]
        DONE
        CASE    "self-ipi"                      ;= #1 vec=50
        BEGIN_APIC eoi_hook
        SELF_IPI 0x50
        sti
        nop
        nop
        cli
        DONE
        CASE    "irr-isr"                       ;= #1 vec=50 / irr=1 isr=0 irr2=0 isr2=1 isr3=0 ppr2=50 ppr3=0
        BEGIN_APIC no_eoi_hook
        SELF_IPI 0x50
        OUTBIT  "irr", IRRBIT(0x50), 0x50
        OUTBIT  "isr", ISRBIT(0x50), 0x50
        sti
        nop
        nop
        cli
        OUTBIT  "irr2", IRRBIT(0x50), 0x50
        OUTBIT  "isr2", ISRBIT(0x50), 0x50
        OUT     "ppr2", [LAPIC_PPR]
        mov     dword [LAPIC_EOI], 0
        OUTBIT  "isr3", ISRBIT(0x50), 0x50
        OUT     "ppr3", [LAPIC_PPR]
        DONE
        CASE    "higher-vector-first"           ;= #1 vec=61 / #2 vec=50
        BEGIN_APIC eoi_hook
        SELF_IPI 0x50
        SELF_IPI 0x61
        sti
        nop
        nop
        nop
        cli
        DONE
        CASE    "same-class-waits-for-eoi"      ;= #1 vec=50 / #2 vec=5f
        BEGIN_APIC no_eoi_hook
        SELF_IPI 0x50
        sti
        nop
        nop
        cli
        SELF_IPI 0x5f                           ; same class: not over 50 in service
        sti
        nop
        nop
        cli
        mov     dword [LAPIC_EOI], 0
        sti
        nop
        nop
        cli
        mov     dword [LAPIC_EOI], 0
        DONE
        CASE    "higher-class-nests"            ;= #1 vec=50 / #2 vec=60 / isr50=1
        BEGIN_APIC no_eoi_hook
        SELF_IPI 0x50
        sti
        nop
        nop
        SELF_IPI 0x60
        nop
        cli
        mov     dword [LAPIC_EOI], 0            ; ends 60
        OUTBIT  "isr50", ISRBIT(0x50), 0x50
        mov     dword [LAPIC_EOI], 0
        DONE
        CASE    "tpr-blocks"                    ;= #1 vec=70 / #2 vec=6f / ppr=60 n=1
        BEGIN_APIC eoi_hook
        mov     dword [LAPIC_TPR], 0x60
        OUT     "ppr", [LAPIC_PPR]
        SELF_IPI 0x6f
        SELF_IPI 0x70
        sti
        nop
        nop
        nop
        cli
        OUT     "n", [n_events]
        mov     dword [LAPIC_TPR], 0
        sti
        nop
        nop
        cli
        DONE
        CASE    "tpr-low-bits"                  ;= tpr=6b ppr=6b
        BEGIN_APIC eoi_hook
        mov     dword [LAPIC_TPR], 0x6b
        OUT     "tpr", [LAPIC_TPR]
        OUT     "ppr", [LAPIC_PPR]
        mov     dword [LAPIC_TPR], 0
        DONE
        CASE    "two-ipis-of-one-vector-are-one" ;= #1 vec=50
        BEGIN_APIC eoi_hook
        SELF_IPI 0x50
        SELF_IPI 0x50
        sti
        nop
        nop
        nop
        cli
        DONE
        CASE    "ipi-while-in-service-comes-again" ;= #1 vec=50 / #2 vec=50
        BEGIN_APIC no_eoi_hook
        SELF_IPI 0x50
        sti
        nop
        nop
        cli
        mov     dword [LAPIC_ICR], ICR_SELF | ICR_ASSERT | 0x50
        DELAY   500
        mov     dword [LAPIC_EOI], 0
        sti
        nop
        nop
        cli
        mov     dword [LAPIC_EOI], 0
        DONE
        CASE    "physical-destination-self"     ;= #1 vec=51
        BEGIN_APIC eoi_hook
        mov     eax, [LAPIC_ID]
        mov     [LAPIC_ICR2], eax
        mov     dword [LAPIC_ICR], ICR_ASSERT | 0x51
        DELAY   500
        sti
        nop
        nop
        cli
        DONE
        CASE    "logical-flat"                  ;= #1 vec=52
        BEGIN_APIC eoi_hook
        mov     dword [LAPIC_DFR], 0xffffffff
        mov     dword [LAPIC_LDR], 0x04000000
        mov     dword [LAPIC_ICR2], 0x0c000000
        mov     dword [LAPIC_ICR], ICR_ASSERT | ICR_LOGICAL | 0x52
        DELAY   500
        mov     dword [LAPIC_ICR2], 0x02000000  ; not us
        mov     dword [LAPIC_ICR], ICR_ASSERT | ICR_LOGICAL | 0x53
        DELAY   500
        sti
        nop
        nop
        nop
        cli
        DONE
        CASE    "logical-cluster"               ;= #1 vec=54
        BEGIN_APIC eoi_hook
        mov     dword [LAPIC_DFR], 0x0fffffff
        mov     dword [LAPIC_LDR], 0x24000000   ; cluster 2, member 4
        mov     dword [LAPIC_ICR2], 0x25000000
        mov     dword [LAPIC_ICR], ICR_ASSERT | ICR_LOGICAL | 0x54
        DELAY   500
        mov     dword [LAPIC_ICR2], 0x14000000  ; another cluster
        mov     dword [LAPIC_ICR], ICR_ASSERT | ICR_LOGICAL | 0x55
        DELAY   500
        sti
        nop
        nop
        nop
        cli
        mov     dword [LAPIC_DFR], 0xffffffff
        DONE
        CASE    "registers-hold"                ;= svr=1ff ldr=5000000 dfr=ffffffff lint0=10000
        APIC_ON
        mov     dword [LAPIC_LDR], 0x05ffffff
        mov     dword [LAPIC_DFR], 0xf0000000
        mov     eax, [LAPIC_SVR]
        and     eax, 0x1ff
        OUT     "svr", eax
        OUT     "ldr", [LAPIC_LDR]
        OUT     "dfr", [LAPIC_DFR]
        mov     eax, [LVT_LINT0]
        and     eax, ~(1 << 14)
        OUT     "lint0", eax
        DONE
        CASE    "software-disabled-masks-lvt"   ;= timer=10040 after=10041
        APIC_ON
        mov     dword [LVT_TIMER], 0x40
        mov     dword [LAPIC_SVR], 0x0ff
        mov     eax, [LVT_TIMER]
        OUT     "timer", eax
        mov     dword [LVT_TIMER], 0x41         ; cannot be unmasked now
        mov     eax, [LVT_TIMER]
        OUT     "after", eax
        APIC_ON
        DONE
%ifndef FOR_QEMU
        CASE    "esr-send-illegal-vector"       ;= esr=20
        BEGIN_APIC eoi_hook
        mov     dword [LAPIC_ICR], ICR_SELF | ICR_ASSERT | 0x05
        DELAY   500
        mov     dword [LAPIC_ESR], 0
        mov     eax, [LAPIC_ESR]
        and     eax, 0x20                       ; "receive illegal vector" may be there too
        OUT     "esr", eax
        mov     dword [LAPIC_ESR], 0
        DONE
%endif
%ifndef FOR_QEMU
        CASE    "esr-illegal-lvt-vector"        ;= esr=40
        BEGIN_APIC eoi_hook
        mov     dword [TIMER_DCR], 0xb
        mov     dword [LVT_TIMER], 0x05         ; received from the LVT
        mov     dword [TIMER_INIT], 100
        DELAY   1000
        mov     dword [LAPIC_ESR], 0
        mov     eax, [LAPIC_ESR]
        OUT     "esr", eax
        mov     dword [LAPIC_ESR], 0
        mov     dword [LVT_TIMER], LVT_MASKED
        DONE
%endif

        ; --- the timer
        CASE    "timer.oneshot"                 ;= #1 vec=40 ip=+2 / cur=0
        BEGIN_APIC eoi_hook
        mov     dword [TIMER_DCR], 0xb          ; divide by 1
        mov     dword [LVT_TIMER], 0x40
        mov     dword [TIMER_INIT], 100000
 T      sti
        hlt
        cli
        OUT     "cur", [TIMER_CUR]
        DONE
        CASE    "timer.oneshot-once"            ;= n=1
        BEGIN_APIC eoi_hook
        mov     dword [TIMER_DCR], 0xb
        mov     dword [LVT_TIMER], 0x40
        mov     dword [TIMER_INIT], 10000
        sti
        hlt
        DELAY   10000
        cli
        OUT     "n", [n_events]
        mov     dword [n_events], 0
        DONE
        CASE    "timer.periodic"                ;= #1 vec=40 ip=+2 / #2 vec=40 ip=+3 / #3 vec=40 ip=+4
        BEGIN_APIC eoi_hook
        mov     dword [TIMER_DCR], 0xb
        mov     dword [LVT_TIMER], 0x40 | LVT_PERIODIC
        mov     dword [TIMER_INIT], 20000000    ; tens of milliseconds at the usual rates
 T      sti
        hlt
        hlt
        hlt
        cli
        mov     dword [TIMER_INIT], 0
        mov     dword [LVT_TIMER], LVT_MASKED
        DONE
        CASE    "timer.masked-counts"           ;= n=0 down=1
        BEGIN_APIC eoi_hook
        mov     dword [TIMER_DCR], 0xb
        mov     dword [LVT_TIMER], 0x40 | LVT_MASKED
        mov     dword [TIMER_INIT], 0xffffffff
        sti
        DELAY   1000
        cli
        xor     eax, eax
        cmp     dword [TIMER_CUR], 0xffffffff
        setb    al
        OUT     "down", eax
        OUT     "n", [n_events]
        mov     dword [TIMER_INIT], 0
        DONE
        CASE    "timer.masked-irq-is-lost"      ;= n=0
        BEGIN_APIC eoi_hook
        mov     dword [TIMER_DCR], 0xb
        mov     dword [LVT_TIMER], 0x40 | LVT_MASKED
        mov     dword [TIMER_INIT], 1000
        DELAY   2000
        mov     dword [LVT_TIMER], 0x40         ; too late
        sti
        DELAY   1000
        cli
        OUT     "n", [n_events]
        mov     dword [LVT_TIMER], LVT_MASKED
        DONE
        CASE    "timer.init-0-stops"            ;= n=0 cur=0
        BEGIN_APIC eoi_hook
        mov     dword [TIMER_DCR], 0xb
        mov     dword [LVT_TIMER], 0x40
        mov     dword [TIMER_INIT], 0x10000000
        mov     dword [TIMER_INIT], 0
        sti
        DELAY   1000
        cli
        OUT     "n", [n_events]
        OUT     "cur", [TIMER_CUR]
        mov     dword [LVT_TIMER], LVT_MASKED
        DONE
        CASE    "timer.divide"                  ;= ratio=1
        ; in the same time a sixteenth of the ticks: between 4 and 64 is believed
        BEGIN_APIC eoi_hook
        mov     dword [LVT_TIMER], LVT_MASKED | 0x40
        mov     dword [TIMER_DCR], 0xb
        mov     dword [TIMER_INIT], 0xffffffff
        DELAY   6000
        mov     ebx, [TIMER_CUR]
        not     ebx
        mov     dword [TIMER_DCR], 3            ; divide by 16
        mov     dword [TIMER_INIT], 0xffffffff
        DELAY   6000
        mov     ecx, [TIMER_CUR]
        not     ecx
        mov     eax, ebx
        xor     edx, edx
        div     ecx
        cmp     eax, 4
        setae   cl
        cmp     eax, 64
        setbe   ch
        and     cl, ch
        movzx   ecx, cl
        OUT     "ratio", ecx
        mov     dword [TIMER_INIT], 0
        DONE
        CASE    "timer.initial-count-reads-back" ;= init=12345678
        APIC_ON
        mov     dword [LVT_TIMER], LVT_MASKED
        mov     dword [TIMER_INIT], 0x12345678
        OUT     "init", [TIMER_INIT]
        mov     dword [TIMER_INIT], 0
        DONE
        CASE    "timer.tsc-deadline"            ;= #1 vec=40 ip=+2 / msr=0
        REQUIRE 1, 0, ecx, 24
        BEGIN_APIC eoi_hook
        mov     dword [LVT_TIMER], 0x40 | LVT_DEADLINE
        mfence
        rdtsc
        add     eax, 1000000
        adc     edx, 0
        mov     ecx, 0x6e0
        wrmsr
 T      sti
        hlt
        cli
        mov     ecx, 0x6e0
        rdmsr
        or      eax, edx
        OUT     "msr", eax
        mov     dword [LVT_TIMER], LVT_MASKED
        DONE
        CASE    "timer.tsc-deadline-in-the-past" ;= #1 vec=40
        REQUIRE 1, 0, ecx, 24
        BEGIN_APIC eoi_hook
        mov     dword [LVT_TIMER], 0x40 | LVT_DEADLINE
        mfence
        mov     ecx, 0x6e0
        xor     edx, edx
        mov     eax, 1
        wrmsr
        sti
        hlt
        cli
        mov     dword [LVT_TIMER], LVT_MASKED
        DONE
        CASE    "timer.tsc-deadline-0-disarms"  ;= n=0 msr=0
        REQUIRE 1, 0, ecx, 24
        BEGIN_APIC eoi_hook
        mov     dword [LVT_TIMER], 0x40 | LVT_DEADLINE
        mfence
        rdtsc
        add     edx, 1
        mov     ecx, 0x6e0
        wrmsr
        xor     eax, eax
        xor     edx, edx
        wrmsr
        sti
        DELAY   1000
        cli
        mov     ecx, 0x6e0
        rdmsr
        or      eax, edx
        OUT     "n", [n_events]
        OUT     "msr", eax
        mov     dword [LVT_TIMER], LVT_MASKED
        DONE
        CASE    "timer.tsc-deadline-msr-is-0-in-other-modes" ;= msr=0
        REQUIRE 1, 0, ecx, 24
        APIC_ON
        mov     dword [LVT_TIMER], 0x40 | LVT_MASKED
        mov     ecx, 0x6e0
        mov     edx, 1
        mov     eax, 1
        wrmsr
        rdmsr
        or      eax, edx
        OUT     "msr", eax
        DONE
        CASE    "timer.count-ignored-in-deadline-mode" ;= cur=0
        REQUIRE 1, 0, ecx, 24
        APIC_ON
        mov     dword [LVT_TIMER], 0x40 | LVT_DEADLINE | LVT_MASKED
        mov     dword [TIMER_INIT], 0x10000000
        OUT     "cur", [TIMER_CUR]
        mov     dword [LVT_TIMER], LVT_MASKED
        DONE

        ; --- NMI
        CASE    "nmi.self"                      ;= #1 vec=2
        BEGIN_APIC eoi_hook
        SELF_NMI
        DELAY   500
        mov     dword [n_events], 1
        mov     dword [EV(0, ip)], 0
        DONE
        CASE    "nmi.ignores-if"                ;= n=1
        BEGIN_APIC eoi_hook
        cli
        SELF_NMI
        DELAY   500
        OUT     "n", [n_events]
        mov     dword [n_events], 0
        DONE
        CASE    "nmi.blocked-until-iret"        ;= n=2 depth=1
        ; the handler sends another to itself, waits: it must not come before IRET
        BEGIN_APIC .hook
        SELF_NMI
        DELAY   1000
        jmp     .out
.hook:  inc     dword [scratch]
        mov     eax, [scratch]
        cmp     eax, [scratch + 4]
        jbe     .no_max
        mov     [scratch + 4], eax
.no_max:
        cmp     dword [n_events], 1
        jne     .no_more
        SELF_NMI
        DELAY   500
.no_more:
        dec     dword [scratch]
        clc
        ret
.out:   OUT     "n", [n_events]
        OUT     "depth", [scratch + 4]
        mov     dword [n_events], 0
        DONE
        CASE    "nmi.collapse-while-blocked"    ;= n=2
        BEGIN_APIC .hook
        SELF_NMI
        DELAY   1000
        jmp     .out
.hook:  cmp     dword [n_events], 1
        jne     .no_more
        SELF_NMI
        DELAY   200
        SELF_NMI
        DELAY   200
        SELF_NMI
        DELAY   200
.no_more:
        clc
        ret
.out:   OUT     "n", [n_events]
        mov     dword [n_events], 0
        DONE
        CASE    "nmi.int2-is-no-nmi"            ;= n=2 depth=2
        ; INT 2 goes to the same vector but blocks nothing
        BEGIN_APIC .hook
        int     2
        DELAY   1000
        jmp     .out
.hook:  inc     dword [scratch]
        mov     eax, [scratch]
        cmp     eax, [scratch + 4]
        jbe     .no_max
        mov     [scratch + 4], eax
.no_max:
        cmp     dword [n_events], 1
        jne     .no_more
        SELF_NMI
        DELAY   500
.no_more:
        dec     dword [scratch]
        clc
        ret
.out:   OUT     "n", [n_events]
        OUT     "depth", [scratch + 4]
        mov     dword [n_events], 0
        DONE
        CASE    "nmi.wakes-cli-hlt"             ;= #1 vec=2 ip=+1 fl=0
        ; the PIT through I/O APIC pin 2 as an NMI
        BEGIN_APIC eoi_hook
        REDIRECT 2, (4 << 8)
        PIT0    0, 20000
        cli
 T      hlt
        REDIRECT 2, LVT_MASKED
        PIT0_QUIET
        DONE
        ; --- the I/O APIC
        CASE    "ioapic.registers"              ;= pins=17 lo=12345 hi=ab000000
        mov     dword [IOAPIC], 1
        mov     eax, [IOWIN]
        shr     eax, 16
        and     eax, 0xff
        OUT     "pins", eax                     ; the last one's number: 24 pins
        mov     dword [IOAPIC], REDIR(5)
        mov     dword [IOWIN], 0x12345
        mov     dword [IOAPIC], REDIR(5) + 1
        mov     dword [IOWIN], 0xab000000
        mov     dword [IOAPIC], REDIR(5)
        mov     eax, [IOWIN]
        OUT     "lo", eax
        mov     dword [IOAPIC], REDIR(5) + 1
        mov     eax, [IOWIN]
        OUT     "hi", eax
        mov     dword [IOAPIC], REDIR(5)
        mov     dword [IOWIN], LVT_MASKED
        DONE
        CASE    "ioapic.status-bits-read-only"  ;= lo=10034
        mov     dword [IOAPIC], REDIR(5)
        mov     dword [IOWIN], LVT_MASKED | 1 << 14 | 1 << 12 | 0x34
        mov     eax, [IOWIN]
        OUT     "lo", eax
        mov     dword [IOWIN], LVT_MASKED
        DONE
        CASE    "ioapic.edge-pit"               ;= #1 vec=62 ip=+2 / tmr=0
        BEGIN_APIC .hook
        REDIRECT 2, 0x62
        PIT0    0, 20000
 T      sti
        hlt
        cli
        REDIRECT 2, LVT_MASKED
        PIT0_QUIET
        jmp     .out
.hook:  mov     eax, [TMRBIT(0x62)]
        shr     eax, 0x62 % 32
        and     eax, 1
        mov     [scratch], eax
        jmp     eoi_hook
.out:   AFTER
        OUT     "tmr", [scratch]
        DONE
        CASE    "ioapic.level-remote-irr"       ;= #1 vec=64 / #2 vec=64 / before=0 inside=1 tmr=1 after=0
        ; IRQ 4 as level: remote IRR from acceptance to EOI; it comes again while the line is high
        BEGIN_APIC .hook
        REDIRECT 4, 0x64 | 1 << 15
        mov     dword [IOAPIC], REDIR(4)
        mov     eax, [IOWIN]
        shr     eax, 14
        and     eax, 1
        OUT     "before", eax
        UART_IRQ_ON
        sti
        nop
        nop
        nop
        cli
        jmp     .out
.hook:  mov     dword [IOAPIC], REDIR(4)
        mov     eax, [IOWIN]
        shr     eax, 14
        and     eax, 1
        mov     [scratch], eax
        mov     eax, [TMRBIT(0x64)]
        shr     eax, 0x64 % 32
        and     eax, 1
        mov     [scratch + 4], eax
        cmp     dword [n_events], 2
        jb      .again
        UART_IRQ_OFF
.again: mov     dword [LAPIC_EOI], 0
        clc
        ret
.out:   OUT     "inside", [scratch]
        OUT     "tmr", [scratch + 4]
        mov     dword [IOAPIC], REDIR(4)
        mov     eax, [IOWIN]
        shr     eax, 14
        and     eax, 1
        OUT     "after", eax
        REDIRECT 4, LVT_MASKED
        DONE
        CASE    "ioapic.masked-level-comes-on-unmask" ;= #1 vec=65
        BEGIN_APIC .hook
        REDIRECT 4, 0x65 | 1 << 15 | LVT_MASKED
        UART_IRQ_ON
        sti
        nop
        nop
        cli
        mov     ebx, [n_events]
        REDIRECT 4, 0x65 | 1 << 15
        sti
        nop
        nop
        cli
        add     [n_events], ebx                 ; (0 as it should be)
        jmp     .out
.hook:  UART_IRQ_OFF
        mov     dword [LAPIC_EOI], 0
        clc
        ret
.out:   REDIRECT 4, LVT_MASKED
        DONE
        CASE    "ioapic.other-cpu-not-us"       ;= n=0
        BEGIN_APIC eoi_hook
        mov     dword [IOAPIC], REDIR(4) + 1
        mov     dword [IOWIN], 0x0e000000       ; nobody
        mov     dword [IOAPIC], REDIR(4)
        mov     dword [IOWIN], 0x66
        UART_IRQ_ON
        sti
        nop
        nop
        cli
        UART_IRQ_OFF
        OUT     "n", [n_events]
        REDIRECT 4, LVT_MASKED
        DONE

        ; --- the timer against the PIT
        CASE    "clocks.lapic-is-steady"        ;= low=1 high=1
        ; twice the time, twice the count: within 1.5 and 8
        APIC_ON
        mov     dword [LVT_TIMER], LVT_MASKED | 0x40
        mov     dword [TIMER_DCR], 0xb
        mov     dword [TIMER_INIT], 0xffffffff
        DELAY   10000
        mov     ebx, [TIMER_CUR]
        not     ebx
        mov     dword [TIMER_INIT], 0xffffffff
        DELAY   20000
        mov     eax, [TIMER_CUR]
        not     eax
        xor     edx, edx
        mov     ecx, 100
        mul     ecx
        div     ebx
        xor     ecx, ecx
        cmp     eax, 100
        setae   cl
        OUT     "low", ecx
        xor     ecx, ecx
        cmp     eax, 800
        setbe   cl
        OUT     "high", ecx
        mov     dword [TIMER_INIT], 0
        DONE

        CASE    "nmi.lint0-mode"                ;= #1 vec=2 ip=+1
        ; the PIC's output as an NMI, as a watchdog has it
        BEGIN_APIC eoi_hook
        mov     al, 0x11                        ; the PIC is silent until ICW1: no firmware has been here
        out     0x20, al
        mov     al, 0x20
        out     0x21, al
        mov     al, 4
        out     0x21, al
        mov     al, 1
        out     0x21, al
        mov     dword [LVT_LINT0], 0x400
        IMR     0xfe, 0xff
        PIT0    0, 20000
 T      hlt
        IMR     0xff, 0xff
        mov     dword [LVT_LINT0], LVT_MASKED
        PIT0_QUIET
        mov     al, 0x0c                        ; take the request from the PIC: poll
        out     0x20, al
        in      al, 0x20
        mov     al, 0x20
        out     0x20, al
        DONE

        ; --- turned off in APIC_BASE
        CASE    "globally-disabled"             ;= cpuid=0 back=1
        mov     ecx, MSR_APIC_BASE
        rdmsr
        mov     [scratch], eax
        and     eax, ~0x800
        wrmsr
        mov     eax, 1
        cpuid
        shr     edx, 9
        and     edx, 1
        OUT     "cpuid", edx
        mov     ecx, MSR_APIC_BASE
        xor     edx, edx
        mov     eax, [scratch]
        wrmsr
        mov     eax, 1
        cpuid
        shr     edx, 9
        and     edx, 1
        OUT     "back", edx
        DONE
        ret
