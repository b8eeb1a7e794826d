// An instruction's bytes as the host may execute them in a thunk.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "x86/decoder.hpp"

namespace skerry::x86 {

// The vector, MMX and x87 registers stay as they are, a memory operand is at [RSI], a general register operand is RCX.
struct HostForm {
  std::array<uint8_t, 24> bytes{};
  unsigned length = 0;
  int gpr = -1;  // guest's number of the explicit general register
  std::span<const uint8_t> code() const { return {bytes.data(), length}; }
};

// For instructions with ModRM, by legacy or VEX encoding. `guest` are the bytes that gave `decoded`.
HostForm host_form(const Decoded& decoded, std::span<const uint8_t> guest);

}  // namespace skerry::x86
