; SPDX-License-Identifier: Apache-2.0
; Four-level paging: rights, error codes, accessed and dirty bits, SMEP, SMAP, PCID.
; Intel SDM vol. 3, 4.5 to 4.10.
%define HOME 64
%define HOME_PAGES 3                            ; supervisor: SMEP and SMAP must leave the runtime alone
%include "rt.inc"

; Test tables, below PML4 entry 0 of the home: PDPT entry 1 -> TPD -> TPT; all 0x40000000 up
TPT     equ PT_AREA
TPD     equ PT_AREA + 0x1000
TPDPT   equ PT_AREA + 0x2000                    ; behind PML4 entry 1, for the tests of that level
VA      equ 0x40000000                          ; page under test
VA2     equ 0x40001000                          ; the one behind it
VA_CODE equ 0x40002000                          ; ring-3 code
VA_STACK equ 0x40003000                         ; ring-3 stack
VA_1G   equ 0x80000000
NX      equ 1 << 63
PML4E   equ HOME_PT
PDPTE   equ HOME_PT + 0x1000 + 8

probe_ret equ scratch + 0x800
probe_fl  equ scratch + 0x810
probe_cr0 equ scratch + 0x818
probe_cr4 equ scratch + 0x820
probe_pte equ scratch + 0x828                   ; entry under test
probe_at  equ scratch + 0x838                   ; where it is
probe_efer equ scratch + 0x840

; --- ring-3 stubs, copied to the user code page
        align 16
stubs3:
.r:     mov     al, [rbx + 8]
        int     HOMEWARD
        align 16
.w:     mov     [rbx + 8], al
        int     HOMEWARD
        align 16
.x:     jmp     rbx
        align 16
.rw:    lock inc dword [rbx + 8]
        int     HOMEWARD
stubs3_end:

; Tables as new. VA, VA2, code and stack pages; all present, writable, user.
tables:
        mov     edi, PT_AREA
        mov     ecx, 0x4000 / 4
        xor     eax, eax
        rep stosd
        mov     dword [TPT], PAGE_AREA | 7
        mov     dword [TPT + 8], (PAGE_AREA + 0x1000) | 7
        mov     dword [TPT + 16], (PAGE_AREA + 0x2000) | 7
        mov     dword [TPT + 24], (PAGE_AREA + 0x3000) | 7
        mov     dword [TPD], TPT | 7
        mov     dword [PDPTE], TPD | 7
        mov     dword [PDPTE + 4], 0
        mov     dword [PML4E], (HOME_PT + 0x1000) | 7
        mov     dword [PML4E + 4], 0
        mov     esi, stubs3
        mov     edi, PAGE_AREA + 0x2000
        mov     ecx, stubs3_end - stubs3
        rep movsb
        mov     word [PAGE_AREA], 0x7fcd        ; int HOMEWARD
        mov     word [PAGE_AREA + 0x1000], 0x7fcd
        mov     rax, cr3
        mov     cr3, rax
        ret

; PROBE "name", ring, kind: one access with the entry under test as given. Result: the entry's low
; 12 bits afterwards; before them, when it faulted, 1xx with xx the error code.
%macro PROBE 3
        mov     dword [case_resume], %%back
        mov     rax, [probe_pte]
        mov     edx, [probe_at]
        mov     [rdx], rax
        mov     rax, cr3
        mov     cr3, rax
        mov     ecx, MSR_EFER
        rdmsr
        or      eax, EFER_NXE
        test    byte [probe_efer], 1
        jz      %%nxe
        and     eax, ~EFER_NXE
        wrmsr
%%nxe:  mov     rax, cr0
        or      rax, [probe_cr0]
        mov     cr0, rax
        mov     rax, cr4
        or      rax, [probe_cr4]
        mov     cr4, rax
        mov     ebx, VA
%if %2 == 3
        push    DATA3
        push    VA_STACK + 0x1000
        push    qword [probe_fl]
        push    CODE3L
        push    VA_CODE + (stubs3.%3 - stubs3)
        iretq
