; SPDX-License-Identifier: Apache-2.0
; A boot sector that loads the flat image of a guest behind it to 1 MiB: Bochs has no -kernel.
org 0x7c00
bits 16
  cli
  xor ax,ax
  mov ds,ax
  mov ss,ax
  mov sp,0x7c00
  mov [drive],dl
  in al,0x92
  or al,2
  out 0x92,al
  mov cx,14
.l: push cx
  mov ah,0x42
  mov si,dap
  mov dl,[drive]
  int 0x13
  jc $
  add word [dap+6],0x800
  add dword [dap+8],64
  pop cx
  loop .l
  cli
  lgdt [gp]
  mov eax,cr0
  or al,1
  mov cr0,eax
  jmp 8:pm
bits 32
pm: mov ax,16
  mov ds,ax
  mov es,ax
  mov ss,ax
  mov fs,ax
  mov gs,ax
  mov esi,0x10000
  mov edi,0x100000
  mov ecx,14*0x8000/4
  cld
  rep movsd
  mov eax,0x2badb002
  jmp dword [0x10000c]
drive: db 0
align 4
dap: db 16,0
 dw 64
 dw 0,0x1000
 dq 1
gdt: dq 0
 dq 0x00cf9b000000ffff
 dq 0x00cf93000000ffff
gp: dw 23
 dd gdt
times 510-($-$$) db 0
dw 0xaa55
