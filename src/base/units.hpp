// Sizes, bits, and numbers as people write them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.hpp"

namespace skerry {

constexpr uint64_t KiB = 1024;
constexpr uint64_t MiB = 1024 * KiB;
constexpr uint64_t GiB = 1024 * MiB;

constexpr uint64_t bit(unsigned n) { return uint64_t{1} << n; }
// Bits [high:low] of value, as the manuals write them.
constexpr uint64_t bits(uint64_t value, unsigned high, unsigned low) {
  return (value >> low) & (high - low == 63 ? ~uint64_t{0} : bit(high - low + 1) - 1);
}
constexpr uint64_t align_down(uint64_t value, uint64_t power_of_two) { return value & ~(power_of_two - 1); }
constexpr uint64_t align_up(uint64_t value, uint64_t power_of_two) {
  return (value + power_of_two - 1) & ~(power_of_two - 1);
}

// Bytes in "512M", "2G", "2GiB", "65536", "64K" (powers of 1024, a bare number is bytes).
Result<uint64_t> parse_size(std::string_view text);
// "512 MiB", "4 KiB", "1000 bytes".
std::string format_size(uint64_t bytes);
// Decimal, or hexadecimal after 0x; the whole text must be the number.
Result<uint64_t> parse_number(std::string_view text);

}  // namespace skerry
