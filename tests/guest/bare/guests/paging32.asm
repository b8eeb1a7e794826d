; SPDX-License-Identifier: Apache-2.0
; Two-level and PAE paging. Intel SDM vol. 3, 4.3, 4.4.
%define HOME 32
%include "rt.inc"

; Two-level: PD at PT_AREA, PT of the test region behind it; the rest identity by 4 MiB pages
PD      equ PT_AREA
PT      equ PT_AREA + 0x1000
; PAE: PDPT, four PDs (one page of 2 MiB each is enough: the first GiB), PT
PDPT    equ PT_AREA + 0x2000
PAE_PD  equ PT_AREA + 0x3000
PAE_PD1 equ PT_AREA + 0x4000
PAE_PT  equ PT_AREA + 0x5000
VA      equ 0x40000000
%define VA2 (VA + 0x1000)

two_level:
        mov     edi, PT_AREA
        mov     ecx, 0x2000 / 4
        xor     eax, eax
        rep stosd
        mov     edi, PD
        mov     eax, 0x87                       ; 64 MiB and more, user: ring-3 cases are anywhere
        mov     ecx, 32
.pd:    stosd
        add     eax, 0x400000
        loop    .pd
        mov     dword [PD + (VA >> 20)], PT | 7
        mov     dword [PT], PAGE_AREA | 7
        mov     dword [PT + 4], (PAGE_AREA + 0x1000) | 7
        mov     eax, PD
        mov     cr3, eax
        mov     eax, CR4_PSE
        mov     cr4, eax
        ret
pae:
        mov     edi, PDPT
        mov     ecx, 0x4000 / 4
        xor     eax, eax
        rep stosd
        mov     edi, PAE_PD
        mov     eax, 0x87
        mov     ecx, 32
.pd:    mov     [edi], eax
        add     edi, 8
        add     eax, 0x200000
        loop    .pd
        mov     dword [PDPT], PAE_PD | 1
        mov     dword [PDPT + 8], PAE_PD1 | 1
        mov     dword [PAE_PD1], PAE_PT | 7
        mov     dword [PAE_PT], PAGE_AREA | 7
        mov     dword [PAE_PT + 8], (PAGE_AREA + 0x1000) | 7
        mov     eax, CR4_PAE
        mov     cr4, eax
        mov     eax, PDPT
        mov     cr3, eax
        ret
%macro PAGING 0-1 0                             ; on, with these further CR0 bits
        mov     eax, cr0
        or      eax, CR0_PG | %1
        mov     cr0, eax
%endmacro
%macro RELOAD 0
        mov     eax, cr3
        mov     cr3, eax
%endmacro

main:
        ; --- two-level
        CASE    "2l.read"                       ;= ax=55 pte=27 pde=27
        call    two_level
        mov     dword [PAGE_AREA], 0x55
        PAGING
        mov     eax, [VA]
        mov     [scratch], eax
        AFTER
        OUT     "ax", [scratch]
        movzx   eax, byte [PT]
        OUT     "pte", eax
        movzx   eax, byte [PD + (VA >> 20)]
        OUT     "pde", eax
        DONE
        CASE    "2l.write-dirty"                ;= pte=67 pde=27
        call    two_level
        PAGING
        mov     [VA], eax
        AFTER
        movzx   eax, byte [PT]
        OUT     "pte", eax
        movzx   eax, byte [PD + (VA >> 20)]
        OUT     "pde", eax
        DONE
%macro FAULT2 3                                 ; name, PTE flags, code ; (expectation beside it)
        CASE    %1
        call    two_level
        mov     dword [PT], PAGE_AREA | %2
        PAGING
 T      %3
        AFTER
        movzx   eax, byte [PT]
        OUT     "pte", eax
        DONE
%endmacro
%macro FAULT2_USER 3
        CASE    %1
        call    two_level
        mov     dword [PT], PAGE_AREA | %2
        PAGING
        USER
 T      %3
        AFTER
        movzx   eax, byte [PT]
        OUT     "pte", eax
        DONE
