; SPDX-License-Identifier: Apache-2.0
; Segments: limits, expand-down, 16-bit stacks, LAR and its kin. Intel SDM vol. 3, 5.3, 5.10; vol. 2.
%define HOME 32
%include "rt.inc"

%macro LIMIT_CASE 5                             ; name, base, limit, attr, insn (through ES)
        CASE    %1
        SETDESC T0, %2, %3, %4
        mov     ax, T0
        mov     es, ax
 T      %5
        DONE
%endmacro
main:
        ; --- limits of expand-up data
        LIMIT_CASE "byte-last", scratch, 0xfff, 0x4093, {mov al, [es:0xfff]}            ;= none
        LIMIT_CASE "gp.byte-beyond", scratch, 0xfff, 0x4093, {mov al, [es:0x1000]}      ;= #1 vec=d err=0 ip=+0
        LIMIT_CASE "gp.dword-straddles", scratch, 0xfff, 0x4093, {mov eax, [es:0xffd]}  ;= #1 vec=d err=0 ip=+0
        LIMIT_CASE "dword-last", scratch, 0xfff, 0x4093, {mov eax, [es:0xffc]}          ;= none
        LIMIT_CASE "page-granular-last", 0, 0x00203, 0xc093, {mov al, [es:0x203fff]}    ;= none
        LIMIT_CASE "gp.page-granular-beyond", 0, 0x00203, 0xc093, {mov al, [es:0x204000]} ;= #1 vec=d err=0 ip=+0
        LIMIT_CASE "gp.dword-wraps-4g", 0, 0xffffe, 0xc093, {mov eax, [es:0xfffffffe]}  ;= #1 vec=d err=0 ip=+0
        LIMIT_CASE "limit-0-byte", scratch, 0, 0x4093, {mov al, [es:0]}                 ;= none
        LIMIT_CASE "gp.limit-0-word", scratch, 0, 0x4093, {mov ax, [es:0]}              ;= #1 vec=d err=0 ip=+0
        ; --- expand-down: above the limit, below FFFF or FFFFFFFF by B
        LIMIT_CASE "down.above", scratch, 0x7ff, 0x4097, {mov al, [es:0x800]}           ;= none
        LIMIT_CASE "gp.down.at-limit", scratch, 0x7ff, 0x4097, {mov al, [es:0x7ff]}     ;= #1 vec=d err=0 ip=+0
        LIMIT_CASE "gp.down16.beyond-ffff", scratch, 0x7ff, 0x0097, {mov al, [es:0x10000]} ;= #1 vec=d err=0 ip=+0
        LIMIT_CASE "gp.down16.word-at-ffff", scratch, 0x7ff, 0x0097, {mov ax, [es:0xffff]} ;= #1 vec=d err=0 ip=+0
        LIMIT_CASE "down32.beyond-ffff", scratch, 0x7ff, 0x4097, {mov al, [es:0x10000]} ;= none
        ; --- stacks
        CASE    "ss.push-below-limit"           ;= #1 vec=c err=0 ip=+0
        ; the faulting stack cannot take the frame: #SS by a task gate would; use ring 3 instead
        SETDESC T0, 0, 0x00327, 0xc0f3          ; up to 327FFF
        USER
        mov     ax, T0 | 3
        mov     ss, ax
        mov     esp, 0x328002
 T      push    eax
        DONE
        CASE    "ss.ebp-read"                   ;= #1 vec=c err=0 ip=+0
        SETDESC T0, 0, 0x00327, 0xc0f3
        USER
        mov     ax, T0 | 3
        mov     ss, ax
        mov     ebp, 0x328000
 T      mov     eax, [ebp]
        DONE
        CASE    "ds-override-ebp-is-gp"         ;= #1 vec=d err=0 ip=+0
        SETDESC T0, 0, 0x00327, 0xc0f3
        USER
        mov     ax, T0 | 3
        mov     es, ax
        mov     ebp, 0x328000
 T      mov     eax, [es:ebp]
        DONE
        CASE    "sp16.push-wraps"               ;= mem=1234 sp=1230fffe
        ; a 16-bit stack segment in 32-bit code: SP, not ESP
        SETDESC T0, 0, 0xffff, 0x00f3
        USER
        mov     ax, T0 | 3
        mov     ss, ax
        mov     esp, 0x12300000
        push    word 0x1234                     ; to FFFE
        mov     eax, esp
        mov     [ds:scratch], eax
        movzx   eax, word [0xfffe]
        mov     [scratch + 4], eax
        AFTER
        OUT     "mem", [scratch + 4]
        OUT     "sp", [scratch]
        DONE
        CASE    "sp16.pop-uses-sp"              ;= ax=77 sp=12307004
        mov     dword [0x7000], 0x77
        SETDESC T0, 0, 0xffff, 0x00f3
        USER
        mov     ax, T0 | 3
        mov     ss, ax
        mov     esp, 0x12307000
        pop     eax
        mov     [scratch], eax
        mov     [scratch + 4], esp
        AFTER
        OUT     "ax", [scratch]
        OUT     "sp", [scratch + 4]
        DONE
        CASE    "sp16.int-saves-full-esp"       ;= #1 vec=30 ip=+2 cs=1b sp=12307000
        SETDESC T0, 0, 0xffff, 0x00f3
        or      word [IDT(0x30) + 4], 3 << 13
        USER
        mov     ax, T0 | 3
        mov     ss, ax
        mov     esp, 0x12307000
 T      int     0x30
        DONE
        CASE    "sp16.iret-keeps-high-esp"      ;= sphigh=30
        ; the famous leak: IRET to a 16-bit stack loads SP alone
        SETDESC T0, 0, 0xffff, 0x00f3
        push    T0 | 3
        push    0x00007000
        push    2
        push    CODE3
        push    .there
        push    DATA3
        pop     ds
        iretd