%else
        push    qword [probe_fl]
        popfq
        jmp     stubs3.%3
%endif
%%back:
        mov     ecx, MSR_EFER
        rdmsr
        or      eax, EFER_NXE
        wrmsr
        mov     edx, [probe_at]
        mov     eax, [rdx]
        and     eax, 0xfff
        cmp     dword [n_events], 0
        je      %%fine
        mov     ecx, [EV(0, err)]
        or      ecx, 0x100
        cmp     dword [EV(0, vec)], PF
        je      %%pf
        mov     ecx, 0xbad
%%pf:   ; whether a walk that fails further down sets A above is not architectural
        cmp     dword [probe_at], TPT
        je      %%leaf
        and     eax, ~0x20
%%leaf: shl     ecx, 12
        or      eax, ecx
%%fine: mov     dword [n_events], 0
        OUT     %1, rax
%endmacro

; MATRIX "name", entry address, entry, CR0 bits, CR4 bits, flags
%macro MATRIX 6
        CASE    %1
        call    tables
        mov     dword [probe_at], %2
        mov     rax, %3
        mov     [probe_pte], rax
        mov     dword [probe_cr0], %4
        mov     dword [probe_cr4], %5
        mov     dword [probe_fl], %6
        PROBE   "r0", 0, r
        PROBE   "w0", 0, w
        PROBE   "x0", 0, x
        PROBE   "r3", 3, r
        PROBE   "w3", 3, w
        PROBE   "x3", 3, x
        PROBE   "m3", 3, rw
        call    tables
        mov     dword [case_resume], %$resume
        DONE
%endmacro
; the same without NXE
%macro MATRIX_NO_NXE 6
        CASE    %1
        call    tables
        mov     byte [probe_efer], 1
        mov     dword [probe_at], %2
        mov     rax, %3
        mov     [probe_pte], rax
        mov     dword [probe_cr0], %4
        mov     dword [probe_cr4], %5
        mov     dword [probe_fl], %6
        PROBE   "r0", 0, r
        PROBE   "x0", 0, x
        PROBE   "w3", 3, w
        PROBE   "x3", 3, x
        call    tables
        mov     dword [case_resume], %$resume
        DONE
%endmacro

