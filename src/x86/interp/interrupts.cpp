// Delivery of interrupts and exceptions, and IRET. Intel SDM vol. 3, chapters 6 and 20; vol. 2, INT n, IRET.
#include "x86/interp/operands.hpp"
#include "x86/interp/segments.hpp"

namespace skerry::x86 {

namespace {

constexpr uint32_t kIdtFlag = 2;  // in an error code: the index is of the IDT

// What is being delivered and to where.
struct Delivery {
  PendingEvent event;
  uint32_t ext;           // the EXT bit for faults on the way
  uint64_t return_rip;
  uint64_t flags_image;
  Descriptor gate;
  uint64_t target;        // offset of the handler
};

// Faults set RF in the image of RFLAGS so that an instruction breakpoint is not hit again; #DB is a fault only where
// MOV DR met DR7.GD, and that sets RF itself. SDM vol. 3, 17.3.1.1.
bool sets_resume_flag(const PendingEvent& event) {
  if (event.kind != EventKind::kException) return false;
  return event.vector != kDebug && event.vector != kBreakpoint && event.vector != kOverflow &&
         event.vector != kDoubleFault && event.vector != kMachineCheck;
}

bool deliver_real(Interpreter& in, Delivery& d) {
  CpuState& s = in.state;
  const unsigned at = d.event.vector * 4u;
  if (at + 3 > s.idtr.limit) return (in.raise(kGeneralProtection, 0), false);
  uint16_t entry[2];
  if (!in.load_system(s.idtr.base + at, entry, 4)) return false;
  if (entry[0] > s.seg[kCs].limit) return (in.raise(kGeneralProtection), false);
  const uint64_t old_rsp = s.gpr[kRsp];
  if (!in.push(2, d.flags_image) || !in.push(2, s.seg[kCs].selector) || !in.push(2, d.return_rip)) {
    s.gpr[kRsp] = old_rsp;
    return false;
  }
  Segment& cs = s.seg[kCs];
  cs.selector = entry[1];
  cs.base = static_cast<uint64_t>(entry[1]) << 4;
  s.rip = entry[0];
  s.rflags &= ~(flags::kIf | flags::kTf | flags::kAc | flags::kRf);
  return true;
}

bool read_gate(Interpreter& in, Delivery& d) {
  CpuState& s = in.state;
  const bool wide = s.long_mode_active();
  const unsigned size = wide ? 16 : 8;
  const uint32_t index_error = d.event.vector * 8u | kIdtFlag | d.ext;
  if (d.event.vector * size + size - 1 > s.idtr.limit) return (in.raise(kGeneralProtection, index_error), false);
  uint64_t words[2] = {0, 0};
  if (!in.load_system(s.idtr.base + d.event.vector * size, words, size)) return false;
  d.gate.raw = words[0];
  const unsigned type = d.gate.type();
  const bool wide_gate = type == kInterruptGate32 || type == kTrapGate32;
  const bool known = wide_gate || (!wide && (type == kTaskGate || type == kInterruptGate16 || type == kTrapGate16));
  if (d.gate.code_or_data() || !known) return (in.raise(kGeneralProtection, index_error), false);
  if (d.event.kind == EventKind::kSoftwareInterrupt && d.gate.dpl() < in.cpl())
    return (in.raise(kGeneralProtection, index_error), false);
  if (!d.gate.present()) return (in.raise(kSegmentNotPresent, index_error), false);
  d.target = d.gate.gate_offset();
  if (wide) {
    d.target |= (words[1] & 0xffffffff) << 32;
  } else if (!wide_gate && type != kTaskGate) {
    d.target &= 0xffff;
  }
  return true;
}

// The handler's code segment, and the privilege level that it runs at.
bool read_handler(Interpreter& in, const Delivery& d, Descriptor& code, unsigned& new_cpl) {
  const CpuState& s = in.state;
  const Selector selector{d.gate.gate_selector()};
  const auto refuse = [&](uint8_t vector, uint32_t error) { return (in.raise(vector, error | d.ext), false); };
  if (selector.null()) return refuse(kGeneralProtection, 0);
  if (!read_descriptor(in, selector, code, kGeneralProtection, d.ext)) return false;
  if (!code.is_code() || code.dpl() > in.cpl()) return refuse(kGeneralProtection, selector.error_code());
  if (s.long_mode_active() && (!code.long_mode() || code.big())) return refuse(kGeneralProtection, selector.error_code());
  if (!code.present()) return refuse(kSegmentNotPresent, selector.error_code());
  new_cpl = code.is_conforming() ? in.cpl() : code.dpl();
  if (s.v86_mode() && new_cpl != 0) return refuse(kGeneralProtection, selector.error_code());
  return mark_accessed(in, selector, code);
}

void enter_handler(Interpreter& in, const Delivery& d, Descriptor code, unsigned new_cpl) {
  CpuState& s = in.state;
  s.seg[kCs] = make_segment(static_cast<uint16_t>((d.gate.gate_selector() & ~3) | new_cpl), code);
  s.rip = d.target;
  s.rflags &= ~(flags::kTf | flags::kNt | flags::kRf | flags::kVm);
  const unsigned type = d.gate.type();
  if (type == kInterruptGate16 || type == kInterruptGate32) s.rflags &= ~flags::kIf;
}

bool deliver_long(Interpreter& in, Delivery& d) {
  CpuState& s = in.state;
  Descriptor code;
  unsigned new_cpl = 0;
  if (!read_handler(in, d, code, new_cpl)) return false;
  uint64_t rsp = s.gpr[kRsp];
  if (const unsigned ist = d.gate.gate_ist()) {
    const uint32_t at = 0x24 + 8 * (ist - 1);
    if (at + 7 > s.tr.limit) return (in.raise(kInvalidTss, (s.tr.selector & ~3u) | d.ext), false);
    if (!in.load_system(s.tr.base + at, &rsp, 8)) return false;
  } else if (new_cpl < in.cpl()) {
    uint16_t none = 0;
    if (!read_inner_stack(in, new_cpl, d.ext, none, rsp)) return false;
  }
  if (!Interpreter::canonical(rsp)) return (in.raise(kStackFault, d.ext), false);
  if (!Interpreter::canonical(d.target)) return (in.raise(kGeneralProtection, d.ext), false);
  const bool inner = new_cpl < in.cpl();
  uint64_t frame[6];  // in memory order
  unsigned count = 0;
  if (d.event.has_error_code) frame[count++] = d.event.error_code;
  frame[count++] = d.return_rip;
  frame[count++] = s.seg[kCs].selector;
  frame[count++] = d.flags_image;
  frame[count++] = s.gpr[kRsp];
  frame[count++] = s.seg[kSs].selector;
  rsp &= ~uint64_t{15};
  const uint64_t bottom = rsp - 8 * count;
  if (!Interpreter::canonical(bottom)) return (in.raise(kStackFault, d.ext), false);
  const auto stored = [&](uint64_t at, const uint64_t* from, unsigned size) {
    return new_cpl == 3 ? in.store_user(at, from, size) : in.store_system(at, from, size);
  };
  if (!stored(bottom, frame, 8 * count)) {
    // Word by word from the top, as a processor does it: CR2 is the address of the first push that faults.
    for (unsigned n = count; n-- > 0;)
      if (!stored(bottom + 8 * n, &frame[n], 8)) return false;
  }
  enter_handler(in, d, code, new_cpl);
  s.gpr[kRsp] = bottom;
  if (inner) s.seg[kSs] = make_null_segment(static_cast<uint16_t>(new_cpl), static_cast<uint8_t>(new_cpl));
  return true;
}

bool deliver_inner(Interpreter& in, const Delivery& d, Descriptor code, unsigned new_cpl, unsigned size) {
  CpuState& s = in.state;
  const bool v86 = s.v86_mode();
  uint16_t ss_selector = 0;
  uint64_t rsp = 0;
  Segment ss;
  if (!read_inner_stack(in, new_cpl, d.ext, ss_selector, rsp)) return false;
  if (!read_stack_segment(in, ss_selector, new_cpl, kInvalidTss, d.ext, ss)) return false;
  NewStack stack(in, ss, rsp, new_cpl, d.ext);
  if (v86)
    for (const unsigned n : {kGs, kFs, kDs, kEs})
      if (!stack.push(size, s.seg[n].selector)) return false;
  if (!stack.push(size, s.seg[kSs].selector) || !stack.push(size, s.gpr[kRsp]) || !stack.push(size, d.flags_image) ||
      !stack.push(size, s.seg[kCs].selector) || !stack.push(size, d.return_rip))
    return false;
  if (d.event.has_error_code && !stack.push(size, d.event.error_code)) return false;
  if (d.target > code.limit()) return (in.raise(kGeneralProtection, d.ext), false);
  enter_handler(in, d, code, new_cpl);
  stack.commit();
  if (v86)
    for (const unsigned n : {kGs, kFs, kDs, kEs}) s.seg[n] = make_null_segment(0, 0);
  return true;
}

bool deliver_same(Interpreter& in, const Delivery& d, Descriptor code, unsigned new_cpl, unsigned size) {
  CpuState& s = in.state;
  if (d.target > code.limit()) return (in.raise(kGeneralProtection, d.ext), false);
  NewStack stack(in, s.seg[kSs], s.gpr[kRsp], in.cpl(), d.ext);
  const auto pushed = [&] {
    return stack.push(size, d.flags_image) && stack.push(size, s.seg[kCs].selector) && stack.push(size, d.return_rip) &&
           (!d.event.has_error_code || stack.push(size, d.event.error_code));
  };
  if (!pushed()) {
    // The current stack's faults have no selector.
    if (in.raised().vector == kStackFault) in.raise(kStackFault, d.ext);
    return false;
  }
  enter_handler(in, d, code, new_cpl);
  stack.commit();
  return true;
}

bool deliver_protected(Interpreter& in, Delivery& d) {
  if (!read_gate(in, d)) return false;
  if (d.gate.type() == kTaskGate)
    return switch_task(in, {TaskSwitchReason::kInterrupt, d.gate.gate_selector(), d.event.has_error_code,
                            d.event.error_code, d.ext != 0, d.flags_image});
  if (in.state.long_mode_active()) return deliver_long(in, d);
  Descriptor code;
  unsigned new_cpl = 0;
  if (!read_handler(in, d, code, new_cpl)) return false;
  const unsigned size = d.gate.type() >= kInterruptGate32 ? 4 : 2;
  return new_cpl < in.cpl() ? deliver_inner(in, d, code, new_cpl, size) : deliver_same(in, d, code, new_cpl, size);
}

// Entering the handler of #DB clears DR7.GD, so that it may use the debug registers, and the branch trap and record
// bits of DEBUGCTL. SDM vol. 3, 17.2.4 and 17.4.4.
void enter_debug_handler(CpuState& s) {
  constexpr uint64_t kDr7Gd = 1 << 13, kLbr = 1 << 0, kBtf = 1 << 1, kTr = 1 << 6;
  s.dr7 &= ~kDr7Gd;
  s.debugctl &= ~(kLbr | kBtf | kTr);
}

}  // namespace

bool Interpreter::deliver(PendingEvent event, bool external) {
  Delivery d{};
  d.event = event;
  d.ext = external ? 1 : 0;
  d.return_rip = state.rip;
  d.flags_image = state.rflags & (code64_ || state.protected_mode() ? ~uint64_t{0} : 0xffff);
  if (sets_resume_flag(event)) d.flags_image |= flags::kRf;
  d.event.has_error_code = event.has_error_code && state.protected_mode();
  if (!(state.protected_mode() ? deliver_protected(*this, d) : deliver_real(*this, d))) return false;
  if (event.kind == EventKind::kException && event.vector == kDebug) enter_debug_handler(state);
  return true;
}

namespace {

// INT n, INT3, INTO, INT1 -----------------------------------------------------------------------------------------------

Flow software_interrupt(Interpreter& in, uint8_t vector, bool external) {
  const PendingEvent event{external ? EventKind::kException : EventKind::kSoftwareInterrupt, vector, false, 0};
  if (!in.deliver(event, external)) return Flow::kFault;
  in.no_step_trap();
  in.mode_changed();
  return Flow::kStop;
}

// CR4.VME: INT n in virtual-8086 mode through the 8086 program's own table where the redirection bitmap says so.
// SDM vol. 3, 20.3.3.
bool redirected(Interpreter& in, uint8_t vector, bool& redirect) {
  const CpuState& s = in.state;
  redirect = false;
  if (!(s.cr4 & cr4::kVme)) return true;
  uint16_t io_base = 0;
  if (s.tr.type != kTss32Busy || s.tr.limit < 0x67) return (in.gp(), false);
  if (!in.load_system(s.tr.base + 0x66, &io_base, 2)) return false;
  const uint32_t at = io_base - 32u + vector / 8;
  if (at > s.tr.limit) return (in.gp(), false);
  uint8_t map = 0;
  if (!in.load_system(s.tr.base + at, &map, 1)) return false;
  redirect = !(map >> (vector % 8) & 1);
  return true;
}

Flow redirect_interrupt(Interpreter& in, uint8_t vector) {
  CpuState& s = in.state;
  uint16_t entry[2];
  if (!in.load_linear<uint16_t>(vector * 4u, entry[0]) || !in.load_linear<uint16_t>(vector * 4u + 2, entry[1]))
    return Flow::kFault;
  uint64_t image = s.rflags;
  const bool virtual_if = s.iopl() < 3;
  if (virtual_if) image = (image & ~flags::kIf) | flags::kIopl | (s.rflags & flags::kVif ? flags::kIf : 0);
  const uint64_t old_rsp = s.gpr[kRsp];
  if (!in.push(2, image) || !in.push(2, s.seg[kCs].selector) || !in.push(2, s.rip)) {
    s.gpr[kRsp] = old_rsp;
    return Flow::kFault;
  }
  s.seg[kCs] = make_real_segment(entry[1], true);
  s.rip = entry[0];
  s.rflags &= ~(flags::kTf | flags::kNt | (virtual_if ? flags::kVif : flags::kIf));
  in.no_step_trap();
  in.mode_changed();
  return Flow::kStop;
}

Flow int_n(Interpreter& in, const Insn& insn) {
  const uint8_t vector = static_cast<uint8_t>(insn.imm);
  if (in.state.v86_mode()) {
    bool redirect = false;
    if (!redirected(in, vector, redirect)) return Flow::kFault;
    if (redirect) return redirect_interrupt(in, vector);
    if (in.state.iopl() < 3) return in.gp();
  }
  return software_interrupt(in, vector, false);
}

Flow int3(Interpreter& in, const Insn&) { return software_interrupt(in, kBreakpoint, false); }
Flow int1(Interpreter& in, const Insn&) { return software_interrupt(in, kDebug, true); }
Flow into(Interpreter& in, const Insn&) {
  return in.state.rflags & flags::kOf ? software_interrupt(in, kOverflow, false) : Flow::kNext;
}

// IRET --------------------------------------------------------------------------------------------------------------------

constexpr uint64_t kIretFlags = flags::kStatus | flags::kTf | flags::kDf | flags::kNt;

// RFLAGS as IRET loads them at privilege `cpl` with operand size `size`.
uint64_t returned_flags(const Interpreter& in, uint64_t image, unsigned size) {
  uint64_t writable = kIretFlags;
  if (size > 2) writable |= flags::kRf | flags::kAc | flags::kId;
  if (in.cpl() <= in.state.iopl()) writable |= flags::kIf;
  if (in.cpl() == 0) writable |= flags::kIopl | (size > 2 ? flags::kVif | flags::kVip : 0);
  return (in.state.rflags & ~writable) | (image & writable) | flags::kFixed1;
}

Flow finish_iret(Interpreter& in) {
  in.mode_changed();
  return Flow::kStop;
}

// Words from the stack upwards, without moving RSP.
bool read_frame(Interpreter& in, unsigned size, unsigned count, uint64_t* words) {
  for (unsigned n = 0; n < count; ++n) {
    words[n] = 0;
    if (!in.load_bytes(kSs, (in.state.gpr[kRsp] + n * size) & in.stack_mask(), &words[n], size)) return false;
  }
  return true;
}

Flow iret_real(Interpreter& in, unsigned size) {
  CpuState& s = in.state;
  uint64_t frame[3];
  if (!read_frame(in, size, 3, frame)) return Flow::kFault;
  if (frame[0] > s.seg[kCs].limit) return in.gp();
  s.rip = frame[0];
  Segment& cs = s.seg[kCs];
  cs.selector = static_cast<uint16_t>(frame[1]);
  cs.base = (frame[1] & 0xffff) << 4;
  in.set_stack_pointer(s.gpr[kRsp] + 3 * size);
  const uint64_t writable = kIretFlags | flags::kIf | flags::kIopl | (size > 2 ? flags::kAc | flags::kId | flags::kRf : 0);
  s.rflags = (s.rflags & ~writable) | (frame[2] & writable) | flags::kFixed1;
  return finish_iret(in);
}

// In virtual-8086 mode: with IOPL 3 as in real mode, else through CR4.VME or #GP.
Flow iret_v86(Interpreter& in, unsigned size) {
  CpuState& s = in.state;
  const bool trusted = s.iopl() == 3;
  if (!trusted && (!(s.cr4 & cr4::kVme) || size != 2)) return in.gp();
  uint64_t frame[3];
  if (!read_frame(in, size, 3, frame)) return Flow::kFault;
  if (frame[0] > 0xffff) return in.gp();
  uint64_t writable = kIretFlags | (size > 2 ? flags::kAc | flags::kId | flags::kRf : 0);
  uint64_t image = frame[2];
  if (trusted) {
    writable |= flags::kIf;
  } else {
    if ((image & flags::kTf) || ((image & flags::kIf) && (s.rflags & flags::kVip))) return in.gp();
    image = (image & ~flags::kVif) | (image & flags::kIf ? flags::kVif : 0);
    writable |= flags::kVif;
  }
  s.seg[kCs] = make_real_segment(static_cast<uint16_t>(frame[1]), true);
  s.rip = frame[0];
  in.set_stack_pointer(s.gpr[kRsp] + 3 * size);
  s.rflags = (s.rflags & ~writable) | (image & writable) | flags::kFixed1;
  return finish_iret(in);
}

Flow iret_to_v86(Interpreter& in) {
  CpuState& s = in.state;
  uint64_t frame[9];  // EIP CS EFLAGS ESP SS ES DS FS GS
  if (!read_frame(in, 4, 9, frame)) return Flow::kFault;
  if (frame[0] > 0xffff) return in.gp();
  s.rip = frame[0];
  constexpr uint64_t kAll = kIretFlags | flags::kRf | flags::kAc | flags::kId | flags::kIf | flags::kIopl | flags::kVif |
                            flags::kVip | flags::kVm;
  s.rflags = (frame[2] & kAll) | flags::kFixed1;
  s.seg[kCs] = make_real_segment(static_cast<uint16_t>(frame[1]), true);
  s.seg[kSs] = make_real_segment(static_cast<uint16_t>(frame[4]), true);
  constexpr unsigned kOrder[] = {kEs, kDs, kFs, kGs};
  for (unsigned n = 0; n < 4; ++n) s.seg[kOrder[n]] = make_real_segment(static_cast<uint16_t>(frame[5 + n]), true);
  s.gpr[kRsp] = frame[3];
  return finish_iret(in);
}

// The code segment that a return goes to. `same` levels and outer ones have the same checks but for DPL.
bool read_return_code(Interpreter& in, Selector selector, Descriptor& code) {
  if (selector.null()) return (in.gp(), false);
  if (!read_descriptor(in, selector, code)) return false;
  const bool bad_dpl = code.is_conforming() ? code.dpl() > selector.rpl() : code.dpl() != selector.rpl();
  const bool bad_mode = in.state.long_mode_active() && code.long_mode() && code.big();
  if (!code.is_code() || selector.rpl() < in.cpl() || bad_dpl || bad_mode)
    return (in.gp(selector.error_code()), false);
  if (!code.present()) return (in.raise(kSegmentNotPresent, selector.error_code()), false);
  return true;
}

bool read_return_stack(Interpreter& in, uint16_t value, unsigned cpl, bool to_64bit, Segment& ss) {
  if (Selector{value}.null() && to_64bit && cpl != 3) {
    if (Selector{value}.rpl() != cpl) return (in.gp(), false);
    ss = make_null_segment(value, static_cast<uint8_t>(cpl));
    return true;
  }
  return read_stack_segment(in, value, cpl, kGeneralProtection, 0, ss);
}

Flow iret_protected(Interpreter& in, unsigned size) {
  CpuState& s = in.state;
  uint64_t frame[5];
  if (!read_frame(in, size, 3, frame)) return Flow::kFault;
  if (size == 4 && !s.long_mode_active() && (frame[2] & flags::kVm) && in.cpl() == 0) return iret_to_v86(in);
  const Selector selector{static_cast<uint16_t>(frame[1])};
  Descriptor code;
  if (!read_return_code(in, selector, code)) return Flow::kFault;
  const bool to_64bit = s.long_mode_active() && code.long_mode();
  const bool outer = selector.rpl() > in.cpl();
  const bool with_stack = outer || in.code64();  // 64-bit IRET always pops SS:RSP
  Segment ss = s.seg[kSs];
  if (with_stack) {
    if (!read_frame(in, size, 5, frame)) return Flow::kFault;
    if (!read_return_stack(in, static_cast<uint16_t>(frame[4]), selector.rpl(), to_64bit, ss)) return Flow::kFault;
  }
  if (to_64bit ? !Interpreter::canonical(frame[0]) : (frame[0] & 0xffffffff) > code.limit()) return in.gp();
  if (!mark_accessed(in, selector, code)) return Flow::kFault;

  s.rflags = returned_flags(in, frame[2], size);
  s.seg[kCs] = make_segment(selector.value, code);
  s.rip = to_64bit ? frame[0] : frame[0] & 0xffffffff;
  if (with_stack) {
    s.seg[kSs] = ss;
    switch_stack_pointer(s, to_64bit, ss, frame[3]);
    if (outer) drop_privileged_segments(in, selector.rpl());
  } else {
    in.set_stack_pointer(s.gpr[kRsp] + 3 * size);
  }
  return finish_iret(in);
}

Flow iret_task(Interpreter& in) {
  CpuState& s = in.state;
  uint16_t link = 0;
  if (!in.load_system(s.tr.base, &link, 2)) return Flow::kFault;
  if (!switch_task(in, {TaskSwitchReason::kReturn, link})) return Flow::kFault;
  return finish_iret(in);
}

Flow iret(Interpreter& in, const Insn& insn) {
  CpuState& s = in.state;
  s.nmi_blocked = false;  // also when it faults; SDM vol. 3, 6.7.1
  if (!s.protected_mode()) return iret_real(in, insn.op_size);
  if (s.v86_mode()) return iret_v86(in, insn.op_size);
  if (s.rflags & flags::kNt) return s.long_mode_active() ? in.gp() : iret_task(in);
  return iret_protected(in, insn.op_size);
}

// BOUND: raises #BR if the index is outside. Outside of 64-bit mode only.
template <typename T>
Flow bound(Interpreter& in, const Insn& insn) {
  using Signed = std::make_signed_t<T>;
  const uint64_t offset = in.ea(insn);
  T low, high;
  if (!in.load<T>(insn.segment, offset, low) || !in.load<T>(insn.segment, offset + sizeof(T), high)) return Flow::kFault;
  const auto value = static_cast<Signed>(in.gpr<T>(insn.reg[0]));
  if (value < static_cast<Signed>(low) || value > static_cast<Signed>(high)) return in.raise(kBoundRange);
  return Flow::kNext;
}

}  // namespace

Handler select_interrupts(Lowering& lowering) {
  switch (lowering.decoded.instruction.mnemonic) {
    case ZYDIS_MNEMONIC_INT: return int_n;
    case ZYDIS_MNEMONIC_INT3: return int3;
    case ZYDIS_MNEMONIC_INT1: return int1;
    case ZYDIS_MNEMONIC_INTO: return into;
    case ZYDIS_MNEMONIC_IRET:
    case ZYDIS_MNEMONIC_IRETD:
    case ZYDIS_MNEMONIC_IRETQ: return iret;
    case ZYDIS_MNEMONIC_BOUND: return lowering.insn.op_size == 2 ? bound<uint16_t> : bound<uint32_t>;
    default: return nullptr;
  }
}

}  // namespace skerry::x86
