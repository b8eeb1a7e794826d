; SPDX-License-Identifier: Apache-2.0
; PIC, PIT, RTC, and where interrupts are let in. Intel 8259A, 8254 data sheets; MC146818;
; Intel SDM vol. 3, 6.8.
%define HOME 32
%include "rt.inc"
%include "irq.inc"

; after each interrupt: EOI to the PICs; faults end the case
eoi_hook:
        mov     eax, [ebp + fr.vec]
        cmp     eax, 32
        jb      .fault
        cmp     eax, PIC1_BASE
        jb      .master
        mov     al, 0x20
        out     0xa0, al
.master:
        mov     al, 0x20
        out     0x20, al
        clc
        ret
.fault: stc
        ret
; notes the ISRs, then EOI
isr_hook:
        mov     al, 0x0b
        out     0x20, al
        in      al, 0x20
        mov     [scratch], al
        mov     al, 0x0b
        out     0xa0, al
        in      al, 0xa0
        mov     [scratch + 1], al
        call    eoi_hook
        in      al, 0x20
        mov     [scratch + 2], al
        clc
        ret
no_eoi_hook:
        clc
        ret

; the PICs anew: vector base, ICW4
%macro PIC_INIT 2
        mov     al, 0x11
        out     0x20, al
        mov     al, %1
        out     0x21, al
        mov     al, 4
        out     0x21, al
        mov     al, %2
        out     0x21, al
%endmacro

; Nothing pending: channel 0's output low, the PIC's edge latches empty (ICW1 does that)
%macro BEGIN_PIC 1                              ; hook
        VIRTUAL_WIRE
        PIT0_QUIET
        PIC_INIT PIC0_BASE, 1
        IMR     0xff, 0xff
        mov     dword [case_hook], %1
%endmacro
%macro END_PIC 0
        IMR     0xff, 0xff
        PIT0_QUIET
%endmacro
; until the master PIC has this request (or for a good while)
%macro IRR_WAIT 1
        mov     ecx, 1000000
        mov     al, 0x0a
        out     0x20, al
%%wait: in      al, 0x20
        test    al, %1
        loopz   %%wait
%endmacro
; a PIT interrupt that waits at the PIC's door
%macro IRQ0_PENDING 0
        PIT0    0, 100
        IRR_WAIT 1
        IMR     0xfe, 0xff
