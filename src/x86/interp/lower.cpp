// From a decoded instruction to the form that the interpreter keeps and executes.
#include <sys/mman.h>

#include <algorithm>

#include "base/log.hpp"
#include "x86/interp/host_thunks.hpp"
#include "x86/interp/interpreter.hpp"

namespace skerry::x86 {

namespace {

Flow raise_invalid(Interpreter& in, const Insn& insn) {
  log::debug(log::Category::kCpu, "vCPU {}: #UD at {:#x}: {:02x}", in.index, in.insn_start(),
             fmt::join(insn.bytes.begin(), insn.bytes.begin() + 15, " "));
  return in.ud();
}
// An instruction of more than 15 bytes. SDM vol. 2, 2.3.11.
Flow raise_too_long(Interpreter& in, const Insn&) { return in.gp(); }

// The slot of an address register.
uint8_t slot_of(ZydisRegister reg) {
  if (reg == ZYDIS_REGISTER_NONE) return kSlotZero;
  if (reg == ZYDIS_REGISTER_RIP || reg == ZYDIS_REGISTER_EIP) return kSlotRip;
  return static_cast<uint8_t>(ZydisRegisterGetId(reg));
}

uint8_t segment_of(ZydisRegister reg) {
  return reg == ZYDIS_REGISTER_NONE ? static_cast<uint8_t>(kDs) : static_cast<uint8_t>(ZydisRegisterGetId(reg));
}

// Insn::reg of a register operand.
uint8_t register_of(ZydisRegister reg) {
  const unsigned id = static_cast<unsigned>(std::max<ZyanI8>(ZydisRegisterGetId(reg), 0));
  switch (ZydisRegisterGetClass(reg)) {
    case ZYDIS_REGCLASS_GPR8:
      if (reg >= ZYDIS_REGISTER_AH && reg <= ZYDIS_REGISTER_BH)
        return static_cast<uint8_t>((reg - ZYDIS_REGISTER_AH) * 8 + 1);
      if (reg <= ZYDIS_REGISTER_BL) return static_cast<uint8_t>((reg - ZYDIS_REGISTER_AL) * 8);
      return static_cast<uint8_t>((reg - ZYDIS_REGISTER_SPL + 4) * 8);
    case ZYDIS_REGCLASS_GPR16:
    case ZYDIS_REGCLASS_GPR32:
    case ZYDIS_REGCLASS_GPR64: return static_cast<uint8_t>(id * 8);
    default: return static_cast<uint8_t>(id);
  }
}

void fill_memory(const ZydisDecodedOperand& operand, Insn& insn) {
  insn.segment = segment_of(operand.mem.segment);
  insn.base = slot_of(operand.mem.base);
  insn.index = slot_of(operand.mem.index);
  insn.scale = static_cast<uint8_t>(__builtin_ctz(std::max<unsigned>(operand.mem.scale, 1)));
  insn.disp = static_cast<int32_t>(operand.mem.disp.value);
  if (operand.mem.base == ZYDIS_REGISTER_NONE && operand.mem.index == ZYDIS_REGISTER_NONE)
    insn.imm = static_cast<uint64_t>(operand.mem.disp.value);  // moffs
}

void fill_operands(const Decoded& decoded, Insn& insn) {
  unsigned registers = 0;
  bool immediate = false;
  for (unsigned i = 0; i < decoded.instruction.operand_count_visible; ++i) {
    const ZydisDecodedOperand& operand = decoded.operands[i];
    switch (operand.type) {
      case ZYDIS_OPERAND_TYPE_REGISTER:
        if (registers < insn.reg.size()) insn.reg[registers++] = register_of(operand.reg.value);
        break;
      case ZYDIS_OPERAND_TYPE_MEMORY: fill_memory(operand, insn); break;
      case ZYDIS_OPERAND_TYPE_IMMEDIATE:
        if (!immediate) insn.imm = operand.imm.value.u;
        immediate = true;
        break;
      case ZYDIS_OPERAND_TYPE_POINTER:
        insn.imm = operand.ptr.offset;
        insn.aux = operand.ptr.segment;
        break;
      default: break;
    }
  }
}

// LOCK is allowed on a few instructions with a memory destination only; Zydis knows which, and refuses the others.
uint8_t prefixes_of(const Decoded& decoded) {
  uint8_t prefixes = 0;
  if (decoded.has(ZYDIS_ATTRIB_HAS_LOCK)) prefixes |= prefix::kLock;
  if (decoded.has(ZYDIS_ATTRIB_HAS_REP) || decoded.has(ZYDIS_ATTRIB_HAS_REPE)) prefixes |= prefix::kRep;
  if (decoded.has(ZYDIS_ATTRIB_HAS_REPNE)) prefixes |= prefix::kRepne;
  return prefixes;
}

}  // namespace

// Together with the thunks that they refer to. A guest that is translated may have filled the table before that began.
void Interpreter::forget_lowered() {
  thunks_->clear();
  lowered_ = 0;
  ::madvise(memo_.data(), memo_.size_bytes(), MADV_NOHUGEPAGE);
  ::madvise(memo_.data(), memo_.size_bytes(), MADV_DONTNEED);  // zeroes again
}

void Interpreter::lower(std::span<const uint8_t> bytes, DecodeStatus status, const Decoded& decoded, Insn& insn) {
  if (++lowered_ == kManyLowered) use_huge_pages();
  insn = Insn{};
  insn.code_size = static_cast<uint8_t>(code_size_);
  const auto bad = [&](Handler handler) {
    std::copy(bytes.begin(), bytes.end(), insn.bytes.begin());
    insn.length = 1;
    insn.match = static_cast<uint16_t>((1u << bytes.size()) - 1);
    insn.handler = handler;
  };
  if (status == DecodeStatus::kTooLong) return bad(raise_too_long);
  if (status != DecodeStatus::kOk) return bad(raise_invalid);

  insn.length = decoded.instruction.length;
  insn.match = static_cast<uint16_t>((1u << insn.length) - 1);
  std::copy_n(bytes.begin(), insn.length, insn.bytes.begin());
  insn.op_size = static_cast<uint8_t>(decoded.instruction.operand_width / 8);
  insn.addr_size = static_cast<uint8_t>(decoded.instruction.address_width / 8);
  insn.prefixes = prefixes_of(decoded);
  fill_operands(decoded, insn);

  Lowering lowering{decoded, model, *this, insn};
  if (model.has(decoded.instruction)) {
    for (const auto select : {select_integer, select_flow, select_bits, select_arithmetic, select_string, select_interrupts,
                              select_segments, select_far, select_control, select_msr, select_paravirt, select_smm,
                              select_io, select_vector, select_x87, select_xstate}) {
      insn.handler = select(lowering);
      if (insn.handler) return;
    }
    // No room for its thunk: once more, with all space free.
    if (thunks_->full()) {
      forget_lowered();
      return lower(bytes, status, decoded, insn);
    }
  }
  bad(raise_invalid);
}

}  // namespace skerry::x86
