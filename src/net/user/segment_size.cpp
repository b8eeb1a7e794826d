#include "net/user/segment_size.hpp"

#include "net/checksum.hpp"
#include "net/user_protocol.hpp"

namespace skerry::net::user {

namespace {

// libslirp's largest, and half of the largest window without scaling, which it does not do.
constexpr uint16_t kLargeSegment = 32'000;
constexpr size_t kTcpHeader = 20;
constexpr uint8_t kSyn = 0x02;
constexpr uint8_t kEndOfOptions = 0, kNoOperation = 1, kMaximumSegmentSize = 2;  // RFC 9293, 3.1

// Replaces the 16 bits at `at`, which is at an even distance from `transport`, or not, in what `checksum` covers (RFC
// 1624, equation 3). Right for a sum of the pseudo-header alone too: that does not cover them.
void replace(std::span<uint8_t> frame, size_t transport, size_t at, uint16_t value, bool complete) {
  const uint16_t before = load_be16(frame.data() + at);
  store_be16(frame.data() + at, value);
  if (!complete) return;
  const bool odd = (at - transport) % 2 != 0;
  const auto swap = [&](uint16_t x) { return odd ? static_cast<uint16_t>(x << 8 | x >> 8) : x; };
  uint8_t* checksum = frame.data() + transport + 16;
  uint8_t words[4];
  store_be16(words, static_cast<uint16_t>(~swap(before)));
  store_be16(words + 2, swap(value));
  store_be16(checksum, static_cast<uint16_t>(~ones_sum(words, static_cast<uint16_t>(~load_be16(checksum)))));
}

}  // namespace

void ask_for_large_segments(std::span<uint8_t> frame, bool needs_checksum, bool ipv4, bool ipv6) {
  const auto layout = find_layout(frame);
  if (!layout || layout->fragment || layout->protocol != kProtocolTcp || !(layout->ipv6 ? ipv6 : ipv4)) return;
  const size_t transport = layout->transport;
  if (transport + kTcpHeader > layout->end || !(frame[transport + 13] & kSyn)) return;
  const size_t end = transport + (frame[transport + 12] >> 4) * 4u;
  if (end > layout->end) return;
  // Less than the network allows is asked for with a reason: a tunnel, or a network behind the guest.
  const auto usual = static_cast<uint16_t>(kUserMtu - (transport - layout->network) - kTcpHeader);
  for (size_t at = transport + kTcpHeader; at + 4 <= end && frame[at] != kEndOfOptions;) {
    if (frame[at] == kNoOperation) {
      ++at;
      continue;
    }
    if (frame[at] == kMaximumSegmentSize && frame[at + 1] == 4) {
      if (load_be16(frame.data() + at + 2) == usual) replace(frame, transport, at + 2, kLargeSegment, !needs_checksum);
      return;
    }
    if (frame[at + 1] < 2) return;
    at += frame[at + 1];
  }
}

}  // namespace skerry::net::user