%endmacro
main:
        ; --- where an interrupt is let in
        CASE    "hlt-wakes"                     ;= #1 vec=20 ip=+2 fl=200
        BEGIN_PIC eoi_hook
        IMR     0xfe, 0xff
        PIT0    0, 2000
 T      sti
        hlt
        cli
        END_PIC
        DONE
        CASE    "sti-shadow"                    ;= #1 vec=20 ip=+2
        BEGIN_PIC eoi_hook
        IRQ0_PENDING
 T      sti
        nop
        nop
        cli
        END_PIC
        DONE
        CASE    "sti-hlt-pending"               ;= #1 vec=20 ip=+2
        BEGIN_PIC eoi_hook
        IRQ0_PENDING
 T      sti
        hlt
        cli
        END_PIC
        DONE
        CASE    "sti-cli-never"                 ;= none
        BEGIN_PIC eoi_hook
        IRQ0_PENDING
 T      sti
        cli
        END_PIC
        DONE
        CASE    "sti-with-if-set-no-shadow"     ;= #1 vec=20 ip=+2
        BEGIN_PIC eoi_hook
        IRQ0_PENDING
 T      sti
        sti
        nop
        cli
        END_PIC
        DONE
        ; (MOV SS right behind STI: only the first of two shadows is promised, Intel SDM vol. 2, MOV.
        ; The shadow of MOV SS itself is proved with TF, in debug32.)
        CASE    "popf-no-shadow"                ;= #1 vec=20 ip=+1
        BEGIN_PIC eoi_hook
        IRQ0_PENDING
        push    FL_IF | 2
 T      popfd
        nop
        cli
        END_PIC
        DONE
        CASE    "iret-no-shadow"                ;= #1 vec=20 ip=+0
        BEGIN_PIC eoi_hook
        IRQ0_PENDING
        push    FL_IF | 2
        push    CODE0
        push    %$t
        iretd
 T      nop
        cli
        END_PIC
        DONE
        CASE    "user-mode-is-interrupted"      ;= #1 vec=20 ip=+0 cs=1b fl=200
        BEGIN_PIC eoi_hook
        IRQ0_PENDING
        USER    FL_IF | 2
 T      nop
        AFTER
        END_PIC
        DONE

        ; --- the PIC
        CASE    "pic.irr-while-masked"          ;= irr=1
        BEGIN_PIC eoi_hook
        PIT0    0, 100
        IRR_WAIT 1
        mov     al, 0x0a
        out     0x20, al
        in      al, 0x20
        movzx   eax, al
        and     eax, 1
        OUT     "irr", eax
        IMR     0xfe, 0xff
        sti
        nop
        cli
        END_PIC
        DONE                                    ;= #1 vec=20
        CASE    "pic.isr-in-handler"            ;= #1 vec=20 / isr=1 after=0
        BEGIN_PIC isr_hook
        IRQ0_PENDING
        sti
        nop
        cli
        END_PIC
        AFTER
        movzx   eax, byte [scratch]
        OUT     "isr", eax
        movzx   eax, byte [scratch + 2]
        OUT     "after", eax
        DONE
        CASE    "pic.no-eoi-no-more"            ;= #1 vec=20 / irr=1
        BEGIN_PIC no_eoi_hook
        IRQ0_PENDING
        sti
        nop
        PIT0    0, 100
        IRR_WAIT 1
        nop
        cli
        mov     al, 0x0a
        out     0x20, al
        in      al, 0x20
        movzx   eax, al
        and     eax, 1
        OUT     "irr", eax
        mov     dword [case_hook], eoi_hook
        mov     al, 0x20
        out     0x20, al                        ; now the second one may come...
        mov     dword [n_events], 1
        END_PIC
        mov     al, 0x60                        ; ... but is masked; specific EOI harms nothing
        out     0x20, al
        DONE
        CASE    "pic.priority"                  ;= #1 vec=20 / #2 vec=24
        BEGIN_PIC eoi_hook
        PIT0    0, 100
        IRR_WAIT 1
        UART_IRQ_ON
        IMR     0xee, 0xff
        sti
        nop
        nop
        nop
        cli
        UART_IRQ_OFF
        END_PIC
        DONE
        CASE    "pic.lower-waits-for-eoi"       ;= #1 vec=20 / irr=10
        BEGIN_PIC no_eoi_hook
        PIT0    0, 100
        IRR_WAIT 1
        UART_IRQ_ON
        IMR     0xee, 0xff
        sti
        nop
        nop
        nop
        cli
        mov     al, 0x0a
        out     0x20, al
        in      al, 0x20
        movzx   eax, al
        and     eax, 0x10
        OUT     "irr", eax
        UART_IRQ_OFF
        END_PIC
        mov     al, 0x20
        out     0x20, al
        DONE
        CASE    "pic.higher-interrupts-lower"   ;= #1 vec=24 / #2 vec=20
        BEGIN_PIC no_eoi_hook
        UART_IRQ_ON
        IMR     0xee, 0xff
        sti
        nop
        nop
        cli
        PIT0    0, 100
        IRR_WAIT 1
        sti
        nop
        cli
        UART_IRQ_OFF
        END_PIC
        mov     al, 0x20
        out     0x20, al
        out     0x20, al
        DONE
        CASE    "pic.special-mask-mode"         ;= #1 vec=20 / #2 vec=24
        BEGIN_PIC no_eoi_hook
        IRQ0_PENDING
        sti
        nop
        cli                                     ; IRQ 0 is in service for good
        UART_IRQ_ON
        mov     al, 0x68                        ; special mask mode: a masked level in service blocks none
        out     0x20, al
        IMR     0xef, 0xff
        sti
        nop
        nop
        cli
        mov     al, 0x48
        out     0x20, al
        UART_IRQ_OFF
        END_PIC
        mov     al, 0x60
        out     0x20, al
        mov     al, 0x64
        out     0x20, al
        DONE
        CASE    "pic.set-priority"              ;= #1 vec=24 / #2 vec=20
        BEGIN_PIC eoi_hook
        mov     al, 0xc0                        ; set priority: 0 lowest, so 4 goes before 0
        out     0x20, al
        PIT0    0, 100
        IRR_WAIT 1
        UART_IRQ_ON
        IMR     0xee, 0xff
        sti
        nop
        nop
        nop
        cli
        UART_IRQ_OFF
        END_PIC
        mov     al, 0xc7                        ; back
        out     0x20, al
        DONE
        CASE    "pic.cascade-rtc"               ;= #1 vec=28 / isrm=4 isrs=1 c=c0
        BEGIN_PIC isr_hook
        mov     al, 0x8b                        ; register B: periodic interrupt, 24 h, BCD
        out     0x70, al
        in      al, 0x71
        mov     bl, al
        mov     al, 0x8a
        out     0x70, al
        mov     al, 0x26                        ; 1024 Hz
        out     0x71, al
        mov     al, 0x8c
        out     0x70, al
        in      al, 0x71
        IMR     0xfb, 0xfe
        mov     al, 0x8b
        out     0x70, al
        mov     al, bl
        or      al, 0x40
        out     0x71, al
        sti
        hlt
        cli
        mov     al, 0x8c
        out     0x70, al
        in      al, 0x71
        and     al, 0xc0                        ; a second may end meanwhile, which sets bit 4
        mov     [scratch + 8], al
        mov     al, 0x8b
        out     0x70, al
        mov     al, bl
        and     al, ~0x40
        out     0x71, al
        END_PIC
        AFTER
        movzx   eax, byte [scratch]
        OUT     "isrm", eax
        movzx   eax, byte [scratch + 1]
        OUT     "isrs", eax
        movzx   eax, byte [scratch + 8]
        OUT     "c", eax
        DONE
        CASE    "rtc.one-irq-until-c-is-read"   ;= n=1
        BEGIN_PIC eoi_hook
        mov     al, 0x8c
        out     0x70, al
        in      al, 0x71
        IMR     0xfb, 0xfe
        mov     al, 0x8b
        out     0x70, al
        in      al, 0x71
        mov     bl, al
        or      al, 0x40
        out     0x71, al
        sti
        hlt
        DELAY   20000                           ; 17 ms, many periods
        cli
        mov     al, 0x8b
        out     0x70, al
        mov     al, bl
        and     al, ~0x40
        out     0x71, al
        mov     al, 0x8c
        out     0x70, al
        in      al, 0x71
        END_PIC
        OUT     "n", [n_events]
        mov     dword [n_events], 0
        DONE
        CASE    "cmos.holds"                    ;= a=5a b=a5
        mov     al, 0x80 | 0x70
        out     0x70, al
        in      al, 0x71
        mov     bl, al
        mov     al, 0x80 | 0x70
        out     0x70, al
        mov     al, 0x5a
        out     0x71, al
        mov     al, 0x80 | 0x70
        out     0x70, al
        in      al, 0x71
        movzx   eax, al
        OUT     "a", eax
        mov     al, 0x80 | 0x70
        out     0x70, al
        mov     al, 0xa5
        out     0x71, al
        mov     al, 0x80 | 0x70
        out     0x70, al
        in      al, 0x71
        movzx   eax, al
        OUT     "b", eax
        DONE
        CASE    "pic.imr-holds"                 ;= m=a5 s=5a
        IMR     0xa5, 0x5a
        in      al, 0x21
        movzx   ecx, al
        in      al, 0xa1
        movzx   edx, al
        OUT     "m", ecx
        OUT     "s", edx
        IMR     0xff, 0xff
        DONE
        CASE    "pic.icw1-clears-imr"           ;= m=0
        PIC_INIT PIC0_BASE, 1
        in      al, 0x21
        movzx   ecx, al
        OUT     "m", ecx
        IMR     0xff, 0xff
        DONE
        CASE    "pic.vector-base"               ;= #1 vec=40
        BEGIN_PIC eoi_hook
        PIC_INIT 0x40, 1
        IMR     0xff, 0xff
        IRQ0_PENDING
        sti
        nop
        cli
        PIC_INIT PIC0_BASE, 1
        END_PIC
        DONE
        CASE    "pic.auto-eoi"                  ;= #1 vec=20 / isr=0
        BEGIN_PIC .hook
        PIC_INIT PIC0_BASE, 3
        IMR     0xff, 0xff
        IRQ0_PENDING
        sti
        nop
        cli
        PIC_INIT PIC0_BASE, 1
        END_PIC
        jmp     .out
