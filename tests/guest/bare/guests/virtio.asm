; SPDX-License-Identifier: Apache-2.0
; A virtio device on PCI: its registers by accesses of each width, string instructions and vector registers; its queue, notified
; and answered by MSI-X. Under KVM a notification is a doorbell (ioeventfd), and an interrupt an event (irqfd).
; Virtual I/O Device 1.2, 2.7, 4.1, 5.4. Where the devices are differs between machines: the entropy device is looked for.
;! skerry-args: --board q35-1
;! qemu-machine: q35,hpet=on
;! qemu-args: -device virtio-rng-pci,disable-legacy=on,disable-modern=off
;! bochs: none (it has no virtio)
;! kvm: gate
%define HOME 64
%include "rt.inc"
%include "irq.inc"

RNG_ID      equ 0x10441af4
BAR_AT      equ 0xe0000000              ; where this guest puts the registers
MSIX_AT     equ 0xe0100000
RING        equ PAGE_AREA               ; descriptors, then both rings, then the buffer
AVAIL       equ RING + 0x100
USED        equ RING + 0x200
BUFFER      equ RING + 0x1000
BUFFER_SIZE equ 64

        section .bss
device:     resd 1                      ; 80000000 | bus, device, function
registers:  resd 1
notify:     resd 1
notify_mul: resd 1
bar_of:     resd 1                      ; the BAR that has the structures
msix_cap:   resd 1

        section .text
        bits 64
; configuration space: edi register -> eax; clobbers edx
pci_read:
        mov     eax, [device]
        add     eax, edi
        mov     edx, 0xcf8
        out     dx, eax
        mov     edx, 0xcfc
        in      eax, dx
        ret
pci_write:                              ; edi register, esi value
        mov     eax, [device]
        add     eax, edi
        mov     edx, 0xcf8
        out     dx, eax
        mov     edx, 0xcfc
        mov     eax, esi
        out     dx, eax
        ret

; finds the device, puts its BARs where this guest wants them; carry: there is none
find:
        mov     dword [device], 0x80000000
.next:  xor     edi, edi
        call    pci_read
        cmp     eax, RNG_ID
        je      .found
        add     dword [device], 0x800   ; the next device of bus 0
        cmp     dword [device], 0x80010000
        jb      .next
        stc
        ret
.found: mov     edi, 4
        mov     esi, 0                  ; nothing is decoded while the BARs move
        call    pci_write
        mov     edi, 0x34
        call    pci_read
        movzx   ebx, al
.cap:   test    ebx, ebx
        jz      .placed
        mov     edi, ebx
        call    pci_read
        mov     ebp, eax
        cmp     al, 0x11                ; MSI-X
        jne     .vendor
        mov     [msix_cap], ebx
        lea     edi, [rbx + 4]
        call    pci_read
        and     eax, 7
        lea     edi, [rax * 4 + 0x10]
        mov     esi, MSIX_AT
        call    pci_write
.vendor:
        cmp     bpl, 9
        jne     .step
        mov     eax, ebp
        shr     eax, 24                 ; the type of structure
        mov     r8d, eax
        lea     edi, [rbx + 8]
        call    pci_read
        mov     r9d, eax                ; its offset
        lea     edi, [rbx + 4]
        call    pci_read
        movzx   eax, al
        cmp     r8d, 1
        jne     .notify
        mov     [bar_of], eax
        add     r9d, BAR_AT
        mov     [registers], r9d
        jmp     .step
.notify:
        cmp     r8d, 2
        jne     .step
        add     r9d, BAR_AT
        mov     [notify], r9d
        lea     edi, [rbx + 16]
        call    pci_read
        mov     [notify_mul], eax
.step:  mov     eax, ebp
        movzx   ebx, ah
        jmp     .cap
.placed:
        mov     eax, [bar_of]
        lea     edi, [rax * 4 + 0x10]
        mov     esi, BAR_AT
        call    pci_write
        mov     eax, [bar_of]
        lea     edi, [rax * 4 + 0x14]
        xor     esi, esi
        call    pci_write
        mov     edi, 4
        mov     esi, 6                  ; memory, bus master
        call    pci_write
        clc
        ret

; reset, features, ready for queues
start_device:
        mov     ebx, [registers]
        mov     byte [rbx + 20], 0
