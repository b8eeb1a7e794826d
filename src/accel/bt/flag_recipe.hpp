// How status flags that are no longer in EFLAGS are made again, so that they need not be kept wherever they might be wanted.
#pragma once

#include <cstdint>

#include "accel/bt/operands.hpp"
#include "accel/bt/rewriter.hpp"

namespace skerry::accel::bt {

struct FlagRecipe {
  enum class How : uint8_t {
    kNone,
    kAgain,       // the instruction itself once more: it changed nothing but flags
    kResult,      // of a logical operation, whose flags are those of its result
    kAdded, kSubtracted, kNegated,  // taken back in a scratch register, and done again there
  } how = How::kNone;
  uint32_t offset = 0;     // of the instruction, in its page
  uint16_t registers = 0;  // guest registers that have to be as they are right after the instruction
  unsigned target = 0, size = 0;
  int source = -1;         // a guest register, or
  int32_t immediate = 0;
  HostInsn host;           // kAgain, with
  HomedUse homed;          // in the scratch registers

  // `host` is what became of the instruction.
  static FlagRecipe of(const x86::Decoded& decoded, uint32_t offset, const HostInsn& host);
  bool same(const FlagRecipe& other) const { return how == other.how && (how == How::kNone || offset == other.offset); }
};

}  // namespace skerry::accel::bt