main:
        ; --- 4 KiB pages
        MATRIX  "4k.np", TPT, 0, 0, 0, 2
        ;= r0=100000 w0=102000 x0=110000 r3=104000 w3=106000 x3=114000 m3=106000
        MATRIX  "4k.p", TPT, PAGE_AREA | 1, 0, 0, 2
        ;= r0=21 w0=61 x0=21 r3=105001 w3=107001 x3=115001 m3=107001
        MATRIX  "4k.pw", TPT, PAGE_AREA | 3, 0, 0, 2
        ;= r0=23 w0=63 x0=23 r3=105003 w3=107003 x3=115003 m3=107003
        MATRIX  "4k.pu", TPT, PAGE_AREA | 5, 0, 0, 2
        ;= r0=25 w0=65 x0=25 r3=25 w3=107005 x3=25 m3=107005
        MATRIX  "4k.pwu", TPT, PAGE_AREA | 7, 0, 0, 2
        ;= r0=27 w0=67 x0=27 r3=27 w3=67 x3=27 m3=67
        MATRIX  "4k.pwu-ad-set", TPT, PAGE_AREA | 0x67, 0, 0, 2
        ;= r0=67 w0=67 x0=67 r3=67 w3=67 x3=67 m3=67
        MATRIX  "4k.pwu-global", TPT, PAGE_AREA | 0x107, 0, CR4_PGE, 2
        ;= r0=127 w0=167 x0=127 r3=127 w3=167 x3=127 m3=167
        MATRIX  "4k.pwu-nx", TPT, NX | PAGE_AREA | 7, 0, 0, 2
        ;= r0=27 w0=67 x0=111007 r3=27 w3=67 x3=115007 m3=67
        MATRIX  "4k.p-nx", TPT, NX | PAGE_AREA | 1, 0, 0, 2
        ;= r0=21 w0=61 x0=111001 r3=105001 w3=107001 x3=115001 m3=107001
        MATRIX  "4k.p-wp", TPT, PAGE_AREA | 1, CR0_WP, 0, 2
        ;= r0=21 w0=103001 x0=21 r3=105001 w3=107001 x3=115001 m3=107001
        MATRIX  "4k.pu-wp", TPT, PAGE_AREA | 5, CR0_WP, 0, 2
        ;= r0=25 w0=103005 x0=25 r3=25 w3=107005 x3=25 m3=107005
        MATRIX  "4k.pwu-wp", TPT, PAGE_AREA | 7, CR0_WP, 0, 2
        ;= r0=27 w0=67 x0=27 r3=27 w3=67 x3=27 m3=67
        MATRIX  "4k.pwu-smep", TPT, PAGE_AREA | 7, 0, CR4_SMEP, 2
        ;= r0=27 w0=67 x0=111007 r3=27 w3=67 x3=27 m3=67
        MATRIX  "4k.pw-smep", TPT, PAGE_AREA | 3, 0, CR4_SMEP, 2
        ;= r0=23 w0=63 x0=23 r3=105003 w3=107003 x3=115003 m3=107003
        MATRIX  "4k.pwu-smap", TPT, PAGE_AREA | 7, 0, CR4_SMAP, 2
        ;= r0=101007 w0=103007 x0=27 r3=27 w3=67 x3=27 m3=67
        MATRIX  "4k.pwu-smap-ac", TPT, PAGE_AREA | 7, 0, CR4_SMAP, FL_AC | 2
        ;= r0=27 w0=67 x0=27 r3=27 w3=67 x3=27 m3=67
        MATRIX  "4k.pu-smap-ac-wp", TPT, PAGE_AREA | 5, CR0_WP, CR4_SMAP, FL_AC | 2
        ;= r0=25 w0=103005 x0=25 r3=25 w3=107005 x3=25 m3=107005
        MATRIX  "4k.pw-smap", TPT, PAGE_AREA | 3, 0, CR4_SMAP, 2
        ;= r0=23 w0=63 x0=23 r3=105003 w3=107003 x3=115003 m3=107003
        MATRIX  "4k.np-smep-smap", TPT, 0, 0, CR4_SMAP | CR4_SMEP, 2
        ;= r0=100000 w0=102000 x0=110000 r3=104000 w3=106000 x3=114000 m3=106000
        MATRIX  "4k.pwu-nx-smep-smap-wp", TPT, NX | PAGE_AREA | 7, CR0_WP, CR4_SMAP | CR4_SMEP, 2
        ;= r0=101007 w0=103007 x0=111007 r3=27 w3=67 x3=115007 m3=67
        MATRIX  "4k.reserved-bit-51", TPT, 1 << 51 | PAGE_AREA | 7, 0, 0, 2
        ;= r0=109007 w0=10b007 x0=119007 r3=10d007 w3=10f007 x3=11d007 m3=10f007
        MATRIX  "4k.np-reserved-bit-51", TPT, 1 << 51 | PAGE_AREA | 6, 0, 0, 2
        ;= r0=100006 w0=102006 x0=110006 r3=104006 w3=106006 x3=114006 m3=106006
        MATRIX  "4k.available-bits", TPT, 1 << 58 | PAGE_AREA | 0xe07, 0, 0, 2
        ;= r0=e27 w0=e67 x0=e27 r3=e27 w3=e67 x3=e27 m3=e67
        MATRIX_NO_NXE "4k.nx-without-nxe", TPT, NX | PAGE_AREA | 7, 0, 0, 2
        ;= r0=109007 x0=109007 w3=10f007 x3=10d007
        MATRIX_NO_NXE "4k.np-without-nxe", TPT, 0, 0, 0, 2
        ;= r0=100000 x0=100000 w3=106000 x3=104000
        MATRIX_NO_NXE "4k.np-without-nxe-smep", TPT, 0, 0, CR4_SMEP, 2
        ;= r0=100000 x0=110000 w3=106000 x3=114000
        ; --- rights at the page directory
        MATRIX  "pde.np", TPD, 0, 0, 0, 2
        ;= r0=100000 w0=102000 x0=110000 r3=114000 w3=114000 x3=114000 m3=114000
        MATRIX  "pde.pwu", TPD, TPT | 7, 0, 0, 2
        ;= r0=27 w0=27 x0=27 r3=27 w3=27 x3=27 m3=27
        MATRIX  "pde.pwu-nx-supervisor-exec", TPD, NX | TPT | 3, 0, 0, 2
        ;= r0=23 w0=23 x0=111003 r3=115003 w3=115003 x3=115003 m3=115003
        MATRIX  "pde.reserved-bit-51", TPD, 1 << 51 | TPT | 7, 0, 0, 2
        ;= r0=109007 w0=10b007 x0=119007 r3=11d007 w3=11d007 x3=11d007 m3=11d007
        ; --- 2 MiB pages
        MATRIX  "2m.pwu", TPD, 0x400087, 0, 0, 2
        ;= r0=a7 w0=e7 x0=a7 r3=a7 w3=e7 x3=a7 m3=e7
        MATRIX  "2m.pw", TPD, 0x400083, 0, 0, 2
        ;= r0=a3 w0=e3 x0=a3 r3=115083 w3=115083 x3=115083 m3=115083
        MATRIX  "2m.reserved-bit-13", TPD, 0x402087, 0, 0, 2
        ;= r0=109087 w0=10b087 x0=119087 r3=11d087 w3=11d087 x3=11d087 m3=11d087
        MATRIX  "2m.pat-bit-is-not-reserved", TPD, 0x401087, 0, 0, 2
        ;= r0=a7 w0=e7 x0=a7 r3=a7 w3=e7 x3=a7 m3=e7
        ; --- PDPTEs
        MATRIX  "pdpte.np", PDPTE, 0, 0, 0, 2
        ;= r0=100000 w0=102000 x0=110000 r3=114000 w3=114000 x3=114000 m3=114000
        MATRIX  "pdpte.reserved-bit-51", PDPTE, 1 << 51 | TPD | 7, 0, 0, 2
        ;= r0=109007 w0=10b007 x0=119007 r3=11d007 w3=11d007 x3=11d007 m3=11d007
        MATRIX  "1g.reserved-bit-13", PDPTE, 0x2087, 0, 0, 2
        ;= r0=109087 w0=10b087 x0=119087 r3=11d087 w3=11d087 x3=11d087 m3=11d087

        CASE    "1g.read-write"                 ;= #1 vec=e err=3 cr2=80000005 / r=55 a=a1 w=a1
        REQUIRE 0x80000001, 0, edx, 26
        mov     dword [HOME_PT + 0x1000 + 16], 0x81     ; maps RAM's first GiB
        mov     rax, cr3
        mov     cr3, rax
        mov     dword [scratch], 0x55
        mov     ebx, VA_1G
        mov     eax, [rbx + scratch]
        OUT     "r", rax
        mov     eax, [HOME_PT + 0x1000 + 16]
        OUT     "a", rax
        mov     rax, cr0
        or      eax, CR0_WP
        mov     cr0, rax
 T      mov     [rbx + 5], al
        AFTER
        mov     eax, [HOME_PT + 0x1000 + 16]
        OUT     "w", rax
        mov     dword [HOME_PT + 0x1000 + 16], HOME_PT + 0x4007
        mov     rax, cr3
        mov     cr3, rax
        DONE

        ; --- A at every level
        CASE    "accessed-at-every-level"       ;= pml4e=27 pdpte=27 pde=27 pte=67
        call    tables
        mov     byte [VA], 0xcd
        movzx   eax, byte [PML4E]
        OUT     "pml4e", rax
        movzx   eax, byte [PDPTE]
        OUT     "pdpte", rax
        movzx   eax, byte [TPD]
        OUT     "pde", rax
        movzx   eax, byte [TPT]
        OUT     "pte", rax
        DONE
        CASE    "nothing-accessed-when-rights-fail" ;= #1 vec=e err=3 / pte=1
        call    tables
        mov     dword [TPT], PAGE_AREA | 1
        mov     rax, cr3
        mov     cr3, rax
        mov     rax, cr0
        or      eax, CR0_WP
        mov     cr0, rax
        mov     byte [VA], 0xcd
        AFTER
        movzx   eax, byte [TPT]
        OUT     "pte", rax
        DONE
        CASE    "dirty-after-read-then-write"   ;= a=27 d=67
        call    tables
        mov     al, [VA]
        movzx   ecx, byte [TPT]
        OUT     "a", rcx
        mov     [VA], al
        movzx   ecx, byte [TPT]
        OUT     "d", rcx
        DONE
        CASE    "dirty-set-anew-after-invlpg"   ;= d=67
        call    tables
        mov     byte [VA + 16], 1
        and     dword [TPT], ~0x60
        invlpg  [VA]
        mov     byte [VA + 16], 1
        movzx   ecx, byte [TPT]
        OUT     "d", rcx
        DONE
        CASE    "failed-cmpxchg-dirties"        ;= d=67
        call    tables
        mov     dword [VA + 16], 1
        and     dword [TPT], ~0x60
        invlpg  [VA]
        xor     eax, eax
        lock cmpxchg [VA + 16], ecx
        movzx   ecx, byte [TPT]
        OUT     "d", rcx
        DONE

        ; --- crossing a page border
        CASE    "cross.read"                    ;= #1 vec=e err=0 ip=+0 cr2=40001000
        call    tables
        mov     dword [TPT + 8], 0
        mov     rax, cr3
        mov     cr3, rax
        mov     ebx, VA + 0xffd
 T      mov     eax, [rbx]
        DONE
        CASE    "cross.write"                   ;= #1 vec=e err=2 ip=+0 cr2=40001000 / mem=0
        call    tables
        mov     dword [TPT + 8], 0
        mov     dword [PAGE_AREA + 0xffc], 0
        mov     rax, cr3
        mov     cr3, rax
        mov     ebx, VA + 0xffd
        or      eax, -1
 T      mov     [rbx], eax
        AFTER
        OUT32   "mem", [PAGE_AREA + 0xffc]
        DONE
        CASE    "cross.first-page-absent"       ;= #1 vec=e err=2 ip=+0 cr2=40000ffd
        call    tables
        mov     dword [TPT], 0
        mov     rax, cr3
        mov     cr3, rax
        mov     ebx, VA + 0xffd
 T      mov     [rbx], eax
        DONE
        CASE    "cross.both-absent"             ;= #1 vec=e err=0 ip=+0 cr2=40000ffd
        call    tables
        mov     dword [TPT], 0
        mov     dword [TPT + 8], 0
        mov     rax, cr3
        mov     cr3, rax
        mov     ebx, VA + 0xffd
 T      mov     eax, [rbx]
        DONE
        CASE    "cross.write-dirties-both"      ;= a=67 b=67
        call    tables
        mov     dword [VA + 0xffe], 0
        movzx   eax, byte [TPT]
        OUT     "a", rax
        movzx   eax, byte [TPT + 8]
        OUT     "b", rax
        DONE
        CASE    "cross.fetch"                   ;= #1 vec=e err=10 cr2=40001000
        call    tables
        mov     dword [TPT + 8], 0
        mov     word [PAGE_AREA + 0xffe], 0xb890        ; nop; mov eax, imm32
        mov     rax, cr3
        mov     cr3, rax
        mov     eax, VA + 0xffe
        jmp     rax
        DONE
        CASE    "cross.fetch-nx"                ;= #1 vec=e err=11 cr2=40001000
        call    tables
        mov     dword [TPT + 12], 1 << 31
        mov     word [PAGE_AREA + 0xffe], 0xb890
        mov     rax, cr3
        mov     cr3, rax
        mov     eax, VA + 0xffe
        jmp     rax
        DONE
        CASE    "cross.iret-frame"              ;= #1 vec=e err=0 ip=+0 cr2=40001000
        call    tables
        mov     dword [TPT + 8], 0
        mov     rax, cr3
        mov     cr3, rax
        mov     word [IDT(PF) + 4], 0x8e01
        mov     esp, VA + 0xff0
 T      iretq
        DONE
        ; the GDT across VA and VA2: selectors from 50 up are in the second page