%endmacro
        FAULT2  "2l.np-read", 0, {mov eax, [VA]}        ;= #1 vec=e err=0 ip=+0 cr2=40000000 / pte=0
        FAULT2  "2l.np-write", 0, {mov [VA], eax}       ;= #1 vec=e err=2 ip=+0 cr2=40000000 / pte=0
        FAULT2  "2l.ro-write-without-wp", 1, {mov [VA], eax}    ;= pte=61
        FAULT2_USER "2l.np-user", 0, {mov eax, [VA]}    ;= #1 vec=e err=4 ip=+0 cs=1b cr2=40000000
        FAULT2_USER "2l.ro-user", 5, {mov [VA], eax}    ;= #1 vec=e err=7 ip=+0 cs=1b / pte=5
        FAULT2_USER "2l.supervisor-user", 3, {mov eax, [VA]}    ;= #1 vec=e err=5 ip=+0 cs=1b / pte=3
        CASE    "2l.np-exec"                    ;= #1 vec=e err=0 ip=@40000000 cr2=40000000
        call    two_level
        mov     dword [PT], 0
        PAGING
        mov     eax, VA                         ; no NXE, no SMEP: I/D stays clear
        jmp     eax
        DONE
        CASE    "2l.ro-write-wp"                ;= #1 vec=e err=3 ip=+0 / pte=1
        call    two_level
        mov     dword [PT], PAGE_AREA | 1
        PAGING  CR0_WP
 T      mov     [VA], eax
        AFTER
        movzx   eax, byte [PT]
        OUT     "pte", eax
        DONE
        CASE    "2l.pde-ro-user"                ;= #1 vec=e err=7 ip=+0 cs=1b
        call    two_level
        and     dword [PD + (VA >> 20)], ~2
        PAGING
        USER
 T      mov     [VA], eax
        DONE
        CASE    "pse.4m"                        ;= ax=77 pde=e7
        call    two_level
        mov     dword [PD + (VA >> 20)], 0x400087
        mov     dword [0x412344], 0x77
        PAGING
        mov     eax, [VA + 0x12344]
        mov     [scratch], eax
        mov     [VA + 0x12348], eax
        AFTER
        OUT     "ax", [scratch]
        movzx   eax, byte [PD + (VA >> 20)]
        OUT     "pde", eax
        DONE
        CASE    "pse.reserved-bit-21"           ;= #1 vec=e err=9 ip=+0
        call    two_level
        mov     dword [PD + (VA >> 20)], 0x600087
        PAGING
 T      mov     eax, [VA]
        DONE
        CASE    "pse.ps-ignored-without-cr4-pse" ;= ax=55
        call    two_level
        ; without PSE the 4 MiB pages of the identity map are none: make tables for the first 4 MiB
        mov     edi, PT_AREA + 0x8000
        mov     eax, 7
        mov     ecx, 1024
.pt:    stosd
        add     eax, 0x1000
        loop    .pt
        mov     dword [PD], (PT_AREA + 0x8000) | 7
        or      dword [PD + (VA >> 20)], 0x80
        mov     dword [PAGE_AREA], 0x55
        xor     eax, eax
        mov     cr4, eax
        PAGING
        mov     eax, [VA]
        mov     [scratch], eax
        AFTER
        OUT     "ax", [scratch]
        DONE
        CASE    "2l.cross-write"                ;= #1 vec=e err=2 ip=+0 cr2=40001000
        call    two_level
        mov     dword [PT + 4], 0
        PAGING
 T      mov     [VA + 0xffe], eax
        DONE
        CASE    "2l.lgdt-limit-implicit"        ;= #1 vec=e err=0 ip=+0 cs=1b cr2=40001030
        call    two_level
        mov     dword [PT + 4], 0
        mov     esi, gdt
        mov     edi, PAGE_AREA + 0x1000 - 0x50
        mov     ecx, 20
        rep movsd
        mov     word [scratch], 0xff
        mov     dword [scratch + 2], VA2 - 0x50
        PAGING
        lgdt    [scratch]
        USER
        mov     ax, T0 | 3
 T      mov     fs, ax
        DONE
        CASE    "2l.pf-in-ring3-stack-of-gate"  ;= #1 vec=8 err=0 ip=+0 cs=1b
        ; the ring-0 stack of the TSS is absent: #PF in delivering #PF
        call    two_level
        mov     dword [PT], 0
        mov     dword [PT + 4], 0
        mov     dword [tss + 4], VA2
        ; #DF by a task gate, whose stack is good
        SETDESC T0, scratch + 0x200, 0x67, 0x0089
        mov     dword [IDT(DF)], T0 << 16
        mov     dword [IDT(DF) + 4], 0x8500
        mov     edi, scratch + 0x200
        mov     dword [edi + 0x1c], PD
        mov     dword [edi + 0x20], .df
        mov     dword [edi + 0x24], 2
        mov     dword [edi + 0x38], 0x307000
        mov     dword [edi + 0x48], DATA0
        mov     dword [edi + 0x4c], CODE0
        mov     dword [edi + 0x50], DATA0
        mov     dword [edi + 0x54], DATA0
        PAGING
        USER
 T      mov     eax, [VA]
