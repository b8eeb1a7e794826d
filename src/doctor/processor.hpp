// The processor, for those checks that depend on it.
#pragma once

#include <string>

#include "doctor/host.hpp"

namespace skerry::doctor {

enum class Virtualization : uint8_t {
  kNone,
  kVmx,  // Intel's VT-x
  kSvm,  // AMD's AMD-V
};

struct Processor {
  std::string vendor;  // "GenuineIntel"
  std::string model;   // "Intel(R) Core(TM) ..."; empty if it does not tell
  Virtualization virtualization = Virtualization::kNone;
  bool is_guest = false;   // this host is itself a VM
  std::string hypervisor;  // what that calls itself by CPUID, such as "KVMKVMKVM"
};

Processor processor(const Host& host);
// "VT-x", "AMD-V", or both where there is none.
std::string_view name_of(Virtualization virtualization);
// The kernel's module for it: kvm_intel, kvm_amd.
std::string_view module_of(Virtualization virtualization);

}  // namespace skerry::doctor
