#include "devices/vga/vbe_picture.hpp"

#include <cstring>

#include "devices/vga/colours.hpp"

namespace skerry::devices::vga {

namespace {

uint16_t word_at(const uint8_t* at) {
  uint16_t word;
  std::memcpy(&word, at, sizeof word);
  return word;
}

// A component of 5 or 6 bits as one of 8.
uint32_t from_5_bits(uint32_t value) { return (value & 0x1f) << 3 | (value & 0x1f) >> 2; }
uint32_t from_6_bits(uint32_t value) { return (value & 0x3f) << 2 | (value & 0x3f) >> 4; }

uint32_t from_555(uint16_t pixel) { return from_5_bits(pixel >> 10) << 16 | from_5_bits(pixel >> 5) << 8 | from_5_bits(pixel); }
uint32_t from_565(uint16_t pixel) { return from_5_bits(pixel >> 11) << 16 | from_6_bits(pixel >> 5) << 8 | from_5_bits(pixel); }

void convert(const uint8_t* from, uint32_t bits, const Colours& colours, std::span<uint32_t> to) {
  switch (bits) {
    case 8:
      for (size_t x = 0; x < to.size(); ++x) to[x] = colours[from[x]];
      break;
    case 15:
      for (size_t x = 0; x < to.size(); ++x) to[x] = from_555(word_at(from + 2 * x));
      break;
    case 16:
      for (size_t x = 0; x < to.size(); ++x) to[x] = from_565(word_at(from + 2 * x));
      break;
    case 24:
      for (size_t x = 0; x < to.size(); ++x) to[x] = from[3 * x] | from[3 * x + 1] << 8 | from[3 * x + 2] << 16;
      break;
    default: std::memcpy(to.data(), from, to.size_bytes()); break;  // blue is the first byte of both
  }
}

// Four bits from four planes; `first` is the number of the first pixel.
void draw_planar_row(const Vram& vram, uint64_t first, const Colours& colours, std::span<uint32_t> to) {
  uint32_t planes = vram.planes(first / 8);
  for (size_t x = 0; x < to.size(); ++x) {
    const unsigned bit = 7 - (first + x) % 8;
    const uint32_t bits = planes >> bit & 0x0101'0101;
    to[x] = colours[(bits | bits >> 7 | bits >> 14 | bits >> 21) & 0xf];
    if (bit == 0) planes = vram.planes((first + x + 1) / 8);
  }
}

}  // namespace

void draw_vbe(const Registers& registers, const VbeMode& mode, const Vram& vram, RowWriter& rows) {
  const Colours colours = mode.bits == 4 ? attribute_colours(registers) : dac_colours(registers);
  std::vector<uint64_t> copy(Vram::row_words(mode.row_bytes()));
  const size_t bytes = (mode.bits + 7) / 8;
  for (uint32_t row = 0; row < mode.height; ++row) {
    const size_t start = size_t{mode.y + row} * mode.stride;
    if (mode.bits == 4)
      draw_planar_row(vram, uint64_t{start} * 8 + mode.x, colours, rows.next());
    else
      convert(vram.row(start + mode.x * bytes, mode.row_bytes(), copy), mode.bits, colours, rows.next());
  }
}

}  // namespace skerry::devices::vga