.df:    ; make the frame that the runtime knows: error code on top, then the old task's
        pop     eax
        push    dword [tss + 0x50]
        push    dword [tss + 0x38]
        push    2
        push    dword [tss + 0x4c]
        push    dword [tss + 0x20]
        push    eax
        pushfd
        and     dword [esp], ~FL_NT
        popfd
        jmp     STUB(DF)
        DONE

        ; --- PAE
        CASE    "pae.read-write"                ;= ax=55 pte=67 pde=27 pdpte=1
        call    pae
        mov     dword [PAGE_AREA], 0x55
        PAGING
        mov     eax, [VA]
        mov     [scratch], eax
        mov     [VA + 4], eax
        AFTER
        OUT     "ax", [scratch]
        movzx   eax, byte [PAE_PT]
        OUT     "pte", eax
        movzx   eax, byte [PAE_PD1]
        OUT     "pde", eax
        movzx   eax, byte [PDPT + 8]
        OUT     "pdpte", eax                    ; PDPTEs have no A bit
        DONE
        CASE    "pae.2m"                        ;= ax=77 pde=e7
        call    pae
        mov     dword [PAE_PD1 + 8], 0x400087
        mov     dword [0x412344], 0x77
        PAGING
        mov     eax, [VA + 0x212344]
        mov     [scratch], eax
        mov     [VA + 0x212348], eax
        AFTER
        OUT     "ax", [scratch]
        movzx   eax, byte [PAE_PD1 + 8]
        OUT     "pde", eax
        DONE
        CASE    "pae.pdpte-np"                  ;= #1 vec=e err=0 ip=+0 cr2=80000000
        call    pae
        PAGING
        mov     ebx, 0x80000000
 T      mov     eax, [ebx]
        DONE
        CASE    "pae.gp-pdpte-reserved-at-cr3"  ;= #1 vec=d err=0 ip=+0
        call    pae
        PAGING
        or      dword [PDPT + 8], 2             ; R/W is reserved in a PDPTE
        mov     eax, cr3
 T      mov     cr3, eax
        DONE
        CASE    "pae.gp-pdpte-reserved-at-pg"   ;= #1 vec=d err=0 ip=+0
        call    pae
        or      dword [PDPT + 8], 0x20
        mov     eax, cr0
        or      eax, CR0_PG
 T      mov     cr0, eax
        DONE
        CASE    "pae.absent-pdpte-reserved-is-fine" ;= none
        call    pae
        PAGING
        mov     dword [PDPT + 16], 0x1e6
        mov     eax, cr3
 T      mov     cr3, eax
        DONE
        CASE    "pae.pdptes-are-kept-until-cr3" ;= ax=55
        call    pae
        mov     dword [PAGE_AREA], 0x55
        PAGING
        mov     dword [PDPT + 8], 0             ; memory changes, the registers do not
        invlpg  [VA]
        mov     eax, [VA]
        mov     [scratch], eax
        AFTER
        OUT     "ax", [scratch]
        DONE
        CASE    "pae.pte-reserved-bit-51"       ;= #1 vec=e err=9 ip=+0
        call    pae
        mov     dword [PAE_PT + 4], 1 << 19
        PAGING
 T      mov     eax, [VA]
        DONE
        CASE    "pae.pte-bit-62-reserved"       ;= #1 vec=e err=9 ip=+0
        call    pae
        mov     dword [PAE_PT + 4], 1 << 30
        PAGING
 T      mov     eax, [VA]
        DONE
        CASE    "pae.nx"                        ;= #1 vec=e err=11 ip=@40000000
        call    pae
        WRMSR_  MSR_EFER, 0, EFER_NXE
        mov     dword [PAE_PT + 4], 1 << 31
        PAGING
        mov     eax, VA
        jmp     eax
        AFTER
        WRMSR_  MSR_EFER, 0, 0
        DONE
        CASE    "pae.nx-reserved-without-nxe"   ;= #1 vec=e err=9 ip=+0
        call    pae
        mov     dword [PAE_PT + 4], 1 << 31
        PAGING
 T      mov     eax, [VA]
        DONE
        CASE    "pae.np-exec-has-i-with-nxe"    ;= #1 vec=e err=10 ip=@40000000
        call    pae
        WRMSR_  MSR_EFER, 0, EFER_NXE
        mov     dword [PAE_PT], 0
        PAGING
        mov     eax, VA
        jmp     eax
        AFTER
        WRMSR_  MSR_EFER, 0, 0
        DONE
        CASE    "pae.smep"                      ;= #1 vec=e err=11 ip=@40000000
        REQUIRE 7, 0, ebx, 7
        call    pae
        mov     ecx, 32                         ; the runtime's pages are supervisor's here
        mov     edi, PAE_PD
