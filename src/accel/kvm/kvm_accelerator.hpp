// The accelerator `kvm`: the kernel's /dev/kvm executes the guest.
#pragma once

#include <memory>

#include "accel/accelerator.hpp"
#include "base/fd.hpp"

namespace skerry::accel {

struct KvmOptions {
  UniqueFd device;           // /dev/kvm; nothing: it is opened
  bool local_apics = false;  // the kernel has them. They cannot be debugged: Vcpu::step() and set_debug() are not for these vCPUs
};

// Whether local APICs are better in this host's kernel: the processor virtualizes, and the kernel can have them.
bool kernel_apics_are_better();

// Says what is missing on this host and what to do.
Result<std::unique_ptr<Accelerator>> make_kvm_accelerator(AcceleratorParts parts, KvmOptions options = {});

}  // namespace skerry::accel
