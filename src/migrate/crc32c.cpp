#include "migrate/crc32c.hpp"

#include <nmmintrin.h>

#include <algorithm>
#include <array>
#include <cstring>

namespace skerry::migrate {

namespace {

constexpr uint32_t kPolynomial = 0x82f63b78;  // 0x1edc6f41, bits reversed

constexpr std::array<uint32_t, 256> make_table() {
  std::array<uint32_t, 256> table{};
  for (uint32_t n = 0; n < 256; ++n) {
    uint32_t value = n;
    for (int bit = 0; bit < 8; ++bit) value = value >> 1 ^ (value & 1 ? kPolynomial : 0);
    table[n] = value;
  }
  return table;
}
constexpr std::array<uint32_t, 256> kTable = make_table();

[[gnu::target("sse4.2")]] uint32_t by_instruction(uint32_t crc, std::span<const std::byte> data) {
  uint64_t value = static_cast<uint32_t>(~crc);
  const std::byte* at = data.data();
  size_t left = data.size();
  for (; left >= sizeof(uint64_t); left -= sizeof(uint64_t), at += sizeof(uint64_t)) {
    uint64_t word;
    std::memcpy(&word, at, sizeof word);
    value = _mm_crc32_u64(value, word);
  }
  uint32_t narrow = static_cast<uint32_t>(value);
  for (; left > 0; --left, ++at) narrow = _mm_crc32_u8(narrow, static_cast<uint8_t>(*at));
  return ~narrow;
}

}  // namespace

uint32_t crc32c_portable(uint32_t crc, std::span<const std::byte> data) {
  crc = ~crc;
  for (const std::byte byte : data) crc = crc >> 8 ^ kTable[(crc ^ static_cast<uint8_t>(byte)) & 0xff];
  return ~crc;
}

uint32_t crc32c(uint32_t crc, std::span<const std::byte> data) {
  return __builtin_cpu_supports("sse4.2") ? by_instruction(crc, data) : crc32c_portable(crc, data);
}

uint32_t crc32c_zeros(uint32_t crc, uint64_t size) {
  static constexpr std::array<std::byte, 4096> kZeros{};
  for (; size > 0; size -= std::min<uint64_t>(size, kZeros.size()))
    crc = crc32c(crc, std::span(kZeros).first(std::min<uint64_t>(size, kZeros.size())));
  return crc;
}

}  // namespace skerry::migrate
