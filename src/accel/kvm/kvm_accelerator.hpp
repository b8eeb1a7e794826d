// The accelerator `kvm`: the kernel's /dev/kvm executes the guest.
#pragma once

#include <memory>

#include "accel/accelerator.hpp"
#include "base/fd.hpp"

namespace skerry::accel {

struct KvmOptions {
  // Who has the local APICs. The kernel's cannot be debugged: Vcpu::step() and set_debug() are not for those vCPUs.
  enum class LocalApics : uint8_t { kBest, kKernels, kSkerrys };
  UniqueFd device;  // /dev/kvm; nothing: it is opened
  LocalApics local_apics = LocalApics::kBest;  // the kernel's where the processor virtualizes and the kernel can have them
};

// Says what is missing on this host and what to do.
Result<std::unique_ptr<Accelerator>> make_kvm_accelerator(AcceleratorParts parts, KvmOptions options = {});

}  // namespace skerry::accel
