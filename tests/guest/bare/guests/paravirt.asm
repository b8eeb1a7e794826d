; SPDX-License-Identifier: Apache-2.0
; KVM's paravirtual MSRs: steal time and the end of interrupts. Linux, Documentation/virt/kvm/x86/msr.rst.
;! qemu: none (its TCG has none of them)
;! kvm: gate
%define HOME 32
%include "rt.inc"
%include "irq.inc"

MSR_STEAL_TIME equ 0x4b564d03
MSR_PV_EOI  equ 0x4b564d04
STEAL       equ PAGE_AREA + 0x7000
EOI_WORD    equ PAGE_AREA + 0x7100

main:
        APIC_ON
        CASE    "steal-time"                    ;= msr=407001 high=0 odd=0 preempted=0 flags=0 off=407000
        WRMSR_  MSR_STEAL_TIME, 0, STEAL | 1
        mov     ecx, MSR_STEAL_TIME
        rdmsr
        OUT     "msr", eax
        OUT     "high", edx
        mov     eax, [STEAL + 8]                ; as a guest reads it: the version is even
        and     eax, 1
        OUT     "odd", eax
        movzx   eax, byte [STEAL + 16]
        OUT     "preempted", eax
        OUT     "flags", [STEAL + 12]
        WRMSR_  MSR_STEAL_TIME, 0, STEAL
        mov     ecx, MSR_STEAL_TIME
        rdmsr
        OUT     "off", eax
        DONE
        CASE    "gp.steal-time-reserved"        ;= #1 vec=d err=0 ip=+0
        mov     ecx, MSR_STEAL_TIME
        mov     eax, STEAL | 3
        xor     edx, edx
 T      wrmsr
        DONE
        CASE    "pv-eoi"                        ;= #1 vec=56 / #2 vec=57 / msr=407101 in-service=0
        mov     dword [case_hook], .hook
        WRMSR_  MSR_PV_EOI, 0, EOI_WORD | 1
        mov     ecx, MSR_PV_EOI
        rdmsr
        OUT     "msr", eax
        mov     dword [LAPIC_ICR], ICR_SELF | ICR_ASSERT | 0x56
        sti
        DELAY   4000
        mov     dword [LAPIC_ICR], ICR_SELF | ICR_ASSERT | 0x57
        DELAY   4000
        cli
        mov     eax, [ISRBIT(0x56)]
        OUT     "in-service", eax
        WRMSR_  MSR_PV_EOI, 0, 0
        jmp     .out
.hook:  lock btr dword [EOI_WORD], 0            ; as Linux ends an interrupt
        jc      .done
        mov     dword [LAPIC_EOI], 0
.done:  clc
        ret
.out:   DONE
        CASE    "gp.pv-eoi-reserved"            ;= #1 vec=d err=0 ip=+0
        mov     ecx, MSR_PV_EOI
        mov     eax, EOI_WORD | 3
        xor     edx, edx
 T      wrmsr
        DONE
        ret