.reset: cmp     byte [rbx + 20], 0
        jne     .reset
        mov     byte [rbx + 20], 3      ; acknowledged, driver
        mov     dword [rbx + 8], 1
        mov     dword [rbx + 12], 1     ; VERSION_1
        mov     dword [rbx + 8], 0
        mov     dword [rbx + 12], 0
        mov     byte [rbx + 20], 11     ; features are good
        ret

; queue 0 of eight buffers, its interrupt by vector 1 of MSI-X
start_queue:
        mov     edi, RING
        xor     eax, eax
        mov     ecx, 0x2000 / 4
        rep stosd
        mov     ebx, [registers]
        mov     word [rbx + 22], 0
        mov     word [rbx + 24], 8
        mov     word [rbx + 26], 1
        mov     eax, RING
        mov     [rbx + 32], eax
        mov     dword [rbx + 36], 0
        mov     eax, AVAIL
        mov     [rbx + 40], eax
        mov     dword [rbx + 44], 0
        mov     eax, USED
        mov     [rbx + 48], eax
        mov     dword [rbx + 52], 0
        mov     word [rbx + 28], 1
        mov     byte [rbx + 20], 15
        ret

; the local APIC and MSI-X on, vector n with interrupt 60 + n to this processor, unmasked
start_msix:
        PUT32   LAPIC_SVR, 0x1ff
        mov     dword [case_hook], eoi_hook
        mov     edi, [msix_cap]
        call    pci_read
        or      eax, 0x80000000
        mov     esi, eax
        mov     edi, [msix_cap]
        call    pci_write
        mov     ebx, MSIX_AT
        xor     ecx, ecx
.entry: mov     dword [rbx], 0xfee00000
        mov     dword [rbx + 4], 0
        lea     eax, [rcx + 0x60]
        mov     [rbx + 8], eax
        mov     dword [rbx + 12], 0
        add     ebx, 16
        inc     ecx
        cmp     ecx, 2
        jb      .entry
        ret

; another buffer for the device, and the notification
ask:
        mov     dword [RING], BUFFER
        mov     dword [RING + 4], 0
        mov     dword [RING + 8], BUFFER_SIZE
        mov     dword [RING + 12], 2    ; the device writes
        movzx   ecx, word [AVAIL + 2]
        mov     eax, ecx
        and     eax, 7
        mov     word [AVAIL + 4 + rax * 2], 0
        inc     ecx
        mov     [AVAIL + 2], cx
        mov     ebx, [registers]
        movzx   eax, word [rbx + 30]
        imul    eax, [notify_mul]
        add     eax, [notify]
        mov     word [rax], 0
        ret

eoi_hook:
        PUT32   LAPIC_EOI, 0
        clc
        ret

; until the used index is ecx or a long time has passed
await_used:
        mov     edx, 100000000
.again: cmp     [USED + 2], cx
        je      .there
        pause
        dec     edx
        jnz     .again
.there: ret
; until ecx events, likewise; interrupts on. Under some hypervisors an interrupt comes late.
await_events:
        mov     edx, 100000000
        sti
.again: cmp     [n_events], ecx
        jae     .there
        pause
        dec     edx
        jnz     .again
.there: cli
        ret

main:
        call    find
        jc      main_end                          ; then all cases are missing
        CASE    "mmio-byte"                     ;= reset=0 a=3 b=3
        mov     ebx, [registers]
        mov     byte [rbx + 20], 0
