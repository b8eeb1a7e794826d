// How status flags that are no longer in EFLAGS are made again, so that they need not be kept wherever they might be wanted.
#pragma once

#include <array>
#include <cstdint>

#include "x86/decoder.hpp"

namespace skerry::accel::bt {

struct FlagRecipe {
  enum class How : uint8_t {
    kNone,
    kCompared,                                              // a - b
    kTested,                                                // a & b
    kResult,                                                // of a logical operation, whose flags are those of its result a
    kAdded, kSubtracted, kNegated,                          // taken back from the result a, and done again
    kShiftedLeft, kShiftedRight, kShiftedArithmetically,    // a is the value before, b how far
    kMultiplied,                                            // a * b, signed
  };
  static constexpr unsigned kHows = 11;
  struct Operand {
    enum class Where : uint8_t {
      kNowhere,
      kRegister,   // a guest's, as it is right after the instruction
      kKept,       // Context::flag_value, where the translator puts what will not be in a register
      kImmediate,
    } where = Where::kNowhere;
    uint8_t guest = 0;
    int32_t immediate = 0;
    bool operator==(const Operand&) const = default;
  };

  How how = How::kNone;
  uint8_t size = 0;     // of the operands, in bytes
  uint32_t offset = 0;  // of the instruction, in its page
  std::array<Operand, 2> operands;  // a, b

  bool known() const { return how != How::kNone; }
  bool keeps() const { return operands[0].where == Operand::Where::kKept || operands[1].where == Operand::Where::kKept; }
  uint16_t registers() const;
  bool operator==(const FlagRecipe&) const = default;

  // What an operand in memory was, and a register before it is changed, is to be kept.
  static FlagRecipe of(const x86::Decoded& decoded, uint32_t offset);
};

}  // namespace skerry::accel::bt