%macro GDT_ACROSS 0
        mov     esi, gdt
        mov     edi, VA2 - 0x50
        mov     ecx, 64
        rep movsd
        mov     word [scratch], 0xff
        mov     qword [scratch + 2], VA2 - 0x50
        lgdt    [scratch]
%endmacro
        CASE    "implicit-access-is-supervisor" ;= #1 vec=e err=0 ip=+0 cs=2b cr2=40001030
        ; a segment load in ring 3 reads the GDT: error code without U
        call    tables
        SETDESC T0, 0, 0xfffff, 0xc0f3
        GDT_ACROSS
        mov     dword [TPT + 8], 0
        mov     rax, cr3
        mov     cr3, rax
        mov     word [PAGE_AREA + 0x2001], 0xe08e
        mov     byte [PAGE_AREA + 0x2000], 0x90
        mov     eax, VA_CODE + 1
        mov     [case_ip], eax
        mov     eax, T0 | 3
        push    DATA3
        push    VA_STACK + 0x1000
        push    2
        push    CODE3L
        push    VA_CODE
 T      iretq
        DONE
        CASE    "smap-covers-implicit-access"   ;= #1 vec=e err=1 ip=+0 cr2=40001030
        call    tables
        SETDESC T0, 0, 0xfffff, 0xc0f3
        GDT_ACROSS
        mov     dword [TPT], PAGE_AREA | 3      ; what the exception needs is supervisor's
        mov     rax, cr4
        or      eax, CR4_SMAP
        mov     cr4, rax
        mov     ax, T0
 T      mov     fs, ax
        DONE
        CASE    "stac-clac"                     ;= ac=40000 ac2=0
        mov     rax, cr4
        or      eax, CR4_SMAP
        mov     cr4, rax
        stac
        pushfq
        pop     rax
        and     eax, FL_AC
        OUT     "ac", rax
        clac
        pushfq
        pop     rax
        and     eax, FL_AC
        OUT     "ac2", rax
        DONE

        ; --- double faults by way of paging. An IDT that lies across VA and VA2
