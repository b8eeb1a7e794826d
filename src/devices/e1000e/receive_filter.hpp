// Which frames the driver wants (82574 datasheet, 7.1.1 and 10.2.5.20 to 10.2.5.23). Owned by the card's lock.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "devices/e1000e/nvm.hpp"
#include "devices/e1000e/registers.hpp"
#include "state/fields.hpp"

namespace skerry::devices::e1000e {

class ReceiveFilter {
 public:
  // The first address is `own` after a reset.
  explicit ReceiveFilter(const Mac& own) : own_(own) { reset(); }

  // True if `offset` is one of its tables'.
  bool read(uint32_t offset, uint32_t& value) const;
  bool write(uint32_t offset, uint32_t value);

  // `frame` is an Ethernet header at least; `vlan_type` the type of a tag, by VET.
  bool accepts(std::span<const uint8_t> frame, uint32_t rctl, uint16_t vlan_type) const;

  void reset();
  void describe(state::Fields& fields);

 private:
  static constexpr unsigned kAddresses = 16, kTableWords = 128;
  bool has_address(std::span<const uint8_t> address) const;
  bool accepts_multicast(std::span<const uint8_t> address, uint32_t rctl) const;
  uint32_t* find(uint32_t offset);

  const Mac own_;
  std::array<uint32_t, 2 * kAddresses> addresses_{};  // RAL and RAH, in turn
  std::array<uint32_t, kTableWords> multicast_{}, vlans_{};
};

}  // namespace skerry::devices::e1000e
