// What a KVM without a virtualizing processor behind it can do.
#pragma once

#include "accel/kvm/system.hpp"

namespace skerry::accel::kvm {

struct Trial {
  // A guest sees the offset of its time-stamp counter.
  bool sets_tsc = true;
  // A program's SYSCALL enters the guest's kernel. Where it does not (kvm_pvm, which takes it for a call by a kernel of its own
  // kind), a guest that has programs cannot be left to KVM, which tells nobody when a program begins.
  bool runs_programs = true;
};

// Tried out with a guest of a few instructions, in about a millisecond. Where the processor virtualizes the answers are known,
// and where a trial is impossible KVM is believed to be good.
Trial try_out(const System& system);

}  // namespace skerry::accel::kvm