%macro IDT_ACROSS 1                             ; first vector of the second page
        call    tables
        mov     esi, idt
        mov     edi, VA2 - 16 * (%1)
        mov     ecx, 4096 / 4 - 0x400 + 0x200
        rep movsd
        mov     word [scratch], 0x7ff
        mov     qword [scratch + 2], VA2 - 16 * (%1)
%endmacro
        CASE    "df.gp-gate-absent-pf-gate-too" ;= #1 vec=8 err=0 ip=+0
        IDT_ACROSS 13
        mov     dword [TPT + 8], 0
        mov     rax, cr3
        mov     cr3, rax
        lidt    [scratch]
        mov     rax, 1 << 63
 T      mov     al, [rax]
        AFTER
        DONE
        CASE    "pf-in-gp-is-served-alone"      ;= #1 vec=e err=0 ip=+0 cr2=40000ff0
        IDT_ACROSS 14
        mov     dword [TPT], 0
        mov     rax, cr3
        mov     cr3, rax
        lidt    [scratch]
        mov     rax, 1 << 63
 T      mov     al, [rax]
        DONE
        CASE    "df.pf-np-gate"                 ;= #1 vec=8 err=0 ip=+0
        call    tables
        mov     dword [TPT], 0
        mov     rax, cr3
        mov     cr3, rax
        and     word [IDT(PF) + 4], 0x7fff
 T      mov     al, [VA]
        DONE
        CASE    "df.pf-on-bad-stack"            ;= #1 vec=8 err=0 ip=+0
        call    tables
        mov     dword [TPT], 0
        mov     dword [TPT + 8], 0
        mov     rax, cr3
        mov     cr3, rax
        mov     word [IDT(DF) + 4], 0x8e01
        mov     esp, VA2
 T      push    rax
        DONE

        ; --- flushes that must flush
