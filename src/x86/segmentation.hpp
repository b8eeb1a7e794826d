// Segment descriptors and selectors. Intel SDM vol. 3, 3.4 and chapters 3.5, 5, 7.
#pragma once

#include <cstdint>

#include "x86/cpu_state.hpp"

namespace skerry::x86 {

// System-segment and gate types (SDM vol. 3, table 3-2).
enum SystemType : uint8_t {
  kTss16Available = 1, kLdt = 2, kTss16Busy = 3, kCallGate16 = 4, kTaskGate = 5, kInterruptGate16 = 6, kTrapGate16 = 7,
  kTss32Available = 9, kTss32Busy = 11, kCallGate32 = 12, kInterruptGate32 = 14, kTrapGate32 = 15,
};

// Code and data type bits.
namespace segment_type {
constexpr uint8_t kAccessed = 1, kWritable = 2, kReadable = 2, kExpandDown = 4, kConforming = 4, kCode = 8;
}

// An 8-byte descriptor as it is in memory.
struct Descriptor {
  uint64_t raw = 0;

  uint32_t base() const {
    return static_cast<uint32_t>((raw >> 16 & 0xffffff) | (raw >> 56 & 0xff) << 24);
  }
  uint32_t limit() const {
    const uint32_t units = static_cast<uint32_t>((raw & 0xffff) | (raw >> 32 & 0xf0000));
    return granular() ? units << 12 | 0xfff : units;
  }
  uint8_t type() const { return raw >> 40 & 15; }
  bool code_or_data() const { return raw >> 44 & 1; }
  uint8_t dpl() const { return raw >> 45 & 3; }
  bool present() const { return raw >> 47 & 1; }
  bool avl() const { return raw >> 52 & 1; }
  bool long_mode() const { return raw >> 53 & 1; }
  bool big() const { return raw >> 54 & 1; }
  bool granular() const { return raw >> 55 & 1; }

  bool is_code() const { return code_or_data() && (type() & segment_type::kCode); }
  bool is_conforming() const { return is_code() && (type() & segment_type::kConforming); }
  bool is_readable() const { return code_or_data() && (!is_code() || (type() & segment_type::kReadable)); }
  bool is_writable_data() const { return code_or_data() && !is_code() && (type() & segment_type::kWritable); }

  // Gates.
  uint16_t gate_selector() const { return static_cast<uint16_t>(raw >> 16); }
  uint32_t gate_offset() const { return static_cast<uint32_t>((raw & 0xffff) | (raw >> 32 & 0xffff0000)); }
  uint8_t gate_ist() const { return raw >> 32 & 7; }
  uint8_t gate_parameters() const { return raw >> 32 & 31; }
};

struct Selector {
  uint16_t value = 0;
  bool null() const { return (value & ~3) == 0; }
  bool local() const { return value & 4; }
  uint8_t rpl() const { return value & 3; }
  uint16_t offset() const { return value & ~7; }
  uint32_t error_code() const { return value & ~3u; }
};

// The hidden part of a segment register from its descriptor.
Segment make_segment(uint16_t selector, Descriptor descriptor);
// A segment register as real and virtual-8086 mode load it.
Segment make_real_segment(uint16_t selector, bool v86);
// A data or stack segment register loaded with a null selector.
Segment make_null_segment(uint16_t selector, uint8_t dpl);

}  // namespace skerry::x86
