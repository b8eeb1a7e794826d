// What KVM is told to answer to a guest's CPUID.
#pragma once

#include <vector>

#include "accel/kvm/system.hpp"
#include "x86/cpu_model.hpp"

namespace skerry::accel::kvm {

// Takes away from the model what KVM does not offer on this host. An error if its name promises that; `host` promises nothing.
// `kernel_apics`: the kernel has the local APICs, and the paravirtual features are its own.
Result<void> cut(x86::CpuModel& model, const std::vector<kvm_cpuid_entry2>& supported, bool kernel_apics);

// What a new guest with the kernel's local APICs is offered beside its model.
std::vector<const x86::Feature*> paravirtual_features(const std::vector<kvm_cpuid_entry2>& supported);

// The model's leaves for vCPU `index`. What depends on the vCPU's state (OSXSAVE, the size of its XSAVE area) KVM puts in by
// itself.
std::vector<kvm_cpuid_entry2> cpuid_of(const x86::CpuModel& model, unsigned index);

}  // namespace skerry::accel::kvm
