// The word that tells the format of a stream (High Definition Audio 1.0a, 3.7.1): SDFMT has it, and a converter.
#pragma once

#include <algorithm>
#include <cstdint>

namespace skerry::devices::hda {

struct StreamFormat {
  static constexpr uint16_t kNotPcm = 1 << 15, kReserved = 1 << 7, kBase44100 = 1 << 14, kRateMask = 0x7f00;
  uint16_t word = 0;

  bool operator==(const StreamFormat&) const = default;
  // Frames a second: 5512 to 192000. Multiples that are reserved are 4.
  uint32_t rate() const {
    const uint32_t base = word & kBase44100 ? 44'100 : 48'000;
    const uint32_t multiple = std::min(word >> 11 & 7, 3) + 1u, divisor = (word >> 8 & 7) + 1u;
    return base * multiple / divisor;
  }
  unsigned channels() const { return (word & 0xfu) + 1; }
  // 8, 16, 20, 24, 32 bits; what is greater is reserved.
  unsigned bits_code() const { return word >> 4 & 7; }
  // In memory, where samples are at the upper end of their container: 1, 2 or 4.
  unsigned sample_bytes() const { return bits_code() == 0 ? 1 : bits_code() == 1 ? 2 : 4; }
  unsigned frame_bytes() const { return channels() * sample_bytes(); }
};

}  // namespace skerry::devices::hda