%macro REMAPPED 1+                              ; VA from one page to the next, by way of %1
        call    tables
        mov     rax, cr4
        or      eax, CR4_PGE
        mov     cr4, rax
        or      dword [TPT], 0x100              ; global
        mov     dword [PAGE_AREA + 64], 1
        mov     dword [PAGE_AREA + 0x1000 + 64], 2
        mov     eax, [VA + 64]
        OUT     "before", rax
        mov     dword [TPT], (PAGE_AREA + 0x1000) | 0x107
        %1
        mov     eax, [VA + 64]
        OUT     "after", rax
%endmacro
        CASE    "flush.invlpg-global"           ;= before=1 after=2
        REMAPPED invlpg [VA]
        DONE
        CASE    "flush.cr4-pge-off"             ;= before=1 after=2
%macro PGE_TOGGLE 0
        mov     rax, cr4
        and     eax, ~CR4_PGE
        mov     cr4, rax
%endmacro
        REMAPPED PGE_TOGGLE
        DONE
        CASE    "flush.cr0-pg-not-needed-cr3"   ;= before=1 after=2
        call    tables
        mov     dword [PAGE_AREA + 64], 1
        mov     dword [PAGE_AREA + 0x1000 + 64], 2
        mov     eax, [VA + 64]
        OUT     "before", rax
        mov     dword [TPT], (PAGE_AREA + 0x1000) | 7
        mov     rax, cr3
        mov     cr3, rax
        mov     eax, [VA + 64]
        OUT     "after", rax
        DONE
        CASE    "flush.code-page"               ;= before=11 after=22
        call    tables
        mov     dword [PAGE_AREA + 0x100], 0xc311b0     ; mov al, 11; ret
        mov     dword [PAGE_AREA + 0x1100], 0xc322b0
        mov     ebx, VA + 0x100
        xor     eax, eax
        call    rbx
        OUT     "before", rax
        mov     dword [TPT], (PAGE_AREA + 0x1000) | 7
        invlpg  [VA]
        call    rbx
        OUT     "after", rax
        DONE
        CASE    "self-modifying-through-alias"  ;= before=11 after=33
        call    tables
        mov     dword [PAGE_AREA + 0x100], 0xc311b0
        mov     ebx, VA + 0x100
        xor     eax, eax
        call    rbx
        OUT     "before", rax
        mov     byte [PAGE_AREA + 0x101], 0x33
        cpuid                                   ; serialise: cross-modified by another linear address
        xor     eax, eax
        mov     ebx, VA + 0x100
        call    rbx
        OUT     "after", rax
        DONE

        ; --- PCID and INVPCID
        CASE    "pcid.gp-enable-with-cr3-low"   ;= #1 vec=d err=0 ip=+0
        REQUIRE 1, 0, ecx, 17
        mov     eax, HOME_PT | 8
        mov     cr3, rax
        mov     rax, cr4
        or      eax, CR4_PCIDE
 T      mov     cr4, rax
        DONE
        CASE    "pcid.cr3-reads-back"           ;= cr3=340005
        REQUIRE 1, 0, ecx, 17
        mov     rax, cr4
        or      eax, CR4_PCIDE
        mov     cr4, rax
        mov     eax, HOME_PT | 5
        bts     rax, 63                         ; do not flush: not kept in CR3
        mov     cr3, rax
        mov     rax, cr3
        OUT     "cr3", rax
        DONE
        CASE    "pcid.gp-bit63-without-pcide"   ;= #1 vec=d err=0 ip=+0
        REQUIRE 1, 0, ecx, 17
        mov     eax, HOME_PT
        bts     rax, 63
 T      mov     cr3, rax
        DONE
        CASE    "pcid.gp-clear-pg"              ;= #1 vec=d err=0 ip=+0
        REQUIRE 1, 0, ecx, 17
        mov     rax, cr4
        or      eax, CR4_PCIDE
        mov     cr4, rax
        COMPAT
        mov     eax, cr0
        and     eax, ~CR0_PG
 T      mov     cr0, eax
        bits 64
        DONE
        CASE    "pcid.switch-with-flush-sees-new" ;= before=1 after=2
        REQUIRE 1, 0, ecx, 17
        call    tables
        mov     rax, cr4
        or      eax, CR4_PCIDE
        mov     cr4, rax
        mov     dword [PAGE_AREA + 64], 1
        mov     dword [PAGE_AREA + 0x1000 + 64], 2
        mov     eax, HOME_PT | 1
        mov     cr3, rax
        mov     eax, [VA + 64]
        OUT     "before", rax
        mov     dword [TPT], (PAGE_AREA + 0x1000) | 7
        mov     eax, HOME_PT | 2                ; another PCID never used
        mov     cr3, rax
        mov     eax, HOME_PT | 1
        mov     cr3, rax
        mov     eax, [VA + 64]
        OUT     "after", rax
        DONE
