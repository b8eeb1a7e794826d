# SPDX-License-Identifier: Apache-2.0
# From the PVH entry point, and on the other vCPUs from the start-up IPI, to 64-bit C. Then the entry points of
# exceptions and interrupts, and the way into and out of a probe.

#define CR0_PE 1
#define CR0_MP 2
#define CR0_ET 0x10
#define CR0_NE 0x20
#define CR0_WP 0x10000
#define CR0_PG 0x80000000
#define CR0_HOME (CR0_PG | CR0_WP | CR0_NE | CR0_ET | CR0_MP | CR0_PE)
#define CR4_PAE 0x20
#define CR4_OSFXSR 0x200
#define CR4_OSXMMEXCPT 0x400
#define CR4_HOME (CR4_PAE | CR4_OSFXSR | CR4_OSXMMEXCPT)
#define MSR_EFER 0xc0000080
#define EFER_HOME 0x901                         /* NXE, LME, SCE */
#define TRAMPOLINE 0x8000                       /* start-up vector 8 */
#define STACK_SIZE 0x8000

        .section .note.pvh, "a", @note
        .align  4
        .long   4, 8, 18                        # XEN_ELFNOTE_PHYS32_ENTRY
        .asciz  "Xen"
        .quad   start32

        .text
        .code32
        .globl  start32
start32:
        cli
        cld
        mov     $stacks + STACK_SIZE, %esp
        mov     %ebx, start_info
        # One to one in pages of 2 MiB, for all rings; the last of the four GiB uncached: devices
        movl    $pdpt + 7, pml4
        mov     $pdpt, %edi
        mov     $pds + 7, %eax
        mov     $4, %ecx
1:      mov     %eax, (%edi)
        add     $0x1000, %eax
        add     $8, %edi
        loop    1b
        mov     $pds, %edi
        mov     $0x87, %eax
        mov     $2048, %ecx
2:      mov     %eax, (%edi)
        cmp     $0xc0000000, %eax
        jb      3f
        orl     $0x18, (%edi)
3:      add     $0x200000, %eax
        add     $8, %edi
        loop    2b
        mov     $ap_start, %esi
        mov     $TRAMPOLINE, %edi
        mov     $ap_end - ap_start, %ecx
        rep movsb
        call    to_long_mode
        ljmp    $8, $start64

# Paging on, with the tables above and the GDT. Long mode begins with the far jump after it.
to_long_mode:
        lgdt    gdt_pointer
        mov     $CR4_HOME, %eax
        mov     %eax, %cr4
        mov     $pml4, %eax
        mov     %eax, %cr3
        mov     $MSR_EFER, %ecx
        xor     %edx, %edx
        mov     $EFER_HOME, %eax
        wrmsr
        mov     $CR0_HOME, %eax
        mov     %eax, %cr0
        ret

        .code64
start64:
        call    segments
        xor     %edi, %edi
        call    main
1:      hlt
        jmp     1b

segments:
        mov     $0x10, %eax
        mov     %eax, %ds
        mov     %eax, %es
        mov     %eax, %ss
        xor     %eax, %eax
        mov     %eax, %fs
        mov     %eax, %gs
        lldt    %ax
        lidt    idt_pointer
        fninit
        ret

# The other vCPUs, in real mode at TRAMPOLINE
        .code16
ap_start:
        cli
        xor     %ax, %ax
        mov     %ax, %ds
        lgdtl   gdt_pointer_low - ap_start + TRAMPOLINE
        mov     $CR0_PE, %eax
        mov     %eax, %cr0
        ljmpl   $0x30, $ap_start32
gdt_pointer_low:
        .word   gdt_end - gdt - 1
        .long   gdt
ap_end:

        .code32
ap_start32:
        mov     $0x10, %eax
        mov     %eax, %ds
        mov     %eax, %es
        mov     %eax, %ss
        mov     $1, %ebx                        # take a number, and the stack of that number
        lock xadd %ebx, next_cpu
        mov     %ebx, %eax
        inc     %eax
        imul    $STACK_SIZE, %eax
        lea     stacks(%eax), %esp
        call    to_long_mode
        ljmp    $8, $ap_start64
        .code64
ap_start64:
        call    segments
        mov     %ebx, %edi
        call    ap_main
1:      hlt
        jmp     1b

# ---------------------------------------------------------------------------------------------

        .align  16
        .globl  stubs
stubs:
vector = 0
        .rept   256
        .align  16
        .if (vector == 8) || (vector >= 10 && vector <= 14) || (vector == 17) || (vector == 21)
        .else
        push    $0
        .endif
        push    $vector
        jmp     entry
vector = vector + 1
        .endr

        .align  16
entry:  push    %r15
        push    %r14
        push    %r13
        push    %r12
        push    %r11
        push    %r10
        push    %r9
        push    %r8
        push    %rdi
        push    %rsi
        push    %rbp
        push    %rsp
        push    %rbx
        push    %rdx
        push    %rcx
        push    %rax
        cld
        mov     %rsp, %rdi
        mov     %rsp, %rbp
        and     $-16, %rsp
        call    trap
        mov     %rbp, %rsp
# load_trap: the registers of the struct trap at rsp, and on from there
load_trap:
        pop     %rax
        pop     %rcx
        pop     %rdx
        pop     %rbx
        add     $8, %rsp
        pop     %rbp
        pop     %rsi
        pop     %rdi
        pop     %r8
        pop     %r9
        pop     %r10
        pop     %r11
        pop     %r12
        pop     %r13
        pop     %r14
        pop     %r15
        add     $16, %rsp
        iretq

# void enter_trap(struct trap *t, u64 *saved_rsp): goes where t says, until leave_trap(*saved_rsp) comes back here
        .globl  enter_trap, leave_trap
enter_trap:
        push    %rbx
        push    %rbp
        push    %r12
        push    %r13
        push    %r14
        push    %r15
        mov     %rsp, (%rsi)
        mov     %rdi, %rsp
        jmp     load_trap
leave_trap:
        mov     %rdi, %rsp
        mov     $0x10, %eax                     # a probe may have been in another ring
        mov     %eax, %ss
        mov     %eax, %ds
        mov     %eax, %es
        pop     %r15
        pop     %r14
        pop     %r13
        pop     %r12
        pop     %rbp
        pop     %rbx
        cld
        ret

# ---------------------------------------------------------------------------------------------
        .data
        .align  16
        .globl  gdt
# The order of 8 to 2b suits SYSCALL and SYSRET.
gdt:    .quad   0
        .quad   0x00af9b000000ffff              # 08 64-bit code
        .quad   0x00cf93000000ffff              # 10 data
        .quad   0x00cffb000000ffff              # 18 32-bit code, ring 3
        .quad   0x00cff3000000ffff              # 20 data, ring 3
        .quad   0x00affb000000ffff              # 28 64-bit code, ring 3
        .quad   0x00cf9b000000ffff              # 30 32-bit code
        .quad   0x008ffb000000ffff              # 38 16-bit code, ring 3
        .fill   8 + 2 * 8, 8, 0                 # 80 on: TSS of each vCPU, 16 bytes
gdt_end:
gdt_pointer:
        .word   gdt_end - gdt - 1
        .quad   gdt
idt_pointer:
        .word   256 * 16 - 1
        .quad   idt
next_cpu:
        .long   1
        .globl  start_info
start_info:
        .long   0

        .bss
        .align  4096
        .globl  pml4, pds, idt
pml4:   .skip   4096
pdpt:   .skip   4096
pds:    .skip   4 * 4096
idt:    .skip   4096
stacks: .skip   8 * STACK_SIZE
