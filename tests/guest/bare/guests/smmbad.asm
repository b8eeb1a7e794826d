; SPDX-License-Identifier: Apache-2.0
; RSM to a state that no processor can be in, paging without protection, shuts it down.
; AMD64 Architecture Programmer's Manual vol. 2, 10.3.4; Intel SDM vol. 3, 33.4.1.1.
;! skerry-args: --smm
;! ending: reset
;! qemu: none (it goes on)
;! kvm: none
;! bochs: none (another chipset)
%define HOME 32
%include "rt.inc"
%include "smm.inc"

        section .low
        bits 16
smm_break:
        mov     dword [esi + SA_CR0], CR0_PG
        ret

        section .text
        bits 32
main:
        call    smm_setup
        CASE    "before"                        ;= count=1
        OUT     "count", [smm_count]
        DONE
        ACTION  smm_break
        out     APM_CNT, al
        CASE    "not-reached"
        DONE
        ret
