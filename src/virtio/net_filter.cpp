#include "virtio/net_filter.hpp"

#include <algorithm>

namespace skerry::virtio {

namespace {
// Virtio 1.2, 5.1.6.5.1, class VIRTIO_NET_CTRL_RX.
enum Mode : uint8_t {
  VIRTIO_NET_CTRL_RX_PROMISC = 0,
  VIRTIO_NET_CTRL_RX_ALLMULTI = 1,
  VIRTIO_NET_CTRL_RX_ALLUNI = 2,
  VIRTIO_NET_CTRL_RX_NOMULTI = 3,
  VIRTIO_NET_CTRL_RX_NOUNI = 4,
  VIRTIO_NET_CTRL_RX_NOBCAST = 5,
  kModes = 6,
};
constexpr Mac kBroadcast = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

// IEEE 802.3 and 802.1Q.
constexpr size_t kEthernetHeader = 14, kTypeOffset = 12, kVlanTag = 4;
constexpr uint16_t kTypeVlan = 0x8100, kTypeIpv4 = 0x0800, kTypeIpv6 = 0x86dd;
constexpr uint16_t kVlanIdMask = 0x0fff;
constexpr uint8_t kTcp = 6, kUdp = 17;

uint16_t big_endian(std::span<const uint8_t> from, size_t at) {
  return static_cast<uint16_t>(from[at] << 8 | from[at + 1]);
}
}  // namespace

void NetFilter::Table::add(const Mac& address) {
  if (count == kMaxAddresses)
    overflowed = true;
  else
    addresses[count++] = address;
}

bool NetFilter::Table::has(std::span<const uint8_t, 6> address) const {
  return overflowed || std::any_of(addresses.begin(), addresses.begin() + count, [&](const Mac& known) {
           return std::equal(known.begin(), known.end(), address.begin());
         });
}

void NetFilter::Table::describe(state::Fields& fields, std::string_view name) {
  fields.group(name, [&] {
    fields.list("addresses", kMaxAddresses, [&](size_t i) { fields.bytes("", addresses[i]); });
    fields.field("count", count, state::up_to(kMaxAddresses));
    fields.field("overflowed", overflowed);
  });
}

void NetFilter::describe(state::Fields& fields) {
  fields.group("filter", [&] {
    fields.field("modes", modes_, state::in_mask((1u << kModes) - 1));
    unicast_.describe(fields, "unicast");
    multicast_.describe(fields, "multicast");
    fields.bytes("vlans", vlans_);
  });
}

bool NetFilter::set_mode(uint8_t command, bool on) {
  if (command >= kModes) return false;
  const auto mask = static_cast<uint8_t>(1u << command);
  modes_ = static_cast<uint8_t>(on ? modes_ | mask : modes_ & ~mask);
  return true;
}

void NetFilter::clear_addresses() { unicast_ = multicast_ = {}; }

bool NetFilter::set_vlan(uint16_t id, bool on) {
  if (id > kVlanIdMask) return false;
  const auto mask = static_cast<uint8_t>(1u << id % 8);
  vlans_[id / 8] = static_cast<uint8_t>(on ? vlans_[id / 8] | mask : vlans_[id / 8] & ~mask);
  return true;
}

bool NetFilter::accepts(std::span<const uint8_t> frame, const Mac& own) const {
  if (frame.size() < kEthernetHeader) return false;
  if (on(VIRTIO_NET_CTRL_RX_PROMISC)) return true;
  if (filters_vlans_ && big_endian(frame, kTypeOffset) == kTypeVlan) {
    if (frame.size() < kEthernetHeader + kVlanTag) return false;
    const unsigned id = big_endian(frame, kEthernetHeader) & kVlanIdMask;
    if (!(vlans_[id / 8] >> id % 8 & 1)) return false;
  }
  const auto to = frame.first<6>();
  if (std::equal(to.begin(), to.end(), kBroadcast.begin())) return !on(VIRTIO_NET_CTRL_RX_NOBCAST);
  if (to[0] & 1) {
    if (on(VIRTIO_NET_CTRL_RX_NOMULTI)) return false;
    return on(VIRTIO_NET_CTRL_RX_ALLMULTI) || multicast_.has(to);
  }
  if (on(VIRTIO_NET_CTRL_RX_NOUNI)) return false;
  return on(VIRTIO_NET_CTRL_RX_ALLUNI) || std::equal(to.begin(), to.end(), own.begin()) || unicast_.has(to);
}

// --- flows -----------------------------------------------------------------------------------------------------------

namespace {
// The sum of what each end contributes, so that both directions give the same.
uint32_t hash_ends(std::span<const uint8_t> a, std::span<const uint8_t> b, uint32_t port_a, uint32_t port_b) {
  const auto end = [](std::span<const uint8_t> address, uint32_t port) {
    uint32_t hash = 0x811c9dc5 ^ port;  // FNV-1a
    for (const uint8_t byte : address) hash = (hash ^ byte) * 0x01000193;
    return hash ^ hash >> 15;
  };
  const uint32_t sum = (end(a, port_a) + end(b, port_b)) * 0x9e3779b1;
  return sum ^ sum >> 16;
}

uint32_t flow_of_packet(std::span<const uint8_t> packet, size_t header, uint8_t protocol, std::span<const uint8_t> from,
                        std::span<const uint8_t> to) {
  uint32_t port_a = protocol, port_b = protocol;
  if ((protocol == kTcp || protocol == kUdp) && packet.size() >= header + 4) {
    port_a = big_endian(packet, header);
    port_b = big_endian(packet, header + 2);
  }
  return hash_ends(from, to, port_a, port_b);
}
}  // namespace

uint32_t flow_of(std::span<const uint8_t> start) {
  if (start.size() < kEthernetHeader) return 0;
  uint16_t type = big_endian(start, kTypeOffset);
  auto packet = start.subspan(kEthernetHeader);
  if (type == kTypeVlan && packet.size() >= kVlanTag) {
    type = big_endian(packet, 2);
    packet = packet.subspan(kVlanTag);
  }
  if (type == kTypeIpv4 && packet.size() >= 20) {
    constexpr uint16_t kFragment = 0x3fff;  // more follow, or not the first: only the first has ports
    const bool whole = !(big_endian(packet, 6) & kFragment);
    return flow_of_packet(packet, whole ? (packet[0] & 15u) * 4 : packet.size(), packet[9], packet.subspan(12, 4),
                          packet.subspan(16, 4));
  }
  if (type == kTypeIpv6 && packet.size() >= 40)
    return flow_of_packet(packet, 40, packet[6], packet.subspan(8, 16), packet.subspan(24, 16));
  return 0;
}

}  // namespace skerry::virtio
