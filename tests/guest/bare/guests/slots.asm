; SPDX-License-Identifier: Apache-2.0
; Memory that becomes read-only and writable again (the chipset's PAM registers) while another processor runs and uses it. Under
; KVM each change makes a memory slot anew.
; Q35 datasheet, "Programmable Attribute Map"; Intel SDM vol. 3, 8.4.
;! cpus: 2
;! skerry-args: --board q35-1
;! qemu-machine: q35
;! bochs: none (another chipset, one processor)
;! kvm: gate
%define HOME 32
%include "rt.inc"
%include "irq.inc"

PAM3        equ 0x93                    ; D0000-D3FFF in bits 0 and 1 (reads, writes go to memory), D4000-D7FFF in 4 and 5
SHADOW      equ 0xd0000
BESIDE      equ 0xd4000                 ; always writable here
ap_alive    equ 0x7000                  ; below the home's memory, where 16-bit code reaches it
ap_stop     equ 0x7004
ap_rounds   equ 0x7008
ap_bad      equ 0x700c

        section .low
        bits 16
; The first bytes of .low are at 8000: start-up vector 8. It stays in real mode, and counts beside and in the shadow.
ap_start:
        xor     ax, ax
        mov     ds, ax
        mov     ax, 0xd000
        mov     es, ax
        mov     ax, 0xd400
        mov     fs, ax
        mov     dword [ap_alive], 1
.loop:  inc     dword [fs:0]            ; must never be lost
        inc     dword [ap_rounds]
        mov     eax, [fs:0]
        cmp     eax, [ap_rounds]
        je      .same
        inc     dword [ap_bad]
.same:  mov     [es:0x10], eax          ; kept or dropped, as the register says
        mov     eax, [es:0x20]          ; what was written before must be there
        cmp     eax, 0x13579bdf
        je      .kept
        inc     dword [ap_bad]
.kept:  cmp     dword [ap_stop], 0
        je      .loop
        mov     dword [ap_alive], 0
.end:   hlt
        jmp     .end

        section .text
        bits 32
pam:                                    ; al: what PAM3 is to be
        mov     ah, al
        push    eax
        mov     edx, 0xcf8
        mov     eax, 0x80000000 | (PAM3 & ~3)
        out     dx, eax
        mov     edx, 0xcfc + (PAM3 & 3)
        pop     eax
        out     dx, al
        ret

main:
        CASE    "writable"                      ;= a=12345678 b=12345678 c=9abcdef0
        mov     al, 0x33
        call    pam
        mov     dword [SHADOW], 0x12345678
        mov     eax, [SHADOW]
        OUT     "a", eax
        mov     al, 0x31                        ; reads only
        call    pam
        mov     dword [SHADOW], 0x55555555      ; goes nowhere
        mov     eax, [SHADOW]
        OUT     "b", eax
        mov     al, 0x33
        call    pam
        mov     dword [SHADOW], 0x9abcdef0
        mov     eax, [SHADOW]
        OUT     "c", eax
        DONE
        CASE    "string-into-read-only"         ;= a=9abcdef0 b=9abcdef0 cx=0
        mov     al, 0x31
        call    pam
        mov     edi, SHADOW
        mov     ecx, 64
        mov     eax, 0x66666666
        rep stosd
        OUT     "cx", ecx
        mov     eax, [SHADOW]
        OUT     "a", eax
        lock inc dword [SHADOW]
        mov     eax, [SHADOW]
        OUT     "b", eax
        mov     al, 0x33
        call    pam
        DONE
        CASE    "under-a-running-processor"     ;= alive=1 ended=0 bad=0 some=1 kept=13579bdf
        APIC_ON
        mov     al, 0x33
        call    pam
        mov     dword [BESIDE], 0
        mov     dword [SHADOW + 0x20], 0x13579bdf
        mov     dword [ap_alive], 0
        mov     dword [ap_stop], 0
        mov     dword [ap_rounds], 0
        mov     dword [ap_bad], 0
        SEND    ICR_INIT | ICR_ASSERT
        DELAY   12000                           ; 10 ms
        SEND    ICR_SIPI | ICR_ASSERT | 8
        WAIT_FOR ap_alive, 1, 2000
        OUT     "alive", [ap_alive]
        mov     esi, 100
.flip:  mov     al, 0x31
        call    pam
        mov     ecx, 200
.a:     pause
        loop    .a
        mov     al, 0x33
        call    pam
        mov     ecx, 200
.b:     pause
        loop    .b
        dec     esi
        jnz     .flip
        mov     dword [ap_stop], 1
        WAIT_FOR ap_alive, 0, 2000
        OUT     "ended", [ap_alive]
        OUT     "bad", [ap_bad]
        xor     eax, eax
        cmp     dword [ap_rounds], 100
        setae   al
        OUT     "some", eax
        OUT     "kept", [SHADOW + 0x20]
        SEND    ICR_INIT | ICR_ASSERT
        DONE
        ret
