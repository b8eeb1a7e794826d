; SPDX-License-Identifier: Apache-2.0
; A triple fault in 64-bit mode: the page tables go away. Intel SDM vol. 3, 6.15, interrupt 8.
;! ending: reset
;! kvm: gate
%define HOME 64
%include "rt.inc"

main:
        CASE    "before"                        ;= none
        DONE
        mov     dword [HOME_PT], 0
        mov     rax, cr3
        mov     cr3, rax
        ud2
        ret
