// Hardware task switching. Intel SDM vol. 3, chapter 7.
#include "base/units.hpp"
#include "x86/interp/segments.hpp"
#include "x86/paging.hpp"

namespace skerry::x86 {

namespace {

// Where the parts of a TSS are (figures 7-2 and 7-10). Segment selectors are in the order of SegmentIndex.
struct TssLayout {
  unsigned size, word;  // of the whole, of a register
  unsigned ip, flags, gpr, segments, segment_step, segment_count, ldt;
  uint32_t minimum_limit;
};
constexpr TssLayout kTss32{104, 4, 0x20, 0x24, 0x28, 0x48, 4, 6, 0x60, 0x67};
constexpr TssLayout kTss16{44, 2, 0x0e, 0x10, 0x12, 0x22, 2, 4, 0x2a, 0x2b};
constexpr unsigned kCr3Offset = 0x1c, kTrapOffset = 0x64;
constexpr uint8_t kBusy = 2;

const TssLayout& layout_of(unsigned type) { return type & 8 ? kTss32 : kTss16; }

struct Image {
  std::array<uint8_t, 104> bytes{};
  uint32_t get(unsigned at, unsigned size) const {
    uint32_t value = 0;
    __builtin_memcpy(&value, &bytes[at], size);
    return value;
  }
  void put(unsigned at, unsigned size, uint64_t value) { __builtin_memcpy(&bytes[at], &value, size); }
};

// Saves the outgoing task: from EIP to GS; the static fields stay as they are.
bool save_outgoing(Interpreter& in, uint64_t rflags) {
  const CpuState& s = in.state;
  const TssLayout& layout = layout_of(s.tr.type);
  Image image;
  image.put(layout.ip, layout.word, s.rip);
  image.put(layout.flags, layout.word, rflags);
  for (unsigned n = 0; n < 8; ++n) image.put(layout.gpr + n * layout.word, layout.word, s.gpr[n]);
  for (unsigned n = 0; n < layout.segment_count; ++n)
    image.put(layout.segments + n * layout.segment_step, 2, s.seg[n].selector);
  const unsigned end = layout.segments + layout.segment_count * layout.segment_step;
  return in.store_system(s.tr.base + layout.ip, &image.bytes[layout.ip], end - layout.ip);
}

bool load_ldt(Interpreter& in, uint16_t value) {
  const Selector selector{value};
  in.state.ldtr = make_null_segment(value, 0);
  if (selector.null()) return true;
  const auto refuse = [&] { return (in.raise(kInvalidTss, selector.error_code()), false); };
  Descriptor descriptor;
  if (selector.local()) return refuse();
  if (!read_descriptor(in, selector, descriptor, kInvalidTss)) return false;
  if (descriptor.code_or_data() || descriptor.type() != kLdt || !descriptor.present()) return refuse();
  in.state.ldtr = make_segment(value, descriptor);
  return true;
}

bool load_code(Interpreter& in, uint16_t value) {
  const Selector selector{value};
  const auto refuse = [&] { return (in.raise(kInvalidTss, selector.error_code()), false); };
  Descriptor code;
  if (selector.null()) return refuse();
  if (!read_descriptor(in, selector, code, kInvalidTss)) return false;
  if (!code.is_code() || (code.is_conforming() ? code.dpl() > selector.rpl() : code.dpl() != selector.rpl()))
    return refuse();
  if (!code.present()) return (in.raise(kSegmentNotPresent, selector.error_code()), false);
  if (!mark_accessed(in, selector, code)) return false;
  in.state.seg[kCs] = make_segment(value, code);
  return true;
}

bool load_data(Interpreter& in, unsigned number, uint16_t value, unsigned cpl) {
  const Selector selector{value};
  if (selector.null()) return true;
  const auto refuse = [&] { return (in.raise(kInvalidTss, selector.error_code()), false); };
  Descriptor data;
  if (!read_descriptor(in, selector, data, kInvalidTss)) return false;
  const bool privileged = !data.is_conforming() && (selector.rpl() > data.dpl() || cpl > data.dpl());
  if (!data.is_readable() || privileged) return refuse();
  if (!data.present()) return (in.raise(kSegmentNotPresent, selector.error_code()), false);
  if (!mark_accessed(in, selector, data)) return false;
  in.state.seg[number] = make_segment(value, data);
  return true;
}

// After the commit point faults are those of the new task. Selectors are loaded first, so that they are what a fault
// handler sees; the hidden parts follow one by one.
bool load_segments(Interpreter& in, const std::array<uint16_t, kSegmentCount>& selectors, uint16_t ldt) {
  CpuState& s = in.state;
  const unsigned cpl = selectors[kCs] & 3;
  if (s.rflags & flags::kVm) {
    for (unsigned n = 0; n < kSegmentCount; ++n) s.seg[n] = make_real_segment(selectors[n], true);
    in.mode_changed();
    return load_ldt(in, ldt);
  }
  for (unsigned n = 0; n < kSegmentCount; ++n) s.seg[n] = make_null_segment(selectors[n], static_cast<uint8_t>(cpl));
  in.mode_changed();
  // The stack comes before what may fault, so that the handler finds one: it may be in the LDT, but need not.
  const bool has_ldt = load_ldt(in, ldt);
  const Exception ldt_fault = in.raised();
  Segment ss;
  const bool has_stack = (has_ldt || !Selector{selectors[kSs]}.local()) &&
                         read_stack_segment(in, selectors[kSs], cpl, kInvalidTss, 0, ss);
  if (has_stack) s.seg[kSs] = ss;
  in.mode_changed();
  if (!has_ldt) return (in.raise(ldt_fault.vector, ldt_fault.error_code), false);
  if (!has_stack) return false;
  if (!load_code(in, selectors[kCs])) return false;
  for (const unsigned n : {kEs, kDs, kFs, kGs})
    if (!load_data(in, n, selectors[n], cpl)) return false;
  return true;
}

// The TSS descriptor of the task to switch to.
bool read_incoming(Interpreter& in, const TaskSwitch& to, Descriptor& descriptor) {
  const Selector selector{to.selector};
  const uint32_t ext = to.external ? 1 : 0;
  const bool back = to.reason == TaskSwitchReason::kReturn;
  const uint8_t vector = back ? kInvalidTss : kGeneralProtection;
  const auto refuse = [&](uint8_t with) { return (in.raise(with, selector.error_code() | ext), false); };
  if (selector.null() || selector.local()) return refuse(vector);
  if (!read_descriptor(in, selector, descriptor, vector, ext)) return false;
  const bool is_tss = !descriptor.code_or_data() && (descriptor.type() & ~(8 | kBusy)) == kTss16Available;
  if (!is_tss || static_cast<bool>(descriptor.type() & kBusy) != back) return refuse(vector);
  if (!descriptor.present()) return refuse(kSegmentNotPresent);
  if (descriptor.limit() < layout_of(descriptor.type()).minimum_limit) return refuse(kInvalidTss);
  return true;
}

bool load_cr3(Interpreter& in, uint32_t value) {
  CpuState& s = in.state;
  if ((s.cr4 & cr4::kPae) && !load_pdptes(in.memory, view_of(s), value, in.model.physical_address_bits(), s.pdpte))
    return (in.gp(), false);
  s.cr3 = value;
  in.flush_tlb();
  return true;
}

bool push_error_code(Interpreter& in, const TaskSwitch& to, bool wide) {
  return !to.has_error_code || in.push(wide ? 4 : 2, to.error_code);
}

}  // namespace

bool switch_task(Interpreter& in, const TaskSwitch& to) {
  CpuState& s = in.state;
  Descriptor descriptor;
  if (!read_incoming(in, to, descriptor)) return false;
  const TssLayout& layout = layout_of(descriptor.type());
  const bool wide = layout.word == 4;
  const bool nested = to.reason == TaskSwitchReason::kCall || to.reason == TaskSwitchReason::kInterrupt;
  Image image;
  if (!in.load_system(descriptor.base(), image.bytes.data(), layout.size)) return false;
  const uint64_t outgoing_flags = to.reason == TaskSwitchReason::kReturn      ? s.rflags & ~flags::kNt
                                  : to.reason == TaskSwitchReason::kInterrupt ? to.flags_image
                                                                              : s.rflags;
  if (!save_outgoing(in, outgoing_flags)) return false;

  // Busy bits and the link. SDM vol. 3, table 7-2.
  const Selector old_task{s.tr.selector};
  if (!nested && !in.and_system_byte(s.gdtr.base + old_task.offset() + 5, static_cast<uint8_t>(~kBusy))) return false;
  if (nested && !in.store_system(descriptor.base(), &s.tr.selector, 2)) return false;
  const Selector new_task{to.selector};
  if (!in.or_system_byte(s.gdtr.base + new_task.offset() + 5, kBusy)) return false;

  // Commit: from here on the new task runs.
  s.tr = make_segment(to.selector, descriptor);
  s.tr.type |= kBusy;
  s.cr0 |= cr0::kTs;
  s.dr7 &= ~uint64_t{0x155};  // local breakpoints
  s.rip = image.get(layout.ip, layout.word);
  s.rflags = (image.get(layout.flags, layout.word) & 0x3f7fd7) | flags::kFixed1;
  if (nested) s.rflags |= flags::kNt;
  for (unsigned n = 0; n < 8; ++n) s.gpr[n] = image.get(layout.gpr + n * layout.word, layout.word);
  std::array<uint16_t, kSegmentCount> selectors{};
  for (unsigned n = 0; n < layout.segment_count; ++n)
    selectors[n] = static_cast<uint16_t>(image.get(layout.segments + n * layout.segment_step, 2));
  const bool switched = (!(s.cr0 & cr0::kPg) || !wide || load_cr3(in, image.get(kCr3Offset, 4))) &&
                        load_segments(in, selectors, static_cast<uint16_t>(image.get(layout.ldt, 2)));
  in.mode_changed();
  // A fault now belongs to the new task: its RIP is the saved one.
  if (!switched) return (in.fault_in_new_task(), false);
  if (s.rip > s.seg[kCs].limit) return (in.gp(), in.fault_in_new_task(), false);
  if (!push_error_code(in, to, wide)) return (in.fault_in_new_task(), false);
  if (wide && (image.get(kTrapOffset, 2) & 1)) in.trap_debug(bit(15));  // DR6.BT
  return true;
}

}  // namespace skerry::x86
