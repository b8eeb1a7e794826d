#include "x86/cpu_state.hpp"

#include "x86/segmentation.hpp"

namespace skerry::x86 {

// Intel SDM vol. 3, table 10-1.
void CpuState::reset(uint32_t signature, bool init) {
  const CpuState old = *this;
  *this = CpuState();
  for (unsigned n = 0; n < kSegmentCount; ++n) seg[n] = make_real_segment(0, false);
  seg[kCs] = make_real_segment(0xf000, false);
  seg[kCs].base = 0xffff0000;
  seg[kCs].type |= segment_type::kCode;
  for (Segment* system : {&ldtr, &tr}) {
    system->limit = 0xffff;
    system->present = true;
    system->unusable = false;
    system->type = system == &ldtr ? kLdt : kTss32Busy;
  }
  gdtr.limit = idtr.limit = 0xffff;
  gpr[kRdx] = signature;
  rip = 0xfff0;
  cr0 = cr0::kCd | cr0::kNw | cr0::kEt;
  dr6 = 0xffff0ff0;
  dr7 = 0x400;
  x87.fcw = 0x40;  // power-on value; FNINIT gives 0x37f
  x87.ftw = 0xff;  // all registers hold +0.0
  constexpr uint64_t kFastStrings = 1 << 0, kBtsUnavailable = 1 << 11, kPebsUnavailable = 1 << 12;
  misc_enable = kFastStrings | kBtsUnavailable | kPebsUnavailable;
  if (!init) return;

  // INIT keeps the cache-disable bits, the TSC, MTRRs, floating point and most model-specific registers.
  cr0 = (old.cr0 & (cr0::kCd | cr0::kNw)) | cr0::kEt;
  smbase = old.smbase;
  tsc_offset = old.tsc_offset;
  tsc_adjust = old.tsc_adjust;
  tsc_aux = old.tsc_aux;
  mtrr = old.mtrr;
  pat = old.pat;
  x87 = old.x87;
  mxcsr = old.mxcsr;
  vector = old.vector;
  opmask = old.opmask;
  pkru = old.pkru;
  xcr0 = old.xcr0;
  xss = old.xss;
  mcg_status = old.mcg_status;
  mcg_ctl = old.mcg_ctl;
  spec_ctrl = old.spec_ctrl;
  star = old.star;
  lstar = old.lstar;
  cstar = old.cstar;
  fmask = old.fmask;
  kernel_gs_base = old.kernel_gs_base;
  sysenter_cs = old.sysenter_cs;
  sysenter_esp = old.sysenter_esp;
  sysenter_eip = old.sysenter_eip;
  misc_enable = old.misc_enable;
  feature_control = old.feature_control;
}

namespace {

constexpr state::Legal k32Bits = state::up_to(0xffffffff);

void describe_segment(state::Fields& fields, std::string_view name, Segment& segment) {
  fields.group(name, [&] {
    fields.field("selector", segment.selector);
    fields.field("base", segment.base);
    fields.field("limit", segment.limit);
    fields.field("type", segment.type, state::up_to(15));
    fields.field("dpl", segment.dpl, state::up_to(3));
    fields.field("code_or_data", segment.code_or_data);
    fields.field("present", segment.present);
    fields.field("avl", segment.avl);
    fields.field("long_mode", segment.long_mode);
    fields.field("big", segment.big);
    fields.field("granular", segment.granular);
    fields.field("unusable", segment.unusable);
  });
}

void describe_table(state::Fields& fields, std::string_view name, DescriptorTable& table) {
  fields.group(name, [&] {
    fields.field("base", table.base);
    fields.field("limit", table.limit);
  });
}

void describe_x87(state::Fields& fields, X87& x87) {
  fields.group("x87", [&] {
    fields.field("fcw", x87.fcw);
    fields.field("fsw", x87.fsw);
    fields.field("ftw", x87.ftw);
    fields.field("fop", x87.fop, state::in_mask(0x7ff));
    fields.field("fcs", x87.fcs);
    fields.field("fds", x87.fds);
    fields.field("fip", x87.fip);
    fields.field("fdp", x87.fdp);
    fields.list("st", x87.st.size(), [&](size_t n) {
      fields.field("significand", x87.st[n].significand);
      fields.field("sign_exponent", x87.st[n].sign_exponent);
    });
  });
}

void describe_msrs(state::Fields& fields, CpuState& s) {
  fields.group("msr", [&] {
    fields.field("efer", s.efer, state::in_mask(efer::kSce | efer::kLme | efer::kLma | efer::kNxe));
    fields.field("star", s.star);
    fields.field("lstar", s.lstar);
    fields.field("cstar", s.cstar);
    fields.field("fmask", s.fmask, k32Bits);
    fields.field("kernel_gs_base", s.kernel_gs_base);
    fields.field("sysenter_cs", s.sysenter_cs, k32Bits);
    fields.field("sysenter_esp", s.sysenter_esp);
    fields.field("sysenter_eip", s.sysenter_eip);
    fields.field("pat", s.pat, state::in_mask(0x0707070707070707));
    fields.field("tsc_aux", s.tsc_aux, k32Bits);
    fields.field("tsc_adjust", s.tsc_adjust);
    fields.field("tsc_offset", s.tsc_offset);
    fields.field("misc_enable", s.misc_enable);
    fields.field("debugctl", s.debugctl);
    fields.field("spec_ctrl", s.spec_ctrl);
    fields.field("xss", s.xss);
    fields.field("feature_control", s.feature_control);
    fields.field("mcg_status", s.mcg_status, state::in_mask(7));
    fields.field("mcg_ctl", s.mcg_ctl);
    fields.field("mtrr_def_type", s.mtrr.def_type, state::in_mask(0xcff));
    fields.field("mtrr_fixed", s.mtrr.fixed, state::in_mask(0x0707070707070707));
    fields.field("mtrr_base", s.mtrr.base, state::in_mask(0x000ffffffffff0ff));
    fields.field("mtrr_mask", s.mtrr.mask, state::in_mask(0x000ffffffffff800));
  });
}

}  // namespace

void CpuState::describe(state::Fields& fields) {
  fields.field("gpr", gpr);
  fields.field("rip", rip);
  fields.field("rflags", rflags, state::in_mask(flags::kKnown));
  constexpr std::array<std::string_view, kSegmentCount> kNames = {"es", "cs", "ss", "ds", "fs", "gs"};
  for (unsigned n = 0; n < kSegmentCount; ++n) describe_segment(fields, kNames[n], seg[n]);
  describe_segment(fields, "ldtr", ldtr);
  describe_segment(fields, "tr", tr);
  describe_table(fields, "gdtr", gdtr);
  describe_table(fields, "idtr", idtr);
  fields.field("cr0", cr0, state::in_mask(0xe005003f));
  fields.field("cr2", cr2);
  fields.field("cr3", cr3);
  fields.field("cr4", cr4, state::in_mask(0x7fffff));
  fields.field("xcr0", xcr0, state::in_mask(0x2e7));
  fields.field("pdpte", pdpte);
  fields.field("dr", dr);
  fields.field("dr6", dr6, k32Bits);
  fields.field("dr7", dr7, k32Bits);
  describe_msrs(fields, *this);
  describe_x87(fields, x87);
  fields.field("mxcsr", mxcsr, state::in_mask(0xffff));
  fields.list("vector", vector.size(), [&](size_t n) { fields.bytes("", vector[n].bytes); });
  fields.field("opmask", opmask);
  fields.field("pkru", pkru);
  fields.field("sti_shadow", sti_shadow);
  fields.field("mov_ss_shadow", mov_ss_shadow);
  fields.field("nmi_blocked", nmi_blocked);
  fields.field("activity", activity, state::up_to(static_cast<uint64_t>(Activity::kShutdown)));
  fields.group("pending", [&] {
    fields.field("kind", pending.kind, state::up_to(static_cast<uint64_t>(EventKind::kNmi)));
    fields.field("vector", pending.vector);
    fields.field("has_error_code", pending.has_error_code);
    fields.field("error_code", pending.error_code);
  });
  const bool paravirtual = fields.later("paravirtual", kvm_steal_time != 0 || kvm_pv_eoi != 0, [&] {
    fields.field("steal_time", kvm_steal_time, state::in_mask(kStealTimeWritable));
    fields.field("pv_eoi", kvm_pv_eoi, state::in_mask(kPvEoiWritable));
  });
  if (!paravirtual) kvm_steal_time = kvm_pv_eoi = 0;
  const bool smm = fields.later("smm", in_smm || smbase != kResetSmbase, [&] {
    fields.field("inside", in_smm);
    fields.field("nmi_blocked_before", nmi_blocked_before_smm);
    fields.field("smbase", smbase);
  });
  if (!smm) in_smm = nmi_blocked_before_smm = false, smbase = kResetSmbase;
  // Bits that no processor ever has clear.
  rflags |= flags::kFixed1;
  xcr0 |= 1;
  cr0 |= cr0::kEt;
}

}  // namespace skerry::x86
