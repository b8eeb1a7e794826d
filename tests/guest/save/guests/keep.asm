; SPDX-License-Identifier: Apache-2.0
; The guest of the fixtures: fills memory with a pattern, counts timer interrupts, and waits on its serial port. After 'q'
; comes, it looks whether all is as it was, and ends its VM by the debug exit: status (0x10 << 1) | 1 if it is.
; Loaded as a multiboot kernel at 1 MiB + 12; 32-bit protected mode without paging. 2 MiB of RAM.
bits 32
org 0x10000c

PATTERN         equ 0x140000            ; from here ...
PATTERN_END     equ 0x148000            ; ... to here
IDT             equ 0x190000
STACK           equ 0x1f0000
COM1            equ 0x3f8
DEBUG_EXIT      equ 0xf4
TICKS           equ 0x1a0000            ; counted by the timer's interrupt

start:
        cli
        cld
        mov     esp, STACK
        ; The pattern: a linear congruential generator
        mov     edi, PATTERN
        mov     eax, 12345
.fill:  imul    eax, eax, 1103515245
        add     eax, 12345
        stosd
        cmp     edi, PATTERN_END
        jb      .fill

        ; IDT: entry 0x20 only
        mov     eax, tick
        mov     edi, IDT + 0x20 * 8
        mov     [edi], ax
        mov     [edi + 2], cs
        mov     word [edi + 4], 0x8e00
        shr     eax, 16
        mov     [edi + 6], ax
        lidt    [idtr]
        mov     dword [TICKS], 0

        ; PICs: vectors 0x20 and 0x28, only IRQ 0
        mov     al, 0x11
        out     0x20, al
        out     0xa0, al
        mov     al, 0x20
        out     0x21, al
        mov     al, 0x28
        out     0xa1, al
        mov     al, 4
        out     0x21, al
        mov     al, 2
        out     0xa1, al
        mov     al, 1
        out     0x21, al
        out     0xa1, al
        mov     al, 0xfe
        out     0x21, al
        mov     al, 0xff
        out     0xa1, al
        ; PIT channel 0: mode 2, 100 Hz (1193182 / 11932)
        mov     al, 0x34
        out     0x43, al
        mov     al, 11932 & 0xff
        out     0x40, al
        mov     al, 11932 >> 8
        out     0x40, al
        ; State of the FPU and of registers that must survive
        fninit
        fldpi
        mov     ebx, 0xb0b0b0b0
        mov     ebp, 0xbeefbeef
        sti
        mov     al, 'k'                 ; ready
        call    put

.wait:  mov     dx, COM1 + 5
        in      al, dx
        test    al, 1
        jnz     .came
        hlt
        jmp     .wait
.came:  mov     dx, COM1
        in      al, dx
        cmp     al, 'q'
        jne     .wait

        ; All as it was?
        mov     edi, PATTERN
        mov     eax, 12345
.check: imul    eax, eax, 1103515245
        add     eax, 12345
        scasd
        jne     bad
        cmp     edi, PATTERN_END
        jb      .check
        cmp     ebx, 0xb0b0b0b0
        jne     bad
        cmp     ebp, 0xbeefbeef
        jne     bad
        fldpi
        fcomip  st1
        jne     bad
        ; Ten more ticks, or it hangs here
        mov     ecx, [TICKS]
        add     ecx, 10
.ticks: hlt
        mov     eax, [TICKS]
        sub     eax, ecx
        js      .ticks
        mov     al, 0x10
        jmp     leave_with
bad:    mov     al, 0x11
leave_with:
        out     DEBUG_EXIT, al
        hlt
        jmp     leave_with

put:    mov     ah, al
.busy:  mov     dx, COM1 + 5
        in      al, dx
        test    al, 0x20
        jz      .busy
        mov     dx, COM1
        mov     al, ah
        out     dx, al
        ret

tick:   push    eax
        inc     dword [TICKS]
        mov     al, 0x20
        out     0x20, al
        pop     eax
        iret

idtr:   dw      0x7ff
        dd      IDT
