; SPDX-License-Identifier: Apache-2.0
; The smallest guest: the runtime itself. Start here when a new accelerator shows nothing at all.
;! kvm: gate
%define HOME 32
%include "rt.inc"

main:
        CASE    "nothing"                       ;= ax=12345678
        mov     eax, 0x12345678
        OUT     "ax", eax
        DONE

        CASE    "ud2"                           ;= #1 vec=6 ip=+0 cs=8
 T      ud2
        DONE

        CASE    "int.30"                        ;= #1 vec=30 ip=+2 cs=8
 T      int     0x30
        DONE

        CASE    "user.cli"                      ;= #1 vec=d err=0 ip=+0 cs=1b ss=23 sp=328000
        USER
 T      cli
        DONE
        ret
