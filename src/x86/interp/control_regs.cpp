// Control and debug registers, TLB and cache instructions, HLT, interrupt flag, time-stamp counter, CPUID, random numbers.
// Intel SDM vol. 3, 2.5, 4.10, 17.2; vol. 2 for each instruction.
#include <immintrin.h>

#include "base/units.hpp"
#include "x86/interp/operands.hpp"
#include "x86/paging.hpp"

namespace skerry::x86 {

namespace {

constexpr uint64_t kCr0Known = cr0::kPe | cr0::kMp | cr0::kEm | cr0::kTs | cr0::kEt | cr0::kNe | cr0::kWp | cr0::kAm |
                               cr0::kNw | cr0::kCd | cr0::kPg;

Flow changed(Interpreter& in) {
  in.mode_changed();
  return Flow::kStop;
}

// Long mode becomes active when paging is switched on under EFER.LME. SDM vol. 3, 10.8.5.
Flow write_cr0(Interpreter& in, uint64_t value) {
  CpuState& s = in.state;
  if (value >> 32) return in.gp();
  value = (value & kCr0Known) | cr0::kEt;
  if ((value & cr0::kPg) && !(value & cr0::kPe)) return in.gp();
  if ((value & cr0::kNw) && !(value & cr0::kCd)) return in.gp();
  if (!(value & cr0::kPg) && (s.cr4 & cr4::kPcide)) return in.gp();
  if (!(value & cr0::kPg) && in.code64()) return in.gp();
  const bool paging_on = (value & cr0::kPg) && !(s.cr0 & cr0::kPg);
  const bool reload = (value & cr0::kPg) && ((value ^ s.cr0) & (cr0::kPg | cr0::kCd | cr0::kNw));
  if (paging_on && (s.efer & efer::kLme)) {
    if (!(s.cr4 & cr4::kPae) || s.seg[kCs].long_mode) return in.gp();
    if (s.tr.type == 1 || s.tr.type == 3) return in.gp();  // a 16-bit TSS
    s.efer |= efer::kLma;
  } else if (reload && (s.cr4 & cr4::kPae) && !s.long_mode_active()) {
    if (!load_pdptes(in.memory, view_of(s), s.cr3, in.model.physical_address_bits(), s.pdpte)) return in.gp();
  }
  if (!(value & cr0::kPg)) s.efer &= ~efer::kLma;
  s.cr0 = value;
  return changed(in);
}

Flow write_cr3(Interpreter& in, uint64_t value) {
  CpuState& s = in.state;
  const bool keep = (s.cr4 & cr4::kPcide) && (value & bit(63));
  if (keep) value &= ~bit(63);
  if (s.long_mode_active()) {
    if (value >> in.model.physical_address_bits()) return in.gp();
  } else if ((s.cr0 & cr0::kPg) && (s.cr4 & cr4::kPae)) {
    if (!load_pdptes(in.memory, view_of(s), value & 0xffffffff, in.model.physical_address_bits(), s.pdpte)) return in.gp();
  }
  s.cr3 = value;
  in.switch_address_space(keep);
  return Flow::kNext;
}

Flow write_cr4(Interpreter& in, uint64_t value) {
  CpuState& s = in.state;
  if (value & ~in.model.cr4_allowed()) return in.gp();
  const uint64_t difference = value ^ s.cr4;
  if (s.long_mode_active() && !(value & cr4::kPae)) return in.gp();
  if ((difference & value & cr4::kPcide) && (!s.long_mode_active() || (s.cr3 & 0xfff))) return in.gp();
  if (!s.long_mode_active() && (value & cr4::kPcide)) return in.gp();
  const bool reload = difference & (cr4::kPae | cr4::kPse | cr4::kPge | cr4::kSmep);
  if ((s.cr0 & cr0::kPg) && !s.long_mode_active() && (value & cr4::kPae) && reload)
    if (!load_pdptes(in.memory, view_of(s), s.cr3, in.model.physical_address_bits(), s.pdpte)) return in.gp();
  s.cr4 = value;
  return changed(in);
}

unsigned transfer_size(const Interpreter& in) { return in.code64() ? 8 : 4; }

Flow mov_from_cr(Interpreter& in, const Insn& insn) {
  if (in.cpl() != 0) return in.gp();
  const CpuState& s = in.state;
  uint64_t value = 0;
  switch (insn.reg[1]) {
    case 0: value = s.cr0; break;
    case 2: value = s.cr2; break;
    case 3: value = s.cr3; break;
    case 4: value = s.cr4; break;
    case 8: value = in.env.read_tpr(); break;
    default: return in.ud();
  }
  in.set_gpr_sized(insn.reg[0] / 8, transfer_size(in), value);
  return Flow::kNext;
}

Flow mov_to_cr(Interpreter& in, const Insn& insn) {
  if (in.cpl() != 0) return in.gp();
  const uint64_t value = in.gpr_sized(insn.reg[1] / 8, transfer_size(in));
  switch (insn.reg[0]) {
    case 0: return write_cr0(in, value);
    case 2: in.state.cr2 = value; return Flow::kNext;
    case 3: return write_cr3(in, value);
    case 4: return write_cr4(in, value);
    case 8:
      if (value >> 4) return in.gp();
      in.env.write_tpr(static_cast<uint8_t>(value));
      return Flow::kStop;
    default: return in.ud();
  }
}

Flow clts(Interpreter& in, const Insn&) {
  if (in.cpl() != 0) return in.gp();
  in.state.cr0 &= ~cr0::kTs;
  return changed(in);
}

// LMSW sets PE, MP, EM and TS; it cannot clear PE.
template <bool kMemory>
Flow lmsw(Interpreter& in, const Insn& insn) {
  if (in.cpl() != 0) return in.gp();
  uint16_t value;
  if (!read_rm<uint16_t, kMemory>(in, insn, 0, value)) return Flow::kFault;
  const uint64_t kept = in.state.cr0 & ~uint64_t{0xe};
  return write_cr0(in, kept | (value & 0xf));
}

template <bool kMemory>
Flow smsw(Interpreter& in, const Insn& insn) {
  if ((in.state.cr4 & cr4::kUmip) && in.cpl() > 0) return in.gp();
  if constexpr (kMemory)
    return in.store<uint16_t>(insn.segment, in.ea(insn), static_cast<uint16_t>(in.state.cr0)) ? Flow::kNext : Flow::kFault;
  in.set_gpr_sized(insn.reg[0] / 8, insn.op_size, in.state.cr0);
  return Flow::kNext;
}

// Debug registers ---------------------------------------------------------------------------------------------------------

constexpr uint64_t kDr7Gd = 1 << 13, kDr6Bd = 1 << 13;

// DR4 and DR5 are DR6 and DR7 unless CR4.DE; an access under DR7.GD is a #DB.
bool debug_access(Interpreter& in, unsigned& number, Flow& flow) {
  CpuState& s = in.state;
  if (number > 7) return (flow = in.ud(), false);
  if (in.cpl() != 0) return (flow = in.gp(), false);
  if (number == 4 || number == 5) {
    if (s.cr4 & cr4::kDe) return (flow = in.ud(), false);
    number += 2;
  }
  if (s.dr7 & kDr7Gd) {
    s.dr6 |= kDr6Bd;
    s.rflags |= flags::kRf;  // in the image that is pushed: unlike other #DB this one is a fault
    return (flow = in.raise(kDebug), false);
  }
  return true;
}

Flow mov_from_dr(Interpreter& in, const Insn& insn) {
  unsigned number = insn.reg[1];
  Flow flow = Flow::kNext;
  if (!debug_access(in, number, flow)) return flow;
  const CpuState& s = in.state;
  in.set_gpr_sized(insn.reg[0] / 8, transfer_size(in), number < 4 ? s.dr[number] : number == 6 ? s.dr6 : s.dr7);
  return Flow::kNext;
}

Flow mov_to_dr(Interpreter& in, const Insn& insn) {
  unsigned number = insn.reg[0];
  Flow flow = Flow::kNext;
  if (!debug_access(in, number, flow)) return flow;
  CpuState& s = in.state;
  const uint64_t value = in.gpr_sized(insn.reg[1] / 8, transfer_size(in));
  if (number < 4) {
    s.dr[number] = value;
  } else {
    if (value >> 32) return in.gp();
    if (number == 6) s.dr6 = (value & 0xe00f) | 0xffff0ff0;
    else s.dr7 = (value & 0xffff23ff) | 0x400;
  }
  return changed(in);
}

// Translations and caches -------------------------------------------------------------------------------------------------

Flow invlpg(Interpreter& in, const Insn& insn) {
  if (in.cpl() != 0) return in.gp();
  in.flush_page(in.ea(insn) + (insn.segment >= kFs || !in.code64() ? in.state.seg[insn.segment].base : 0));
  return Flow::kNext;
}

Flow invpcid(Interpreter& in, const Insn& insn) {
  if (in.cpl() != 0) return in.gp();
  const uint64_t type = in.code64() ? in.gpr<uint64_t>(insn.reg[0]) : in.gpr<uint32_t>(insn.reg[0]);
  uint64_t descriptor[2];
  if (!in.load_bytes(insn.segment, in.ea(insn), descriptor, 16)) return Flow::kFault;
  if (type > 3) return in.gp();
  const bool pcid_given = type < 2;
  if (pcid_given && (descriptor[0] >> 12)) return in.gp();
  if (pcid_given && (descriptor[0] & 0xfff) && !(in.state.cr4 & cr4::kPcide)) return in.gp();
  if (type == 0 && !Interpreter::canonical(descriptor[1])) return in.gp();
  constexpr uint64_t kAddress = 0, kPcid = 1, kAllWithGlobal = 2;
  if (type == kAddress) in.flush_page(descriptor[1]);
  else if (type == kPcid) in.flush_pcid(static_cast<uint16_t>(descriptor[0]));
  else if (type == kAllWithGlobal) in.flush_tlb();
  else in.flush_address_spaces();
  return Flow::kNext;
}

Flow cache_control(Interpreter& in, const Insn&) { return in.cpl() == 0 ? Flow::kNext : in.gp(); }  // WBINVD, INVD

// CLFLUSH and its kin are checked like a load of a byte.
Flow flush_line(Interpreter& in, const Insn& insn) {
  uint8_t byte;
  return in.load<uint8_t>(insn.segment, in.ea(insn), byte) ? Flow::kNext : Flow::kFault;
}

// Interrupts and waiting --------------------------------------------------------------------------------------------------

Flow hlt(Interpreter& in, const Insn&) {
  if (in.cpl() != 0) return in.gp();
  in.state.activity = Activity::kHalted;
  return Flow::kStop;
}

// With IOPL below CPL, CLI and STI work on VIF in virtual-8086 mode under CR4.VME and at CPL 3 under CR4.PVI, and fault
// elsewhere. SDM vol. 3, 20.3 and 20.4.
bool interrupt_flag_allowed(const Interpreter& in) {
  const CpuState& s = in.state;
  return !s.protected_mode() || in.cpl() <= s.iopl();
}
bool virtual_flag(const Interpreter& in) {
  return in.cpl() == 3 && (in.state.cr4 & (in.state.v86_mode() ? cr4::kVme : cr4::kPvi));
}

Flow cli(Interpreter& in, const Insn&) {
  CpuState& s = in.state;
  if (!interrupt_flag_allowed(in)) {
    if (!virtual_flag(in)) return in.gp();
    s.rflags &= ~flags::kVif;
    return Flow::kNext;
  }
  if (!(s.rflags & flags::kIf)) return Flow::kNext;
  s.rflags &= ~flags::kIf;
  return changed(in);
}

Flow sti(Interpreter& in, const Insn&) {
  CpuState& s = in.state;
  if (!interrupt_flag_allowed(in)) {
    if (!virtual_flag(in) || (s.rflags & flags::kVip)) return in.gp();
    s.rflags |= flags::kVif;
    return Flow::kNext;
  }
  if (s.rflags & flags::kIf) return Flow::kNext;
  s.sti_shadow = true;
  s.rflags |= flags::kIf;
  return changed(in);
}

template <bool kSet>
Flow smap_access(Interpreter& in, const Insn&) {  // STAC, CLAC
  if (in.cpl() != 0) return in.ud();
  in.state.rflags = kSet ? in.state.rflags | flags::kAc : in.state.rflags & ~flags::kAc;
  return changed(in);
}

Flow pause(Interpreter& in, const Insn&) {
  in.env.spin_hint();
  return Flow::kNext;
}

Flow nothing(Interpreter&, const Insn&) { return Flow::kNext; }

Flow fence(Interpreter&, const Insn&) {
  _mm_mfence();
  return Flow::kNext;
}

Flow undefined(Interpreter& in, const Insn&) { return in.ud(); }

// Time, identification, randomness ----------------------------------------------------------------------------------------

bool tsc_allowed(const Interpreter& in) { return !(in.state.cr4 & cr4::kTsd) || in.cpl() == 0; }

void set_pair(Interpreter& in, uint64_t value) {
  in.state.gpr[kRax] = static_cast<uint32_t>(value);
  in.state.gpr[kRdx] = value >> 32;
}

Flow rdtsc(Interpreter& in, const Insn&) {
  if (!tsc_allowed(in)) return in.gp();
  set_pair(in, in.env.tsc() + in.state.tsc_offset);
  return Flow::kNext;
}

Flow rdtscp(Interpreter& in, const Insn& insn) {
  const Flow flow = rdtsc(in, insn);
  if (flow == Flow::kNext) in.state.gpr[kRcx] = static_cast<uint32_t>(in.state.tsc_aux);
  return flow;
}

Flow rdpid(Interpreter& in, const Insn& insn) {
  in.set_gpr<uint64_t>(insn.reg[0], static_cast<uint32_t>(in.state.tsc_aux));
  return Flow::kNext;
}

Flow rdpmc(Interpreter& in, const Insn&) { return in.gp(); }  // no counters are offered

Flow cpuid(Interpreter& in, const Insn&) {
  CpuState& s = in.state;
  constexpr uint32_t kApicBase = 0x1b, kApicGlobalEnable = 1 << 11;
  uint64_t apic_base = kApicGlobalEnable;
  if (static_cast<uint32_t>(s.gpr[kRax]) == 1) (void)in.env.read_msr(kApicBase, apic_base);
  const CpuModel::Dynamic dynamic{in.index, s.cr4, s.xcr0, s.xss, (apic_base & kApicGlobalEnable) != 0};
  const CpuidResult r = in.model.cpuid(static_cast<uint32_t>(s.gpr[kRax]), static_cast<uint32_t>(s.gpr[kRcx]), dynamic);
  s.gpr[kRax] = r.eax;
  s.gpr[kRbx] = r.ebx;
  s.gpr[kRcx] = r.ecx;
  s.gpr[kRdx] = r.edx;
  return Flow::kNext;
}

__attribute__((target("rdrnd"))) bool host_rdrand(uint64_t& value) {
  unsigned long long random = 0;
  const bool good = _rdrand64_step(&random);
  value = random;
  return good;
}
__attribute__((target("rdseed"))) bool host_rdseed(uint64_t& value) {
  unsigned long long random = 0;
  const bool good = _rdseed64_step(&random);
  value = random;
  return good;
}

template <bool kSeed>
Flow random_number(Interpreter& in, const Insn& insn) {
  uint64_t value = 0;
  const bool good = kSeed ? host_rdseed(value) : host_rdrand(value);
  in.set_gpr_sized(insn.reg[0] / 8, insn.op_size, good ? value : 0);
  in.state.rflags = (in.state.rflags & ~flags::kStatus) | (good ? flags::kCf : 0);
  return Flow::kNext;
}

Handler select_mov(const Lowering& lowering) {
  for (unsigned n = 0; n < 2; ++n) {
    if (!is_register(lowering, n)) continue;
    const ZydisRegisterClass kind = ZydisRegisterGetClass(lowering.decoded.operands[n].reg.value);
    if (kind == ZYDIS_REGCLASS_CONTROL) return n == 0 ? mov_to_cr : mov_from_cr;
    if (kind == ZYDIS_REGCLASS_DEBUG) return n == 0 ? mov_to_dr : mov_from_dr;
  }
  return nullptr;
}

}  // namespace

Handler select_control(Lowering& lowering) {
  const bool memory = is_memory(lowering, 0);
  switch (lowering.decoded.instruction.mnemonic) {
    case ZYDIS_MNEMONIC_MOV: return select_mov(lowering);
    case ZYDIS_MNEMONIC_CLTS: return clts;
    case ZYDIS_MNEMONIC_LMSW: return memory ? lmsw<true> : lmsw<false>;
    case ZYDIS_MNEMONIC_SMSW: return memory ? smsw<true> : smsw<false>;
    case ZYDIS_MNEMONIC_INVLPG: return invlpg;
    case ZYDIS_MNEMONIC_INVPCID: return invpcid;
    case ZYDIS_MNEMONIC_WBINVD:
    case ZYDIS_MNEMONIC_INVD: return cache_control;
    case ZYDIS_MNEMONIC_CLFLUSH:
    case ZYDIS_MNEMONIC_CLFLUSHOPT:
    case ZYDIS_MNEMONIC_CLWB: return flush_line;
    case ZYDIS_MNEMONIC_HLT: return hlt;
    case ZYDIS_MNEMONIC_CLI: return cli;
    case ZYDIS_MNEMONIC_STI: return sti;
    case ZYDIS_MNEMONIC_STAC: return smap_access<true>;
    case ZYDIS_MNEMONIC_CLAC: return smap_access<false>;
    case ZYDIS_MNEMONIC_PAUSE: return pause;
    case ZYDIS_MNEMONIC_MFENCE: return fence;
    case ZYDIS_MNEMONIC_LFENCE:
    case ZYDIS_MNEMONIC_SFENCE:
    case ZYDIS_MNEMONIC_ENDBR32:
    case ZYDIS_MNEMONIC_ENDBR64:
    case ZYDIS_MNEMONIC_RDSSPD:
    case ZYDIS_MNEMONIC_RDSSPQ:
    case ZYDIS_MNEMONIC_CLDEMOTE:
    case ZYDIS_MNEMONIC_BNDMK:
    case ZYDIS_MNEMONIC_BNDMOV:
    case ZYDIS_MNEMONIC_BNDCL:
    case ZYDIS_MNEMONIC_BNDCU:
    case ZYDIS_MNEMONIC_BNDCN:
    case ZYDIS_MNEMONIC_BNDLDX:
    case ZYDIS_MNEMONIC_BNDSTX:
    case ZYDIS_MNEMONIC_PREFETCHWT1:
    case ZYDIS_MNEMONIC_PREFETCH:
    case ZYDIS_MNEMONIC_PREFETCHW:
    case ZYDIS_MNEMONIC_PREFETCHNTA:
    case ZYDIS_MNEMONIC_PREFETCHT0:
    case ZYDIS_MNEMONIC_PREFETCHT1:
    case ZYDIS_MNEMONIC_PREFETCHT2: return nothing;
    case ZYDIS_MNEMONIC_UD0:
    case ZYDIS_MNEMONIC_UD1:
    case ZYDIS_MNEMONIC_UD2: return undefined;
    case ZYDIS_MNEMONIC_RDTSC: return rdtsc;
    case ZYDIS_MNEMONIC_RDTSCP: return rdtscp;
    case ZYDIS_MNEMONIC_RDPID: return rdpid;
    case ZYDIS_MNEMONIC_RDPMC: return rdpmc;
    case ZYDIS_MNEMONIC_CPUID: return cpuid;
    case ZYDIS_MNEMONIC_RDRAND: return random_number<false>;
    case ZYDIS_MNEMONIC_RDSEED: return random_number<true>;
    default: return nullptr;
  }
}

}  // namespace skerry::x86