.s:     and     byte [edi], ~4
        add     edi, 8
        loop    .s
        PAGING
        mov     eax, CR4_PAE | CR4_SMEP
        mov     cr4, eax
        mov     eax, VA
        jmp     eax
        DONE
        CASE    "pae.smap"                      ;= #1 vec=e err=1 ip=+0
        REQUIRE 7, 0, ebx, 20
        call    pae
        mov     ecx, 32
        mov     edi, PAE_PD
.s:     and     byte [edi], ~4
        add     edi, 8
        loop    .s
        PAGING
        mov     eax, CR4_PAE | CR4_SMAP
        mov     cr4, eax
 T      mov     eax, [VA]
        DONE

        ; --- turning things on in the wrong order
%ifndef FOR_QEMU
        CASE    "gp.pg-without-pe"              ;= #1 vec=d err=0 ip=+0
        mov     eax, cr0
        and     eax, ~CR0_PE
        or      eax, CR0_PG
 T      mov     cr0, eax
        DONE
%endif
        CASE    "gp.lme-pg-without-pae"         ;= #1 vec=d err=0 ip=+0
        call    two_level
        WRMSR_  MSR_EFER, 0, EFER_LME
        mov     eax, cr0
        or      eax, CR0_PG
 T      mov     cr0, eax
        AFTER
        WRMSR_  MSR_EFER, 0, 0
        DONE
        CASE    "gp.pcide-outside-long-mode"    ;= #1 vec=d err=0 ip=+0
        REQUIRE 1, 0, ecx, 17
        mov     eax, CR4_PCIDE
 T      mov     cr4, eax
        DONE
        CASE    "gp.lme-change-while-paging"    ;= #1 vec=d err=0 ip=+0
        call    pae
        PAGING
        mov     ecx, MSR_EFER
        xor     edx, edx
        mov     eax, EFER_LME
 T      wrmsr
        DONE
        CASE    "lma-is-not-writable"           ;= efer=0
        WRMSR_  MSR_EFER, 0, EFER_LMA
        mov     ecx, MSR_EFER
        rdmsr
        OUT     "efer", eax
        DONE
        ret
