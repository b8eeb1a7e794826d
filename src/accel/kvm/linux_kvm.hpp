// The kernel's <linux/kvm.h> as C++ can use it.
#pragma once

#include <linux/stddef.h>

// Before Linux 6.5 the headers make room for an empty structure before an array of any length, and that is a byte in C++:
// structures, and the numbers of the requests that have them, come out wrong.
#undef __DECLARE_FLEX_ARRAY
#define __DECLARE_FLEX_ARRAY(type, name) type name[0]
#include <linux/kvm.h>

static_assert(sizeof(kvm_cpuid2) == 8 && sizeof(kvm_msrs) == 8 && sizeof(kvm_msr_list) == 4);
