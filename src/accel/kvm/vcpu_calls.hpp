// Requests to a vCPU whose arguments are lists, of which the kernel's headers give only the beginning.
#pragma once

#include <vector>

#include "accel/kvm/system.hpp"
#include "base/result.hpp"

namespace skerry::accel::kvm {

// KVM_SET_CPUID2.
Result<void> set_cpuid(int vcpu, const std::vector<kvm_cpuid_entry2>& entries);

// One MSR. False: KVM does not give or take it.
bool get_msr(int vcpu, uint32_t index, uint64_t& value);
bool set_msr(int vcpu, uint32_t index, uint64_t value);

}  // namespace skerry::accel::kvm
