// What a KVM without a virtualizing processor behind it can do.
#pragma once

#include <memory>

#include "accel/kvm/system.hpp"

namespace skerry::accel::kvm {

struct Trial {
  // A guest sees the offset of its time-stamp counter.
  bool sets_tsc = true;
  // A program's SYSCALL enters the guest's kernel. Where it does not (kvm_pvm, which takes it for a call by a kernel of its own
  // kind), a guest that has programs cannot be left to KVM, which tells nobody when a program begins.
  bool runs_programs = true;
  // The guest that it was tried out with. It is kept as long as the answers, since its end would cost a start more than all of
  // the trial: KVM patches the kernel's code when the last vCPU goes that has no local APIC, and again for the next first one.
  std::shared_ptr<const void> guest;
};

// Tried out with a guest of a few instructions, in about a millisecond. Where the processor virtualizes the answers are known,
// and where a trial is impossible KVM is believed to be good.
Trial try_out(const System& system);

}  // namespace skerry::accel::kvm
