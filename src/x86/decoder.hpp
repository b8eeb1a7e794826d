// The decoder façade: the one place that knows which library takes x86 instructions apart.
#pragma once

#include <Zydis/Zydis.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace skerry::x86 {

enum class CodeSize : uint8_t { k16 = 1, k32, k64 };

struct Decoded {
  ZydisDecodedInstruction instruction;
  ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
  const ZydisDecodedOperand& visible(unsigned n) const { return operands[n]; }
  bool has(ZydisInstructionAttributes attribute) const { return instruction.attributes & attribute; }
};

enum class DecodeStatus : uint8_t { kOk, kNeedMoreBytes, kInvalid, kTooLong };

constexpr unsigned kLongestInsn = 15;  // bytes (SDM vol. 2, 2.3.11)

// Decodes the instruction at the start of `bytes` (up to 15 are looked at). Thread-safe.
DecodeStatus decode(std::span<const uint8_t> bytes, CodeSize size, Decoded& decoded);

// The instruction in Intel syntax, for logs; "(bad)" if it is none.
std::string disassemble(std::span<const uint8_t> bytes, CodeSize size, uint64_t rip);

}  // namespace skerry::x86
