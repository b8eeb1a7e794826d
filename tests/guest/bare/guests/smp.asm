; SPDX-License-Identifier: Apache-2.0
; Two processors: INIT and SIPI, the AP's first state, IPIs and NMIs between them, locked access.
; Intel SDM vol. 3, 8.4, 9.1.1, 10.6.
;! cpus: 2
;! bochs: none (the packaged one has one processor)
%define HOME 32
%include "rt.inc"
%include "irq.inc"

; What the AP shares with the cases. The AP has its own GDT, IDT and stack: the cases' are reset.
AP_AREA     equ PAGE_AREA
ap_alive    equ AP_AREA                 ; starts so far
ap_cs       equ AP_AREA + 4
ap_ip       equ AP_AREA + 8
ap_cr0      equ AP_AREA + 12
ap_fl       equ AP_AREA + 16
ap_seg      equ AP_AREA + 20            ; DS | ES | SS or-ed
ap_cr4      equ AP_AREA + 24
ap_efer     equ AP_AREA + 28
ap_dr6      equ AP_AREA + 32
ap_dr7      equ AP_AREA + 36
ap_id       equ AP_AREA + 40
ap_base     equ AP_AREA + 44
ap_cr3      equ AP_AREA + 48
ap_command  equ AP_AREA + 64            ; address of what to do, 0 when done
ap_irqs     equ AP_AREA + 68
ap_nmis     equ AP_AREA + 72
ap_vector   equ AP_AREA + 76
ap_data     equ AP_AREA + 80
ap_svr      equ AP_AREA + 84
ap_ready    equ AP_AREA + 88            ; 1: it is about to sleep
AP_STACK    equ PAGE_AREA + 0x4000
ap_idt      equ PAGE_AREA + 0x5000

        section .low
        bits 16
; The first bytes of .low are at 8000: start-up vector 8, CS 0800, IP 0
ap_start:
        mov     ax, cs
        mov     [cs:ap_early - LOW_BASE], ax
        mov     ax, ds
        mov     bx, es
        or      ax, bx
        mov     bx, ss
        or      ax, bx
        mov     [cs:ap_early_seg - LOW_BASE], ax
        mov     eax, cr0
        mov     [cs:ap_early_cr0 - LOW_BASE], eax
        xor     ax, ax
        mov     ds, ax
        mov     ss, ax
        mov     sp, 0x6000
        pushfd
        pop     dword [ap_early_fl]
        call    .here
.here:  pop     ax
        sub     ax, .here - ap_start
        mov     [ap_early_ip], ax
        o32 lgdt [ap_gdt_ptr]
        mov     eax, cr0
        or      al, 1
        and     eax, ~(CR0_CD | CR0_NW)
        mov     cr0, eax
        jmp     dword CODE0:ap_main
        align   4
ap_early:     dw 0
ap_early_seg: dw 0
ap_early_cr0: dd 0
ap_early_fl:  dd 0
ap_early_ip:  dw 0
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
        movzx   eax, word [ap_early]
        mov     [ap_cs], eax
        movzx   eax, word [ap_early_seg]
        mov     [ap_seg], eax
        mov     eax, [ap_early_cr0]
        mov     [ap_cr0], eax
        mov     eax, [ap_early_fl]
        and     eax, 0x3f7702                   ; the system flags
        mov     [ap_fl], eax
        movzx   eax, word [ap_early_ip]
        mov     [ap_ip], eax
        mov     eax, cr4
        mov     [ap_cr4], eax
        mov     eax, cr3
        mov     [ap_cr3], eax
        mov     eax, dr6
        mov     [ap_dr6], eax
        mov     eax, dr7
        mov     [ap_dr7], eax
        mov     ecx, MSR_EFER
        rdmsr
        mov     [ap_efer], eax
        mov     ecx, MSR_APIC_BASE
        rdmsr
        mov     [ap_base], eax
        mov     eax, [LAPIC_ID]
        mov     [ap_id], eax
        mov     eax, [LAPIC_SVR]
        mov     [ap_svr], eax
        ; an IDT whose every gate is one handler; NMI has another
        mov     edi, ap_idt
        xor     ecx, ecx
.idt:   mov     eax, ap_irq
        cmp     ecx, NMI
        jne     .irq
        mov     eax, ap_nmi
