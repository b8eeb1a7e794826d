// A 256-bit register of interrupt vectors: IRR, ISR, TMR (Intel SDM vol. 3, 11.8.4).
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <span>

#include "state/fields.hpp"

namespace skerry::irqchip {

class VectorSet {
 public:
  bool test(uint8_t vector) const { return words_[vector / 32] >> (vector % 32) & 1; }
  void set(uint8_t vector) { words_[vector / 32] |= 1u << (vector % 32); }
  void clear(uint8_t vector) { words_[vector / 32] &= ~(1u << (vector % 32)); }
  void assign(uint8_t vector, bool value) { value ? set(vector) : clear(vector); }
  void clear_all() { words_.fill(0); }
  uint32_t word(unsigned index) const { return words_[index & 7]; }
  // The highest vector, or -1.
  int highest() const {
    for (int i = 7; i >= 0; --i)
      if (words_[i]) return i * 32 + 31 - std::countl_zero(words_[i]);
    return -1;
  }
  void load(std::span<const uint32_t, 8> words) {
    std::ranges::copy(words, words_.begin());
    words_[0] &= kLegal0;
  }
  // Vectors 0..15 cannot be there.
  void describe(std::string_view name, state::Fields& fields) {
    fields.list(name, words_.size(),
                [&](size_t i) { fields.field("", words_[i], state::in_mask(i == 0 ? kLegal0 : ~0u)); });
  }

 private:
  static constexpr uint32_t kLegal0 = 0xffff0000;
  std::array<uint32_t, 8> words_{};
};

}  // namespace skerry::irqchip