.there: mov     eax, esp
        mov     [scratch], eax
        AFTER
        mov     eax, [scratch]
        shr     eax, 16
        OUT     "sphigh", eax
        DONE
        CASE    "leave16"                       ;= sp=12307004
        SETDESC T0, 0, 0xffff, 0x00f3
        mov     dword [0x7000], 0x77
        USER
        mov     ax, T0 | 3
        mov     ss, ax
        mov     ebp, 0xffff7000
        mov     esp, 0x12306000
        leave
        mov     [scratch], esp
        AFTER
        OUT     "sp", [scratch]
        DONE

        ; --- code segments
        CASE    "gp.jmp-beyond-limit"           ;= #1 vec=d err=0 ip=+0 cs=88
        SETDESC T1, 0, 0x0ffff, 0x409b
        jmp     T1:low_limit
        section .low
low_limit:
        bits 32
        mov     eax, 0x10000
 T      jmp     eax
        section .text
        DONE
        CASE    "code16-o32-a32"                ;= ax=1
        section .low
low_code16:
        bits 16
        mov     eax, 1                          ; 16-bit default size: 66 prefix gives 32
        mov     [dword scratch], eax
        int     HOMEWARD
        section .text
        bits 32
        jmp     CODE16:low_code16
        AFTER
        OUT     "ax", [scratch]
        DONE
        CASE    "nonzero-base"                  ;= ax=5a
        SETDESC T0, scratch - 0x1000, 0xfffff, 0xc093
        mov     dword [scratch + 4], 0x5a
        mov     ax, T0
        mov     es, ax
        mov     eax, [es:0x1004]
        OUT     "ax", eax
        DONE
        CASE    "base-wraps-at-4g"              ;= ax=5a
        SETDESC T0, 0xffff0000, 0xfffff, 0xc093
        mov     dword [scratch + 4], 0x5a
        mov     ax, T0
        mov     es, ax
        mov     eax, [es:scratch + 4 + 0x10000]
        OUT     "ax", eax
        DONE

        ; --- LAR, LSL, VERR, VERW
%macro LAR_CASE 2                               ; name, selector
        CASE    %1
        mov     ecx, %2
        mov     eax, 0x11111111
        lar     eax, ecx
        OUTZF   "larz"
        and     eax, 0x00f0ff00                 ; bits 19-16 are undefined
        OUT     "lar", eax
        mov     eax, 0x11111111
        lsl     eax, ecx
        OUTZF   "lslz"
        OUT     "lsl", eax
        verr    cx
        OUTZF   "verr"
        verw    cx
        OUTZF   "verw"
        DONE
