#include "net/frame.hpp"

namespace skerry::net {

namespace {

constexpr uint16_t kTypeIpv6 = 0x86dd, kTypeVlan = 0x8100;  // IEEE 802 EtherTypes
constexpr size_t kVlanTag = 4;
constexpr size_t kIpv4Header = 20;

// RFC 791, 3.1.
std::optional<FrameLayout> find_ipv4(std::span<const uint8_t> frame, size_t network) {
  if (frame.size() < network + kIpv4Header) return {};
  const uint8_t* ip = frame.data() + network;
  const size_t header = (ip[0] & 0xfu) * 4u, total = load_be16(ip + 2);
  if (ip[0] >> 4 != 4 || header < kIpv4Header || total < header || network + total > frame.size()) return {};
  constexpr uint16_t kMoreFragments = 0x2000, kFragmentOffset = 0x1fff;
  FrameLayout layout;
  layout.fragment = (load_be16(ip + 6) & (kMoreFragments | kFragmentOffset)) != 0;
  layout.protocol = ip[9];
  layout.network = network;
  layout.transport = network + header;
  layout.end = network + total;
  return layout;
}

// RFC 8200, 3.
std::optional<FrameLayout> find_ipv6(std::span<const uint8_t> frame, size_t network) {
  if (frame.size() < network + kIpv6Header) return {};
  const uint8_t* ip = frame.data() + network;
  const size_t payload = load_be16(ip + 4);
  if (ip[0] >> 4 != 6 || network + kIpv6Header + payload > frame.size()) return {};
  FrameLayout layout;
  layout.ipv6 = true;
  layout.protocol = ip[6];
  layout.network = network;
  layout.transport = network + kIpv6Header;
  layout.end = layout.transport + payload;
  return layout;
}

}  // namespace

std::optional<FrameLayout> find_layout(std::span<const uint8_t> frame) {
  size_t network = kEthernetHeader;
  if (frame.size() < network) return {};
  uint16_t type = load_be16(frame.data() + 12);
  if (type == kTypeVlan) {
    if (frame.size() < network + kVlanTag) return {};
    type = load_be16(frame.data() + 16);
    network += kVlanTag;
  }
  if (type == kTypeIpv4) return find_ipv4(frame, network);
  if (type == kTypeIpv6) return find_ipv6(frame, network);
  return {};
}

size_t total_size(std::span<const iovec> parts) {
  size_t size = 0;
  for (const iovec& part : parts) size += part.iov_len;
  return size;
}

std::optional<std::span<uint8_t>> gather(std::span<const iovec> parts, std::span<uint8_t> into) {
  size_t size = 0;
  for (const iovec& part : parts) {
    if (part.iov_len > into.size() - size) return {};
    if (part.iov_len != 0) std::memcpy(into.data() + size, part.iov_base, part.iov_len);
    size += part.iov_len;
  }
  return into.first(size);
}

}  // namespace skerry::net