%macro INVPCID_FLUSHES 2                        ; name, type
        CASE    %1
        REQUIRE 1, 0, ecx, 17
        REQUIRE 7, 0, ebx, 10
        call    tables
        mov     rax, cr4
        or      eax, CR4_PCIDE
        mov     cr4, rax
        mov     dword [PAGE_AREA + 64], 1
        mov     dword [PAGE_AREA + 0x1000 + 64], 2
        mov     eax, [VA + 64]
        OUT     "before", rax
        mov     dword [TPT], (PAGE_AREA + 0x1000) | 7
        mov     qword [scratch], 0
        mov     qword [scratch + 8], VA
        mov     eax, %2
 T      invpcid rax, [scratch]
        mov     eax, [VA + 64]
        OUT     "after", rax
        DONE
%endmacro
        INVPCID_FLUSHES "invpcid.address", 0    ;= before=1 after=2
        INVPCID_FLUSHES "invpcid.context", 1    ;= before=1 after=2
        INVPCID_FLUSHES "invpcid.all-global", 2 ;= before=1 after=2
        INVPCID_FLUSHES "invpcid.all", 3        ;= before=1 after=2
        CASE    "invpcid.gp-type-4"             ;= #1 vec=d err=0 ip=+0
        REQUIRE 7, 0, ebx, 10
        mov     eax, 4
 T      invpcid rax, [scratch]
        DONE
        CASE    "invpcid.gp-noncanonical"       ;= #1 vec=d err=0 ip=+0
        REQUIRE 7, 0, ebx, 10
        mov     rax, 1 << 63
        mov     [scratch + 8], rax
        xor     eax, eax
 T      invpcid rax, [scratch]
        DONE
        CASE    "invpcid.gp-reserved"           ;= #1 vec=d err=0 ip=+0
        REQUIRE 7, 0, ebx, 10
        mov     dword [scratch], 0x1000
        mov     eax, 1
 T      invpcid rax, [scratch]
        DONE
        CASE    "invpcid.gp-pcid-without-pcide" ;= #1 vec=d err=0 ip=+0
        REQUIRE 7, 0, ebx, 10
        mov     dword [scratch], 1
        mov     eax, 1
 T      invpcid rax, [scratch]
        DONE
        ret
