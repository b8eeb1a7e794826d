; SPDX-License-Identifier: Apache-2.0
; As modes64, in System Management Mode, with what waits for its end. For tests/guest/save/run.
;! cpus: 1
;! skerry-args: --smm
;! kvm: none
%define HOME 64
%include "rt.inc"
%include "irq.inc"
%include "smm.inc"
%include "meet.inc"

        section .low
        bits 16
smm_meet:
        mov     dword [dword SMRAM + 0x9000], 0x12345678
        mov     ebx, 0x11111111
        MEET
        mov     [smm_data], ebx
        mov     eax, [dword SMRAM + 0x9000]
        mov     [smm_more], eax
        ret
smm_meet_waiting:                       ; with another SMI and an NMI that wait
        mov     word [smm_action], 0
        out     APM_CNT, al
        mov     dword [dword LAPIC_ICR], ICR_SELF | ICR_NMI | ICR_ASSERT
        MEET
        mov     eax, [smm_count]
        mov     [smm_data], eax
        mov     eax, [dword n_events]
        mov     [smm_more], eax
        ret

        section .text
        bits 64
main:
        call    smm_setup
        CASE    "in-smm"                ;= bx=11111111 smram=12345678 out=ffffffff r15=f0f0 cs=8
        ACTION  smm_meet
        mov     r15d, 0xf0f0
        SMI
        OUT32   "bx", [smm_data]
        OUT32   "smram", [smm_more]
        mov     eax, [SMRAM + 0x9000]
        OUT32   "out", eax
        OUT     "r15", r15
        mov     eax, cs
        OUT32   "cs", eax
        AFTER
        ACTION  0
        DONE
        CASE    "waiting"               ;= #1 vec=2 / count=1 events=0 after=2
        mov     r15d, LAPIC_SVR
        mov     dword [r15], 0x1ff
        mov     dword [smm_count], 0
        ACTION  smm_meet_waiting
        SMI
        nop
        OUT32   "count", [smm_data]
        OUT32   "events", [smm_more]
        OUT32   "after", [smm_count]
        AFTER
        ACTION  0
        DONE
        CASE    "locked"                ;= lock=1a open=1a out=ffffffff smi=1
        MCH_PUT MCH_SMRAM, SMRAM_LOCKED
        MEET
        MCH_GET MCH_SMRAM
        OUT32   "lock", eax
        MCH_PUT MCH_SMRAM, SMRAM_OPEN
        MCH_GET MCH_SMRAM
        OUT32   "open", eax
        mov     eax, [SMRAM + 0x9000]
        OUT32   "out", eax
        mov     dword [smm_count], 0
        SMI
        OUT32   "smi", [smm_count]
        DONE
        ret
