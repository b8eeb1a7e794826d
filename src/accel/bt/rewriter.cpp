// Intel SDM vol. 2, 2.1 to 2.3.
#include "accel/bt/rewriter.hpp"

#include <cassert>

#include "accel/bt/operands.hpp"

namespace skerry::accel::bt {

namespace {

constexpr uint8_t kRexW = 8, kRexR = 4, kRexX = 2, kRexB = 1;

bool is_gpr(const ZydisDecodedOperand& operand) {
  if (operand.type != ZYDIS_OPERAND_TYPE_REGISTER) return false;
  switch (class_of(operand.reg.value)) {
    case ZYDIS_REGCLASS_GPR8: case ZYDIS_REGCLASS_GPR16: case ZYDIS_REGCLASS_GPR32: case ZYDIS_REGCLASS_GPR64: return true;
    default: return false;
  }
}

class Rewriter {
 public:
  Rewriter(const x86::Decoded& decoded, std::span<const uint8_t> guest, const std::array<uint8_t, 16>& registers,
           const HostPlace& place, HostInsn& out)
      : decoded_(decoded), insn_(decoded.instruction), guest_(guest), registers_(registers), place_(place), out_(out),
        wide_(insn_.machine_mode == ZYDIS_MACHINE_MODE_LONG_64), modrm_(insn_.attributes & ZYDIS_ATTRIB_HAS_MODRM) {}

  bool run() {
    find_operands();
    if (insn_.encoding == ZYDIS_INSTRUCTION_ENCODING_VEX) vex();
    else if (!legacy()) return false;
    rest();
    return true;
  }

 private:
  void put(unsigned byte) {
    assert(out_.length < out_.bytes.size());
    out_.bytes[out_.length++] = static_cast<uint8_t>(byte);
  }

  // The host's number of a register operand.
  unsigned number(const ZydisDecodedOperand& operand) {
    const unsigned id = id_of(operand.reg.value);
    if (!is_gpr(operand)) return id;
    if (operand.reg.value >= ZYDIS_REGISTER_AH && operand.reg.value <= ZYDIS_REGISTER_BH) {
      high_byte_ = true;
      return static_cast<unsigned>(operand.reg.value - ZYDIS_REGISTER_AH) + 4;
    }
    const unsigned guest = operand.size == 8 && operand.reg.value >= ZYDIS_REGISTER_SPL
                               ? static_cast<unsigned>(operand.reg.value - ZYDIS_REGISTER_SPL) + 4
                               : operand.size == 8 ? static_cast<unsigned>(operand.reg.value - ZYDIS_REGISTER_AL) : id;
    const unsigned host = registers_[guest & 15];
    if (operand.size == 8 && host >= 4) needs_rex_ = true;
    return host;
  }

  void find_operands() {
    if (modrm_) {
      reg_ = insn_.raw.modrm.reg;
      rm_ = insn_.raw.modrm.rm;
    }
    for (unsigned n = 0; n < insn_.operand_count; ++n) {
      const ZydisDecodedOperand& operand = decoded_.operands[n];
      if (operand.type == ZYDIS_OPERAND_TYPE_MEMORY && operand.encoding == ZYDIS_OPERAND_ENCODING_MODRM_RM) {
        memory_ = true;
        rm_ = place_.base;
      }
      if (operand.type != ZYDIS_OPERAND_TYPE_REGISTER) continue;
      switch (operand.encoding) {
        case ZYDIS_OPERAND_ENCODING_MODRM_REG: reg_ = number(operand); gpr_ |= is_gpr(operand); break;
        case ZYDIS_OPERAND_ENCODING_MODRM_RM: rm_ = number(operand); gpr_ |= is_gpr(operand); break;
        case ZYDIS_OPERAND_ENCODING_OPCODE: in_opcode_ = static_cast<int>(number(operand)); break;
        case ZYDIS_OPERAND_ENCODING_NDSNDD: vvvv_ = number(operand); gpr_ |= is_gpr(operand); break;
        default: break;
      }
    }
  }

  // Operand-size, repeat and lock prefixes are the instruction's; the others are about memory.
  bool legacy() {
    for (unsigned n = 0; n < insn_.raw.prefix_count; ++n) {
      const uint8_t value = insn_.raw.prefixes[n].value;
      if (value == 0x66 || value == 0xf2 || value == 0xf3 || value == 0xf0) put(value);
    }
    unsigned rex = wide_ && insn_.raw.rex.W ? kRexW : 0u;
    if (modrm_ && reg_ >= 8) rex |= kRexR;
    if (modrm_ ? rm_ >= 8 : in_opcode_ >= 8) rex |= kRexB;
    if (memory_ && place_.index >= 8) rex |= kRexX;
    if (rex || needs_rex_) {
      if (high_byte_) return false;
      put(0x40 | rex);
    }
    unsigned at = insn_.raw.prefix_count;
    const unsigned end = modrm_ ? insn_.raw.modrm.offset : opcode_end(at);
    for (; at + 1 < end; ++at) put(guest_[at]);
    constexpr uint8_t kByteGroup = 0x80, kByteGroupAgain = 0x82;  // the second one is not in 64-bit mode
    if (!wide_ && insn_.opcode_map == ZYDIS_OPCODE_MAP_DEFAULT && insn_.opcode == kByteGroupAgain) return put(kByteGroup), true;
    put(in_opcode_ < 0 ? guest_[at] : (guest_[at] & 0xf8u) | (static_cast<unsigned>(in_opcode_) & 7u));
    return true;
  }