.irq:   mov     edx, eax
        and     eax, 0xffff
        or      eax, CODE0 << 16
        mov     [edi], eax
        and     edx, 0xffff0000
        or      edx, 0x8e00
        mov     [edi + 4], edx
        add     edi, 8
        inc     ecx
        cmp     ecx, 256
        jb      .idt
        lidt    [ap_idt_ptr]
        mov     dword [LAPIC_SVR], 0x1ff
        mov     dword [LVT_LINT0], LVT_MASKED
        mov     dword [LVT_LINT1], LVT_MASKED
        lock inc dword [ap_alive]
.loop:  pause
        mov     eax, [ap_command]
        test    eax, eax
        jz      .loop
        call    eax
        mov     dword [ap_command], 0
        jmp     .loop
ap_irq: lock inc dword [ap_irqs]
        mov     dword [LAPIC_EOI], 0
        iretd
ap_nmi: lock inc dword [ap_nmis]
        cmp     dword [esp], ap_sleep_nmi       ; come too early, before the HLT? Then over it: it
        jb      .back                           ; would sleep for ever
        cmp     dword [esp], ap_sleep_nmi.hlt
        ja      .back
        mov     dword [esp], ap_sleep_nmi.awake
.back:  iretd

; what the AP can be told to do
ap_sleep:                                       ; until an interrupt
        sti
        hlt
        cli
        ret
ap_sleep_nmi:                                   ; until an NMI; one that comes before this is no one's
        mov     dword [ap_ready], 1
        cli
.hlt:   hlt
.awake: ret
ap_open:                                        ; with interrupts on, for a while
        mov     ecx, 1000
        sti
.l:     pause
        loop    .l
        cli
        ret
ap_add:                                         ; 20000 locked increments
        mov     ecx, 20000
.l:     lock inc dword [ap_data]
        loop    .l
        ret
ap_xadd:
        mov     ecx, 20000
.l:     mov     eax, 1
        lock xadd [ap_data], eax
        loop    .l
        ret
ap_cmpxchg8b:                                   ; 64-bit counter
        mov     esi, 10000
.l:     mov     eax, [ap_data]
        mov     edx, [ap_data + 4]
.again: mov     ebx, eax
        mov     ecx, edx
        add     ebx, 0x10001
        adc     ecx, 1
        lock cmpxchg8b [ap_data]
        jnz     .again
        dec     esi
        jnz     .l
        ret
ap_split_add:                                   ; across a cache line and a page
        mov     ecx, 5000
.l:     lock inc dword [PAGE_AREA + 0x2ffe]
        loop    .l
        ret
MESSAGES equ 300                                ; few: where two processors share one a message is a time slice
ap_store_loads:                                 ; message passing: data before flag
        xor     ecx, ecx
.l:     inc     ecx
.wait:  pause
        cmp     [ap_data], ecx                  ; flag
        jne     .wait
        cmp     [ap_data + 64], ecx             ; data must be there
        je      .good
        inc     dword [ap_data + 128]
.good:  mov     [ap_data + 192], ecx            ; answer
        cmp     ecx, MESSAGES
        jb      .l
        ret
ap_ipi:                                         ; one to the BSP
        mov     dword [LAPIC_ICR2], 0
        mov     dword [LAPIC_ICR], ICR_ASSERT | 0x77
        ret
ap_patched:                                     ; a function that the BSP changes: cross-modifying
        call    .target
        mov     [ap_data], eax
        ret
.target:
        mov     eax, 0x11111111
        ret

%macro COMMAND 1
        mov     dword [ap_command], %1
%endmacro
; give the AP time to reach its HLT: no way to see it
%macro SETTLE 0
        DELAY   6000
%endmacro

