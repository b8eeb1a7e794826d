// What an Ethernet frame holds, as far as offloads need to know it. Reads frames of anybody: every length is checked.
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <vector>

namespace skerry::net {

constexpr size_t kEthernetHeader = 14;
constexpr size_t kIpv6Header = 40;
constexpr uint16_t kTypeIpv4 = 0x0800;  // IEEE 802, EtherTypes
constexpr uint8_t kProtocolTcp = 6, kProtocolUdp = 17;  // IANA, "Protocol Numbers"

// Where the headers of an IP packet are. Extension headers of IPv6 are not followed: `protocol` is then theirs.
struct FrameLayout {
  bool ipv6 = false;
  bool fragment = false;  // of an IPv4 packet
  uint8_t protocol = 0;
  size_t network = 0;    // offset of the IP header
  size_t transport = 0;  // offset of what follows it
  size_t end = 0;        // of the IP packet; what follows is padding
};

// Of an IP packet that is whole, with one VLAN tag or none; otherwise nothing.
std::optional<FrameLayout> find_layout(std::span<const uint8_t> frame);

inline uint16_t load_be16(const uint8_t* at) { return static_cast<uint16_t>(at[0] << 8 | at[1]); }
inline uint32_t load_be32(const uint8_t* at) {
  return static_cast<uint32_t>(load_be16(at)) << 16 | load_be16(at + 2);
}
inline void store_be16(uint8_t* at, uint16_t value) {
  at[0] = static_cast<uint8_t>(value >> 8);
  at[1] = static_cast<uint8_t>(value);
}
inline void store_be32(uint8_t* at, uint32_t value) {
  store_be16(at, static_cast<uint16_t>(value >> 16));
  store_be16(at + 2, static_cast<uint16_t>(value));
}

size_t total_size(std::span<const iovec> parts);
// Makes one piece of a frame: nothing if it is longer than `into`.
std::optional<std::span<uint8_t>> gather(std::span<const iovec> parts, std::span<uint8_t> into);

}  // namespace skerry::net
