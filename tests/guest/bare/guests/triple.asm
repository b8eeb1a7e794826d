; SPDX-License-Identifier: Apache-2.0
; A triple fault ends the machine under --no-reboot: #UD, no IDT, #GP, #DF, no more.
; Intel SDM vol. 3, 6.15, interrupt 8.
;! ending: reset
;! kvm: gate
%define HOME 32
%include "rt.inc"

main:
        CASE    "before"                        ;= none
        DONE
        mov     word [idt_ptr], 0
        lidt    [idt_ptr]
        ud2
        CASE    "not-reached"
        DONE
        ret
