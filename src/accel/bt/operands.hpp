// What the translator asks of a decoded instruction's operands.
#pragma once

#include <array>
#include <optional>

#include "accel/bt/emitter.hpp"
#include "x86/decoder.hpp"

namespace skerry::accel::bt {

inline bool is_rip(const ZydisDecodedOperand& memory) {
  return memory.mem.base == ZYDIS_REGISTER_RIP || memory.mem.base == ZYDIS_REGISTER_EIP;
}
// What the decoder's library tells of registers by calls of which a translation would need a hundred.
struct RegisterTable {
  RegisterTable();
  std::array<uint8_t, ZYDIS_REGISTER_MAX_VALUE + 1> kind, id;
};
extern const RegisterTable kRegisters;
inline ZydisRegisterClass class_of(ZydisRegister reg) { return static_cast<ZydisRegisterClass>(kRegisters.kind[static_cast<size_t>(reg)]); }
inline unsigned id_of(ZydisRegister reg) { return kRegisters.id[static_cast<size_t>(reg)]; }
inline bool writes(const ZydisDecodedOperand& operand) { return operand.actions & ZYDIS_OPERAND_ACTION_MASK_WRITE; }
// Extended to 32 bits from the operation's size in bytes.
inline int32_t immediate_of(const ZydisDecodedOperand& operand, unsigned size) {
  const auto value = static_cast<int32_t>(operand.imm.value.s);
  return size == 1 ? static_cast<int8_t>(value) : size == 2 ? static_cast<int16_t>(value) : value;
}

// The number of a general register, if it is one: AH to BH are parts of RAX to RBX.
std::optional<unsigned> general_register(ZydisRegister reg);
// By number, those that the instruction writes to, those whose value matters to it, and those it has as operands at all.
struct RegisterUse {
  uint16_t all = 0, written = 0, read = 0;
};
RegisterUse register_use(const x86::Decoded& decoded);

// The general registers among the operands that live in memory, with those written.
struct HomedUse {
  unsigned count = 0;
  unsigned guest[4];
  bool written[4], read[4];
};
HomedUse homed_use(const RegisterUse& registers);

}  // namespace skerry::accel::bt
