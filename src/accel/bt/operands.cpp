#include "accel/bt/operands.hpp"

namespace skerry::accel::bt {

RegisterTable::RegisterTable() {
  for (size_t n = 0; n < kind.size(); ++n) {
    kind[n] = static_cast<uint8_t>(ZydisRegisterGetClass(static_cast<ZydisRegister>(n)));
    id[n] = static_cast<uint8_t>(ZydisRegisterGetId(static_cast<ZydisRegister>(n)));
  }
}
const RegisterTable kRegisters;

std::optional<unsigned> general_register(ZydisRegister reg) {
  switch (class_of(reg)) {
    case ZYDIS_REGCLASS_GPR8:
      if (reg <= ZYDIS_REGISTER_BL) return static_cast<unsigned>(reg - ZYDIS_REGISTER_AL);
      if (reg <= ZYDIS_REGISTER_BH) return static_cast<unsigned>(reg - ZYDIS_REGISTER_AH);
      return static_cast<unsigned>(reg - ZYDIS_REGISTER_SPL) + 4;
    case ZYDIS_REGCLASS_GPR16:
    case ZYDIS_REGCLASS_GPR32:
    case ZYDIS_REGCLASS_GPR64: return id_of(reg);
    default: return std::nullopt;
  }
}

RegisterUse register_use(const x86::Decoded& decoded) {
  RegisterUse use;
  for (unsigned n = 0; n < decoded.instruction.operand_count; ++n) {
    const ZydisDecodedOperand& operand = decoded.operands[n];
    if (operand.type != ZYDIS_OPERAND_TYPE_REGISTER) continue;
    const auto number = general_register(operand.reg.value);
    if (!number) continue;
    use.all = static_cast<uint16_t>(use.all | 1u << *number);
    if (writes(operand)) use.written = static_cast<uint16_t>(use.written | 1u << *number);
    // What is written whole, and not by a condition: BSF and BSR of zero leave their target alone.
    const bool whole = operand.size >= 32 && !(operand.actions & (ZYDIS_OPERAND_ACTION_MASK_READ | ZYDIS_OPERAND_ACTION_CONDWRITE)) &&
                       decoded.instruction.meta.category != ZYDIS_CATEGORY_BITBYTE;
    if (!whole) use.read = static_cast<uint16_t>(use.read | 1u << *number);
  }
  return use;
}

HomedUse homed_use(const RegisterUse& registers) {
  HomedUse use;
  for (unsigned guest = kFirstHomed; guest <= kLastHomed; ++guest) {
    if (!(registers.all >> guest & 1)) continue;
    use.guest[use.count] = guest;
    use.read[use.count] = registers.read >> guest & 1;
    use.written[use.count++] = registers.written >> guest & 1;
  }
  return use;
}

}  // namespace skerry::accel::bt
