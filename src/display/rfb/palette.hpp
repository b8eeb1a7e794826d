// The colours of a small picture, in the order of their first pixel, as long as there are not too many.
#pragma once

#include <array>
#include <cstdint>
#include <span>

namespace skerry::display::rfb {

template <unsigned kMax>
class Palette {
 public:
  // False: there are more than `limit` colours (at most kMax), and which is not known.
  bool count(std::span<const uint32_t> pixels, unsigned limit) {
    uint32_t last = ~uint32_t{0};  // no colour
    for (const uint32_t pixel : pixels) {
      if (pixel == last) continue;
      last = pixel;
      uint16_t& slot = slot_of(pixel);
      if (slot != 0) continue;
      if (size_ == limit) return false;
      colours_[size_] = pixel;
      slot = static_cast<uint16_t>(++size_);
    }
    return true;
  }
  unsigned size() const { return size_; }
  uint32_t colour(unsigned index) const { return colours_[index]; }
  // Of a colour that has been counted.
  uint8_t index(uint32_t colour) { return static_cast<uint8_t>(slot_of(colour) - 1); }

 private:
  static constexpr uint32_t kSlots = 1024;
  static_assert(kMax <= 256);

  // Where the colour is, or is to be: its index and 1, or 0.
  uint16_t& slot_of(uint32_t colour) {
    uint32_t at = colour * 0x9e37'79b1u >> 22;
    while (slots_[at] != 0 && colours_[slots_[at] - 1u] != colour) at = (at + 1) % kSlots;
    return slots_[at];
  }

  unsigned size_ = 0;
  std::array<uint32_t, kMax> colours_;
  std::array<uint16_t, kSlots> slots_{};
};

}  // namespace skerry::display::rfb