main:
        CASE    "init-sipi"                     ;= alive=1 cs=800 ip=0 cr0=60000010 fl=2 seg=0 cr4=0 cr3=0 efer=0 dr6=ffff0ff0 dr7=400 id=1000000 base=fee00800 svr=ff
        APIC_ON
        SEND    ICR_INIT | ICR_ASSERT
        DELAY   12000                           ; 10 ms
        SEND    ICR_SIPI | ICR_ASSERT | 8
        WAIT_FOR ap_alive, 1
        OUT     "alive", [ap_alive]
        OUT     "cs", [ap_cs]
        OUT     "ip", [ap_ip]
        OUT     "cr0", [ap_cr0]
        OUT     "fl", [ap_fl]
        OUT     "seg", [ap_seg]
        OUT     "cr4", [ap_cr4]
        OUT     "cr3", [ap_cr3]
        OUT     "efer", [ap_efer]
        OUT     "dr6", [ap_dr6]
        OUT     "dr7", [ap_dr7]
        OUT     "id", [ap_id]
        OUT     "base", [ap_base]
        OUT     "svr", [ap_svr]
        DONE
        CASE    "second-sipi-is-ignored"        ;= alive=1
        SEND    ICR_SIPI | ICR_ASSERT | 8
        DELAY   12000
        OUT     "alive", [ap_alive]
        DONE
        CASE    "ipi"                           ;= irqs=1 done=0
        COMMAND ap_sleep
        SETTLE
        SEND    ICR_ASSERT | 0x60
        WAIT_FOR ap_command, 0
        OUT     "irqs", [ap_irqs]
        OUT     "done", [ap_command]
        DONE
        CASE    "ipi-waits-for-if"              ;= before=1 after=2
        SEND    ICR_ASSERT | 0x60
        DELAY   6000
        OUT     "before", [ap_irqs]
        COMMAND ap_open
        WAIT_FOR ap_command, 0
        OUT     "after", [ap_irqs]
        DONE
        CASE    "all-but-self"                  ;= irqs=3 own=0
        COMMAND ap_sleep
        SETTLE
        mov     dword [LAPIC_ICR], ICR_OTHERS | ICR_ASSERT | 0x61
        WAIT_FOR ap_command, 0
        OUT     "irqs", [ap_irqs]
        mov     eax, [IRRBIT(0x61)]
        and     eax, 1 << (0x61 % 32)
        OUT     "own", eax
        DONE
        CASE    "all-with-self"                 ;= #1 vec=62 / irqs=4
        mov     dword [case_hook], .hook
        COMMAND ap_sleep
        SETTLE
        mov     dword [LAPIC_ICR], 2 << 18 | ICR_ASSERT | 0x62
        WAIT_FOR ap_command, 0
        sti
        nop
        nop
        cli
        OUT     "irqs", [ap_irqs]
        jmp     .out
.hook:  mov     dword [LAPIC_EOI], 0
        clc
        ret
.out:   DONE
        CASE    "nmi-wakes-cli-hlt"             ;= nmis=1 done=0
        mov     dword [ap_ready], 0
        COMMAND ap_sleep_nmi
        WAIT_FOR ap_ready, 1
        SETTLE
        SEND    ICR_NMI | ICR_ASSERT
        WAIT_FOR ap_command, 0
        OUT     "nmis", [ap_nmis]
        OUT     "done", [ap_command]
        DONE
        CASE    "irq-does-not-wake-cli-hlt"     ;= done=0 irqs=4 sleeping=1
        mov     dword [ap_ready], 0
        COMMAND ap_sleep_nmi
        WAIT_FOR ap_ready, 1
        SETTLE
        SEND    ICR_ASSERT | 0x63
        DELAY   6000
        xor     eax, eax
        cmp     dword [ap_command], 0
        setne   al
        OUT     "sleeping", eax
        OUT     "irqs", [ap_irqs]
        SEND    ICR_NMI | ICR_ASSERT
        WAIT_FOR ap_command, 0
        OUT     "done", [ap_command]
        COMMAND ap_open                         ; takes 63
        WAIT_FOR ap_command, 0
        DONE
        CASE    "ap-to-bsp"                     ;= #1 vec=77 ip=+2
        mov     dword [case_hook], .hook
        COMMAND ap_ipi
 T      sti
        hlt
        cli
        WAIT_FOR ap_command, 0
        jmp     .out
.hook:  mov     dword [LAPIC_EOI], 0
        clc
        ret
.out:   DONE
        CASE    "logical-destination"           ;= irqs=1
        mov     dword [ap_irqs], 0
        mov     dword [LAPIC_DFR], 0xffffffff
        mov     dword [LAPIC_LDR], 0x01000000
        COMMAND .ldr
        WAIT_FOR ap_command, 0
        COMMAND ap_sleep
        SETTLE
        mov     dword [LAPIC_ICR2], 0x02000000
        mov     dword [LAPIC_ICR], ICR_ASSERT | ICR_LOGICAL | 0x64
        WAIT_FOR ap_command, 0
        OUT     "irqs", [ap_irqs]
        jmp     .out
.ldr:   mov     dword [LAPIC_DFR], 0xffffffff
        mov     dword [LAPIC_LDR], 0x02000000
        ret