.hook:  mov     al, 0x0b
        out     0x20, al
        in      al, 0x20
        mov     [scratch], al
        clc
        ret
.out:   AFTER
        movzx   eax, byte [scratch]
        OUT     "isr", eax
        DONE
        CASE    "pic.poll"                      ;= poll=80 isr=1
        BEGIN_PIC eoi_hook
        IRQ0_PENDING
        mov     al, 0x0c                        ; OCW3: the next read is a poll, and acknowledges
        out     0x20, al
        in      al, 0x20
        movzx   ecx, al
        OUT     "poll", ecx
        mov     al, 0x0b
        out     0x20, al
        in      al, 0x20
        movzx   ecx, al
        OUT     "isr", ecx
        mov     al, 0x20
        out     0x20, al
        END_PIC
        DONE
        CASE    "pic.elcr"                      ;= a=f8 b=de
        mov     dx, 0x4d0
        mov     al, 0xff
        out     dx, al
        in      al, dx
        movzx   ecx, al
        OUT     "a", ecx
        xor     eax, eax
        out     dx, al
        mov     dx, 0x4d1
        mov     al, 0xff
        out     dx, al
        in      al, dx
        movzx   ecx, al
        OUT     "b", ecx
        mov     al, 0x0c                        ; as firmware leaves it: IRQ 10, 11
        out     dx, al
        DONE
        CASE    "pic.level-drops-with-the-line" ;= none
        BEGIN_PIC eoi_hook
        mov     dx, 0x4d0
        mov     al, 0x10                        ; IRQ 4 level
        out     dx, al
        UART_IRQ_ON
        UART_IRQ_OFF
        IMR     0xef, 0xff
        sti
        nop
        nop
        cli
        mov     dx, 0x4d0
        xor     eax, eax
        out     dx, al
        END_PIC
        DONE
        CASE    "pic.level-comes-again"         ;= #1 vec=24 / #2 vec=24
        BEGIN_PIC .hook
        mov     dx, 0x4d0
        mov     al, 0x10
        out     dx, al
        UART_IRQ_ON
        IMR     0xef, 0xff
        sti
        nop
        nop
        cli
        mov     dx, 0x4d0
        xor     eax, eax
        out     dx, al
        END_PIC
        jmp     .out
