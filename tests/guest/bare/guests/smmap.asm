; SPDX-License-Identifier: Apache-2.0
; System Management Mode of one processor by a message of another: SMIs are taken in HLT, which goes on behind them unless the handler
; wants otherwise; INIT waits for the end of SMM; nobody but the processor that is in SMM sees SMRAM.
; AMD64 Architecture Programmer's Manual vol. 2, 10.3.3, 10.5; Intel SDM vol. 3, 33.3.1.1, 33.12.
;! cpus: 2
;! skerry-args: --smm
;! qemu: none (it knows no auto-halt restart, and its firmware has changed SMBASE)
;! kvm: none
;! bochs: none (another chipset)
%define HOME 32
%include "rt.inc"
%include "irq.inc"
ICR_SMI     equ 2 << 8

ap_alive    equ 0x7000                  ; below the home's memory, where 16-bit code reaches it
ap_after    equ 0x7004                  ; passed its HLT so often
ap_nmis     equ 0x7008
ap_stay     equ 0x700c                  ; of the handler: stays in SMM until it is 0

        section .low
        bits 16
; The first bytes of .low are at 8000: start-up vector 8.
ap_start:
        xor     ax, ax
        mov     ds, ax
        mov     ss, ax
        mov     sp, 0x6800
        mov     word [8], ap_nmi
        mov     word [10], 0
        inc     dword [ap_alive]
.loop:  hlt
        inc     dword [ap_after]
        jmp     .loop
ap_nmi: inc     dword [ap_nmis]
        iret

%include "smm.inc"

        section .low
        bits 16
smm_stay:
        mov     dword [smm_data], 1             ; it is here
        pause
        cmp     dword [ap_stay], 0
        jne     smm_stay
        mov     dword [smm_data], 2
        ret
smm_no_halt:
        mov     byte [esi + SA_HALT], 0
        ret

        section .text
        bits 32
main:
        APIC_ON
        call    smm_setup
        SEND    ICR_INIT | ICR_ASSERT
        DELAY   12000                           ; 10 ms
        SEND    ICR_SIPI | ICR_ASSERT | 8
        WAIT_FOR ap_alive, 1, 2000
        DELAY   4000
        CASE    "smi-in-hlt"                    ;= count=1 halt=1 cs=3000 after=0
        APIC_ON
        mov     dword [smm_count], 0
        SEND    ICR_SMI | ICR_ASSERT
        WAIT_FOR smm_count, 1, 2000
        DELAY   8000
        OUT     "count", [smm_count]
        movzx   eax, byte [SAVED + SA_HALT]
        OUT     "halt", eax
        OUT     "cs", [smm_cs]
        OUT     "after", [ap_after]
        DONE
        CASE    "no-halt"                       ;= count=1 cs=a000 after=1
        APIC_ON
        mov     dword [smm_count], 0
        ACTION  smm_no_halt
        SEND    ICR_SMI | ICR_ASSERT
        WAIT_FOR ap_after, 1, 2000
        OUT     "count", [smm_count]
        OUT     "cs", [smm_cs]
        OUT     "after", [ap_after]
        AFTER
        ACTION  0
        DONE
        CASE    "nmi-after"                     ;= held=0 nmis=1 after=2
        APIC_ON
        mov     dword [ap_stay], 1
        mov     dword [smm_data], 0
        ACTION  smm_stay
        SEND    ICR_SMI | ICR_ASSERT
        WAIT_FOR smm_data, 1, 2000
        SEND    ICR_NMI | ICR_ASSERT
        DELAY   8000
        OUT     "held", [ap_nmis]
        mov     dword [ap_stay], 0
        WAIT_FOR ap_after, 2, 2000
        OUT     "nmis", [ap_nmis]
        OUT     "after", [ap_after]
        AFTER
        ACTION  0
        DONE
        CASE    "others-see-nothing"            ;= out=ffffffff
        APIC_ON
        mov     dword [ap_stay], 1
        mov     dword [smm_data], 0
        ACTION  smm_stay
        SEND    ICR_SMI | ICR_ASSERT
        WAIT_FOR smm_data, 1, 2000
        mov     eax, [SMRAM + 0x8000]
        OUT     "out", eax
        mov     dword [ap_stay], 0
        WAIT_FOR smm_data, 2, 2000
        AFTER
        ACTION  0
        DONE
        CASE    "init-held"                     ;= held=1 alive=2
        APIC_ON
        mov     dword [ap_stay], 1
        mov     dword [smm_data], 0
        ACTION  smm_stay
        SEND    ICR_SMI | ICR_ASSERT
        WAIT_FOR smm_data, 1, 2000
        SEND    ICR_INIT | ICR_ASSERT
        DELAY   8000
        mov     dword [smm_data], 0
        WAIT_FOR smm_data, 1, 2000              ; it still runs its handler
        OUT     "held", [smm_data]
        mov     dword [ap_stay], 0
        WAIT_FOR smm_data, 2, 2000
        DELAY   8000
        SEND    ICR_SIPI | ICR_ASSERT | 8
        WAIT_FOR ap_alive, 2, 2000
        OUT     "alive", [ap_alive]
        SEND    ICR_INIT | ICR_ASSERT
        AFTER
        ACTION  0
        DONE
        ret
