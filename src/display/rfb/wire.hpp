// Numbers on the wire: most significant byte first (RFC 6143, 6).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace skerry::display::rfb {

using Bytes = std::vector<uint8_t>;

inline void put_u8(Bytes& to, uint32_t value) { to.push_back(static_cast<uint8_t>(value)); }
inline void put_u16(Bytes& to, uint32_t value) {
  put_u8(to, value >> 8);
  put_u8(to, value);
}
inline void put_u32(Bytes& to, uint32_t value) {
  put_u16(to, value >> 16);
  put_u16(to, value);
}
inline void put_bytes(Bytes& to, std::span<const uint8_t> from) { to.insert(to.end(), from.begin(), from.end()); }

inline uint16_t get_u16(std::span<const uint8_t> from, size_t at) {
  return static_cast<uint16_t>(from[at] << 8 | from[at + 1]);
}
inline uint32_t get_u32(std::span<const uint8_t> from, size_t at) {
  return uint32_t{get_u16(from, at)} << 16 | get_u16(from, at + 2);
}

}  // namespace skerry::display::rfb