.hook:  cmp     dword [n_events], 2             ; the second time the line goes down
        jb      .eoi
        UART_IRQ_OFF
.eoi:   jmp     eoi_hook
.out:   DONE

        ; --- the PIT
        CASE    "pit.readback-status"           ;= m0=30 m2=34 m3=36 bcd=31 lsb=10
%macro PIT_STATUS 3                             ; name, control word, count bytes
        mov     al, %2
        out     0x43, al
        mov     al, 0xff
        out     0x40, al
  %if %3 == 2
        out     0x40, al
  %endif
        mov     al, 0xe2                        ; status of channel 0
        out     0x43, al
        in      al, 0x40
        and     al, 0x3f                        ; OUT and NULL COUNT move with time
        movzx   eax, al
        OUT     %1, eax
%endmacro
        PIT_STATUS "m0", 0x30, 2
        PIT_STATUS "m2", 0x34, 2
        PIT_STATUS "m3", 0x36, 2
        PIT_STATUS "bcd", 0x31, 2
        PIT_STATUS "lsb", 0x10, 1
        PIT0_QUIET
        DONE
        CASE    "pit.null-count-until-written"  ;= null=40
        mov     al, 0x34
        out     0x43, al                        ; control word alone: no count yet
        mov     al, 0xe2
        out     0x43, al
        in      al, 0x40
        and     al, 0x40
        movzx   eax, al
        OUT     "null", eax
        PIT0_QUIET
        DONE
        CASE    "pit.mode0-out"                 ;= low=0 high=80
        PIT0    0, 0xfff0
        mov     al, 0xe2
        out     0x43, al
        in      al, 0x40
        and     al, 0x80
        movzx   ecx, al
        OUT     "low", ecx
        PIT0    0, 50
        DELAY   2000
        mov     al, 0xe2
        out     0x43, al
        in      al, 0x40
        and     al, 0x80
        movzx   ecx, al
        OUT     "high", ecx
        PIT0_QUIET
        DONE
        CASE    "pit.latch-holds"               ;= same=1 down=1
        PIT0    2, 0xffff
        mov     al, 0
        out     0x43, al                        ; latch channel 0
        DELAY   1000
        in      al, 0x40
        mov     bl, al
        in      al, 0x40
        mov     bh, al                          ; the latched count, from before the delay
        mov     al, 0
        out     0x43, al
        in      al, 0x40
        mov     cl, al
        in      al, 0x40
        mov     ch, al
        xor     eax, eax
        cmp     bx, cx
        seta    al
        OUT     "down", eax
        sub     bx, cx
        cmp     bx, 900
        setae   al
        OUT     "same", eax
        PIT0_QUIET
        DONE
        CASE    "pit.latch-is-not-latched-twice" ;= first=1
        PIT0    2, 0xffff
        mov     al, 0
        out     0x43, al
        DELAY   3000
        mov     al, 0
        out     0x43, al                        ; ignored: the first is still unread
        in      al, 0x40
        mov     bl, al
        in      al, 0x40
        mov     bh, al
        mov     al, 0
        out     0x43, al
        in      al, 0x40
        mov     cl, al
        in      al, 0x40
        mov     ch, al
        sub     bx, cx                          ; the whole delay is between that count and now
        xor     eax, eax
        cmp     bx, 2900
        setae   al
        OUT     "first", eax
        PIT0_QUIET
        DONE
        CASE    "pit.mode2-repeats"             ;= #1 vec=20 ip=+2 / #2 vec=20 ip=+3 / #3 vec=20 ip=+4
        BEGIN_PIC eoi_hook
        PIT0    2, 20000
        IMR     0xfe, 0xff
 T      sti
        hlt
        hlt
        hlt
        cli
        END_PIC
        DONE
        CASE    "pit.mode3-repeats"             ;= #1 vec=20 ip=+2 / #2 vec=20 ip=+3
        BEGIN_PIC eoi_hook
        PIT0    3, 20000
        IMR     0xfe, 0xff
 T      sti
        hlt
        hlt
        cli
        END_PIC
        DONE
        CASE    "pit.mode0-once"                ;= n=1
        BEGIN_PIC eoi_hook
        PIT0    0, 1000
        IMR     0xfe, 0xff
        sti
        hlt
        DELAY   20000
        cli
        END_PIC
        OUT     "n", [n_events]
        mov     dword [n_events], 0
        DONE
        CASE    "pit.channel2-gate"             ;= stopped=0 went=20
        in      al, 0x61
        and     al, 0xfc                        ; gate low: mode 0 does not count
        out     0x61, al
        mov     al, 0xb0
        out     0x43, al
        mov     al, 100
        out     0x42, al
        mov     al, 0
        out     0x42, al
        mov     ecx, 2000
