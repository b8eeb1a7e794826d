// The EEPROM of the card (82574 datasheet, chapter 6): 64 words, which hold the Ethernet address, and are write-protected.
// Does not change.
#pragma once

#include <array>
#include <cstdint>

namespace skerry::devices::e1000e {

using Mac = std::array<uint8_t, 6>;

class Nvm {
 public:
  static constexpr unsigned kWords = 64;
  explicit Nvm(const Mac& mac);

  uint16_t word(unsigned index) const { return index < kWords ? words_[index] : 0xffff; }
  // What a register has after `value` was written to it: EERD (10.2.2.4), and EEWR, where only that it is done is true.
  uint32_t read_command(uint32_t value) const;
  static uint32_t write_command(uint32_t value);

 private:
  std::array<uint16_t, kWords> words_{};
};

}  // namespace skerry::devices::e1000e
