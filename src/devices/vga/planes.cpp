#include "devices/vga/planes.hpp"

#include <bit>

namespace skerry::devices::vga {

namespace {

constexpr uint64_t kMonoText = 0x10000, kColourText = 0x18000, kTextSize = 0x8000;

// A byte for all four planes.
uint32_t all_planes(uint8_t value) { return value * 0x0101'0101u; }
// Bit p of the mask for all eight bits of plane p.
uint32_t whole_planes(uint8_t mask) {
  uint32_t planes = 0;
  for (unsigned plane = 0; plane < 4; ++plane)
    if (mask >> plane & 1) planes |= 0xffu << plane * 8;
  return planes;
}

// MEMORY_MAP_SELECT: where the window of memory begins and ends within the 128 KiB.
bool in_memory_map(uint8_t select, uint64_t& offset) {
  switch (select) {
    case 0: return offset < 0x20000;
    case 1: return offset < 0x10000;
    default: {
      const uint64_t start = select == 2 ? kMonoText : kColourText;
      if (offset < start || offset >= start + kTextSize) return false;
      offset -= start;
      return true;
    }
  }
}

// DATA_ROTATE bits 4..3.
uint32_t combine(uint8_t function, uint32_t value, uint32_t latches) {
  switch (function) {
    case 1: return value & latches;
    case 2: return value | latches;
    case 3: return value ^ latches;
    default: return value;
  }
}

}  // namespace

std::optional<Planes::Place> Planes::place(const Registers& registers, uint64_t offset, uint32_t bank) {
  if (!(registers.misc_output & misc_output::RAM_ENABLE)) return std::nullopt;
  const uint8_t misc = registers.graphics[graphics::MISCELLANEOUS_GRAPHICS];
  const uint8_t select = (misc & graphics::MEMORY_MAP_SELECT) >> 2;
  if (!in_memory_map(select, offset)) return std::nullopt;
  if (select < 2) offset += uint64_t{bank} << 16;

  const uint8_t map_mask = registers.sequencer[sequencer::MAP_MASK] & 0xf;
  const uint8_t memory_mode = registers.sequencer[sequencer::SEQUENCER_MEMORY_MODE];
  if (memory_mode & sequencer::CHAIN_4) {
    const uint8_t plane = offset & 3;
    return Place{offset >> 2, static_cast<uint8_t>(map_mask & 1u << plane), plane};
  }
  Place place{offset, map_mask, static_cast<uint8_t>(registers.graphics[graphics::READ_MAP_SELECT] & 3)};
  // Even addresses are of planes 0 and 2, odd ones of 1 and 3. Where the VGA would leave every other address of a plane
  // unused, and have the CRT controller count in twos, here neither is.
  if (misc & graphics::CHAIN_ODD_EVEN) place.address = offset >> 1;
  if (!(memory_mode & sequencer::ODD_EVEN_DISABLE)) place.writable &= offset & 1 ? 0b1010 : 0b0101;
  if (registers.graphics[graphics::GRAPHICS_MODE] & graphics::HOST_ODD_EVEN)
    place.readable = static_cast<uint8_t>((place.readable & 2) | (offset & 1));
  return place;
}

uint8_t Planes::read(const Registers& registers, uint64_t offset, uint32_t bank) {
  const auto where = place(registers, offset, bank);
  if (!where || where->address >= vram_.size() / 4) return 0xff;
  latches = vram_.planes(where->address);
  if (!(registers.graphics[graphics::GRAPHICS_MODE] & graphics::READ_MODE))
    return static_cast<uint8_t>(latches >> where->readable * 8);
  // Read mode 1: a bit for each pixel whose colour is the one compared with, in those planes that are cared about.
  const uint32_t wanted = whole_planes(registers.graphics[graphics::COLOR_COMPARE]);
  const uint32_t differ = (latches ^ wanted) & whole_planes(registers.graphics[graphics::COLOR_DONT_CARE]);
  return static_cast<uint8_t>(~(differ | differ >> 8 | differ >> 16 | differ >> 24));
}

void Planes::write(const Registers& registers, uint64_t offset, uint32_t bank, uint8_t value) {
  if (const auto where = place(registers, offset, bank))
    vram_.set_planes(where->address, result(registers, value), where->writable);
}

// What a write would put into all four planes.
uint32_t Planes::result(const Registers& registers, uint8_t value) const {
  const auto& gr = registers.graphics;
  const uint8_t rotated = std::rotr(value, gr[graphics::DATA_ROTATE] & 7);
  const uint32_t set_reset = whole_planes(gr[graphics::SET_RESET]);
  uint8_t bit_mask = gr[graphics::BIT_MASK];
  uint32_t data = 0;
  switch (gr[graphics::GRAPHICS_MODE] & graphics::WRITE_MODE) {
    case 0: {
      const uint32_t enabled = whole_planes(gr[graphics::ENABLE_SET_RESET]);
      data = (all_planes(rotated) & ~enabled) | (set_reset & enabled);
      break;
    }
    case 1: return latches;
    case 2: data = whole_planes(value); break;
    case 3:
      data = set_reset;
      bit_mask &= rotated;
      break;
  }
  data = combine(gr[graphics::DATA_ROTATE] >> 3 & 3, data, latches);
  const uint32_t mask = all_planes(bit_mask);
  return (data & mask) | (latches & ~mask);
}

}  // namespace skerry::devices::vga
