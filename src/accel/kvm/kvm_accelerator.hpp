// The accelerator `kvm`: the kernel's /dev/kvm executes the guest.
#pragma once

#include <memory>

#include "accel/accelerator.hpp"
#include "base/fd.hpp"

namespace skerry::accel {

// `device` is /dev/kvm, or nothing, and then it is opened. Says what is missing on this host and what to do.
Result<std::unique_ptr<Accelerator>> make_kvm_accelerator(AcceleratorParts parts, UniqueFd device = {});

}  // namespace skerry::accel
