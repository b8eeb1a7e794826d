// The Internet checksum (RFC 1071), and completing what a guest has left to its network card.
#pragma once

#include <cstdint>
#include <span>

#include "net/backend.hpp"
#include "net/frame.hpp"

namespace skerry::net {

// The ones' complement sum of 16-bit big-endian words, as 16 bits; an odd last byte counts as if a zero followed.
// `start` is a sum to go on with: of an even number of bytes.
uint16_t ones_sum(std::span<const uint8_t> bytes, uint16_t start = 0);

// The sum over the pseudo-header (RFC 9293, 3.1; RFC 8200, 8.1) of `length` bytes of `protocol`.
uint16_t pseudo_header_sum(std::span<const uint8_t> frame, const FrameLayout& layout, uint8_t protocol, size_t length);

// Writes the checksum of the IPv4 header that is at `layout.network`.
void set_ipv4_checksum(std::span<uint8_t> frame, const FrameLayout& layout);

// Does what NEEDS_CSUM of `header` asks for (virtio 1.2, 5.1.6.2): sums from csum_start to the end, puts the result
// csum_offset after csum_start, and takes the flag away. False if these lie outside of the frame: it cannot be sent.
bool complete_checksum(FrameHeader& header, std::span<uint8_t> frame);

}  // namespace skerry::net
