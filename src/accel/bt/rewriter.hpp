// Copies one guest instruction as host code: other registers, and its memory operand at an address in a register.
// All else of it (opcode, prefixes that choose it, immediates) stays.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "x86/decoder.hpp"

namespace skerry::accel::bt {

struct HostInsn {
  std::array<uint8_t, 24> bytes{};
  unsigned length = 0;
  std::span<const uint8_t> code() const { return {bytes.data(), length}; }
};

// Where a memory operand is on the host, by numbers of host registers: [base + index + disp].
struct HostPlace {
  unsigned base;
  int index = -1;  // none
  int32_t disp = 0;
};

// `registers` gives the host's register for each guest general register. A memory operand is at `place`. False if the
// host cannot encode it: AH, BH, CH or DH beside a register that needs REX.
[[nodiscard]] bool rewrite(const x86::Decoded& decoded, std::span<const uint8_t> guest,
                           const std::array<uint8_t, 16>& registers, const HostPlace& place, HostInsn& out);

}  // namespace skerry::accel::bt
