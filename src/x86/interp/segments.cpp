// Segment registers, descriptor-table registers, and the instructions that look at descriptors. Intel SDM vol. 2.
#include "x86/interp/segments.hpp"

#include "base/units.hpp"
#include "x86/interp/operands.hpp"

namespace skerry::x86 {

namespace {

bool legacy_loads(const Interpreter& in) { return !in.state.protected_mode() || in.state.v86_mode(); }

// Loads a segment register other than CS. Nothing is changed on a fault.
bool load_segment(Interpreter& in, unsigned number, uint16_t selector) {
  CpuState& s = in.state;
  if (legacy_loads(in)) {
    // Real mode changes selector and base only: limits stay as they are ("unreal" mode).
    Segment& segment = s.seg[number];
    if (s.v86_mode()) {
      segment = make_real_segment(selector, true);
    } else if (segment.unusable) {
      segment = make_real_segment(selector, false);
    } else {
      segment.selector = selector;
      segment.base = static_cast<uint64_t>(selector) << 4;
    }
    return true;
  }
  Segment segment;
  if (number == kSs) {
    if (Selector{selector}.null() && in.code64() && in.cpl() != 3 && Selector{selector}.rpl() == in.cpl())
      segment = make_null_segment(selector, static_cast<uint8_t>(in.cpl()));
    else if (!read_stack_segment(in, selector, in.cpl(), kGeneralProtection, 0, segment))
      return false;
  } else if (!read_data_segment(in, selector, segment)) {
    return false;
  }
  s.seg[number] = segment;
  return true;
}

Flow loaded(Interpreter& in, unsigned number) {
  if (number == kSs) {
    in.state.mov_ss_shadow = true;
    in.mode_changed();
    return Flow::kStop;
  }
  return Flow::kNext;
}

template <bool kMemory>
Flow mov_to_segment(Interpreter& in, const Insn& insn) {
  if (insn.reg[0] == kCs || insn.reg[0] >= kSegmentCount) return in.ud();
  uint16_t selector;
  if (!read_rm<uint16_t, kMemory>(in, insn, 1, selector)) return Flow::kFault;
  return load_segment(in, insn.reg[0], selector) ? loaded(in, insn.reg[0]) : Flow::kFault;
}

Flow mov_from_segment_memory(Interpreter& in, const Insn& insn) {
  const uint16_t selector = in.state.seg[insn.reg[0]].selector;
  return in.store<uint16_t>(insn.segment, in.ea(insn), selector) ? Flow::kNext : Flow::kFault;
}
Flow mov_from_segment_register(Interpreter& in, const Insn& insn) {
  in.set_gpr_sized(insn.reg[0] / 8, insn.op_size, in.state.seg[insn.reg[1]].selector);
  return Flow::kNext;
}

// A push of 32 bits writes the low 16 of its slot only, as all recent processors do (SDM vol. 2, PUSH).
Flow push_segment(Interpreter& in, const Insn& insn) {
  const uint16_t selector = in.state.seg[insn.reg[0]].selector;
  if (insn.op_size != 4) return in.push(insn.op_size, selector) ? Flow::kNext : Flow::kFault;
  const uint64_t to = (in.state.gpr[kRsp] - 4) & in.stack_mask();
  if (!in.store<uint16_t>(kSs, to, selector)) return Flow::kFault;
  in.set_stack_pointer(to);
  return Flow::kNext;
}
Flow pop_segment(Interpreter& in, const Insn& insn) {
  uint64_t value;
  if (!in.pop(insn.op_size, value)) return Flow::kFault;
  const uint64_t old_rsp = in.state.gpr[kRsp];
  const uint64_t new_rsp = old_rsp + insn.op_size;
  if (insn.reg[0] == kSs) {
    // The stack pointer moves by the old stack's size.
    in.set_stack_pointer(new_rsp);
    if (load_segment(in, kSs, static_cast<uint16_t>(value))) return loaded(in, kSs);
    in.state.gpr[kRsp] = old_rsp;
    return Flow::kFault;
  }
  if (!load_segment(in, insn.reg[0], static_cast<uint16_t>(value))) return Flow::kFault;
  in.set_stack_pointer(new_rsp);
  return Flow::kNext;
}

// LDS, LES, LFS, LGS, LSS: insn.aux is the segment register.
Flow load_far_pointer(Interpreter& in, const Insn& insn) {
  const uint64_t offset = in.ea(insn);
  uint64_t target = 0;
  uint16_t selector = 0;
  if (!in.load_bytes(insn.segment, offset, &target, insn.op_size) ||
      !in.load<uint16_t>(insn.segment, offset + insn.op_size, selector))
    return Flow::kFault;
  if (!load_segment(in, insn.aux, selector)) return Flow::kFault;
  in.set_gpr_sized(insn.reg[0] / 8, insn.op_size, target);
  if (insn.aux != kSs) return Flow::kNext;
  in.mode_changed();  // LSS makes no shadow
  return Flow::kStop;
}

// Descriptor-table registers -------------------------------------------------------------------------------------------

bool umip_forbids(const Interpreter& in) { return (in.state.cr4 & cr4::kUmip) && in.cpl() > 0; }

template <bool kIdt>
Flow load_table(Interpreter& in, const Insn& insn) {  // LGDT, LIDT
  if (in.cpl() != 0) return in.gp();
  const uint64_t offset = in.ea(insn);
  DescriptorTable table;
  const unsigned base_size = in.code64() ? 8 : 4;
  if (!in.load<uint16_t>(insn.segment, offset, table.limit) ||
      !in.load_bytes(insn.segment, offset + 2, &table.base, base_size))
    return Flow::kFault;
  if (in.code64() && !Interpreter::canonical(table.base)) return in.gp();
  if (!in.code64() && insn.op_size == 2) table.base &= 0xffffff;
  (kIdt ? in.state.idtr : in.state.gdtr) = table;
  return Flow::kNext;
}

template <bool kIdt>
Flow store_table(Interpreter& in, const Insn& insn) {  // SGDT, SIDT
  if (umip_forbids(in)) return in.gp();
  const DescriptorTable& table = kIdt ? in.state.idtr : in.state.gdtr;
  uint8_t image[10];
  __builtin_memcpy(image, &table.limit, 2);
  __builtin_memcpy(image + 2, &table.base, 8);
  return in.store_bytes(insn.segment, in.ea(insn), image, in.code64() ? 10 : 6) ? Flow::kNext : Flow::kFault;
}

// LDT and TSS descriptors are of 16 bytes in long mode.
bool read_system_descriptor(Interpreter& in, Selector selector, Descriptor& descriptor, Segment& segment) {
  const auto refuse = [&] { return (in.gp(selector.error_code()), false); };
  if (selector.local()) return refuse();
  if (!read_descriptor(in, selector, descriptor)) return false;
  segment = make_segment(selector.value, descriptor);
  if (!in.state.long_mode_active()) return true;
  uint64_t high = 0;
  if (selector.offset() + 15u > in.state.gdtr.limit) return refuse();
  if (!in.load_system(descriptor_address(in, selector) + 8, &high, 8)) return false;
  if (high >> 40 & 0x1f) return refuse();  // the upper type field must be zero
  segment.base |= high << 32;
  return Interpreter::canonical(segment.base) || refuse();
}

template <bool kMemory>
Flow lldt(Interpreter& in, const Insn& insn) {
  if (legacy_loads(in)) return in.ud();
  if (in.cpl() != 0) return in.gp();
  uint16_t value;
  if (!read_rm<uint16_t, kMemory>(in, insn, 0, value)) return Flow::kFault;
  const Selector selector{value};
  if (selector.null()) {
    in.state.ldtr = make_null_segment(value, 0);
    return Flow::kNext;
  }
  Descriptor descriptor;
  Segment segment;
  if (!read_system_descriptor(in, selector, descriptor, segment)) return Flow::kFault;
  if (descriptor.code_or_data() || descriptor.type() != kLdt) return in.gp(selector.error_code());
  if (!descriptor.present()) return in.raise(kSegmentNotPresent, selector.error_code());
  in.state.ldtr = segment;
  return Flow::kNext;
}

template <bool kMemory>
Flow ltr(Interpreter& in, const Insn& insn) {
  if (legacy_loads(in)) return in.ud();
  if (in.cpl() != 0) return in.gp();
  uint16_t value;
  if (!read_rm<uint16_t, kMemory>(in, insn, 0, value)) return Flow::kFault;
  const Selector selector{value};
  if (selector.null()) return in.gp();
  Descriptor descriptor;
  Segment segment;
  if (!read_system_descriptor(in, selector, descriptor, segment)) return Flow::kFault;
  const bool available = descriptor.type() == kTss32Available ||
                         (descriptor.type() == kTss16Available && !in.state.long_mode_active());
  if (descriptor.code_or_data() || !available) return in.gp(selector.error_code());
  if (!descriptor.present()) return in.raise(kSegmentNotPresent, selector.error_code());
  if (!in.or_system_byte(descriptor_address(in, selector) + 5, 2)) return Flow::kFault;  // busy
  segment.type |= 2;
  in.state.tr = segment;
  return Flow::kNext;
}

template <bool kTask, bool kMemory>
Flow store_selector(Interpreter& in, const Insn& insn) {  // SLDT, STR
  if (legacy_loads(in)) return in.ud();
  if (umip_forbids(in)) return in.gp();
  const uint16_t selector = kTask ? in.state.tr.selector : in.state.ldtr.selector;
  if constexpr (kMemory)
    return in.store<uint16_t>(insn.segment, in.ea(insn), selector) ? Flow::kNext : Flow::kFault;
  in.set_gpr_sized(insn.reg[0] / 8, insn.op_size, selector);
  return Flow::kNext;
}

// Looking at descriptors ------------------------------------------------------------------------------------------------

Flow set_zf(Interpreter& in, bool value) {
  in.state.rflags = (in.state.rflags & ~flags::kZf) | (value ? flags::kZf : 0);
  return Flow::kNext;
}

// Reads a descriptor for LAR, LSL, VERR and VERW, which do not fault on bad selectors. `found` says whether it is there
// and visible at CPL and RPL.
bool inspect(Interpreter& in, uint16_t value, Descriptor& descriptor, bool& found) {
  const Selector selector{value};
  found = false;
  const CpuState& s = in.state;
  const uint32_t limit = selector.local() ? s.ldtr.limit : s.gdtr.limit;
  if (selector.null() || (selector.local() && s.ldtr.unusable) || selector.offset() + 7u > limit) return true;
  if (!in.load_system(descriptor_address(in, selector), &descriptor.raw, 8)) return false;
  found = descriptor.is_conforming() || (in.cpl() <= descriptor.dpl() && selector.rpl() <= descriptor.dpl());
  return true;
}

bool inspectable_system_type(const Interpreter& in, unsigned type, bool with_gates) {
  const bool wide = in.state.long_mode_active();
  switch (type) {
    case kLdt:
    case kTss32Available:
    case kTss32Busy: return true;
    case kTss16Available:
    case kTss16Busy: return !wide;
    case kCallGate32: return with_gates;
    case kCallGate16:
    case kTaskGate: return with_gates && !wide;
    default: return false;
  }
}

template <bool kLimit, bool kMemory>
Flow inspect_segment(Interpreter& in, const Insn& insn) {  // LAR, LSL
  if (legacy_loads(in)) return in.ud();
  uint16_t selector;
  if (!read_rm<uint16_t, kMemory>(in, insn, 1, selector)) return Flow::kFault;
  Descriptor descriptor;
  bool found = false;
  if (!inspect(in, selector, descriptor, found)) return Flow::kFault;
  if (!found || (!descriptor.code_or_data() && !inspectable_system_type(in, descriptor.type(), !kLimit)))
    return set_zf(in, false);
  const uint64_t value = kLimit ? descriptor.limit() : descriptor.raw >> 32 & 0x00ffff00;
  in.set_gpr_sized(insn.reg[0] / 8, insn.op_size, value);
  return set_zf(in, true);
}

template <bool kWrite, bool kMemory>
Flow verify_segment(Interpreter& in, const Insn& insn) {  // VERR, VERW
  if (legacy_loads(in)) return in.ud();
  uint16_t selector;
  if (!read_rm<uint16_t, kMemory>(in, insn, 0, selector)) return Flow::kFault;
  Descriptor descriptor;
  bool found = false;
  if (!inspect(in, selector, descriptor, found)) return Flow::kFault;
  return set_zf(in, found && (kWrite ? descriptor.is_writable_data() : descriptor.is_readable()));
}

Flow arpl(Interpreter& in, const Insn& insn, bool memory) {
  if (legacy_loads(in)) return in.ud();
  const uint16_t source = in.gpr<uint16_t>(insn.reg[memory ? 0 : 1]);
  const auto adjust = [&](uint16_t value) {
    return static_cast<uint16_t>((value & 3) < (source & 3) ? (value & ~3) | (source & 3) : value);
  };
  uint16_t old = 0;
  if (memory) {
    // As processors do it: a selector that stays is not written, and may be where nothing can be.
    if (!in.load<uint16_t>(insn.segment, in.ea(insn), old)) return Flow::kFault;
    if (adjust(old) != old && !in.modify<uint16_t>(insn.segment, in.ea(insn), false, adjust, old)) return Flow::kFault;
  } else {
    old = in.gpr<uint16_t>(insn.reg[0]);
    in.set_gpr<uint16_t>(insn.reg[0], adjust(old));
  }
  return set_zf(in, (old & 3) < (source & 3));
}
Flow arpl_memory(Interpreter& in, const Insn& insn) { return arpl(in, insn, true); }
Flow arpl_register(Interpreter& in, const Insn& insn) { return arpl(in, insn, false); }

// Segment bases in 64-bit mode --------------------------------------------------------------------------------------------

template <unsigned kSegment>
Flow read_base(Interpreter& in, const Insn& insn) {
  if (!(in.state.cr4 & cr4::kFsgsbase)) return in.ud();
  in.set_gpr_sized(insn.reg[0] / 8, insn.op_size == 8 ? 8 : 4, in.state.seg[kSegment].base);
  return Flow::kNext;
}
template <unsigned kSegment>
Flow write_base(Interpreter& in, const Insn& insn) {
  if (!(in.state.cr4 & cr4::kFsgsbase)) return in.ud();
  const uint64_t base = in.gpr_sized(insn.reg[0] / 8, insn.op_size == 8 ? 8 : 4);
  if (!Interpreter::canonical(base)) return in.gp();
  in.state.seg[kSegment].base = base;
  return Flow::kNext;
}
Flow swapgs(Interpreter& in, const Insn&) {
  if (in.cpl() != 0) return in.gp();
  std::swap(in.state.seg[kGs].base, in.state.kernel_gs_base);
  return Flow::kNext;
}

bool is_segment(const Lowering& lowering, unsigned n) {
  return is_register(lowering, n) &&
         ZydisRegisterGetClass(lowering.decoded.operands[n].reg.value) == ZYDIS_REGCLASS_SEGMENT;
}

Handler select_moves(const Lowering& lowering) {
  if (is_segment(lowering, 0)) return is_memory(lowering, 1) ? mov_to_segment<true> : mov_to_segment<false>;
  if (is_segment(lowering, 1)) return is_memory(lowering, 0) ? mov_from_segment_memory : mov_from_segment_register;
  return nullptr;
}

}  // namespace

Handler select_segments(Lowering& lowering) {
  const bool memory0 = is_memory(lowering, 0), memory1 = is_memory(lowering, 1);
  const auto far_pointer = [&](unsigned segment) -> Handler {
    lowering.insn.aux = static_cast<uint16_t>(segment);
    return load_far_pointer;
  };
  switch (lowering.decoded.instruction.mnemonic) {
    case ZYDIS_MNEMONIC_MOV: return select_moves(lowering);
    case ZYDIS_MNEMONIC_PUSH: return is_segment(lowering, 0) ? push_segment : nullptr;
    case ZYDIS_MNEMONIC_POP: return is_segment(lowering, 0) ? pop_segment : nullptr;
    case ZYDIS_MNEMONIC_LES: return far_pointer(kEs);
    case ZYDIS_MNEMONIC_LDS: return far_pointer(kDs);
    case ZYDIS_MNEMONIC_LSS: return far_pointer(kSs);
    case ZYDIS_MNEMONIC_LFS: return far_pointer(kFs);
    case ZYDIS_MNEMONIC_LGS: return far_pointer(kGs);
    case ZYDIS_MNEMONIC_LGDT: return load_table<false>;
    case ZYDIS_MNEMONIC_LIDT: return load_table<true>;
    case ZYDIS_MNEMONIC_SGDT: return store_table<false>;
    case ZYDIS_MNEMONIC_SIDT: return store_table<true>;
    case ZYDIS_MNEMONIC_LLDT: return memory0 ? lldt<true> : lldt<false>;
    case ZYDIS_MNEMONIC_LTR: return memory0 ? ltr<true> : ltr<false>;
    case ZYDIS_MNEMONIC_SLDT: return memory0 ? store_selector<false, true> : store_selector<false, false>;
    case ZYDIS_MNEMONIC_STR: return memory0 ? store_selector<true, true> : store_selector<true, false>;
    case ZYDIS_MNEMONIC_LAR: return memory1 ? inspect_segment<false, true> : inspect_segment<false, false>;
    case ZYDIS_MNEMONIC_LSL: return memory1 ? inspect_segment<true, true> : inspect_segment<true, false>;
    case ZYDIS_MNEMONIC_VERR: return memory0 ? verify_segment<false, true> : verify_segment<false, false>;
    case ZYDIS_MNEMONIC_VERW: return memory0 ? verify_segment<true, true> : verify_segment<true, false>;
    case ZYDIS_MNEMONIC_ARPL: return memory0 ? arpl_memory : arpl_register;
    case ZYDIS_MNEMONIC_RDFSBASE: return read_base<kFs>;
    case ZYDIS_MNEMONIC_RDGSBASE: return read_base<kGs>;
    case ZYDIS_MNEMONIC_WRFSBASE: return write_base<kFs>;
    case ZYDIS_MNEMONIC_WRGSBASE: return write_base<kGs>;
    case ZYDIS_MNEMONIC_SWAPGS: return swapgs;
    default: return nullptr;
  }
}

}  // namespace skerry::x86
