// Only ModRM and what extends it are written anew; all else is copied. Intel SDM vol. 2, 2.1 to 2.3.
#include "x86/interp/host_form.hpp"

#include <cassert>

namespace skerry::x86 {

namespace {

constexpr unsigned kRcx = 1, kRsi = 6;
constexpr uint8_t kRexR = 4, kRexB = 1;

bool is_gpr(const ZydisDecodedOperand& operand) {
  if (operand.type != ZYDIS_OPERAND_TYPE_REGISTER) return false;
  switch (ZydisRegisterGetClass(operand.reg.value)) {
    case ZYDIS_REGCLASS_GPR8:
    case ZYDIS_REGCLASS_GPR16:
    case ZYDIS_REGCLASS_GPR32:
    case ZYDIS_REGCLASS_GPR64: return true;
    default: return false;
  }
}

class Rewriter {
 public:
  Rewriter(const Decoded& decoded, std::span<const uint8_t> guest)
      : insn_(decoded.instruction), guest_(guest), wide_(decoded.instruction.machine_mode == ZYDIS_MACHINE_MODE_LONG_64) {
    for (unsigned n = 0; n < insn_.operand_count_visible; ++n) {
      const ZydisDecodedOperand& operand = decoded.operands[n];
      memory_ |= operand.type == ZYDIS_OPERAND_TYPE_MEMORY;
      if (!is_gpr(operand) || operand.visibility != ZYDIS_OPERAND_VISIBILITY_EXPLICIT) continue;
      (operand.encoding == ZYDIS_OPERAND_ENCODING_MODRM_REG ? gpr_in_reg_ : gpr_in_rm_) = true;
      form_.gpr = ZydisRegisterGetId(operand.reg.value);
    }
  }

  HostForm run() {
    if (insn_.encoding == ZYDIS_INSTRUCTION_ENCODING_VEX) vex();
    else legacy();
    modrm();
    rest();
    return form_;
  }

 private:
  void put(unsigned byte) {
    assert(form_.length < form_.bytes.size());
    form_.bytes[form_.length++] = static_cast<uint8_t>(byte);
  }

  // Operand-size and repeat prefixes choose the instruction; the others are about memory.
  void legacy() {
    for (unsigned n = 0; n < insn_.raw.prefix_count; ++n) {
      const uint8_t value = insn_.raw.prefixes[n].value;
      if (value == 0x66 || value == 0xf2 || value == 0xf3) put(value);
    }
    if (wide_ && (insn_.attributes & ZYDIS_ATTRIB_HAS_REX)) {
      uint8_t rex = guest_[insn_.raw.rex.offset];
      if (gpr_in_reg_) rex &= static_cast<uint8_t>(~kRexR);
      if (memory_ || gpr_in_rm_) rex &= static_cast<uint8_t>(~kRexB);
      put(rex);
    }
    for (unsigned at = insn_.raw.prefix_count; at < insn_.raw.modrm.offset; ++at) put(guest_[at]);
  }

  // In the three-byte form. Outside of 64-bit mode there are eight registers, and W does not widen a general one.
  void vex() {
    const uint8_t* at = guest_.data() + insn_.raw.vex.offset;
    const bool short_form = at[0] == 0xc5;
    unsigned first = short_form ? (at[1] & 0x80) | 0x61u : at[1];  // R X B map, the letters inverted
    unsigned second = short_form ? at[1] & 0x7fu : at[2];          // W vvvv L pp, vvvv inverted
    if (gpr_in_reg_ || !wide_) first |= 0x80;
    first |= 0x40;
    if (memory_ || gpr_in_rm_ || !wide_) first |= 0x20;
    if (!wide_) {
      second |= 0x40;
      if (gpr_in_reg_ || gpr_in_rm_ || is_scalar_of_memory()) second &= 0x7f;
    }
    put(0xc4);
    put(first);
    put(second);
    put(insn_.opcode);
  }

  // MOVD, CVTSI2SS/SD, PEXTRD, PINSRD: their memory operand is what could be a general register.
  bool is_scalar_of_memory() const {
    if (!memory_) return false;
    const uint8_t opcode = insn_.opcode;
    if (insn_.opcode_map == ZYDIS_OPCODE_MAP_0F) return opcode == 0x2a || opcode == 0x6e || opcode == 0x7e;
    return insn_.opcode_map == ZYDIS_OPCODE_MAP_0F3A && (opcode == 0x16 || opcode == 0x22);
  }

  void modrm() {
    const uint8_t guest = guest_[insn_.raw.modrm.offset];
    const unsigned reg = gpr_in_reg_ ? kRcx : guest >> 3 & 7u;
    const unsigned rm = gpr_in_rm_ ? kRcx : guest & 7u;
    put(memory_ ? reg << 3 | kRsi : 0xc0u | reg << 3 | rm);
  }

  // Immediates, behind SIB and displacement.
  void rest() {
    unsigned at = insn_.raw.modrm.offset + 1u;
    if (insn_.attributes & ZYDIS_ATTRIB_HAS_SIB) ++at;
    at += insn_.raw.disp.size / 8u;
    // The register in an immediate of VEX (is4): its high bit means nothing where there are eight.
    const bool is4 = insn_.encoding == ZYDIS_INSTRUCTION_ENCODING_VEX && insn_.opcode_map == ZYDIS_OPCODE_MAP_0F3A &&
                     insn_.opcode >= 0x4a && insn_.opcode <= 0x4c;
    for (; at < insn_.length; ++at) put(is4 && !wide_ ? guest_[at] & 0x7fu : guest_[at]);
  }

  const ZydisDecodedInstruction& insn_;
  std::span<const uint8_t> guest_;
  const bool wide_;
  bool memory_ = false, gpr_in_reg_ = false, gpr_in_rm_ = false;
  HostForm form_;
};

}  // namespace

HostForm host_form(const Decoded& decoded, std::span<const uint8_t> guest) { return Rewriter(decoded, guest).run(); }

}  // namespace skerry::x86
