// Far transfers: JMP, CALL and RET between segments, call gates, system calls. Intel SDM vol. 2; vol. 3, 5.8.
#include "base/units.hpp"
#include "x86/interp/operands.hpp"
#include "x86/interp/segments.hpp"

namespace skerry::x86 {

namespace {

Flow stop(Interpreter& in) {
  in.mode_changed();
  return Flow::kStop;
}

bool offset_fits(Interpreter& in, const Descriptor& code, uint64_t offset) {
  const bool to_64bit = in.state.long_mode_active() && code.long_mode();
  if (to_64bit ? Interpreter::canonical(offset) : offset <= code.limit()) return true;
  in.gp();
  return false;
}

// The code segment of a direct transfer: same privilege, or conforming of more.
bool read_direct_code(Interpreter& in, Selector selector, const Descriptor& code) {
  const bool allowed = code.is_conforming() ? code.dpl() <= in.cpl()
                                            : selector.rpl() <= in.cpl() && code.dpl() == in.cpl();
  if (!allowed || (in.state.long_mode_active() && code.long_mode() && code.big()))
    return (in.gp(selector.error_code()), false);
  if (!code.present()) return (in.raise(kSegmentNotPresent, selector.error_code()), false);
  return true;
}

void set_code(Interpreter& in, uint16_t selector, Descriptor code, unsigned cpl, uint64_t offset) {
  in.state.seg[kCs] = make_segment(static_cast<uint16_t>((selector & ~3) | cpl), code);
  in.state.rip = offset;
}

// A call or jump gate with the code segment that it names.
struct CallGate {
  uint64_t offset = 0;
  Selector selector;
  unsigned size = 4;  // of what is pushed
  unsigned parameters = 0;
  Descriptor code;
};

bool read_call_gate(Interpreter& in, Selector selector, Descriptor gate, bool jump, CallGate& to) {
  const bool wide = in.state.long_mode_active();
  const auto refuse = [&](uint32_t error) { return (in.gp(error), false); };
  if (gate.dpl() < in.cpl() || gate.dpl() < selector.rpl()) return refuse(selector.error_code());
  if (!gate.present()) return (in.raise(kSegmentNotPresent, selector.error_code()), false);
  to.offset = gate.gate_offset();
  to.selector = {gate.gate_selector()};
  to.size = wide ? 8 : gate.type() == kCallGate32 ? 4 : 2;
  to.parameters = wide ? 0 : gate.gate_parameters();
  if (to.size == 2) to.offset &= 0xffff;
  if (wide) {
    uint64_t high = 0;
    const uint32_t limit = selector.local() ? in.state.ldtr.limit : in.state.gdtr.limit;
    if (selector.offset() + 15u > limit) return refuse(selector.error_code());
    if (!in.load_system(descriptor_address(in, selector) + 8, &high, 8)) return false;
    if (high >> 40 & 0x1f) return refuse(selector.error_code());
    to.offset |= high << 32;
  }
  if (to.selector.null()) return refuse(0);
  if (!read_descriptor(in, to.selector, to.code)) return false;
  const bool level = jump && !to.code.is_conforming() ? to.code.dpl() == in.cpl() : to.code.dpl() <= in.cpl();
  if (!to.code.is_code() || !level) return refuse(to.selector.error_code());
  if (wide && (!to.code.long_mode() || to.code.big())) return refuse(to.selector.error_code());
  if (!to.code.present()) return (in.raise(kSegmentNotPresent, to.selector.error_code()), false);
  return true;
}

Flow call_inner(Interpreter& in, const CallGate& to) {
  CpuState& s = in.state;
  const unsigned new_cpl = to.code.dpl();
  uint16_t ss_selector = 0;
  uint64_t rsp = 0;
  Segment ss;
  if (!read_inner_stack(in, new_cpl, 0, ss_selector, rsp)) return Flow::kFault;
  if (s.long_mode_active()) {
    if (!Interpreter::canonical(rsp)) return in.raise(kStackFault, 0);
    ss = make_null_segment(static_cast<uint16_t>(new_cpl), static_cast<uint8_t>(new_cpl));
  } else if (!read_stack_segment(in, ss_selector, new_cpl, kInvalidTss, 0, ss)) {
    return Flow::kFault;
  }
  NewStack stack(in, ss, rsp, new_cpl, 0);
  if (!stack.push(to.size, s.seg[kSs].selector) || !stack.push(to.size, s.gpr[kRsp])) return Flow::kFault;
  for (unsigned n = to.parameters; n-- > 0;) {
    uint64_t parameter = 0;
    const uint64_t at = (s.gpr[kRsp] + n * to.size) & in.stack_mask();
    if (!in.load_bytes(kSs, at, &parameter, to.size) || !stack.push(to.size, parameter)) return Flow::kFault;
  }
  if (!stack.push(to.size, s.seg[kCs].selector) || !stack.push(to.size, s.rip)) return Flow::kFault;
  if (!offset_fits(in, to.code, to.offset)) return Flow::kFault;
  Descriptor code = to.code;
  if (!mark_accessed(in, to.selector, code)) return Flow::kFault;
  set_code(in, to.selector.value, code, new_cpl, to.offset);
  stack.commit();
  return stop(in);
}

Flow transfer_same(Interpreter& in, Selector selector, Descriptor code, uint64_t offset, bool call, unsigned size) {
  CpuState& s = in.state;
  if (!offset_fits(in, code, offset)) return Flow::kFault;
  const uint64_t old_rsp = s.gpr[kRsp];
  if (!mark_accessed(in, selector, code)) return Flow::kFault;
  if (call && (!in.push(size, s.seg[kCs].selector) || !in.push(size, s.rip))) {
    s.gpr[kRsp] = old_rsp;
    return Flow::kFault;
  }
  set_code(in, selector.value, code, in.cpl(), offset);
  return stop(in);
}

Flow task_transfer(Interpreter& in, Selector selector, uint8_t dpl, bool present, uint16_t tss, bool call) {
  if (dpl < in.cpl() || dpl < selector.rpl()) return in.gp(selector.error_code());
  if (!present) return in.raise(kSegmentNotPresent, selector.error_code());
  const auto reason = call ? TaskSwitchReason::kCall : TaskSwitchReason::kJump;
  return switch_task(in, {reason, tss}) ? stop(in) : Flow::kFault;
}

Flow transfer_system(Interpreter& in, Selector selector, Descriptor descriptor, bool call) {
  const bool wide = in.state.long_mode_active();
  switch (descriptor.type()) {
    case kCallGate16:
      if (wide) break;
      [[fallthrough]];
    case kCallGate32: {
      CallGate gate;
      if (!read_call_gate(in, selector, descriptor, !call, gate)) return Flow::kFault;
      if (call && !gate.code.is_conforming() && gate.code.dpl() < in.cpl()) return call_inner(in, gate);
      return transfer_same(in, gate.selector, gate.code, gate.offset, call, gate.size);
    }
    case kTaskGate:
      if (wide) break;
      return task_transfer(in, selector, descriptor.dpl(), descriptor.present(), descriptor.gate_selector(), call);
    case kTss16Available:
    case kTss32Available:
      if (wide) break;
      return task_transfer(in, selector, descriptor.dpl(), true, selector.value, call);
    default: break;
  }
  return in.gp(selector.error_code());
}

Flow far_transfer(Interpreter& in, uint16_t value, uint64_t offset, bool call, unsigned size) {
  CpuState& s = in.state;
  if (!s.protected_mode() || s.v86_mode()) {
    if (offset > s.seg[kCs].limit) return in.gp();
    const uint64_t old_rsp = s.gpr[kRsp];
    if (call && (!in.push(size, s.seg[kCs].selector) || !in.push(size, s.rip))) {
      s.gpr[kRsp] = old_rsp;
      return Flow::kFault;
    }
    if (s.v86_mode()) {
      s.seg[kCs] = make_real_segment(value, true);
    } else {
      s.seg[kCs].selector = value;
      s.seg[kCs].base = static_cast<uint64_t>(value) << 4;
    }
    s.rip = offset;
    return stop(in);
  }
  const Selector selector{value};
  Descriptor descriptor;
  if (selector.null()) return in.gp();
  if (!read_descriptor(in, selector, descriptor)) return Flow::kFault;
  if (!descriptor.code_or_data()) return transfer_system(in, selector, descriptor, call);
  if (!descriptor.is_code()) return in.gp(selector.error_code());
  if (!read_direct_code(in, selector, descriptor)) return Flow::kFault;
  return transfer_same(in, selector, descriptor, offset, call, size);
}

template <bool kCall>
Flow far_immediate(Interpreter& in, const Insn& insn) {
  const uint64_t offset = insn.op_size == 2 ? insn.imm & 0xffff : insn.imm & 0xffffffff;
  return far_transfer(in, insn.aux, offset, kCall, insn.op_size);
}

template <bool kCall>
Flow far_memory(Interpreter& in, const Insn& insn) {
  const uint64_t at = in.ea(insn);
  uint64_t offset = 0;
  uint16_t selector = 0;
  if (!in.load_bytes(insn.segment, at, &offset, insn.op_size) ||
      !in.load<uint16_t>(insn.segment, at + insn.op_size, selector))
    return Flow::kFault;
  return far_transfer(in, selector, offset, kCall, insn.op_size);
}

// RETF ----------------------------------------------------------------------------------------------------------------

bool load_stack_word(Interpreter& in, unsigned size, uint64_t above, uint64_t& value) {
  value = 0;
  return in.load_bytes(kSs, (in.state.gpr[kRsp] + above) & in.stack_mask(), &value, size);
}

Flow ret_outer(Interpreter& in, Selector selector, Descriptor code, uint64_t offset, unsigned size, uint64_t release) {
  CpuState& s = in.state;
  const unsigned cpl = selector.rpl();
  const bool to_64bit = s.long_mode_active() && code.long_mode();
  uint64_t rsp, ss_value;
  if (!load_stack_word(in, size, 2 * size + release, rsp) || !load_stack_word(in, size, 3 * size + release, ss_value))
    return Flow::kFault;
  Segment ss;
  const Selector ss_selector{static_cast<uint16_t>(ss_value)};
  if (ss_selector.null() && to_64bit && cpl != 3 && ss_selector.rpl() == cpl)
    ss = make_null_segment(ss_selector.value, static_cast<uint8_t>(cpl));
  else if (!read_stack_segment(in, ss_selector.value, cpl, kGeneralProtection, 0, ss))
    return Flow::kFault;
  if (!offset_fits(in, code, offset) || !mark_accessed(in, selector, code)) return Flow::kFault;
  set_code(in, selector.value, code, cpl, offset);
  s.seg[kSs] = ss;
  switch_stack_pointer(s, to_64bit, ss, rsp + release);
  drop_privileged_segments(in, cpl);
  return stop(in);
}

Flow far_return(Interpreter& in, const Insn& insn) {
  CpuState& s = in.state;
  const unsigned size = insn.op_size;
  const uint64_t release = insn.imm & 0xffff;
  uint64_t offset, value;
  if (!load_stack_word(in, size, 0, offset) || !load_stack_word(in, size, size, value)) return Flow::kFault;
  if (!s.protected_mode() || s.v86_mode()) {
    if (offset > s.seg[kCs].limit) return in.gp();
    if (s.v86_mode()) {
      s.seg[kCs] = make_real_segment(static_cast<uint16_t>(value), true);
    } else {
      s.seg[kCs].selector = static_cast<uint16_t>(value);
      s.seg[kCs].base = (value & 0xffff) << 4;
    }
    s.rip = offset;
    in.set_stack_pointer(s.gpr[kRsp] + 2 * size + release);
    return stop(in);
  }
  const Selector selector{static_cast<uint16_t>(value)};
  Descriptor code;
  if (selector.null()) return in.gp();
  if (!read_descriptor(in, selector, code)) return Flow::kFault;
  const bool bad_dpl = code.is_conforming() ? code.dpl() > selector.rpl() : code.dpl() != selector.rpl();
  if (!code.is_code() || selector.rpl() < in.cpl() || bad_dpl || (s.long_mode_active() && code.long_mode() && code.big()))
    return in.gp(selector.error_code());
  if (!code.present()) return in.raise(kSegmentNotPresent, selector.error_code());
  if (selector.rpl() > in.cpl()) return ret_outer(in, selector, code, offset, size, release);
  if (!offset_fits(in, code, offset) || !mark_accessed(in, selector, code)) return Flow::kFault;
  in.set_stack_pointer(s.gpr[kRsp] + 2 * size + release);
  set_code(in, selector.value, code, in.cpl(), offset);
  return stop(in);
}

// System calls ----------------------------------------------------------------------------------------------------------

Segment flat_code(uint16_t selector, uint8_t dpl, bool wide) {
  Segment cs;
  cs.selector = selector;
  cs.limit = 0xffffffff;
  cs.type = 0xb;
  cs.dpl = dpl;
  cs.code_or_data = cs.present = cs.granular = true;
  cs.long_mode = wide;
  cs.big = !wide;
  cs.unusable = false;
  return cs;
}
Segment flat_data(uint16_t selector, uint8_t dpl) {
  Segment ss = flat_code(selector, dpl, false);
  ss.type = 3;
  return ss;
}

// SYSCALL and SYSRET trap by TF as it is after them, so that a step over a system call ends behind it.
Flow stop_with_new_trap_flag(Interpreter& in) {
  in.no_step_trap();
  if (in.state.rflags & flags::kTf) in.trap_debug(bit(14));  // DR6.BS
  return stop(in);
}

Flow syscall(Interpreter& in, const Insn&) {
  CpuState& s = in.state;
  // Intel: in 64-bit mode only.
  if (!(s.efer & efer::kSce) || !in.code64()) return in.ud();
  s.gpr[kRcx] = s.rip;
  s.gpr[kR11] = s.rflags & ~flags::kRf;
  s.rip = s.lstar;
  s.rflags = (s.rflags & ~(s.fmask | flags::kRf)) | flags::kFixed1;
  const uint16_t selector = static_cast<uint16_t>(s.star >> 32) & 0xfffc;
  s.seg[kCs] = flat_code(selector, 0, true);
  s.seg[kSs] = flat_data(static_cast<uint16_t>(selector + 8), 0);
  return stop_with_new_trap_flag(in);
}

Flow sysret(Interpreter& in, const Insn& insn) {
  CpuState& s = in.state;
  if (!(s.efer & efer::kSce) || !in.code64()) return in.ud();
  const bool wide = insn.op_size == 8;
  if (in.cpl() != 0 || (wide && !Interpreter::canonical(s.gpr[kRcx]))) return in.gp();
  const uint16_t base = static_cast<uint16_t>(s.star >> 48);
  s.seg[kCs] = flat_code(static_cast<uint16_t>((base + (wide ? 16 : 0)) | 3), 3, wide);
  s.seg[kSs] = flat_data(static_cast<uint16_t>((base + 8) | 3), 3);
  s.rip = wide ? s.gpr[kRcx] : static_cast<uint32_t>(s.gpr[kRcx]);
  constexpr uint64_t kMask = 0x3c7fd7;  // all but RF, VM and reserved bits
  s.rflags = (s.gpr[kR11] & kMask) | flags::kFixed1;
  return stop_with_new_trap_flag(in);
}

Flow sysenter(Interpreter& in, const Insn&) {
  CpuState& s = in.state;
  if (!s.protected_mode() || (s.sysenter_cs & 0xfffc) == 0) return in.gp();
  const bool wide = s.long_mode_active();
  const uint16_t selector = static_cast<uint16_t>(s.sysenter_cs & 0xfffc);
  s.rflags &= ~(flags::kVm | flags::kIf | flags::kRf);
  s.seg[kCs] = flat_code(selector, 0, wide);
  s.seg[kSs] = flat_data(static_cast<uint16_t>(selector + 8), 0);
  s.rip = wide ? s.sysenter_eip : static_cast<uint32_t>(s.sysenter_eip);
  s.gpr[kRsp] = wide ? s.sysenter_esp : static_cast<uint32_t>(s.sysenter_esp);
  return stop(in);
}

Flow sysexit(Interpreter& in, const Insn& insn) {
  CpuState& s = in.state;
  const bool wide = insn.op_size == 8;
  if (!s.protected_mode() || (s.sysenter_cs & 0xfffc) == 0 || in.cpl() != 0) return in.gp();
  if (wide && (!Interpreter::canonical(s.gpr[kRcx]) || !Interpreter::canonical(s.gpr[kRdx]))) return in.gp();
  const uint16_t base = static_cast<uint16_t>(s.sysenter_cs & 0xfffc);
  s.seg[kCs] = flat_code(static_cast<uint16_t>((base + (wide ? 32 : 16)) | 3), 3, wide);
  s.seg[kSs] = flat_data(static_cast<uint16_t>((base + (wide ? 40 : 24)) | 3), 3);
  s.rip = wide ? s.gpr[kRdx] : static_cast<uint32_t>(s.gpr[kRdx]);
  s.gpr[kRsp] = wide ? s.gpr[kRcx] : static_cast<uint32_t>(s.gpr[kRcx]);
  return stop(in);
}

}  // namespace

Handler select_far(Lowering& lowering) {
  const bool far = lowering.decoded.instruction.meta.branch_type == ZYDIS_BRANCH_TYPE_FAR;
  const bool memory = is_memory(lowering, 0);
  Insn& insn = lowering.insn;
  switch (lowering.decoded.instruction.mnemonic) {
    case ZYDIS_MNEMONIC_JMP:
      if (!far) return nullptr;
      return memory ? far_memory<false> : far_immediate<false>;
    case ZYDIS_MNEMONIC_CALL:
      if (!far) return nullptr;
      return memory ? far_memory<true> : far_immediate<true>;
    case ZYDIS_MNEMONIC_RET:
      if (!far) return nullptr;
      if (lowering.decoded.instruction.operand_count_visible == 0) insn.imm = 0;
      return far_return;
    case ZYDIS_MNEMONIC_SYSCALL: return syscall;
    case ZYDIS_MNEMONIC_SYSRET:
      insn.op_size = lowering.decoded.has(ZYDIS_ATTRIB_HAS_REX) && (lowering.decoded.instruction.raw.rex.W) ? 8 : 4;
      return sysret;
    case ZYDIS_MNEMONIC_SYSENTER: return sysenter;
    case ZYDIS_MNEMONIC_SYSEXIT:
      insn.op_size = lowering.decoded.has(ZYDIS_ATTRIB_HAS_REX) && (lowering.decoded.instruction.raw.rex.W) ? 8 : 4;
      return sysexit;
    default: return nullptr;
  }
}

}  // namespace skerry::x86
