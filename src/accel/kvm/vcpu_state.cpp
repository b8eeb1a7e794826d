#include "accel/kvm/vcpu_state.hpp"

#include <cpuid.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "accel/kvm/vcpu_calls.hpp"
#include "x86/exception.hpp"

namespace skerry::accel::kvm {

using x86::CpuState;
using x86::EventKind;
using x86::Mtrr;

namespace {

// Components of an XSAVE area. Intel SDM vol. 1, 13.1.
constexpr unsigned kSse = 1, kAvx = 2, kOpmask = 5, kZmmHigh = 6, kZmmMore = 7, kPkru = 9;
constexpr size_t kXstateBv = 512, kMxcsr = 24, kMxcsrMask = 28, kRegisters = 32, kXmm = 160, kSmallestArea = 4096;

// MSRs as in Intel SDM vol. 4.
constexpr uint32_t kMtrrPhysBase0 = 0x200, kMtrrDefType = 0x2ff;
constexpr std::array<uint32_t, 11> kMtrrFixed = {0x250, 0x258, 0x259, 0x268, 0x269, 0x26a, 0x26b, 0x26c, 0x26d, 0x26e, 0x26f};

using Field = VcpuState::MsrField;
constexpr std::array kFields = {
    Field{0x174, &CpuState::sysenter_cs},   Field{0x175, &CpuState::sysenter_esp}, Field{0x176, &CpuState::sysenter_eip},
    Field{0xc0000081, &CpuState::star},     Field{0xc0000082, &CpuState::lstar},   Field{0xc0000083, &CpuState::cstar},
    Field{0xc0000084, &CpuState::fmask},    Field{0xc0000102, &CpuState::kernel_gs_base},
    Field{0x277, &CpuState::pat},           Field{0xc0000103, &CpuState::tsc_aux}, Field{0x1a0, &CpuState::misc_enable},
};

// The kernel's only with its local APICs, and not on every kernel.
constexpr std::array kParavirtual = {Field{VcpuState::kStealTime, &CpuState::kvm_steal_time},
                                     Field{0x4b564d04, &CpuState::kvm_pv_eoi}};

void get_segment(const kvm_segment& from, x86::Segment& to) {
  to.selector = from.selector;
  to.base = from.base;
  to.limit = from.limit;
  to.type = from.type & 15;
  to.dpl = from.dpl & 3;
  to.code_or_data = from.s;
  to.present = from.present;
  to.avl = from.avl;
  to.long_mode = from.l;
  to.big = from.db;
  to.granular = from.g;
  to.unusable = from.unusable;
}

void set_segment(const x86::Segment& from, kvm_segment& to) {
  to.selector = from.selector;
  to.base = from.base;
  to.limit = from.limit;
  to.type = from.type;
  to.dpl = from.dpl;
  to.s = from.code_or_data;
  to.present = from.present;
  to.avl = from.avl;
  to.l = from.long_mode;
  to.db = from.big;
  to.g = from.granular;
  to.unusable = from.unusable;
}

// The parts that kvm_sregs and kvm_sregs2 have in common.
template <typename Sregs>
void get_common(const Sregs& from, CpuState& state, VcpuState::Beside& beside) {
  const kvm_segment* const segments[] = {&from.es, &from.cs, &from.ss, &from.ds, &from.fs, &from.gs};
  for (unsigned n = 0; n < x86::kSegmentCount; ++n) get_segment(*segments[n], state.seg[n]);
  get_segment(from.ldt, state.ldtr);
  get_segment(from.tr, state.tr);
  state.gdtr = {from.gdt.base, from.gdt.limit};
  state.idtr = {from.idt.base, from.idt.limit};
  state.cr0 = from.cr0;
  state.cr2 = from.cr2;
  state.cr3 = from.cr3;
  state.cr4 = from.cr4;
  state.efer = from.efer;
  beside.apic_base = from.apic_base;
  beside.cr8 = static_cast<uint8_t>(from.cr8);
}

template <typename Sregs>
void set_common(const CpuState& state, const VcpuState::Beside& beside, Sregs& to) {
  kvm_segment* const segments[] = {&to.es, &to.cs, &to.ss, &to.ds, &to.fs, &to.gs};
  for (unsigned n = 0; n < x86::kSegmentCount; ++n) set_segment(state.seg[n], *segments[n]);
  set_segment(state.ldtr, to.ldt);
  set_segment(state.tr, to.tr);
  to.gdt.base = state.gdtr.base;
  to.gdt.limit = state.gdtr.limit;
  to.idt.base = state.idtr.base;
  to.idt.limit = state.idtr.limit;
  to.cr0 = state.cr0;
  to.cr2 = state.cr2;
  to.cr3 = state.cr3;
  to.cr4 = state.cr4;
  to.efer = state.efer;
  to.apic_base = beside.apic_base;
  to.cr8 = beside.cr8;
}

// The general registers in kvm_regs' order.
constexpr std::array kGprs = {&kvm_regs::rax, &kvm_regs::rcx, &kvm_regs::rdx, &kvm_regs::rbx, &kvm_regs::rsp, &kvm_regs::rbp,
                              &kvm_regs::rsi, &kvm_regs::rdi, &kvm_regs::r8,  &kvm_regs::r9,  &kvm_regs::r10, &kvm_regs::r11,
                              &kvm_regs::r12, &kvm_regs::r13, &kvm_regs::r14, &kvm_regs::r15};

template <typename T>
T load(const std::byte* from) {
  T value;
  std::memcpy(&value, from, sizeof value);
  return value;
}
template <typename T>
void store(std::byte* to, T value) {
  std::memcpy(to, &value, sizeof value);
}

}  // namespace

VcpuState::VcpuState(int vcpu, const System& system, const x86::CpuModel& model, bool has_apic)
    : vcpu_(vcpu),
      sregs2_(system.check(KVM_CAP_SREGS2) > 0),
      xsave2_(system.check(KVM_CAP_XSAVE2) > 0),
      has_apic_(has_apic),
      xcr0_allowed_(model.xcr0_allowed()),
      area_(std::max<size_t>(kSmallestArea, static_cast<size_t>(system.check(KVM_CAP_XSAVE2)))) {
  for (unsigned component = kAvx; component < offsets_.size(); ++component) {
    unsigned size, offset, ecx, edx;
    if (__get_cpuid_count(0xd, component, &size, &offset, &ecx, &edx) && size != 0 && offset + size <= area_.size())
      offsets_[component] = offset;
  }
  list_msrs(system);
}

void VcpuState::list_msrs(const System& system) {
  const std::vector<uint32_t> known = system.msr_indices();
  const auto is_known = [&](uint32_t index) { return std::ranges::find(known, index) != known.end(); };
  // Not every kernel lists all that it has; those that each one has had from the beginning are not asked for.
  for (const Field& field : kFields)
    if (field.index != 0xc0000103 || is_known(field.index)) fields_.push_back(field);
  for (const Field& field : kParavirtual)
    if (has_apic_ && set_msr(vcpu_, field.index, 0)) fields_.push_back(field);
  size_t count = 0;
  each_msr([&](uint32_t, auto&&) { ++count; });
  msrs_.resize(sizeof(kvm_msrs) + count * sizeof(kvm_msr_entry));
}

// Calls visit(index, value_of) with value_of(state), a reference to where the MSR is in a CpuState.
template <typename Visit>
void VcpuState::each_msr(Visit visit) const {
  for (const MsrField& field : fields_)
    visit(field.index, [member = field.member](auto& state) -> auto& { return state.*member; });
  visit(kMtrrDefType, [](auto& state) -> auto& { return state.mtrr.def_type; });
  for (unsigned n = 0; n < kMtrrFixed.size(); ++n)
    visit(kMtrrFixed[n], [n](auto& state) -> auto& { return state.mtrr.fixed[n]; });
  for (unsigned n = 0; n < Mtrr::kVariableCount; ++n) {
    visit(kMtrrPhysBase0 + 2 * n, [n](auto& state) -> auto& { return state.mtrr.base[n]; });
    visit(kMtrrPhysBase0 + 2 * n + 1, [n](auto& state) -> auto& { return state.mtrr.mask[n]; });
  }
}

Result<void> VcpuState::call(unsigned long request, void* argument, const char* name) const {
  const int result = kvm::call(vcpu_, request, argument);
  if (result < 0) return errno_error(-result, name);
  return ok();
}

Result<void> VcpuState::get(CpuState& state, Beside& beside) {
  // First: KVM applies INIT and start-up messages then.
  if (auto good = get_activity(state); !good) return good;
  kvm_regs regs{};
  if (auto good = call(KVM_GET_REGS, &regs, "KVM_GET_REGS"); !good) return good;
  for (unsigned n = 0; n < kGprs.size(); ++n) state.gpr[n] = regs.*kGprs[n];
  state.rip = regs.rip;
  state.rflags = regs.rflags;
  if (auto good = get_segments(state, beside); !good) return good;
  kvm_debugregs debug{};
  if (auto good = call(KVM_GET_DEBUGREGS, &debug, "KVM_GET_DEBUGREGS"); !good) return good;
  std::copy_n(debug.db, 4, state.dr.begin());
  state.dr6 = debug.dr6;
  state.dr7 = debug.dr7;
  if (auto good = get_vectors(state); !good) return good;
  if (auto good = get_msrs(state); !good) return good;
  return get_events(state, beside);
}

Result<void> VcpuState::set(const CpuState& state, const Beside& beside) {
  if (auto good = set_segments(state, beside); !good) return good;
  kvm_regs regs{};
  for (unsigned n = 0; n < kGprs.size(); ++n) regs.*kGprs[n] = state.gpr[n];
  regs.rip = state.rip;
  regs.rflags = state.rflags;
  if (auto good = call(KVM_SET_REGS, &regs, "KVM_SET_REGS"); !good) return good;
  kvm_debugregs debug{};
  std::copy_n(state.dr.begin(), 4, debug.db);
  debug.dr6 = state.dr6;
  debug.dr7 = state.dr7;
  if (auto good = call(KVM_SET_DEBUGREGS, &debug, "KVM_SET_DEBUGREGS"); !good) return good;
  if (auto good = set_vectors(state); !good) return good;
  if (auto good = set_msrs(state); !good) return good;
  if (auto good = set_events(state, beside); !good) return good;
  return set_activity(state);
}

Result<void> VcpuState::get_segments(CpuState& state, Beside& beside) {
  if (!sregs2_) {
    kvm_sregs sregs{};
    if (auto good = call(KVM_GET_SREGS, &sregs, "KVM_GET_SREGS"); !good) return good;
    get_common(sregs, state, beside);
    return ok();
  }
  kvm_sregs2 sregs{};
  if (auto good = call(KVM_GET_SREGS2, &sregs, "KVM_GET_SREGS2"); !good) return good;
  get_common(sregs, state, beside);
  if (sregs.flags & KVM_SREGS2_FLAGS_PDPTRS_VALID) std::copy_n(sregs.pdptrs, 4, state.pdpte.begin());
  return ok();
}

Result<void> VcpuState::set_segments(const CpuState& state, const Beside& beside) {
  if (!sregs2_) {
    kvm_sregs sregs{};
    set_common(state, beside, sregs);
    return call(KVM_SET_SREGS, &sregs, "KVM_SET_SREGS");
  }
  kvm_sregs2 sregs{};
  set_common(state, beside, sregs);
  const bool pae_paging = (state.cr0 & x86::cr0::kPg) && (state.cr4 & x86::cr4::kPae) && !state.long_mode_active();
  if (pae_paging) {
    sregs.flags = KVM_SREGS2_FLAGS_PDPTRS_VALID;
    std::copy_n(state.pdpte.begin(), 4, sregs.pdptrs);
  }
  return call(KVM_SET_SREGS2, &sregs, "KVM_SET_SREGS2");
}

Result<void> VcpuState::get_vectors(CpuState& state) {
  if (auto good = call(xsave2_ ? KVM_GET_XSAVE2 : KVM_GET_XSAVE, area_.data(), "KVM_GET_XSAVE"); !good) return good;
  const std::byte* const area = area_.data();
  const auto present = load<uint64_t>(area + kXstateBv);
  x86::X87& x87 = state.x87;
  x87.fcw = load<uint16_t>(area);
  x87.fsw = load<uint16_t>(area + 2);
  x87.ftw = load<uint8_t>(area + 4);
  x87.fop = load<uint16_t>(area + 6);
  x87.fip = load<uint64_t>(area + 8);
  x87.fdp = load<uint64_t>(area + 16);
  x87.fcs = x87.fds = 0;
  state.mxcsr = load<uint32_t>(area + kMxcsr);
  for (unsigned n = 0; n < 8; ++n)
    x87.st[n] = {load<uint64_t>(area + kRegisters + 16 * n), load<uint16_t>(area + kRegisters + 16 * n + 8)};
  // A component that is not present is in its initial configuration, whatever the area holds.
  const auto part = [&](unsigned component) -> const std::byte* {
    return present >> component & 1 && offsets_[component] ? area + offsets_[component] : nullptr;
  };
  const std::byte *avx = part(kAvx), *high = part(kZmmHigh), *more = part(kZmmMore), *opmask = part(kOpmask);
  for (unsigned n = 0; n < 32; ++n) {
    uint8_t* const bytes = state.vector[n].bytes.data();
    if (n >= 16) {
      if (more) std::memcpy(bytes, more + 64 * (n - 16), 64);
      else std::memset(bytes, 0, 64);
      continue;
    }
    if (present >> kSse & 1) std::memcpy(bytes, area + kXmm + 16 * n, 16);
    else std::memset(bytes, 0, 16);
    if (avx) std::memcpy(bytes + 16, avx + 16 * n, 16);
    else std::memset(bytes + 16, 0, 16);
    if (high) std::memcpy(bytes + 32, high + 32 * n, 32);
    else std::memset(bytes + 32, 0, 32);
  }
  for (unsigned n = 0; n < 8; ++n) state.opmask[n] = opmask ? load<uint64_t>(opmask + 8 * n) : 0;
  state.pkru = part(kPkru) ? load<uint32_t>(part(kPkru)) : 0;
  if (xcr0_allowed_ == 0) return ok();
  kvm_xcrs xcrs{};
  if (auto good = call(KVM_GET_XCRS, &xcrs, "KVM_GET_XCRS"); !good) return good;
  if (xcrs.nr_xcrs > 0) state.xcr0 = xcrs.xcrs[0].value;
  return ok();
}

Result<void> VcpuState::set_vectors(const CpuState& state) {
  if (xcr0_allowed_ != 0) {
    kvm_xcrs xcrs{};
    xcrs.nr_xcrs = 1;
    xcrs.xcrs[0].value = state.xcr0;
    if (auto good = call(KVM_SET_XCRS, &xcrs, "KVM_SET_XCRS"); !good) return good;
  }
  std::fill(area_.begin(), area_.end(), std::byte{0});
  std::byte* const area = area_.data();
  const x86::X87& x87 = state.x87;
  store(area, x87.fcw);
  store(area + 2, x87.fsw);
  store(area + 4, x87.ftw);
  store(area + 6, x87.fop);
  store(area + 8, x87.fip);
  store(area + 16, x87.fdp);
  store(area + kMxcsr, state.mxcsr);
  store(area + kMxcsrMask, uint32_t{0xffff});
  for (unsigned n = 0; n < 8; ++n) {
    store(area + kRegisters + 16 * n, x87.st[n].significand);
    store(area + kRegisters + 16 * n + 8, x87.st[n].sign_exponent);
  }
  uint64_t present = 3;  // x87 and SSE
  const auto part = [&](unsigned component) -> std::byte* {
    if (!offsets_[component] || !(xcr0_allowed_ >> component & 1)) return nullptr;
    present |= uint64_t{1} << component;
    return area + offsets_[component];
  };
  std::byte *avx = part(kAvx), *high = part(kZmmHigh), *more = part(kZmmMore), *opmask = part(kOpmask), *pkru = part(kPkru);
  for (unsigned n = 0; n < 32; ++n) {
    const uint8_t* const bytes = state.vector[n].bytes.data();
    if (n >= 16) {
      if (more) std::memcpy(more + 64 * (n - 16), bytes, 64);
      continue;
    }
    std::memcpy(area + kXmm + 16 * n, bytes, 16);
    if (avx) std::memcpy(avx + 16 * n, bytes + 16, 16);
    if (high) std::memcpy(high + 32 * n, bytes + 32, 32);
  }
  if (opmask) std::memcpy(opmask, state.opmask.data(), 64);
  if (pkru) store(pkru, state.pkru);
  store(area + kXstateBv, present);
  return call(KVM_SET_XSAVE, area, "KVM_SET_XSAVE");
}

Result<void> VcpuState::get_msrs(CpuState& state) {
  auto* const list = reinterpret_cast<kvm_msrs*>(msrs_.data());
  *list = {};
  each_msr([&](uint32_t index, auto&&) {
    list->entries[list->nmsrs] = {};
    list->entries[list->nmsrs++].index = index;
  });
  const int got = kvm::call(vcpu_, KVM_GET_MSRS, list);
  if (got < 0) return errno_error(-got, "KVM_GET_MSRS");
  if (static_cast<uint32_t>(got) < list->nmsrs) return error("KVM_GET_MSRS: KVM does not give MSR {:#x}", list->entries[got].index);
  uint32_t n = 0;
  each_msr([&](uint32_t, auto&& value_of) { value_of(state) = list->entries[n++].data; });
  return ok();
}

Result<void> VcpuState::set_msrs(const CpuState& state) {
  auto* const list = reinterpret_cast<kvm_msrs*>(msrs_.data());
  *list = {};
  each_msr([&](uint32_t index, auto&& value_of) {
    kvm_msr_entry& entry = list->entries[list->nmsrs++];
    entry = {};
    entry.index = index;
    entry.data = value_of(state);
  });
  const int set = kvm::call(vcpu_, KVM_SET_MSRS, list);
  if (set < 0) return errno_error(-set, "KVM_SET_MSRS");
  if (static_cast<uint32_t>(set) == list->nmsrs) return ok();
  return error("KVM_SET_MSRS: KVM does not take {:#x} for MSR {:#x}", uint64_t{list->entries[set].data}, list->entries[set].index);
}

Result<void> VcpuState::get_activity(CpuState& state) {
  if (!has_apic_) return ok();
  kvm_mp_state activity{};
  if (auto good = call(KVM_GET_MP_STATE, &activity, "KVM_GET_MP_STATE"); !good) return good;
  switch (activity.mp_state) {
    case KVM_MP_STATE_HALTED: state.activity = x86::Activity::kHalted; break;
    case KVM_MP_STATE_UNINITIALIZED:
    case KVM_MP_STATE_INIT_RECEIVED: state.activity = x86::Activity::kWaitForSipi; break;
    default: state.activity = x86::Activity::kRunning; break;
  }
  return ok();
}

// A processor that waits for a start-up message after power-on is to KVM one that has been sent an INIT.
Result<void> VcpuState::set_activity(const CpuState& state) {
  if (!has_apic_) return ok();
  kvm_mp_state activity{KVM_MP_STATE_RUNNABLE};
  if (state.activity == x86::Activity::kHalted) activity.mp_state = KVM_MP_STATE_HALTED;
  if (state.activity == x86::Activity::kWaitForSipi) activity.mp_state = KVM_MP_STATE_INIT_RECEIVED;
  return call(KVM_SET_MP_STATE, &activity, "KVM_SET_MP_STATE");
}

// What KVM had begun to deliver when it came back is delivered anew. Of software interrupts and breakpoints, whose
// instruction has not been passed yet, that is done by the instruction.
Result<void> VcpuState::get_events(CpuState& state, Beside& beside) {
  kvm_vcpu_events events{};
  if (auto good = call(KVM_GET_VCPU_EVENTS, &events, "KVM_GET_VCPU_EVENTS"); !good) return good;
  state.pending = {};
  const auto& exception = events.exception;
  if (exception.injected && exception.nr != x86::kBreakpoint && exception.nr != x86::kOverflow)
    state.pending = {EventKind::kException, exception.nr, exception.has_error_code != 0, exception.error_code};
  else if (events.nmi.injected)
    state.pending = {EventKind::kNmi, x86::kNmi, false, 0};
  else if (events.interrupt.injected && !events.interrupt.soft)
    state.pending = {EventKind::kExternalInterrupt, events.interrupt.nr, false, 0};
  state.sti_shadow = events.interrupt.shadow & KVM_X86_SHADOW_INT_STI;
  state.mov_ss_shadow = events.interrupt.shadow & KVM_X86_SHADOW_INT_MOV_SS;
  state.nmi_blocked = events.nmi.masked;
  beside.nmi_waits = events.nmi.pending;
  beside.nmi_is_new = false;
  return ok();
}

Result<void> VcpuState::set_events(const CpuState& state, const Beside& beside) {
  kvm_vcpu_events events{};
  events.flags = KVM_VCPUEVENT_VALID_SHADOW | (beside.nmi_is_new || !has_apic_ ? KVM_VCPUEVENT_VALID_NMI_PENDING : 0);
  const x86::PendingEvent& pending = state.pending;
  switch (pending.kind) {
    case EventKind::kNone: break;
    case EventKind::kException:
      events.exception.injected = 1;
      events.exception.nr = pending.vector;
      events.exception.has_error_code = pending.has_error_code;
      events.exception.error_code = pending.error_code;
      break;
    case EventKind::kSoftwareInterrupt:
    case EventKind::kExternalInterrupt:
      events.interrupt.injected = 1;
      events.interrupt.nr = pending.vector;
      events.interrupt.soft = pending.kind == EventKind::kSoftwareInterrupt;
      break;
    case EventKind::kNmi: events.nmi.injected = 1; break;
  }
  events.interrupt.shadow = static_cast<uint8_t>((state.sti_shadow ? KVM_X86_SHADOW_INT_STI : 0) |
                                                 (state.mov_ss_shadow ? KVM_X86_SHADOW_INT_MOV_SS : 0));
  events.nmi.masked = state.nmi_blocked;
  events.nmi.pending = beside.nmi_waits;
  return call(KVM_SET_VCPU_EVENTS, &events, "KVM_SET_VCPU_EVENTS");
}

}  // namespace skerry::accel::kvm
