; SPDX-License-Identifier: Apache-2.0
; The smallest 64-bit guest.
;! kvm: gate
%define HOME 64
%include "rt.inc"

main:
        CASE    "nothing"                       ;= ax=123456789abcdef0
        mov     rax, 0x123456789abcdef0
        OUT     "ax", rax
        DONE

        CASE    "ud2"                           ;= #1 vec=6 ip=+0 cs=8
 T      ud2
        DONE

        CASE    "user.cli"                      ;= #1 vec=d err=0 ip=+0 cs=2b ss=23 sp=328000
        USER
 T      cli
        DONE

        CASE    "compat.cli"                    ;= #1 vec=d err=0 ip=+0 cs=1b ss=23 sp=328000
        COMPAT3
 T      cli
        DONE
        ret