%endmacro
        LAR_CASE "lar.code0", CODE0             ;= larz=1 lar=c09b00 lslz=1 lsl=ffffffff verr=1 verw=0
        LAR_CASE "lar.data0", DATA0             ;= larz=1 lar=c09300 lslz=1 lsl=ffffffff verr=1 verw=1
        LAR_CASE "lar.data0-rpl3", DATA0 | 3    ;= larz=0 lar=101100 lslz=0 lsl=11111111 verr=0 verw=0
        LAR_CASE "lar.null", 0                  ;= larz=0 lar=101100 lslz=0 lsl=11111111 verr=0 verw=0
        LAR_CASE "lar.beyond", 0x1000           ;= larz=0 lslz=0 verr=0 verw=0
        LAR_CASE "lar.tss-busy", TSS_SEL        ;= larz=1 lar=8b00 lslz=1 lsl=67 verr=0 verw=0
        LAR_CASE "lar.ldt", LDT_SEL             ;= larz=1 lar=8200 lslz=1 lsl=ff verr=0 verw=0
        LAR_CASE "lar.code16", CODE16           ;= larz=1 lar=9b00 lslz=1 lsl=ffff verr=1 verw=0
%macro LAR_DESC 4                               ; name, base, limit, attr
        CASE    %1
        SETDESC T0, %2, %3, %4
        mov     ecx, T0
        mov     eax, 0x11111111
        lar     eax, ecx
        OUTZF   "larz"
        and     eax, 0x00f0ff00                 ; bits 19-16 are undefined
        OUT     "lar", eax
        mov     eax, 0x11111111
        lsl     eax, ecx
        OUTZF   "lslz"
        OUT     "lsl", eax
        verr    cx
        OUTZF   "verr"
        verw    cx
        OUTZF   "verw"
        DONE
%endmacro
        LAR_DESC "lar.exec-only", 0, 0xfffff, 0xc099    ;= larz=1 lar=c09900 lslz=1 verr=0 verw=0
        LAR_DESC "lar.read-only", 0, 0x12345, 0x4091    ;= larz=1 lar=409100 lslz=1 lsl=12345 verr=1 verw=0
        LAR_DESC "lar.not-present", 0, 0xfffff, 0xc013  ;= larz=1 lar=c01300 lslz=1 verr=1 verw=1
        LAR_DESC "lar.call-gate", 0, 0, 0x008c          ;= larz=1 lslz=0 verr=0 verw=0
        LAR_DESC "lar.task-gate", 0, 0, 0x0085          ;= larz=1 lslz=0 verr=0 verw=0
        LAR_DESC "lar.int-gate", 0, 0, 0x008e           ;= larz=0 lslz=0 verr=0 verw=0
        LAR_DESC "lar.tss16", 0, 0x2b, 0x0081           ;= larz=1 lslz=1 lsl=2b verr=0 verw=0
        LAR_DESC "lar.type0", 0, 0, 0x0080              ;= larz=0 lslz=0 verr=0 verw=0
        CASE    "lar.ring3-on-ring0-data"       ;= n=0
        USER
        mov     ecx, DATA0
        xor     ebx, ebx
        lar     eax, ecx
        jnz     .a
        or      ebx, 1
.a:     lsl     eax, ecx
        jnz     .b
        or      ebx, 2
.b:     verr    cx
        jnz     .c
        or      ebx, 4
.c:     mov     [scratch], ebx
        AFTER
        OUT     "n", [scratch]
        DONE
        CASE    "lar.ring3-on-conforming"       ;= n=7
        SETDESC T0, 0, 0xfffff, 0xc09f
        USER
        mov     ecx, T0
        xor     ebx, ebx
        lar     eax, ecx
        jnz     .a
        or      ebx, 1
.a:     lsl     eax, ecx
        jnz     .b
        or      ebx, 2
.b:     verr    cx
        jnz     .c
        or      ebx, 4
