#include "devices/e1000e/rss.hpp"

#include <algorithm>

namespace skerry::devices::e1000e {

namespace {
// 10.2.5.24, MRQC.
constexpr uint32_t kEnableMask = 3, kEnabled = 1;
constexpr uint32_t kTcpIpv4 = 1 << 16, kIpv4 = 1 << 17, kIpv6 = 1 << 20, kTcpIpv6 = 1 << 21;
// 7.1.11.1: types of hashes, as descriptors tell them.
constexpr uint8_t kTypeTcpIpv4 = 1, kTypeIpv4 = 2, kTypeTcpIpv6 = 3, kTypeIpv6 = 5;
constexpr unsigned kEntries = 128, kQueueBit = 7;
constexpr size_t kPorts = 4;
}  // namespace

bool Rss::read(uint32_t offset, uint32_t& value) const {
  if (offset == MRQC) value = control_;
  else if (offset >= RETA && offset < RETA + 4 * kTableWords) value = table_[(offset - RETA) / 4];
  else if (offset >= RSSRK && offset < RSSRK + 4 * kKeyWords) value = key_[(offset - RSSRK) / 4];
  else return false;
  return true;
}

bool Rss::write(uint32_t offset, uint32_t value) {
  if (offset == MRQC) control_ = value;
  else if (offset >= RETA && offset < RETA + 4 * kTableWords) table_[(offset - RETA) / 4] = value;
  else if (offset >= RSSRK && offset < RSSRK + 4 * kKeyWords) key_[(offset - RSSRK) / 4] = value;
  else return false;
  return true;
}

Rss::Result Rss::look_at(std::span<const uint8_t> frame, const std::optional<net::FrameLayout>& layout) const {
  if ((control_ & kEnableMask) != kEnabled || !layout) return {};
  const size_t addresses = layout->network + (layout->ipv6 ? 8 : 12), size = layout->ipv6 ? 32 : 8;
  const bool tcp = layout->protocol == net::kProtocolTcp && !layout->fragment && layout->transport + kPorts <= layout->end;
  std::array<uint8_t, 36> input;
  std::copy_n(frame.begin() + static_cast<ptrdiff_t>(addresses), size, input.begin());
  Result result;
  if (tcp && (control_ & (layout->ipv6 ? kTcpIpv6 : kTcpIpv4))) {
    std::copy_n(frame.begin() + static_cast<ptrdiff_t>(layout->transport), kPorts, input.begin() + static_cast<ptrdiff_t>(size));
    result.type = layout->ipv6 ? kTypeTcpIpv6 : kTypeTcpIpv4;
    result.hash = hash(std::span(input).first(size + kPorts));
  } else if (control_ & (layout->ipv6 ? kIpv6 : kIpv4)) {
    result.type = layout->ipv6 ? kTypeIpv6 : kTypeIpv4;
    result.hash = hash(std::span(input).first(size));
  } else {
    return {};
  }
  const unsigned entry = result.hash % kEntries;
  result.queue = table_[entry / 4] >> (8 * (entry % 4) + kQueueBit) & 1;
  return result;
}

// Toeplitz: for each bit of the input, from its first, the 32 bits of the key that begin where it is.
uint32_t Rss::hash(std::span<const uint8_t> input) const {
  const auto key_byte = [&](size_t i) { return static_cast<uint8_t>(key_[i / 4] >> (8 * (i % 4))); };
  uint64_t window = 0;  // 40 bits of the key, from the input's byte on
  for (size_t i = 0; i < 4; ++i) window = window << 8 | key_byte(i);
  uint32_t result = 0;
  for (size_t i = 0; i < input.size(); ++i) {
    window = (window << 8 | key_byte(i + 4)) & 0xff'ffff'ffff;
    for (unsigned bit = 0; bit < 8; ++bit)
      if (input[i] >> (7 - bit) & 1) result ^= static_cast<uint32_t>(window >> (8 - bit));
  }
  return result;
}

void Rss::describe(state::Fields& fields) {
  fields.field("control", control_);
  fields.field("key", key_);
  fields.field("table", table_);
}

}  // namespace skerry::devices::e1000e
