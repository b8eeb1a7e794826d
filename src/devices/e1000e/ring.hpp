// A ring of descriptors: the registers that tell where it is (82574 datasheet, 10.2.6.2 to 10.2.6.7 and 10.2.5.x), for both
// kinds of queues. Owned by the card's lock.
#pragma once

#include <cstdint>

#include "devices/e1000e/registers.hpp"
#include "memory/guest_memory.hpp"
#include "state/fields.hpp"

namespace skerry::devices::e1000e {

struct Ring {
  memory::Gpa base = 0;   // of 16 bytes
  uint32_t length = 0;    // bytes, a multiple of 128
  uint16_t head = 0;      // the card's
  uint16_t tail = 0;      // the driver's: the first that is not the card's
  uint32_t generation = 0;  // changes whenever what was read before may be wrong; not saved

  // Positions and sizes count in 16 bytes; a descriptor that splits packets is two of these.
  static constexpr unsigned kUnit = 16;
  unsigned size() const { return length / kUnit; }
  // How much is the card's; nothing in a ring that makes no sense.
  unsigned filled() const {
    if (head >= size() || tail >= size()) return 0;
    return (tail + size() - head) % size();
  }
  memory::Gpa at(unsigned from_head) const { return base + uint64_t{(head + from_head) % size()} * kUnit; }
  void advance(unsigned by) { head = static_cast<uint16_t>((head + by) % size()); }

  // `offset` is from the queue's first register. True if it is one of these.
  bool read(uint32_t offset, uint32_t& value) const {
    switch (offset) {
      case kBaseLow: value = static_cast<uint32_t>(base); return true;
      case kBaseHigh: value = static_cast<uint32_t>(base >> 32); return true;
      case kLength: value = length; return true;
      case kHead: value = head; return true;
      case kTail: value = tail; return true;
      default: return false;
    }
  }
  bool write(uint32_t offset, uint32_t value) {
    constexpr uint32_t kBaseMask = ~uint32_t{15}, kLengthMask = 0x000f'ff80;
    switch (offset) {
      case kBaseLow: base = (base & ~uint64_t{0xffff'ffff}) | (value & kBaseMask); break;
      case kBaseHigh: base = (base & 0xffff'ffff) | uint64_t{value} << 32; break;
      case kLength: length = value & kLengthMask; break;
      case kHead: head = static_cast<uint16_t>(value); break;
      case kTail: tail = static_cast<uint16_t>(value); return true;  // what was read before stays
      default: return false;
    }
    ++generation;
    return true;
  }
  void reset() { *this = {.generation = generation + 1}; }
  void describe(state::Fields& fields) {
    fields.field("base", base, state::in_mask(~uint64_t{15}));
    fields.field("length", length, state::in_mask(0x000f'ff80));
    fields.field("head", head);
    fields.field("tail", tail);
    ++generation;
  }
};

}  // namespace skerry::devices::e1000e
