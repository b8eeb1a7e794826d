// Which received frames the driver of a network card wants (virtio 1.2, 5.1.6.5.1 to 5.1.6.5.3), and which flow a frame
// belongs to (5.1.6.5.5). On one thread.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "state/fields.hpp"

namespace skerry::virtio {

using Mac = std::array<uint8_t, 6>;

class NetFilter {
 public:
  static constexpr size_t kMaxAddresses = 64;  // of each table; with more, all are let through

  // One of VIRTIO_NET_CTRL_RX_PROMISC to _NOBCAST; false if there is no such command.
  bool set_mode(uint8_t command, bool on);
  // Begins a new table; then add() for each address of it.
  void clear_addresses();
  void add_unicast(const Mac& address) { unicast_.add(address); }
  void add_multicast(const Mac& address) { multicast_.add(address); }
  bool set_vlan(uint16_t id, bool on);  // false: there is no such VLAN
  // Until then frames of all VLANs pass.
  void filter_vlans(bool on) { filters_vlans_ = on; }

  bool accepts(std::span<const uint8_t> frame, const Mac& own) const;
  void describe(state::Fields& fields);

 private:
  struct Table {
    std::array<Mac, kMaxAddresses> addresses{};
    uint8_t count = 0;
    bool overflowed = false;
    void add(const Mac& address);
    bool has(std::span<const uint8_t, 6> address) const;
    void describe(state::Fields& fields, std::string_view name);
  };
  bool on(uint8_t command) const { return modes_ >> command & 1; }

  // A card without a driver's wish lets everything through, as drivers that know no CTRL_RX expect.
  uint8_t modes_ = 1;  // a bit a command: promiscuous
  bool filters_vlans_ = false;
  Table unicast_, multicast_;
  std::array<uint8_t, 4096 / 8> vlans_{};
};

// A number that all frames of a flow have in common, in both directions; 0 for what is no flow. `start` is the
// beginning of a frame, kFlowBytes of it if it is as long.
constexpr size_t kFlowBytes = 14 + 4 + 60 + 4;
uint32_t flow_of(std::span<const uint8_t> start);

}  // namespace skerry::virtio