.w1:    in      al, 0x80
        loop    .w1
        in      al, 0x61
        and     al, 0x20
        movzx   ecx, al
        OUT     "stopped", ecx
        in      al, 0x61
        or      al, 1
        out     0x61, al
.w2:    in      al, 0x61
        test    al, 0x20
        jz      .w2
        and     al, 0x20
        movzx   ecx, al
        OUT     "went", ecx
        DONE

        ; --- one clock against another; generous above, for a host that was busy meanwhile
        CASE    "clocks.hpet-against-pit"       ;= period=1 low=1 high=1
        mov     eax, [HPET + 4]                 ; femtoseconds a tick
        xor     ecx, ecx
        test    eax, eax
        jz      .none
        cmp     eax, 100000000                  ; at most 100 ns, IA-PC HPET 2.3.4
        setbe   cl
        OUT     "period", ecx
        or      dword [HPET + 0x10], 1
        mov     esi, 20
.try:   mov     ebx, [HPET + 0xf0]
        DELAY   11932                           ; 10 ms
        mov     eax, [HPET + 0xf0]
        sub     eax, ebx
        mul     dword [HPET + 4]                ; femtoseconds
        mov     ecx, 1000000000
        div     ecx                             ; microseconds
        cmp     eax, 100000                     ; else the host may have had other things to do: again
        jbe     .fast
        dec     esi
        jnz     .try
