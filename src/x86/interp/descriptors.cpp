// Descriptor tables and stacks of the TSS.
#include "x86/interp/segments.hpp"

namespace skerry::x86 {

uint64_t descriptor_address(const Interpreter& in, Selector selector) {
  return (selector.local() ? in.state.ldtr.base : in.state.gdtr.base) + selector.offset();
}

bool read_descriptor(Interpreter& in, Selector selector, Descriptor& descriptor, uint8_t vector, uint32_t ext) {
  const CpuState& s = in.state;
  const uint32_t limit = selector.local() ? (s.ldtr.unusable ? 0 : s.ldtr.limit) : s.gdtr.limit;
  if ((selector.local() && s.ldtr.unusable) || selector.offset() + 7u > limit) {
    in.raise(vector, selector.error_code() | ext);
    return false;
  }
  return in.load_system(descriptor_address(in, selector), &descriptor.raw, 8);
}

bool mark_accessed(Interpreter& in, Selector selector, Descriptor& descriptor) {
  if (descriptor.type() & segment_type::kAccessed) return true;
  if (!in.or_system_byte(descriptor_address(in, selector) + 5, segment_type::kAccessed)) return false;
  descriptor.raw |= uint64_t{segment_type::kAccessed} << 40;
  return true;
}

bool read_data_segment(Interpreter& in, uint16_t value, Segment& segment) {
  const Selector selector{value};
  if (selector.null()) {
    segment = make_null_segment(value, static_cast<uint8_t>(in.cpl()));
    return true;
  }
  Descriptor descriptor;
  if (!read_descriptor(in, selector, descriptor)) return false;
  const bool privileged = !descriptor.is_conforming() && (selector.rpl() > descriptor.dpl() || in.cpl() > descriptor.dpl());
  if (!descriptor.is_readable() || privileged) {
    in.gp(selector.error_code());
    return false;
  }
  if (!descriptor.present()) {
    in.raise(kSegmentNotPresent, selector.error_code());
    return false;
  }
  if (!mark_accessed(in, selector, descriptor)) return false;
  segment = make_segment(value, descriptor);
  return true;
}

bool read_stack_segment(Interpreter& in, uint16_t value, unsigned cpl, uint8_t vector, uint32_t ext, Segment& segment) {
  const Selector selector{value};
  if (selector.null()) {
    in.raise(vector, ext);
    return false;
  }
  Descriptor descriptor;
  if (!read_descriptor(in, selector, descriptor, vector, ext)) return false;
  if (selector.rpl() != cpl || descriptor.dpl() != cpl || !descriptor.is_writable_data()) {
    in.raise(vector, selector.error_code() | ext);
    return false;
  }
  if (!descriptor.present()) {
    in.raise(kStackFault, selector.error_code() | ext);
    return false;
  }
  if (!mark_accessed(in, selector, descriptor)) return false;
  segment = make_segment(value, descriptor);
  return true;
}

bool read_inner_stack(Interpreter& in, unsigned cpl, uint32_t ext, uint16_t& ss, uint64_t& rsp) {
  const CpuState& s = in.state;
  const auto fits = [&](uint32_t end) {
    if (end - 1 <= s.tr.limit) return true;
    in.raise(kInvalidTss, (s.tr.selector & ~3u) | ext);
    return false;
  };
  ss = 0;
  rsp = 0;
  if (s.long_mode_active()) {  // SDM vol. 3, figure 7-11
    const uint32_t at = 4 + 8 * cpl;
    return fits(at + 8) && in.load_system(s.tr.base + at, &rsp, 8);
  }
  if (s.tr.type == kTss32Busy || s.tr.type == kTss32Available) {  // figure 7-2
    const uint32_t at = 4 + 8 * cpl;
    return fits(at + 6) && in.load_system(s.tr.base + at, &rsp, 4) && in.load_system(s.tr.base + at + 4, &ss, 2);
  }
  const uint32_t at = 2 + 4 * cpl;  // figure 7-10
  return fits(at + 4) && in.load_system(s.tr.base + at, &rsp, 2) && in.load_system(s.tr.base + at + 2, &ss, 2);
}

bool NewStack::push(unsigned size, uint64_t value) {
  if (in_.state.long_mode_active()) {
    const uint64_t to = rsp_ - size;
    if (!Interpreter::canonical(to) || !Interpreter::canonical(to + size - 1)) {
      in_.raise(kStackFault, ext_);
      return false;
    }
    if (!in_.store_system(to, &value, size)) return false;
    rsp_ = to;
    return true;
  }
  const uint64_t mask = ss_.big ? 0xffffffff : 0xffff;
  const uint64_t to = (rsp_ - size) & mask;
  const bool expand_down = ss_.type & segment_type::kExpandDown;
  const uint64_t last = to + size - 1;
  if (expand_down ? to <= ss_.limit || last > mask : last > ss_.limit) {
    in_.raise(kStackFault, (ss_.selector & ~3u) | ext_);
    return false;
  }
  const uint64_t linear = (ss_.base + to) & 0xffffffff;
  if (!(cpl_ == 3 ? in_.store_user(linear, &value, size) : in_.store_system(linear, &value, size))) return false;
  rsp_ = (rsp_ & ~mask) | to;
  return true;
}

void switch_stack_pointer(CpuState& state, bool to_64bit, const Segment& ss, uint64_t rsp) {
  const uint64_t mask = to_64bit ? ~uint64_t{0} : ss.big ? 0xffffffff : 0xffff;
  state.gpr[kRsp] = mask == 0xffff ? (state.gpr[kRsp] & ~mask) | (rsp & mask) : rsp & mask;
}

void NewStack::commit() {
  in_.state.seg[kSs] = ss_;
  switch_stack_pointer(in_.state, in_.state.long_mode_active(), ss_, rsp_);
}

void drop_privileged_segments(Interpreter& in, unsigned new_cpl) {
  for (const unsigned n : {kEs, kDs, kFs, kGs}) {
    Segment& segment = in.state.seg[n];
    if (segment.unusable) continue;
    const bool conforming = (segment.type & segment_type::kCode) && (segment.type & segment_type::kConforming);
    if (!conforming && segment.dpl < new_cpl) {
      const uint64_t base = segment.base;
      segment = make_null_segment(0, static_cast<uint8_t>(new_cpl));
      if (in.state.long_mode_active() && n >= kFs) segment.base = base;
    }
  }
}

}  // namespace skerry::x86
