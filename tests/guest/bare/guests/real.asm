; SPDX-License-Identifier: Apache-2.0
; Real mode: 64K limits, the IVT, unreal mode, leaving and entering. Intel SDM vol. 3, 20.1, 9.9.
;! kvm: gate
%define HOME 32
%include "rt.inc"

; In real mode interrupts go through the IVT at 0. Every vector there points to a small stub that
; notes what it finds at NOTE and comes back to protected mode.
NOTE    equ 0x7100
REAL_SP equ 0x7000
; struct at NOTE: vector, IP, CS, FLAGS, SP in the handler, AX BX
        section .low
bits 16
ivt_stubs:
%assign v 0
%rep 64
        push    word v
        jmp     near ivt_common
        align   8
  %assign v v + 1
%endrep
ivt_common:
        push    ds
        push    ax
        push    bx
        xor     ax, ax
        mov     ds, ax
        mov     bx, sp
        mov     ax, [ss:bx + 6]
        mov     [NOTE], ax
        mov     ax, [ss:bx + 8]
        mov     [NOTE + 2], ax
        mov     ax, [ss:bx + 10]
        mov     [NOTE + 4], ax
        mov     ax, [ss:bx + 12]
        mov     [NOTE + 6], ax
        lea     ax, [bx + 8]
        mov     [NOTE + 8], ax
        inc     word [NOTE + 10]
        pop     bx
        pop     ax
        pop     ds
        add     sp, 2
        test    byte [cs:NOTE + 12], 1          ; 1: go on where it was
        jz      to_protected
        iret
to_protected:                                   ; 16-bit real mode, any segments -> 32-bit home
        cli
        mov     [cs:NOTE + 20], eax             ; (real mode: CS is writable)
        mov     [cs:NOTE + 24], ebx
        mov     [cs:NOTE + 28], ecx
        xor     ax, ax
        mov     ds, ax
        o32 lgdt [cs:low_gdt_ptr]
        mov     eax, cr0
        or      al, 1
        mov     cr0, eax
        jmp     dword CODE0:back_home
low_gdt_ptr:
        dw      32 * 8 - 1
        dd      gdt
low_idt_ptr:
        dw      0x3ff
        dd      0
        section .text
        bits 32
back_home:
        mov     ax, DATA0
        mov     ds, ax
        mov     es, ax
        mov     ss, ax
        mov     esp, 0x7000
        lidt    [idt_ptr]
        int     HOMEWARD

; enter_real: ebx = IP in segment 0. Segments 0, SP 7000
enter_real:
        mov     edi, 0
        mov     ecx, 64
        mov     eax, ivt_stubs
.ivt:   mov     [edi], eax
        add     edi, 4
        add     eax, 8
        loop    .ivt
        mov     edi, NOTE
        mov     ecx, 16
        xor     eax, eax
        rep stosd
        lidt    [low_idt_ptr]
        jmp     CODE16:.c16
        section .low
        bits 16
enter_real.c16:
        mov     ax, DATA16
        mov     ds, ax
        mov     es, ax
        mov     fs, ax
        mov     gs, ax
        mov     ss, ax
        mov     sp, REAL_SP
        mov     eax, cr0
        and     al, ~1
        mov     cr0, eax
        jmp     0:.real
.real:  xor     ax, ax
        mov     ds, ax
        mov     es, ax
        mov     fs, ax
        mov     gs, ax
        mov     ss, ax
        jmp     bx
        section .text
        bits 32

; IN_REAL ... OUT_REAL: the code between runs in real mode
%macro IN_REAL 0
        mov     ebx, %%there
        jmp     enter_real
        section .low
        bits 16
%%there:
%endmacro
%macro OUT_REAL 0
        jmp     to_protected
        section .text
        bits 32
%endmacro
; what an interrupt noted
%macro NOTED 0
        AFTER
        movzx   eax, word [NOTE + 10]
        OUT     "n", eax
        movzx   eax, word [NOTE]
        OUT     "vec", eax
        movzx   eax, word [NOTE + 2]
        sub     eax, %$t
        OUT     "ip", eax
        movzx   eax, word [NOTE + 4]
        OUT     "cs", eax
        movzx   eax, word [NOTE + 6]
        and     eax, 0x7700
        OUT     "fl", eax
        movzx   eax, word [NOTE + 8]
        OUT     "sp", eax
        DONE