.out:   DONE
        CASE    "ioapic-to-ap"                  ;= irqs=2
        COMMAND ap_sleep
        SETTLE
        mov     dword [IOAPIC], REDIR(4) + 1
        mov     dword [IOWIN], 0x01000000
        mov     dword [IOAPIC], REDIR(4)
        mov     dword [IOWIN], 0x65
        UART_IRQ_ON
        WAIT_FOR ap_command, 0
        UART_IRQ_OFF
        mov     dword [IOAPIC], REDIR(4)
        mov     dword [IOWIN], LVT_MASKED
        OUT     "irqs", [ap_irqs]
        DONE
        CASE    "lock-inc"                      ;= sum=9c40
        mov     dword [ap_data], 0
        COMMAND ap_add
        mov     ecx, 20000
.l:     lock inc dword [ap_data]
        loop    .l
        WAIT_FOR ap_command, 0
        OUT     "sum", [ap_data]
        DONE
        CASE    "lock-xadd"                     ;= sum=9c40
        mov     dword [ap_data], 0
        COMMAND ap_xadd
        mov     ecx, 20000
.l:     mov     eax, 1
        lock xadd [ap_data], eax
        loop    .l
        WAIT_FOR ap_command, 0
        OUT     "sum", [ap_data]
        DONE
        CASE    "lock-cmpxchg8b"                ;= lo=4e204e20 hi=4e20
        mov     dword [ap_data], 0
        mov     dword [ap_data + 4], 0
        COMMAND ap_cmpxchg8b
        call    ap_cmpxchg8b
        WAIT_FOR ap_command, 0
        OUT     "lo", [ap_data]
        OUT     "hi", [ap_data + 4]
        DONE
        CASE    "lock-inc-split"                ;= sum=2710
        mov     dword [PAGE_AREA + 0x2ffe], 0
        COMMAND ap_split_add
        call    ap_split_add
        WAIT_FOR ap_command, 0
        OUT     "sum", [PAGE_AREA + 0x2ffe]
        DONE
        CASE    "stores-in-order"               ;= bad=0 done=12c
        mov     dword [ap_data], 0
        mov     dword [ap_data + 64], 0
        mov     dword [ap_data + 128], 0
        mov     dword [ap_data + 192], 0
        COMMAND ap_store_loads
        xor     ecx, ecx
.l:     inc     ecx
        mov     [ap_data + 64], ecx
        mov     [ap_data], ecx
.wait:  pause
        cmp     [ap_data + 192], ecx
        jne     .wait
        cmp     ecx, MESSAGES
        jb      .l
        WAIT_FOR ap_command, 0
        OUT     "bad", [ap_data + 128]
        OUT     "done", [ap_data + 192]
        DONE
        CASE    "cross-modified-code"           ;= a=11111111 b=22222222
        COMMAND ap_patched
        WAIT_FOR ap_command, 0
        OUT     "a", [ap_data]
        mov     dword [ap_patched.target + 1], 0x22222222
        COMMAND ap_patched
        WAIT_FOR ap_command, 0
        OUT     "b", [ap_data]
        mov     dword [ap_patched.target + 1], 0x11111111
        DONE
        CASE    "init-again"                    ;= alive=2 cs=800
        ; out of its loop, to the start again
        SEND    ICR_INIT | ICR_ASSERT
        DELAY   12000
        SEND    ICR_SIPI | ICR_ASSERT | 8
        WAIT_FOR ap_alive, 2
        OUT     "alive", [ap_alive]
        OUT     "cs", [ap_cs]
        DONE
        CASE    "init-from-hlt"                 ;= alive=3
        COMMAND ap_sleep_nmi
        SETTLE
        mov     dword [ap_command], 0
        SEND    ICR_INIT | ICR_ASSERT
        DELAY   12000
        SEND    ICR_SIPI | ICR_ASSERT | 8
        WAIT_FOR ap_alive, 3
        OUT     "alive", [ap_alive]
        DONE
        CASE    "ipi-to-nobody"                 ;= sent=0
        mov     dword [LAPIC_ICR2], 0x07000000
        mov     dword [LAPIC_ICR], ICR_ASSERT | 0x60
        DELAY   1000
        mov     eax, [LAPIC_ICR]
        and     eax, 1 << 12                    ; delivery status: idle
        OUT     "sent", eax
        DONE
        SEND    ICR_INIT | ICR_ASSERT           ; the AP rests
        ret
