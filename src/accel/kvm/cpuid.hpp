// What KVM is told to answer to a guest's CPUID.
#pragma once

#include <vector>

#include "accel/kvm/system.hpp"
#include "x86/cpu_model.hpp"

namespace skerry::accel::kvm {

// The model's leaves for vCPU `index`, without the features that KVM does not offer on this host. What depends on the
// vCPU's state (OSXSAVE, the size of its XSAVE area) KVM puts in by itself.
std::vector<kvm_cpuid_entry2> cpuid_of(const x86::CpuModel& model, unsigned index, const std::vector<kvm_cpuid_entry2>& supported);

// What of a named model KVM does not offer on this host: an error. The model `host` is cut without one.
Result<void> check_model(const x86::CpuModel& model, const std::vector<kvm_cpuid_entry2>& supported);

}  // namespace skerry::accel::kvm
