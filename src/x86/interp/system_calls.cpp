// SYSCALL, SYSRET, SYSENTER and SYSEXIT. Intel SDM vol. 2; where the model is AMD's, AMD APM vol. 3.
#include "base/units.hpp"
#include "x86/interp/segments.hpp"

namespace skerry::x86 {

namespace {

Segment flat_code(uint16_t selector, uint8_t dpl, bool wide) {
  Segment cs;
  cs.selector = selector;
  cs.limit = 0xffffffff;
  cs.type = segment_type::kCode | segment_type::kReadable | segment_type::kAccessed;
  cs.dpl = dpl;
  cs.code_or_data = cs.present = cs.granular = true;
  cs.long_mode = wide;
  cs.big = !wide;
  cs.unusable = false;
  return cs;
}
Segment flat_data(uint16_t selector, uint8_t dpl) {
  Segment ss = flat_code(selector, dpl, false);
  ss.type = segment_type::kWritable | segment_type::kAccessed;
  return ss;
}

Flow stop(Interpreter& in) {
  in.mode_changed();
  return Flow::kStop;
}

// SYSCALL and SYSRET trap by TF as it is after them, so that a step over a system call ends behind it.
Flow stop_with_new_trap_flag(Interpreter& in) {
  in.no_step_trap();
  if (in.state.rflags & flags::kTf) in.trap_debug(bit(14));  // DR6.BS
  return stop(in);
}

// Intel has SYSCALL and SYSRET in 64-bit mode only; AMD has them in all of protected mode.
bool syscall_available(const Interpreter& in) {
  if (!(in.state.efer & efer::kSce)) return false;
  return in.code64() || (in.model.amd() && in.state.protected_mode() && !in.state.v86_mode());
}

Flow syscall(Interpreter& in, const Insn&) {
  CpuState& s = in.state;
  if (!syscall_available(in)) return in.ud();
  const bool wide = s.long_mode_active();
  s.gpr[kRcx] = s.rip;
  if (wide) {
    s.gpr[kR11] = s.rflags & ~flags::kRf;
    s.rip = in.code64() ? s.lstar : s.cstar;
    s.rflags = (s.rflags & ~(s.fmask | flags::kRf)) | flags::kFixed1;
  } else {
    s.rip = static_cast<uint32_t>(s.star);
    s.rflags &= ~(flags::kVm | flags::kIf | flags::kRf);
  }
  in.load_syscall_segments();
  return stop_with_new_trap_flag(in);
}

Flow sysret(Interpreter& in, const Insn& insn) {
  CpuState& s = in.state;
  if (!syscall_available(in)) return in.ud();
  const bool wide = insn.op_size == 8;
  if (in.cpl() != 0) return in.gp();
  // AMD loads any RIP: the fetch faults, at CPL 3.
  if (wide && !in.model.amd() && !Interpreter::canonical(s.gpr[kRcx])) return in.gp();
  in.load_sysret_segments(wide);
  s.rip = wide ? s.gpr[kRcx] : static_cast<uint32_t>(s.gpr[kRcx]);
  constexpr uint64_t kMask = 0x3c7fd7;  // all but RF, VM and reserved bits
  if (s.long_mode_active())
    s.rflags = (s.gpr[kR11] & kMask) | flags::kFixed1;
  else
    s.rflags |= flags::kIf;
  return stop_with_new_trap_flag(in);
}

// AMD has SYSENTER and SYSEXIT outside of long mode only.
bool sysenter_available(const Interpreter& in) { return !in.model.amd() || !in.state.long_mode_active(); }

Flow sysenter(Interpreter& in, const Insn&) {
  CpuState& s = in.state;
  if (!sysenter_available(in)) return in.ud();
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
  if (!sysenter_available(in)) return in.ud();
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

// REX.W chooses a return to 64-bit code.
Handler returning(Lowering& lowering, Handler handler) {
  const bool wide = lowering.decoded.has(ZYDIS_ATTRIB_HAS_REX) && lowering.decoded.instruction.raw.rex.W;
  lowering.insn.op_size = wide ? 8 : 4;
  return handler;
}

}  // namespace

void Interpreter::load_syscall_segments() {
  const uint16_t selector = static_cast<uint16_t>(state.star >> 32) & 0xfffc;
  state.seg[kCs] = flat_code(selector, 0, state.long_mode_active());
  state.seg[kSs] = flat_data(static_cast<uint16_t>(selector + 8), 0);
}

void Interpreter::load_sysret_segments(bool wide) {
  const uint16_t base = static_cast<uint16_t>(state.star >> 48);
  state.seg[kCs] = flat_code(static_cast<uint16_t>((base + (wide ? 16 : 0)) | 3), 3, wide);
  state.seg[kSs] = flat_data(static_cast<uint16_t>((base + 8) | 3), 3);
}

Handler select_system_calls(Lowering& lowering) {
  switch (lowering.decoded.instruction.mnemonic) {
    case ZYDIS_MNEMONIC_SYSCALL:
      return syscall;
    case ZYDIS_MNEMONIC_SYSRET:
      return returning(lowering, sysret);
    case ZYDIS_MNEMONIC_SYSENTER:
      return sysenter;
    case ZYDIS_MNEMONIC_SYSEXIT:
      return returning(lowering, sysexit);
    default:
      return nullptr;
  }
}

}  // namespace skerry::x86