%endmacro
%macro REALFAULT 2+                             ; name, insn
        CASE    %1
        IN_REAL
 T      %2
        OUT_REAL
        NOTED
%endmacro

main:
        CASE    "enter-and-leave"               ;= ax=1234 cr0=30
        IN_REAL
        mov     eax, cr0
        mov     ebx, eax
        mov     eax, 0x1234
        OUT_REAL
        AFTER
        OUT     "ax", [NOTE + 20]
        OUT     "cr0", [NOTE + 24]
        DONE
        REALFAULT "int-30", int 0x30            ;= n=1 vec=30 ip=2 cs=0 fl=0 sp=6ffa
        REALFAULT "int3", int3                  ;= n=1 vec=3 ip=1 sp=6ffa
        REALFAULT "ud2", ud2                    ;= n=1 vec=6 ip=0 sp=6ffa
        REALFAULT "div0", {div byte [cs:zero]}  ;= n=1 vec=0 ip=0
        REALFAULT "hlt-is-legal-lldt-is-not", {lldt ax} ;= n=1 vec=6 ip=0
        REALFAULT "ud.ltr", {ltr ax}            ;= n=1 vec=6 ip=0
        REALFAULT "ud.lar", {lar ax, cx}        ;= n=1 vec=6 ip=0
        REALFAULT "ud.verr", {verr ax}          ;= n=1 vec=6 ip=0
        REALFAULT "ud.arpl", {arpl ax, cx}      ;= n=1 vec=6 ip=0
        REALFAULT "ud.str", {str ax}            ;= n=1 vec=6 ip=0
        REALFAULT "ud.sldt", {sldt ax}          ;= n=1 vec=6 ip=0
        REALFAULT "gp.sysenter", {sysenter}     ;= n=1 vec=d ip=0
        REALFAULT "gp.sysexit", {sysexit}       ;= n=1 vec=d ip=0
        CASE    "gp.offset-10000"               ;= n=1 vec=d ip=0 sp=6ffa
        IN_REAL
        mov     ebx, 0x10000
 T      mov     al, [ebx]
        OUT_REAL
        NOTED
        CASE    "gp.word-at-ffff"               ;= n=1 vec=d ip=0
        IN_REAL
        mov     bx, 0xffff
 T      mov     ax, [bx]
        OUT_REAL
        NOTED
        CASE    "gp.dword-at-fffe"              ;= n=1 vec=d ip=0
        IN_REAL
        mov     bx, 0xfffe
 T      mov     eax, [bx]
        OUT_REAL
        NOTED
        CASE    "ss.word-at-ffff"               ;= n=1 vec=c ip=0
        IN_REAL
        mov     bp, 0xffff
 T      mov     ax, [bp]
        OUT_REAL
        NOTED
        CASE    "address-16-wraps"              ;= ax=beef
        IN_REAL
        mov     word [0x7200], 0xbeef
        mov     bx, 0xf200
        mov     si, 0x8000
        mov     ax, [bx + si]
        movzx   eax, ax
        OUT_REAL
        AFTER
        OUT     "ax", [NOTE + 20]
        DONE
        CASE    "push-wraps-at-0"               ;= ax=fffe bx=4321
        IN_REAL
        mov     ax, 0x1000                      ; SS 1000: 1FFFE
        mov     ss, ax
        xor     sp, sp
        push    word 0x4321
        mov     bx, 0xfffe
        mov     bx, [ss:bx]
        mov     ax, sp
        movzx   eax, ax
        movzx   ebx, bx
        xor     cx, cx
        mov     ss, cx
        mov     sp, REAL_SP
        OUT_REAL
        AFTER
        OUT     "ax", [NOTE + 20]
        OUT     "bx", [NOTE + 24]
        DONE
        CASE    "a20-high-memory-area"          ;= ax=cafe
        ; FFFF:0010 is 100000 with A20 on; not wrapped to 0
        IN_REAL
        push    ds
        mov     ax, 0xffff
        mov     ds, ax
        mov     eax, [0xff00]                   ; 10FEF0
        pop     ds
        mov     ebx, eax
        OUT_REAL
        AFTER
        mov     eax, [0x10fef0]
        cmp     eax, [NOTE + 24]
        mov     eax, 0xcafe
        je      .same
        xor     eax, eax
