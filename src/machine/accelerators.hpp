// The choice of an accelerator by name: the one place that knows all of them.
#pragma once

#include <string>

#include "accel/accelerator.hpp"
#include "accel/kvm/kvm_accelerator.hpp"

namespace skerry::machine {

// Why an accelerator is the one that it is, for people: "the processor has VT-x or AMD-V, and /dev/kvm opens".
struct AcceleratorReason {
  std::string why;
  std::string remedy;  // what would give a faster one; empty if there is none to be had
};

struct ChosenAccelerator {
  std::unique_ptr<accel::Accelerator> accelerator;
  AcceleratorReason reason;
};

// By the name of `--accel`: auto, bt, interpreter, kvm. Says what is wrong with a name or a host that cannot do it.
// `kvm` is for accelerator kvm, chosen or found; that has no `smm`, System Management Mode.
Result<ChosenAccelerator> make_accelerator(std::string_view name, accel::AcceleratorParts parts, accel::KvmOptions kvm = {}, bool smm = false);

}  // namespace skerry::machine