.reset: mov     al, [rbx + 20]
        test    al, al
        jnz     .reset
        movzx   eax, al
        OUT     "reset", rax
        mov     byte [rbx + 20], 1
        or      byte [rbx + 20], 2
        movzx   eax, byte [rbx + 20]
        OUT     "a", rax
        xor     eax, eax
        xor     al, [rbx + 20]
        OUT     "b", rax
        DONE
        CASE    "mmio-word"                     ;= a=8 b=4 c=4 d=fffffffffffffffc
        call    start_device
        mov     word [rbx + 22], 0
        mov     ax, 8
        mov     [rbx + 24], ax
        movzx   eax, word [rbx + 24]
        OUT     "a", rax
        shr     word [rbx + 24], 1
        movsx   rax, word [rbx + 24]
        OUT     "b", rax
        xor     ecx, ecx
        mov     cx, [rbx + 24]
        OUT     "c", rcx
        xor     eax, eax
        sub     ax, [rbx + 24]
        movsx   rax, ax
        OUT     "d", rax
        DONE
        CASE    "mmio-dword"                    ;= a=12345670 b=12345670 c=1 d=ffffffff89abcdef
        call    start_device
        mov     word [rbx + 22], 0
        mov     dword [rbx + 32], 0x12345670
        mov     eax, [rbx + 32]
        OUT     "a", rax
        xor     ecx, ecx
        add     ecx, [rbx + 32]
        OUT     "b", rcx
        xor     ecx, ecx
        cmp     dword [rbx + 32], 0x12345670
        sete    cl
        OUT     "c", rcx
        mov     dword [rbx + 36], 0x89abcdef
        movsxd  rax, dword [rbx + 36]
        OUT     "d", rax
        DONE
        CASE    "mmio-qword"                    ;= a=123456789abcdef0 b=123456789abcdef0 c=9abcdef0
        call    start_device
        mov     word [rbx + 22], 0
        mov     rax, 0x123456789abcdef0
        mov     [rbx + 32], rax
        mov     rcx, [rbx + 32]
        OUT     "a", rcx
        xor     ecx, ecx
        or      rcx, [rbx + 32]
        OUT     "b", rcx
        mov     eax, [rbx + 32]
        OUT     "c", rax
        DONE
        CASE    "mmio-string"                   ;= a=11111110 b=22222220 c=33333330 cx=0 di=20 v=22222220 si=18
        call    start_device
        mov     word [rbx + 22], 0
        mov     dword [scratch], 0x11111110
        mov     dword [scratch + 4], 0
        mov     dword [scratch + 8], 0x22222220
        mov     dword [scratch + 12], 0
        mov     dword [scratch + 16], 0x33333330
        mov     dword [scratch + 20], 0
        mov     esi, scratch
        lea     edi, [rbx + 32]
        mov     ecx, 6
        rep movsd                               ; to the device
        mov     eax, [rbx + 32]
        OUT     "a", rax
        mov     eax, [rbx + 40]
        OUT     "b", rax
        mov     eax, [rbx + 48]
        OUT     "c", rax
        OUT     "cx", rcx
        sub     esi, scratch
        OUT     "si", rsi
        lea     esi, [rbx + 32]
        mov     edi, scratch + 0x100
        mov     ecx, 8
        rep movsd                               ; from it
        sub     edi, scratch + 0x100
        OUT     "di", rdi
        mov     eax, [scratch + 0x108]
        OUT     "v", rax
        DONE
        CASE    "mmio-string-fill"              ;= a=5a5a5a5a b=5a5a5a5a z=0
        call    start_device
        mov     word [rbx + 22], 0
        lea     edi, [rbx + 32]
        mov     eax, 0x5a5a5a5a
        mov     ecx, 3
        rep stosd
        mov     eax, [rbx + 32]
        OUT     "a", rax
        mov     eax, [rbx + 40]
        OUT     "b", rax
        lea     esi, [rbx + 32]
        lodsd
        mov     edi, scratch
        mov     [scratch], eax
        lea     esi, [rbx + 40]
        cmpsd
        setne   al
        movzx   eax, al
        OUT     "z", rax
        DONE
        CASE    "mmio-sse"                      ;= a=1111111122222220 b=3333333344444440 c=22222220
        call    start_device
        mov     word [rbx + 22], 0
        mov     rax, cr4
        or      eax, CR4_OSFXSR
        mov     cr4, rax
        mov     rax, 0x1111111122222220
        mov     [scratch], rax
        mov     rax, 0x3333333344444440
        mov     [scratch + 8], rax
        movdqu  xmm0, [scratch]
        movdqu  [rbx + 32], xmm0
        pxor    xmm1, xmm1
        movdqu  xmm1, [rbx + 32]
        movdqu  [scratch + 16], xmm1
        OUT     "a", [scratch + 16]
        OUT     "b", [scratch + 24]
        mov     eax, [rbx + 32]
        OUT     "c", rax
        DONE
        CASE    "mmio-avx"                      ;= a=1111111122222220 b=3333333344444440 c=5555555566666660 d=0
        REQUIRE 1, 0, ecx, 28
        call    start_device
        mov     word [rbx + 22], 0
        mov     rax, cr4
        or      eax, CR4_OSFXSR | CR4_OSXSAVE
        mov     cr4, rax
        xor     ecx, ecx
        xor     edx, edx
        mov     eax, 7
        xsetbv
        mov     rax, 0x1111111122222220
        mov     [scratch], rax
        mov     rax, 0x3333333344444440
        mov     [scratch + 8], rax
        mov     rax, 0x5555555566666660
        mov     [scratch + 16], rax
        mov     qword [scratch + 24], 0         ; queue_reset stays 0
        vmovdqu ymm0, [scratch]
        vmovdqu [rbx + 32], ymm0
        vpxor   ymm1, ymm1, ymm1
        vmovdqu ymm1, [rbx + 32]
        vmovdqu [scratch + 32], ymm1
        vzeroupper
        OUT     "a", [scratch + 32]
        OUT     "b", [scratch + 40]
        OUT     "c", [scratch + 48]
        movzx   eax, word [scratch + 58]        ; queue_reset
        OUT     "d", rax
        DONE
        CASE    "queue"                         ;= used=1 id=0 len=40 full=1
        call    start_device
        call    start_queue
        call    ask
        mov     ecx, 1
        call    await_used
        movzx   eax, word [USED + 2]
        OUT     "used", rax
        mov     eax, [USED + 4]
        OUT     "id", rax
        mov     eax, [USED + 8]
        OUT     "len", rax
        mov     ecx, BUFFER_SIZE / 8            ; random: it is not all zeros
        xor     eax, eax
        mov     esi, BUFFER
