; SPDX-License-Identifier: Apache-2.0
; KVM's hypercalls, with a second processor to send to. Linux, Documentation/virt/kvm/x86/hypercalls.rst.
;! cpus: 2
;! qemu: none (its TCG has none)
;! kvm: gate
;! kvm-apics: kernel
%define HOME 32
%include "rt.inc"
%include "irq.inc"

HC_POLL_IRQ equ 1
HC_SEND_IPI equ 10

ap_alive    equ PAGE_AREA
ap_irqs     equ PAGE_AREA + 4
ap_nmis     equ PAGE_AREA + 8
AP_STACK    equ PAGE_AREA + 0x4000
ap_idt      equ PAGE_AREA + 0x5000

        section .low
        bits 16
ap_start:                                       ; at 8000
        xor     ax, ax
        mov     ds, ax
        o32 lgdt [ap_gdt_ptr]
        mov     eax, cr0
        or      al, 1
        and     eax, ~(CR0_CD | CR0_NW)
        mov     cr0, eax
        jmp     dword CODE0:ap_main
        align   4
ap_gdt_ptr:   dw 32 * 8 - 1
              dd boot_gdt
        section .data
ap_idt_ptr:   dw 256 * 8 - 1
              dd ap_idt
        section .text
        bits 32
ap_main:
        mov     ax, DATA0
        mov     ds, ax
        mov     es, ax
        mov     ss, ax
        mov     esp, AP_STACK
        lidt    [ap_idt_ptr]
        mov     dword [LAPIC_SVR], 0x1ff
        mov     dword [LVT_LINT0], LVT_MASKED
        mov     dword [LVT_LINT1], LVT_MASKED
        sti
        lock inc dword [ap_alive]
.sleep: hlt
        jmp     .sleep
ap_irq: lock inc dword [ap_irqs]
        mov     dword [LAPIC_EOI], 0
        iretd
ap_nmi: lock inc dword [ap_nmis]
        iretd

; number, map, second map, first ID, ICR
%macro HYPERCALL 1-5 0, 0, 0, 0
        mov     eax, %1
        mov     ebx, %2
        mov     ecx, %3
        mov     edx, %4
        mov     esi, %5
        vmcall
%endmacro
%macro AP_GATE 2
        mov     eax, %2
        mov     edx, eax
        and     eax, 0xffff
        or      eax, CODE0 << 16
        mov     [ap_idt + 8 * (%1)], eax
        and     edx, 0xffff0000
        or      edx, 0x8e00
        mov     [ap_idt + 8 * (%1) + 4], edx
%endmacro

main:
        AP_GATE 0x60, ap_irq
        AP_GATE NMI, ap_nmi
        CASE    "second-processor"              ;= alive=1
        APIC_ON
        SEND    ICR_INIT | ICR_ASSERT
        DELAY   12000
        SEND    ICR_SIPI | ICR_ASSERT | 8
        WAIT_FOR ap_alive, 1
        OUT     "alive", [ap_alive]
        DONE
        CASE    "unknown-number"                ;= poll=0 none=fffffc18 amd=fffffc18
        HYPERCALL HC_POLL_IRQ
        OUT     "poll", eax
        HYPERCALL 999
        OUT     "none", eax
        mov     eax, 999
        vmmcall
        OUT     "amd", eax
        DONE
        CASE    "from-ring-3"                   ;= #1 vec=d cs=1b / answer=ffffffff
        USER
        mov     eax, HC_POLL_IRQ
        vmcall
        mov     [scratch], eax
        hlt
        AFTER
        OUT     "answer", [scratch]
        DONE
        CASE    "send-ipi"                      ;= sent=1 irqs=1
        HYPERCALL HC_SEND_IPI, 2, 0, 0, 0x60
        OUT     "sent", eax
        WAIT_FOR ap_irqs, 1
        OUT     "irqs", [ap_irqs]
        DONE
        CASE    "send-ipi-by-first-id"          ;= sent=1 irqs=2
        HYPERCALL HC_SEND_IPI, 1, 0, 1, 0x60
        OUT     "sent", eax
        WAIT_FOR ap_irqs, 2
        OUT     "irqs", [ap_irqs]
        DONE
        CASE    "send-nmi"                      ;= sent=1 nmis=1
        HYPERCALL HC_SEND_IPI, 2, 0, 0, ICR_NMI
        OUT     "sent", eax
        WAIT_FOR ap_nmis, 1
        OUT     "nmis", [ap_nmis]
        DONE
        CASE    "send-to-nobody"                ;= beyond=0 second=0 wrong=ffffffea
        HYPERCALL HC_SEND_IPI, 0xfffffffc, 0, 0, 0x60
        OUT     "beyond", eax
        HYPERCALL HC_SEND_IPI, 0, -1, 0, 0x60
        OUT     "second", eax
        HYPERCALL HC_SEND_IPI, 2, 0, 0, ICR_LOGICAL | 0x60
        OUT     "wrong", eax
        DONE
        SEND    ICR_INIT | ICR_ASSERT           ; the other one rests
        ret
