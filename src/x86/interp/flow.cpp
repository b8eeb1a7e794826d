// Near control transfer, the stack, and the flags register.
#include "x86/interp/operands.hpp"

namespace skerry::x86 {

namespace {

// In 64-bit mode near branches are of 64 bits whatever the prefix says (Intel). SDM vol. 1, 6.2.
uint64_t relative_target(const Interpreter& in, const Insn& insn) { return in.state.rip + insn.imm; }

template <unsigned cc>
Flow jcc(Interpreter& in, const Insn& insn) {
  if (!condition<cc>(in.state.rflags)) return Flow::kNext;
  return in.near_jump(insn.op_size, relative_target(in, insn)) ? Flow::kNext : Flow::kFault;
}

template <unsigned... cc>
Handler select_jcc(std::integer_sequence<unsigned, cc...>, unsigned wanted) {
  Handler chosen = nullptr;
  ((cc == wanted ? void(chosen = jcc<cc>) : void()), ...);
  return chosen;
}

Flow jmp(Interpreter& in, const Insn& insn) {
  return in.near_jump(insn.op_size, relative_target(in, insn)) ? Flow::kNext : Flow::kFault;
}

bool read_target(Interpreter& in, const Insn& insn, bool memory, uint64_t& target) {
  if (!memory) {
    target = in.gpr_sized(insn.reg[0] / 8, insn.op_size);
    return true;
  }
  const uint64_t offset = in.ea(insn);
  if (insn.op_size == 8) return in.load<uint64_t>(insn.segment, offset, target);
  if (insn.op_size == 4) {
    uint32_t narrow;
    if (!in.load<uint32_t>(insn.segment, offset, narrow)) return false;
    target = narrow;
    return true;
  }
  uint16_t narrow;
  if (!in.load<uint16_t>(insn.segment, offset, narrow)) return false;
  target = narrow;
  return true;
}

template <bool kMemory>
Flow jmp_indirect(Interpreter& in, const Insn& insn) {
  uint64_t target;
  if (!read_target(in, insn, kMemory, target)) return Flow::kFault;
  return in.near_jump(insn.op_size, target) ? Flow::kNext : Flow::kFault;
}

// As processors do it: a fault of the push comes before that of a bad target.
Flow call_to(Interpreter& in, const Insn& insn, uint64_t target) {
  const uint64_t stack_pointer = in.state.gpr[kRsp];
  if (!in.push(insn.op_size, in.state.rip)) return Flow::kFault;
  if (in.near_jump(insn.op_size, target)) return Flow::kNext;
  in.state.gpr[kRsp] = stack_pointer;
  return Flow::kFault;
}

Flow call(Interpreter& in, const Insn& insn) { return call_to(in, insn, relative_target(in, insn)); }

template <bool kMemory>
Flow call_indirect(Interpreter& in, const Insn& insn) {
  uint64_t target;
  if (!read_target(in, insn, kMemory, target)) return Flow::kFault;
  return call_to(in, insn, target);
}

Flow ret(Interpreter& in, const Insn& insn) {
  uint64_t target;
  if (!in.pop(insn.op_size, target)) return Flow::kFault;
  if (!in.near_jump(insn.op_size, target)) return Flow::kFault;
  in.set_stack_pointer(in.state.gpr[kRsp] + insn.op_size + (insn.imm & 0xffff));
  return Flow::kNext;
}

// LOOP, LOOPE, LOOPNE count in RCX of address size.
enum class LoopKind { kAlways, kEqual, kNotEqual };
template <LoopKind kKind>
Flow loop(Interpreter& in, const Insn& insn) {
  const uint64_t count = in.gpr_sized(kRcx, insn.addr_size) - 1;
  const bool zero = in.state.rflags & flags::kZf;
  const uint64_t mask = insn.addr_size == 8 ? ~uint64_t{0} : insn.addr_size == 4 ? 0xffffffff : 0xffff;
  const bool taken = (count & mask) != 0 && (kKind == LoopKind::kAlways || zero == (kKind == LoopKind::kEqual));
  if (taken && !in.near_jump(insn.op_size, relative_target(in, insn))) return Flow::kFault;
  in.set_gpr_sized(kRcx, insn.addr_size, count);
  return Flow::kNext;
}

Flow jcxz(Interpreter& in, const Insn& insn) {
  if (in.gpr_sized(kRcx, insn.addr_size) != 0) return Flow::kNext;
  return jmp(in, insn);
}

// The stack -----------------------------------------------------------------------------------------------------------

Flow push_register(Interpreter& in, const Insn& insn) {
  return in.push(insn.op_size, in.state.gpr[insn.reg[0] / 8]) ? Flow::kNext : Flow::kFault;
}
Flow push_immediate(Interpreter& in, const Insn& insn) {
  return in.push(insn.op_size, insn.imm) ? Flow::kNext : Flow::kFault;
}
Flow push_memory(Interpreter& in, const Insn& insn) {
  uint64_t value;
  if (!read_target(in, insn, true, value)) return Flow::kFault;
  return in.push(insn.op_size, value) ? Flow::kNext : Flow::kFault;
}
Flow pop_register(Interpreter& in, const Insn& insn) {
  uint64_t value;
  if (!in.pop(insn.op_size, value)) return Flow::kFault;
  in.set_stack_pointer(in.state.gpr[kRsp] + insn.op_size);
  in.set_gpr_sized(insn.reg[0] / 8, insn.op_size, value);  // POP RSP: the popped value wins
  return Flow::kNext;
}
// An address by RSP is computed with RSP as it is after the pop (SDM vol. 2, POP).
Flow pop_memory(Interpreter& in, const Insn& insn) {
  uint64_t value;
  if (!in.pop(insn.op_size, value)) return Flow::kFault;
  const uint64_t old = in.state.gpr[kRsp];
  in.set_stack_pointer(old + insn.op_size);
  const uint64_t offset = in.ea(insn);
  bool stored;
  if (insn.op_size == 8)
    stored = in.store<uint64_t>(insn.segment, offset, value);
  else if (insn.op_size == 4)
    stored = in.store<uint32_t>(insn.segment, offset, static_cast<uint32_t>(value));
  else
    stored = in.store<uint16_t>(insn.segment, offset, static_cast<uint16_t>(value));
  if (stored) return Flow::kNext;
  in.state.gpr[kRsp] = old;
  return Flow::kFault;
}

Flow pusha(Interpreter& in, const Insn& insn) {
  const unsigned size = insn.op_size;
  const uint64_t old = in.state.gpr[kRsp];
  // Nothing is written if one of the eight cannot be; the first that cannot is reported.
  for (unsigned n = 1; n <= 8; ++n)
    if (!in.probe_store(kSs, (old - n * size) & in.stack_mask(), size)) return Flow::kFault;
  for (unsigned n = 0; n < 8; ++n) {
    if (in.push(size, n == kRsp ? old : in.state.gpr[n])) continue;
    in.state.gpr[kRsp] = old;
    return Flow::kFault;
  }
  return Flow::kNext;
}

Flow popa(Interpreter& in, const Insn& insn) {
  const unsigned size = insn.op_size;
  const uint64_t old = in.state.gpr[kRsp];
  uint64_t values[8];
  for (unsigned n = 8; n-- > 0;) {
    if (!in.pop(size, values[n])) {
      in.state.gpr[kRsp] = old;
      return Flow::kFault;
    }
    in.set_stack_pointer(in.state.gpr[kRsp] + size);
  }
  for (unsigned n = 0; n < 8; ++n)
    if (n != kRsp) in.set_gpr_sized(n, size, values[n]);
  return Flow::kNext;
}

Flow enter(Interpreter& in, const Insn& insn) {
  const unsigned size = insn.op_size;
  const uint64_t bytes = insn.imm & 0xffff;
  const unsigned level = insn.aux & 31;
  const uint64_t old = in.state.gpr[kRsp];
  const auto fail = [&] {
    in.state.gpr[kRsp] = old;
    return Flow::kFault;
  };
  if (!in.push(size, in.state.gpr[kRbp])) return Flow::kFault;
  const uint64_t frame = in.state.gpr[kRsp];
  uint64_t outer = in.state.gpr[kRbp];
  for (unsigned n = 1; n < level; ++n) {
    outer -= size;
    const uint64_t at = outer & in.stack_mask();
    uint64_t link = 0;
    if (!in.load_bytes(kSs, at, &link, size) || !in.push(size, link)) return fail();
  }
  if (level > 0 && !in.push(size, frame)) return fail();
  const uint64_t bottom = (in.state.gpr[kRsp] - bytes) & in.stack_mask();
  std::byte* host;
  if (!in.writable_host(kSs, bottom, size, host)) return fail();
  in.set_stack_pointer(bottom);
  in.set_gpr_sized(kRbp, size, frame);
  return Flow::kNext;
}

Flow leave(Interpreter& in, const Insn& insn) {
  const uint64_t from = in.state.gpr[kRbp] & in.stack_mask(), old = in.state.gpr[kRsp];
  uint64_t value = 0;
  in.set_stack_pointer(from);
  if (!in.pop(insn.op_size, value)) {
    in.state.gpr[kRsp] = old;
    return Flow::kFault;
  }
  in.set_stack_pointer(from + insn.op_size);
  in.set_gpr_sized(kRbp, insn.op_size, value);
  return Flow::kNext;
}

// Flags ----------------------------------------------------------------------------------------------------------------

// In virtual-8086 mode with IOPL below 3, PUSHF and POPF fault, or with CR4.VME work on VIF (SDM vol. 3, 20.2.4).
bool virtual_interrupts(const Interpreter& in) {
  return in.state.v86_mode() && in.state.iopl() < 3;
}

Flow pushf(Interpreter& in, const Insn& insn) {
  uint64_t image = in.state.rflags & ~(flags::kRf | flags::kVm);
  if (virtual_interrupts(in)) {
    if (!(in.state.cr4 & cr4::kVme) || insn.op_size != 2) return in.gp();
    image = (image & ~flags::kIf) | flags::kIopl | (image & flags::kVif ? flags::kIf : 0);
  }
  return in.push(insn.op_size, image) ? Flow::kNext : Flow::kFault;
}

Flow popf(Interpreter& in, const Insn& insn) {
  uint64_t image;
  uint64_t writable = flags::kStatus | flags::kTf | flags::kDf | flags::kNt;
  if (insn.op_size > 2) writable |= flags::kAc | flags::kId;
  if (virtual_interrupts(in)) {
    if (!(in.state.cr4 & cr4::kVme) || insn.op_size != 2) return in.gp();
    if (!in.pop(insn.op_size, image)) return Flow::kFault;
    // #GP for TF, and for IF while an interrupt is pending (VIP).
    if ((image & flags::kTf) || ((image & flags::kIf) && (in.state.rflags & flags::kVip))) return in.gp();
    image = (image & ~flags::kVif) | (image & flags::kIf ? flags::kVif : 0);
    writable |= flags::kVif;
  } else {
    if (!in.pop(insn.op_size, image)) return Flow::kFault;
    if (in.cpl() <= in.state.iopl() || in.state.v86_mode()) writable |= flags::kIf;
    if (in.cpl() == 0) writable |= flags::kIopl;
  }
  in.set_stack_pointer(in.state.gpr[kRsp] + insn.op_size);
  const uint64_t old = in.state.rflags;
  in.state.rflags = (old & ~writable) | (image & writable) | flags::kFixed1;
  // VIF and VIP are cleared by a POPFD outside of virtual-8086 mode only through IRET; RF is cleared by the instruction.
  if (((old ^ in.state.rflags) & (flags::kTf | flags::kIf | flags::kAc)) == 0) return Flow::kNext;
  in.mode_changed();
  return Flow::kStop;
}

Flow lahf(Interpreter& in, const Insn&) {
  in.set_gpr<uint8_t>(kRax * 8 + 1, static_cast<uint8_t>(in.state.rflags));
  return Flow::kNext;
}
Flow sahf(Interpreter& in, const Insn&) {
  constexpr uint64_t kMask = flags::kStatus & ~flags::kOf;
  in.state.rflags = (in.state.rflags & ~kMask) | (in.gpr<uint8_t>(kRax * 8 + 1) & kMask);
  return Flow::kNext;
}

template <uint64_t kSet, uint64_t kClear, uint64_t kFlip>
Flow change_flag(Interpreter& in, const Insn&) {
  in.state.rflags = ((in.state.rflags | kSet) & ~kClear) ^ kFlip;
  return Flow::kNext;
}

Handler select_branch(Lowering& lowering) {
  Insn& insn = lowering.insn;
  if (lowering.decoded.instruction.meta.branch_type == ZYDIS_BRANCH_TYPE_FAR) return nullptr;
  if (lowering.interpreter.code64()) insn.op_size = 8;
  const bool immediate = is_immediate(lowering, 0), memory = is_memory(lowering, 0);
  switch (lowering.decoded.instruction.mnemonic) {
    case ZYDIS_MNEMONIC_JMP:
      return immediate ? jmp : memory ? jmp_indirect<true> : jmp_indirect<false>;
    case ZYDIS_MNEMONIC_CALL:
      return immediate ? call : memory ? call_indirect<true> : call_indirect<false>;
    case ZYDIS_MNEMONIC_RET:
      if (lowering.decoded.instruction.operand_count_visible == 0) insn.imm = 0;
      return ret;
    case ZYDIS_MNEMONIC_LOOP: return loop<LoopKind::kAlways>;
    case ZYDIS_MNEMONIC_LOOPE: return loop<LoopKind::kEqual>;
    case ZYDIS_MNEMONIC_LOOPNE: return loop<LoopKind::kNotEqual>;
    case ZYDIS_MNEMONIC_JCXZ:
    case ZYDIS_MNEMONIC_JECXZ:
    case ZYDIS_MNEMONIC_JRCXZ: return jcxz;
    default:
      return select_jcc(std::make_integer_sequence<unsigned, 16>(), lowering.decoded.instruction.opcode & 15);
  }
}

bool is_gpr(const Lowering& lowering) {
  if (!is_register(lowering, 0)) return false;
  return ZydisRegisterGetClass(lowering.decoded.operands[0].reg.value) != ZYDIS_REGCLASS_SEGMENT;
}

}  // namespace

Handler select_flow(Lowering& lowering) {
  Insn& insn = lowering.insn;
  switch (lowering.decoded.instruction.meta.category) {
    case ZYDIS_CATEGORY_COND_BR:
    case ZYDIS_CATEGORY_UNCOND_BR:
    case ZYDIS_CATEGORY_CALL:
    case ZYDIS_CATEGORY_RET: {
      const auto mnemonic = lowering.decoded.instruction.mnemonic;
      if (mnemonic == ZYDIS_MNEMONIC_XABORT || mnemonic == ZYDIS_MNEMONIC_XBEGIN || mnemonic == ZYDIS_MNEMONIC_XEND)
        return nullptr;
      if (lowering.decoded.instruction.meta.category == ZYDIS_CATEGORY_RET && mnemonic != ZYDIS_MNEMONIC_RET)
        return nullptr;
      return select_branch(lowering);
    }
    default: break;
  }
  switch (lowering.decoded.instruction.mnemonic) {
    case ZYDIS_MNEMONIC_PUSH:
      if (is_immediate(lowering, 0)) return push_immediate;
      if (is_memory(lowering, 0)) return push_memory;
      return is_gpr(lowering) ? push_register : nullptr;
    case ZYDIS_MNEMONIC_POP:
      if (is_memory(lowering, 0)) return pop_memory;
      return is_gpr(lowering) ? pop_register : nullptr;
    case ZYDIS_MNEMONIC_PUSHA:
    case ZYDIS_MNEMONIC_PUSHAD: return pusha;
    case ZYDIS_MNEMONIC_POPA:
    case ZYDIS_MNEMONIC_POPAD: return popa;
    case ZYDIS_MNEMONIC_ENTER:
      insn.aux = static_cast<uint16_t>(lowering.decoded.operands[1].imm.value.u);
      return enter;
    case ZYDIS_MNEMONIC_LEAVE: return leave;
    case ZYDIS_MNEMONIC_PUSHF:
    case ZYDIS_MNEMONIC_PUSHFD:
    case ZYDIS_MNEMONIC_PUSHFQ: return pushf;
    case ZYDIS_MNEMONIC_POPF:
    case ZYDIS_MNEMONIC_POPFD:
    case ZYDIS_MNEMONIC_POPFQ: return popf;
    case ZYDIS_MNEMONIC_LAHF: return lahf;
    case ZYDIS_MNEMONIC_SAHF: return sahf;
    case ZYDIS_MNEMONIC_CLC: return change_flag<0, flags::kCf, 0>;
    case ZYDIS_MNEMONIC_STC: return change_flag<flags::kCf, 0, 0>;
    case ZYDIS_MNEMONIC_CMC: return change_flag<0, 0, flags::kCf>;
    case ZYDIS_MNEMONIC_CLD: return change_flag<0, flags::kDf, 0>;
    case ZYDIS_MNEMONIC_STD: return change_flag<flags::kDf, 0, 0>;
    default: return nullptr;
  }
}

}  // namespace skerry::x86