  unsigned opcode_end(unsigned at) const {
    switch (insn_.opcode_map) {
      case ZYDIS_OPCODE_MAP_0F: return at + 2;
      case ZYDIS_OPCODE_MAP_0F38:
      case ZYDIS_OPCODE_MAP_0F3A: return at + 3;
      default: return at + 1;
    }
  }

  // In the three-byte form, with the letters inverted. Outside of 64-bit mode W does not widen a general register.
  void vex() {
    const uint8_t* at = guest_.data() + insn_.raw.vex.offset;
    const bool short_form = at[0] == 0xc5;
    const unsigned map = short_form ? 1u : at[1] & 0x1fu;
    unsigned last = short_form ? at[1] & 0x7fu : at[2];  // W vvvv L pp
    const bool second_source = has_vvvv();
    last = (last & ~0x78u) | (second_source ? (~vvvv_ & 15u) << 3 : 0x78u);
    if (!wide_ && (gpr_ || is_scalar_of_memory())) last &= 0x7f;
    put(0xc4);
    put((modrm_ && reg_ >= 8 ? 0u : 0x80u) | (memory_ && place_.index >= 8 ? 0u : 0x40u) | (modrm_ && rm_ >= 8 ? 0u : 0x20u) | map);
    put(last);
    put(insn_.opcode);
  }

  bool has_vvvv() const {
    for (unsigned n = 0; n < insn_.operand_count; ++n)
      if (decoded_.operands[n].encoding == ZYDIS_OPERAND_ENCODING_NDSNDD) return true;
    return false;
  }

  // MOVD, CVTSI2SS/SD, PEXTRD, PINSRD: their memory operand is what could be a general register.
  bool is_scalar_of_memory() const {
    if (!memory_) return false;
    const uint8_t opcode = insn_.opcode;
    if (insn_.opcode_map == ZYDIS_OPCODE_MAP_0F) return opcode == 0x2a || opcode == 0x6e || opcode == 0x7e;
    return insn_.opcode_map == ZYDIS_OPCODE_MAP_0F3A && (opcode == 0x16 || opcode == 0x22);
  }

  // ModRM, and the immediates behind SIB and displacement.
  void rest() {
    unsigned at = 0;
    if (modrm_) {
      if (memory_) put_place();
      else put(0xc0u | (reg_ & 7u) << 3 | (rm_ & 7u));
      at = insn_.raw.modrm.offset + 1u;
      if (insn_.attributes & ZYDIS_ATTRIB_HAS_SIB) ++at;
      at += insn_.raw.disp.size / 8u;
    } else if (insn_.encoding == ZYDIS_INSTRUCTION_ENCODING_VEX) {
      at = insn_.length;
    } else {
      at = opcode_end(insn_.raw.prefix_count);
    }
    const bool is4 = insn_.encoding == ZYDIS_INSTRUCTION_ENCODING_VEX && insn_.opcode_map == ZYDIS_OPCODE_MAP_0F3A &&
                     insn_.opcode >= 0x4a && insn_.opcode <= 0x4c;
    for (; at < insn_.length; ++at) put(is4 && !wide_ ? guest_[at] & 0x7fu : guest_[at]);
  }

  // ModRM, SIB and displacement.
  void put_place() {
    constexpr unsigned kSib = 4, kNoIndex = 4, kNeedsDisp = 5;
    const bool sib = place_.index >= 0 || (place_.base & 7) == kSib;
    const bool small = place_.disp == static_cast<int8_t>(place_.disp);
    const bool none = place_.disp == 0 && (place_.base & 7) != kNeedsDisp;
    const unsigned mod = none ? 0 : small ? 1 : 2;
    put(mod << 6 | (reg_ & 7u) << 3 | (sib ? kSib : rm_ & 7u));
    if (sib) put((place_.index < 0 ? kNoIndex : static_cast<unsigned>(place_.index) & 7u) << 3 | (rm_ & 7u));
    if (none) return;
    for (unsigned n = 0; n < (small ? 1u : 4u); ++n) put(static_cast<uint32_t>(place_.disp) >> (8 * n) & 0xff);
  }

  const x86::Decoded& decoded_;
  const ZydisDecodedInstruction& insn_;
  const std::span<const uint8_t> guest_;
  const std::array<uint8_t, 16>& registers_;
  const HostPlace& place_;
  HostInsn& out_;
  const bool wide_, modrm_;
  bool memory_ = false, high_byte_ = false, needs_rex_ = false, gpr_ = false;
  unsigned reg_ = 0, rm_ = 0, vvvv_ = 0;
  int in_opcode_ = -1;
};

}  // namespace

bool rewrite(const x86::Decoded& decoded, std::span<const uint8_t> guest, const std::array<uint8_t, 16>& registers,
             const HostPlace& place, HostInsn& out) {
  out = {};
  return Rewriter(decoded, guest, registers, place, out).run();
}

}  // namespace skerry::accel::bt