.or:    or      rax, [rsi]
        add     esi, 8
        loop    .or
        xor     ecx, ecx
        test    rax, rax
        setnz   cl
        OUT     "full", rcx
        DONE
        CASE    "msix"                          ;= #1 vec=61 / #2 vec=61 / used=2
        call    start_msix
        call    start_device
        call    start_queue
        call    ask
        mov     ecx, 1
        call    await_events
        call    ask
        mov     ecx, 2
        call    await_events
        movzx   eax, word [USED + 2]
        OUT     "used", rax
        DONE
        CASE    "msix-masked"                   ;= #1 vec=61 / before=0 pending=2 after=0
        call    start_msix
        PUT32   MSIX_AT + 16 + 12, 1
        call    start_device
        call    start_queue
        call    ask
        mov     ecx, 1
        call    await_used
        mov     ebx, [msix_cap]
        lea     edi, [rbx + 8]
        call    pci_read
        and     eax, ~7
        add     eax, MSIX_AT
        mov     ebx, eax                        ; the pending bits
        mov     ecx, 100000000
.wait:  mov     eax, [rbx]
        test    eax, 2
        jnz     .pends
        loop    .wait
.pends: mov     r12d, [n_events]
        OUT     "before", r12
        mov     eax, [rbx]
        OUT     "pending", rax
        PUT32   MSIX_AT + 16 + 12, 0
        mov     ecx, 1
        call    await_events
        mov     eax, [rbx]
        OUT     "after", rax
        DONE
        CASE    "msix-changed"                  ;= #1 vec=61 / #2 vec=71
        call    start_msix
        call    start_device
        call    start_queue
        call    ask
        mov     ecx, 1
        call    await_events
        PUT32   MSIX_AT + 16 + 12, 1
        PUT32   MSIX_AT + 16 + 8, 0x71
        PUT32   MSIX_AT + 16 + 12, 0
        call    ask
        mov     ecx, 2
        call    await_events
        DONE
        CASE    "bell-moved"                    ;= used=1
        call    start_device
        call    start_queue
        mov     eax, [bar_of]                   ; the registers go elsewhere, and the bell with them
        lea     edi, [rax * 4 + 0x10]
        mov     esi, BAR_AT + 0x1000000
        call    pci_write
        add     dword [notify], 0x1000000
        add     dword [registers], 0x1000000
        call    ask
        mov     ecx, 1
        call    await_used
        movzx   eax, word [USED + 2]
        OUT     "used", rax
        sub     dword [notify], 0x1000000
        sub     dword [registers], 0x1000000
        mov     eax, [bar_of]
        lea     edi, [rax * 4 + 0x10]
        mov     esi, BAR_AT
        call    pci_write
        DONE
main_end:
        ret
