#include "x86/decoder.hpp"

#include <array>

namespace skerry::x86 {

namespace {
const ZydisDecoder& decoder_for(CodeSize size) {
  static const std::array<ZydisDecoder, 3> decoders = [] {
    std::array<ZydisDecoder, 3> made;
    // Real and 16-bit protected mode decode alike; LEGACY_16 is the protected one, in which VEX exists.
    ZydisDecoderInit(&made[0], ZYDIS_MACHINE_MODE_LEGACY_16, ZYDIS_STACK_WIDTH_16);
    ZydisDecoderInit(&made[1], ZYDIS_MACHINE_MODE_LEGACY_32, ZYDIS_STACK_WIDTH_32);
    ZydisDecoderInit(&made[2], ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
    return made;
  }();
  return decoders[static_cast<unsigned>(size) - 1];
}
// Zydis 4.0.0 takes REX.B for a base register although SIB says that there is none (SDM vol. 2, table 2-3, note 1), with
// an address-size prefix in 64-bit mode.
void correct_base(Decoded& decoded) {
  const ZydisDecodedInstruction& insn = decoded.instruction;
  if (!(insn.attributes & ZYDIS_ATTRIB_HAS_SIB) || insn.raw.modrm.mod != 0 || insn.raw.sib.base != 5) return;
  for (unsigned n = 0; n < insn.operand_count_visible; ++n) {
    ZydisDecodedOperand& operand = decoded.operands[n];
    if (operand.type != ZYDIS_OPERAND_TYPE_MEMORY || operand.encoding != ZYDIS_OPERAND_ENCODING_MODRM_RM) continue;
    operand.mem.base = ZYDIS_REGISTER_NONE;
    operand.mem.disp.has_displacement = ZYAN_TRUE;
    operand.mem.disp.value = insn.raw.disp.value;
  }
}
}  // namespace

DecodeStatus decode(std::span<const uint8_t> bytes, CodeSize size, Decoded& decoded) {
  const ZyanStatus status = ZydisDecoderDecodeFull(&decoder_for(size), bytes.data(), bytes.size(), &decoded.instruction,
                                                   decoded.operands);
  if (ZYAN_SUCCESS(status)) {
    correct_base(decoded);
    return DecodeStatus::kOk;
  }
  if (status == ZYDIS_STATUS_NO_MORE_DATA) return bytes.size() >= 15 ? DecodeStatus::kTooLong : DecodeStatus::kNeedMoreBytes;
  if (status == ZYDIS_STATUS_INSTRUCTION_TOO_LONG) return DecodeStatus::kTooLong;
  return DecodeStatus::kInvalid;
}

std::string disassemble(std::span<const uint8_t> bytes, CodeSize size, uint64_t rip) {
  Decoded decoded;
  if (decode(bytes, size, decoded) != DecodeStatus::kOk) return "(bad)";
  ZydisFormatter formatter;
  ZydisFormatterInit(&formatter, ZYDIS_FORMATTER_STYLE_INTEL);
  std::array<char, 160> text{};
  ZydisFormatterFormatInstruction(&formatter, &decoded.instruction, decoded.operands,
                                  decoded.instruction.operand_count_visible, text.data(), text.size(), rip, nullptr);
  return text.data();
}

}  // namespace skerry::x86
