// RDMSR and WRMSR. Names and numbers as in Intel SDM vol. 4 (without IA32_) and AMD APM vol. 2, appendix A.
#include <array>

#include "base/log.hpp"
#include "base/units.hpp"
#include "x86/interp/operands.hpp"

namespace skerry::x86 {

namespace {

enum Msr : uint32_t {
  kP5McAddr = 0x0, kP5McType = 0x1, kTsc = 0x10, kPlatformId = 0x17, kEblCrPoweron = 0x2a, kEbcFrequencyId = 0x2c,
  kFeatureControl = 0x3a, kTscAdjust = 0x3b, kBiosUpdateTrigger = 0x79, kBiosSignId = 0x8b, kFsbFreq = 0xcd,
  kSpecCtrl = 0x48, kPredCmd = 0x49, kPlatformInfo = 0xce, kMtrrCap = 0xfe, kArchCapabilities = 0x10a, kBblCrCtl3 = 0x11e, kMiscFeaturesEnables = 0x140,
  kSysenterCs = 0x174, kSysenterEsp = 0x175, kSysenterEip = 0x176, kMcgCap = 0x179, kMcgStatus = 0x17a, kMcgCtl = 0x17b,
  kPerfStatus = 0x198, kPerfCtl = 0x199, kMiscEnable = 0x1a0, kDebugctl = 0x1d9, kLbrFromIp = 0x1db, kLbrIntToIp = 0x1de,
  kMtrrPhysBase0 = 0x200, kMtrrFix64k00000 = 0x250, kMtrrFix16k80000 = 0x258, kMtrrFix16kA0000 = 0x259,
  kMtrrFix4kC0000 = 0x268, kPat = 0x277, kMtrrDefType = 0x2ff, kMc0Ctl = 0x400,
  kEfer = 0xc0000080, kStar = 0xc0000081, kLstar = 0xc0000082, kCstar = 0xc0000083, kFmask = 0xc0000084,
  kKvmStealTime = 0x4b564d03, kKvmPvEoi = 0x4b564d04,
  kFsBase = 0xc0000100, kGsBase = 0xc0000101, kKernelGsBase = 0xc0000102, kTscAux = 0xc0000103,
};

// AMD's: what kernels read or write without asking CPUID first. A write does nothing.
struct AmdMsr {
  uint32_t index;
  uint64_t value;
};
constexpr std::array kAmdMsrs = {
    AmdMsr{0xc0010010, 0},        // SYSCFG
    AmdMsr{0xc0010015, 1 << 24},  // HWCR: the TSC counts at the frequency of P0
    AmdMsr{0xc001001a, 0},        // TOP_MEM
    AmdMsr{0xc001001d, 0},        // TOP_MEM2
    AmdMsr{0xc001001f, 0},        // NB_CFG
    AmdMsr{0xc0010055, 0},        // INT_PENDING
    AmdMsr{0xc0010058, 0},        // MMIO_CFG_BASE: no memory-mapped configuration space
    AmdMsr{0xc001008b, 0x01000065},  // PATCH_LEVEL
    AmdMsr{0xc0010112, 0},        // SMM_ADDR
    AmdMsr{0xc0010113, 0},        // SMM_MASK
    AmdMsr{0xc0010114, 0x10},     // VM_CR: SVM is disabled
    AmdMsr{0xc0011020, 0},        // LS_CFG
    AmdMsr{0xc0011021, 0},        // IC_CFG
    AmdMsr{0xc0011022, 0},        // DC_CFG
    AmdMsr{0xc0011023, 0},        // BU_CFG
    AmdMsr{0xc0011029, 2},        // DE_CFG: LFENCE is serializing
    AmdMsr{0xc001102a, 0},        // BU_CFG2
};

const AmdMsr* amd_msr(const CpuModel& model, uint32_t index) {
  if (!model.amd()) return nullptr;
  for (const AmdMsr& msr : kAmdMsrs)
    if (msr.index == index) return &msr;
  return nullptr;
}

// What a guest has nothing to defend against by its page tables or by clearing buffers: no access of it reaches the
// processor before a check in software has allowed it. RDCL_NO, SKIP_L1DFL_VMENTRY, MDS_NO, IF_PSCHANGE_MC_NO, TAA_NO,
// SBDR_SSDP_NO, FBSDP_NO, PSDP_NO, GDS_NO, RFDS_NO. Intel SDM vol. 4, table 2-2.
constexpr uint64_t kNotAffected = bit(0) | bit(3) | bit(5) | bit(6) | bit(8) | bit(13) | bit(14) | bit(15) | bit(26) | bit(27);

// Nor do the processor's branches know of the guest's, so that it makes no difference how a kernel jumps: IBRS_ALL, BHI_NO, PBRSB_NO,
// ITS_NO. They are said together with `spec_ctrl`: IBRS is to be set once, and does nothing.
constexpr uint64_t kNotAffectedBranches = bit(1) | bit(20) | bit(24) | bit(62);

bool has_spec_ctrl(const CpuModel& model) { return model.has_named("spec_ctrl"); }
constexpr uint64_t kSpecCtrlBits = bit(0) | bit(1) | bit(2) | bit(10);  // IBRS, STIBP, SSBD, BHI_DIS_S

constexpr unsigned kBanks = 4;  // of machine-check registers, four each

// A register that is a plain field of CpuState; `mask` is what may be set.
struct Field {
  uint32_t index;
  uint64_t CpuState::*member;
  uint64_t mask;
  bool canonical;
};
constexpr std::array kFields = {
    Field{kSysenterCs, &CpuState::sysenter_cs, 0xffffffff, false},
    Field{kSysenterEsp, &CpuState::sysenter_esp, ~uint64_t{0}, true},
    Field{kSysenterEip, &CpuState::sysenter_eip, ~uint64_t{0}, true},
    Field{kStar, &CpuState::star, ~uint64_t{0}, false},
    Field{kLstar, &CpuState::lstar, ~uint64_t{0}, true},
    Field{kCstar, &CpuState::cstar, ~uint64_t{0}, true},
    Field{kFmask, &CpuState::fmask, 0xffffffff, false},
    Field{kKernelGsBase, &CpuState::kernel_gs_base, ~uint64_t{0}, true},
    Field{kTscAux, &CpuState::tsc_aux, 0xffffffff, false},
    Field{kMcgStatus, &CpuState::mcg_status, 7, false},
    Field{kMcgCtl, &CpuState::mcg_ctl, ~uint64_t{0}, false},
    Field{kMiscEnable, &CpuState::misc_enable, ~uint64_t{0}, false},
    Field{kKvmPvEoi, &CpuState::kvm_pv_eoi, kPvEoiWritable, false},  // an offer to the local APIC, which need not take it
    Field{kDebugctl, &CpuState::debugctl, 3, false},  // LBR and BTF: kept, without effect
};

const Field* field_of(uint32_t index) {
  for (const Field& field : kFields)
    if (field.index == index) return &field;
  return nullptr;
}

bool memory_type_valid(unsigned type) { return type == 0 || type == 1 || (type >= 4 && type <= 6); }
bool each_byte_valid(uint64_t value, bool pat) {
  for (unsigned n = 0; n < 8; ++n) {
    const unsigned type = value >> (8 * n) & 0xff;
    if (!memory_type_valid(type) && !(pat && type == 7)) return false;
  }
  return true;
}

uint64_t* fixed_mtrr(CpuState& s, uint32_t index) {
  if (index == kMtrrFix64k00000) return &s.mtrr.fixed[0];
  if (index == kMtrrFix16k80000 || index == kMtrrFix16kA0000) return &s.mtrr.fixed[1 + index - kMtrrFix16k80000];
  if (index >= kMtrrFix4kC0000 && index < kMtrrFix4kC0000 + 8) return &s.mtrr.fixed[3 + index - kMtrrFix4kC0000];
  return nullptr;
}

bool is_machine_check_bank(uint32_t index) { return index >= kMc0Ctl && index < kMc0Ctl + 4 * kBanks; }

bool read_mtrr(CpuState& s, uint32_t index, uint64_t& value) {
  if (index == kMtrrCap) return (value = 0x500 | Mtrr::kVariableCount, true);  // fixed ranges and write combining
  if (index == kMtrrDefType) return (value = s.mtrr.def_type, true);
  if (const uint64_t* fixed = fixed_mtrr(s, index)) return (value = *fixed, true);
  if (index < kMtrrPhysBase0 || index >= kMtrrPhysBase0 + 2 * Mtrr::kVariableCount) return false;
  const unsigned n = (index - kMtrrPhysBase0) / 2;
  value = index & 1 ? s.mtrr.mask[n] : s.mtrr.base[n];
  return true;
}

bool write_efer(Interpreter& in, uint64_t value) {
  CpuState& s = in.state;
  if (value & ~in.model.efer_allowed()) return false;
  if ((s.cr0 & cr0::kPg) && ((value ^ s.efer) & efer::kLme)) return false;
  s.efer = (value & ~efer::kLma) | (s.efer & efer::kLma);
  return true;
}

// A write of the TSC moves TSC_ADJUST by as much, and the other way round. SDM vol. 3, 18.17.3.
void write_tsc(Interpreter& in, uint64_t value) {
  CpuState& s = in.state;
  const uint64_t offset = value - in.env.tsc();
  s.tsc_adjust += offset - s.tsc_offset;
  s.tsc_offset = offset;
  in.env.tsc_offset_changed(offset);
}

bool write_mtrr(Interpreter& in, uint32_t index, uint64_t value, bool& legal) {
  CpuState& s = in.state;
  legal = true;
  if (index == kMtrrCap) return (legal = false, true);
  if (index == kMtrrDefType) {
    legal = !(value & ~uint64_t{0xcff}) && memory_type_valid(value & 0xff);
    if (legal) s.mtrr.def_type = value;
    return true;
  }
  if (uint64_t* fixed = fixed_mtrr(s, index)) {
    legal = each_byte_valid(value, false);
    if (legal) *fixed = value;
    return true;
  }
  if (index < kMtrrPhysBase0 || index >= kMtrrPhysBase0 + 2 * Mtrr::kVariableCount) return false;
  const unsigned n = (index - kMtrrPhysBase0) / 2;
  const uint64_t reserved = ~uint64_t{0} << in.model.physical_address_bits();
  legal = !(value & reserved) && (index & 1 ? !(value & 0x7ff) : !(value & 0xf00) && memory_type_valid(value & 0xff));
  if (legal) (index & 1 ? s.mtrr.mask[n] : s.mtrr.base[n]) = value;
  return true;
}

}  // namespace

bool Interpreter::read_msr(uint32_t msr, uint64_t& value) {
  CpuState& s = state;
  switch (env.read_msr(msr, value)) {
    case MsrResult::kDone: return true;
    case MsrResult::kFault: return false;
    case MsrResult::kUnknown: break;
  }
  value = 0;
  if (const Field* field = field_of(msr)) return (value = s.*field->member, true);
  if (read_mtrr(s, msr, value)) return true;
  if (is_machine_check_bank(msr)) return true;
  if (const AmdMsr* known = amd_msr(model, msr)) return (value = known->value, true);
  switch (msr) {
    case kTsc: value = env.tsc() + s.tsc_offset; return true;
    case kTscAdjust: value = s.tsc_adjust; return true;
    case kEfer: value = s.efer; return true;
    case kPat: value = s.pat; return true;
    case kKvmStealTime: value = s.kvm_steal_time; return true;
    case kFsBase: value = s.seg[kFs].base; return true;
    case kGsBase: value = s.seg[kGs].base; return true;
    case kMcgCap: value = 0x100 | kBanks; return true;  // MCG_CTL is there
    case kArchCapabilities: value = kNotAffected | (has_spec_ctrl(model) ? kNotAffectedBranches : 0); return true;
    case kSpecCtrl: value = s.spec_ctrl; return has_spec_ctrl(model);
    case kFeatureControl: value = 1; return true;        // locked, nothing enabled
    case kBiosSignId: value = uint64_t{1} << 32; return true;
    case kPlatformInfo: value = (model.tsc_hz() / 100'000'000 & 0xff) << 8; return true;
    case kEbcFrequencyId: value = 1 << 24; return true;  // as KVM says: a bus of 266 MHz
    case kFsbFreq: value = 3; return true;
    case kP5McAddr: case kP5McType: case kPlatformId: case kEblCrPoweron: case kBblCrCtl3: case kMiscFeaturesEnables:
    case kPerfStatus: case kPerfCtl:
    case kLbrFromIp: case kLbrFromIp + 1: case kLbrIntToIp - 1: case kLbrIntToIp: return true;
    default: return false;
  }
}

bool Interpreter::write_msr(uint32_t msr, uint64_t value) {
  CpuState& s = state;
  switch (env.write_msr(msr, value)) {
    case MsrResult::kDone: return true;
    case MsrResult::kFault: return false;
    case MsrResult::kUnknown: break;
  }
  if (const Field* field = field_of(msr)) {
    if ((value & ~field->mask) || (field->canonical && !canonical(value))) return false;
    s.*field->member = value;
    return true;
  }
  bool legal = true;
  if (write_mtrr(*this, msr, value, legal)) return legal;
  if (is_machine_check_bank(msr)) return (msr & 3) == 0 || value == 0;
  if (amd_msr(model, msr)) return true;
  switch (msr) {
    case kTsc: write_tsc(*this, value); return true;
    case kTscAdjust:
      s.tsc_offset += value - s.tsc_adjust;
      s.tsc_adjust = value;
      env.tsc_offset_changed(s.tsc_offset);
      return true;
    case kEfer: return write_efer(*this, value);
    case kKvmStealTime: return write_steal_time(value);
    case kSpecCtrl:
      if (!has_spec_ctrl(model) || (value & ~kSpecCtrlBits)) return false;
      s.spec_ctrl = value;
      return true;
    case kPredCmd: return has_spec_ctrl(model) && value <= 1;
    case kPat:
      if (!each_byte_valid(value, true)) return false;
      s.pat = value;
      return true;
    case kFsBase:
    case kGsBase:
      if (!canonical(value)) return false;
      s.seg[msr == kFsBase ? kFs : kGs].base = value;
      return true;
    case kBiosUpdateTrigger: case kBiosSignId: case kMiscFeaturesEnables: case kEblCrPoweron: case kBblCrCtl3:
    case kPerfCtl: return true;
    default: return false;
  }
}

namespace {

Flow rdmsr(Interpreter& in, const Insn&) {
  if (in.cpl() != 0) return in.gp();
  const uint32_t index = static_cast<uint32_t>(in.state.gpr[kRcx]);
  uint64_t value = 0;
  if (!in.read_msr(index, value)) {
    log::debug(log::Category::kMsr, "vCPU {}: read of MSR {:#x} refused at {:#x}", in.index, index, in.insn_start());
    return in.gp();
  }
  in.state.gpr[kRax] = static_cast<uint32_t>(value);
  in.state.gpr[kRdx] = value >> 32;
  return Flow::kNext;
}

Flow wrmsr(Interpreter& in, const Insn&) {
  if (in.cpl() != 0) return in.gp();
  const uint32_t index = static_cast<uint32_t>(in.state.gpr[kRcx]);
  const uint64_t value = in.gpr_sized(kRdx, 4) << 32 | in.gpr_sized(kRax, 4);
  if (!in.write_msr(index, value)) {
    log::debug(log::Category::kMsr, "vCPU {}: write of {:#x} to MSR {:#x} refused at {:#x}", in.index, value, index,
               in.insn_start());
    return in.gp();
  }
  // The others change nothing that is cached: bases and addresses are read where they are used.
  if (index != kEfer) return Flow::kNext;
  in.mode_changed();
  return Flow::kStop;
}

}  // namespace

Handler select_msr(Lowering& lowering) {
  switch (lowering.decoded.instruction.mnemonic) {
    case ZYDIS_MNEMONIC_RDMSR: return rdmsr;
    case ZYDIS_MNEMONIC_WRMSR: return wrmsr;
    default: return nullptr;
  }
}

}  // namespace skerry::x86