.fast:  xor     ecx, ecx
        cmp     eax, 9800
        setae   cl
        OUT     "low", ecx
        xor     ecx, ecx
        cmp     eax, 100000
        setbe   cl
        OUT     "high", ecx
        jmp     .done
.none:  OUT32   "skip", 1
.done:  DONE
        CASE    "clocks.rtc-against-pit"        ;= low=1 high=1
        ; eight periods of 1024 Hz are 7.8 ms = 9323 ticks of the PIT
        mov     al, 0x8a
        out     0x70, al
        mov     al, 0x26
        out     0x71, al
        mov     al, 0x8b
        out     0x70, al
        in      al, 0x71
        mov     bl, al
        or      al, 0x40                        ; PIE: QEMU keeps PF only then
        out     0x71, al
        mov     al, 0x8c
        out     0x70, al
        in      al, 0x71
        mov     esi, 20
.try:   mov     ecx, 9
        PIT0    0, 0xffff
.per:   in      al, 0x71
        test    al, 0x40
        jz      .per
        cmp     ecx, 9
        jne     .count
        PIT0    0, 0xffff
.count: loop    .per
        mov     al, 0
        out     0x43, al
        in      al, 0x40
        mov     dl, al
        in      al, 0x40
        mov     dh, al
        neg     dx
        movzx   eax, dx
        lea     ecx, [eax - 8000]               ; else the host may have had other things to do, and the clock has caught up: again
        cmp     ecx, 60000 - 8000
        jbe     .done
        dec     esi
        jz      .done
        mov     al, 0x8c
        out     0x70, al
        jmp     .try
.done:  mov     edi, eax
        mov     al, 0x8b
        out     0x70, al
        mov     al, bl
        and     al, ~0x40
        out     0x71, al
        mov     eax, edi
        xor     ecx, ecx
        cmp     eax, 8000
        setae   cl
        OUT     "low", ecx
        xor     ecx, ecx
        cmp     eax, 60000
        setbe   cl
        OUT     "high", ecx
        PIT0_QUIET
        DONE
        ret