.same:  OUT     "ax", eax
        DONE
        CASE    "unreal"                        ;= ax=600d
        ; a big limit stays in the hidden part through real mode
        mov     dword [scratch], 0x600d
        mov     edi, NOTE
        lgdt    [gdt_ptr]
        mov     ebx, .there
        jmp     enter_real
        section .low
        bits 16
.there: mov     eax, cr0
        or      al, 1
        mov     cr0, eax
        jmp     .pm
.pm:    mov     bx, DATA0
        mov     fs, bx
        and     al, ~1
        mov     cr0, eax
        jmp     .rm
.rm:    mov     eax, [fs:dword scratch]         ; FS still has the flat descriptor: base 0, limit 4 GiB
        OUT_REAL
        AFTER
        OUT     "ax", [NOTE + 20]
        DONE
        CASE    "unreal-survives-selector-load" ;= ax=600d
        mov     dword [scratch], 0x600d
        mov     ebx, .there
        jmp     enter_real
        section .low
        bits 16
.there: mov     eax, cr0
        or      al, 1
        mov     cr0, eax
        jmp     .pm
.pm:    mov     bx, DATA0
        mov     fs, bx
        and     al, ~1
        mov     cr0, eax
        jmp     .rm
.rm:    mov     bx, 0x20                        ; real-mode load changes base alone
        mov     fs, bx
        mov     eax, [fs:dword scratch - 0x200]
        OUT_REAL
        AFTER
        OUT     "ax", [NOTE + 20]
        DONE
        CASE    "tf-steps"                      ;= n=1 vec=1 ip=1 fl=100 sp=6ffa
        IN_REAL
        pushf
        pop     ax
        or      ax, FL_TF
        push    ax
        popf
 T      nop
        OUT_REAL
        NOTED
        CASE    "iret-pops-all-flags"           ;= bx=7002
        IN_REAL
        push    word 0x7002
        push    word 0
        push    word .back
        iret
.back:  pushf
        pop     bx
        movzx   ebx, bx
        push    word 2
        popf
        OUT_REAL
        AFTER
        OUT     "bx", [NOTE + 24]
        DONE
        CASE    "gp.idt-limit"                  ;= n=1 vec=d ip=0
        IN_REAL
        o32 lidt [cs:.short]
 T      int     0x30
        o32 lidt [cs:low_idt_ptr]
        jmp     .over
.short: dw      0x30 * 4 - 1
        dd      0
.over:  OUT_REAL
        NOTED
        CASE    "mov-cr0-pe-without-jump"       ;= ax=1
        ; PE alone changes nothing of CS until it is loaded
        IN_REAL
        o32 lgdt [cs:low_gdt_ptr]
        mov     eax, cr0
        or      al, 1
        mov     cr0, eax
        smsw    ax
        and     eax, 1
        mov     ebx, eax
        mov     eax, cr0
        and     al, ~1
        mov     cr0, eax
        mov     eax, ebx
        OUT_REAL
        AFTER
        OUT     "ax", [NOTE + 20]
        DONE
        CASE    "string-si-wraps"               ;= ax=0 bx=1
        IN_REAL
        mov     ax, 0x1000
        mov     ds, ax
        mov     si, 0xffff
        lodsb
        movzx   eax, si
        xor     ebx, ebx
        inc     bx
        OUT_REAL
        AFTER
        OUT     "ax", [NOTE + 20]
        OUT     "bx", [NOTE + 24]
        DONE
        CASE    "loop-a32"                      ;= ax=3
        IN_REAL
        xor     eax, eax
        mov     ecx, 3
.l:     inc     ax
        a32 loop .l
        OUT_REAL
        AFTER
        OUT     "ax", [NOTE + 20]
        DONE
        ret
        section .low
zero:   db 0
        section .text