.c:     mov     [scratch], ebx
        AFTER
        OUT     "n", [scratch]
        DONE
        CASE    "arpl"                          ;= ax=13 z=1 bx=13 y=0
        mov     ax, 0x10
        mov     cx, 0x3
        arpl    ax, cx
        OUTZF   "z"
        movzx   eax, ax
        OUT     "ax", eax
        mov     bx, 0x13
        mov     cx, 0x1
        arpl    bx, cx
        OUTZF   "y"
        movzx   ebx, bx
        OUT     "bx", ebx
        DONE

        ; --- LLDT and the LDT
        CASE    "ldt-selector-works"            ;= ax=5a ldt=60
        mov     dword [ldt + 8], DLO(scratch, 0xfff)
        mov     dword [ldt + 12], DHI(scratch, 0xfff, 0x4093)
        mov     dword [scratch + 8], 0x5a
        mov     ax, LDT_SEL
        lldt    ax
        mov     ax, 8 | 4
        mov     es, ax
        mov     eax, [es:8]
        OUT     "ax", eax
        sldt    eax
        OUT     "ldt", eax
        DONE
        CASE    "gp.ldt-beyond-limit"           ;= #1 vec=d err=104 ip=+0
        mov     ax, LDT_SEL
        lldt    ax
        mov     ax, 0x104
 T      mov     es, ax
        DONE
        CASE    "gp.lldt-not-an-ldt"            ;= #1 vec=d err=10 ip=+0
        mov     ax, DATA0
 T      lldt    ax
        DONE
        CASE    "gp.lldt-in-ldt"                ;= #1 vec=d err=c ip=+0
        mov     ax, 0xc
 T      lldt    ax
        DONE
        CASE    "np.lldt"                       ;= #1 vec=b err=80 ip=+0
        SETDESC T0, ldt, 0xff, 0x0002
        mov     ax, T0
 T      lldt    ax
        DONE
        CASE    "lldt-null"                     ;= ldt=0
        xor     eax, eax
        lldt    ax
        sldt    eax
        OUT     "ldt", eax
        DONE

        ; --- SGDT, SIDT, SMSW, LMSW, far pointers
        CASE    "sgdt-sidt"                     ;= gl=ff gb=1 il=7ff ib=1
        sgdt    [scratch]
        sidt    [scratch + 8]
        movzx   eax, word [scratch]
        OUT     "gl", eax
        xor     ecx, ecx
        cmp     dword [scratch + 2], gdt
        sete    cl
        OUT     "gb", ecx
        movzx   eax, word [scratch + 8]
        OUT     "il", eax
        xor     ecx, ecx
        cmp     dword [scratch + 10], idt
        sete    cl
        OUT     "ib", ecx
        DONE
        CASE    "lgdt-o16-takes-24-bits"        ;= gb=345678
        mov     word [scratch], 0xff
        mov     dword [scratch + 2], 0x12345678
        o16 lgdt [scratch]
        sgdt    [scratch + 16]
        lgdt    [gdt_ptr]
        OUT     "gb", [scratch + 18]
        DONE
        CASE    "smsw"                          ;= r=31 m=31
        smsw    eax
        and     eax, 0xffff
        OUT     "r", eax
        mov     dword [scratch], 0
        smsw    [scratch]
        OUT     "m", [scratch]
        DONE
        CASE    "lmsw-cannot-clear-pe"          ;= cr0=3b
        mov     ax, 0xa                         ; TS and MP; PE clear is ignored
        lmsw    ax
        mov     eax, cr0
        clts
        OUT     "cr0", eax
        DONE
        CASE    "lfs-lgs-lss"                   ;= fs=10 bx=12345678
        mov     dword [scratch], 0x12345678
        mov     word [scratch + 4], DATA0
        lfs     ebx, [scratch]
        mov     eax, fs
        OUT     "fs", eax
        OUT     "bx", ebx
        DONE
        CASE    "push-pop-sreg-32"              ;= sp=4 hi=0
        mov     ebx, esp
        mov     dword [esp - 4], 0
        push    es
        mov     eax, [esp]
        shr     eax, 16
        sub     ebx, esp
        OUT     "sp", ebx
        OUT     "hi", eax
        pop     es
        DONE
        ret
