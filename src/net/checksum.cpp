#include "net/checksum.hpp"

#include <bit>

namespace skerry::net {

uint16_t ones_sum(std::span<const uint8_t> bytes, uint16_t start) {
  // The sum is the same in either byte order but for a swap of the result (RFC 1071, 2 (B)), and may be gathered in
  // wider words (2 (C)): 32 bits a step, into 64, which cannot overflow for what fits in memory. Two sums, so that one
  // addition need not wait for the other.
  uint64_t first = 0, second = 0;
  const uint8_t* at = bytes.data();
  size_t left = bytes.size();
  for (; left >= 16; left -= 16, at += 16) {
    uint32_t words[4];
    std::memcpy(words, at, sizeof words);
    first += uint64_t{words[0]} + words[1];
    second += uint64_t{words[2]} + words[3];
  }
  uint64_t sum = first + second;
  for (; left >= 2; left -= 2, at += 2) {
    uint16_t word;
    std::memcpy(&word, at, sizeof word);
    sum += word;
  }
  if (left != 0) sum += *at;  // little endian: the low byte of the word comes first
  while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
  const auto folded = static_cast<uint16_t>(sum);
  const uint32_t both = static_cast<uint32_t>(start) + static_cast<uint16_t>(folded << 8 | folded >> 8);
  return static_cast<uint16_t>((both & 0xffff) + (both >> 16));
}
static_assert(std::endian::native == std::endian::little);

uint16_t pseudo_header_sum(std::span<const uint8_t> frame, const FrameLayout& layout, uint8_t protocol, size_t length) {
  uint8_t numbers[8] = {};  // upper-layer length, zeros, protocol
  store_be32(numbers, static_cast<uint32_t>(length));
  numbers[7] = protocol;
  const size_t addresses = layout.network + (layout.ipv6 ? 8 : 12), size = layout.ipv6 ? 32 : 8;
  return ones_sum(frame.subspan(addresses, size), ones_sum(numbers));
}

void set_ipv4_checksum(std::span<uint8_t> frame, const FrameLayout& layout) {
  uint8_t* checksum = frame.data() + layout.network + 10;
  store_be16(checksum, 0);
  const auto header = frame.subspan(layout.network, layout.transport - layout.network);
  store_be16(checksum, static_cast<uint16_t>(~ones_sum(header)));
}

bool complete_checksum(FrameHeader& header, std::span<uint8_t> frame) {
  if (!(header.flags & FrameHeader::kNeedsCsum)) return true;
  const size_t start = header.csum_start, at = start + header.csum_offset;
  if (at + 2 > frame.size()) return false;
  auto checksum = static_cast<uint16_t>(~ones_sum(frame.subspan(start)));
  // RFC 768: zero would say that there is none. For TCP both mean the same.
  if (checksum == 0) checksum = 0xffff;
  store_be16(frame.data() + at, checksum);
  header.flags = static_cast<uint8_t>(header.flags & ~FrameHeader::kNeedsCsum);
  header.csum_start = header.csum_offset = 0;
  return true;
}

}  // namespace skerry::net
