// Registers that keep what is written to them and do nothing else here: of flow control, timing, power, the wire and the bus.
// Owned by the card's lock.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>

#include "state/fields.hpp"

namespace skerry::devices::e1000e {

class KeptRegisters {
 public:
  KeptRegisters() { reset(); }

  bool read(uint32_t offset, uint32_t& value) const {
    const size_t at = find(offset);
    if (at == kCount) return false;
    value = values_[at];
    return true;
  }
  bool write(uint32_t offset, uint32_t value) {
    const size_t at = find(offset);
    if (at == kCount) return false;
    values_[at] = value;
    return true;
  }
  void reset() {
    for (size_t i = 0; i < kCount; ++i) values_[i] = kRegisters[i].initial;
  }
  void describe(state::Fields& fields) { fields.field("values", values_); }

 private:
  struct Register {
    uint32_t offset, initial;
  };
  // 82574 datasheet, 10.2, sorted. It is saved in this order.
  static constexpr Register kRegisters[] = {
      {0x0028, 0x00c2'8001},  // FCAL
      {0x002c, 0x0000'0100},  // FCAH
      {0x0030, 0x0000'8808},  // FCT
      {0x0170, 0},            // FCTTV
      {0x0404, 0},            // TCTL_EXT
      {0x0410, 0x0060'2008},  // TIPG
      {0x0458, 0},            // AIT
      {0x0e00, 0x0706'8302},  // LEDCTL
      {0x0f08, 0},            // EXTCNF_SIZE
      {0x0f10, 0},            // PHY_CTRL
      {0x1008, 0x0000'0028},  // PBS
      {0x1100, 0},            // PBA_ECC
      {0x2008, 0},            // ERT
      {0x2160, 0},            // FCRTL
      {0x2168, 0},            // FCRTH
      {0x2820, 0},            // RDTR
      {0x2828, 0x0100'0000},  // RXDCTL
      {0x282c, 0},            // RADV
      {0x2928, 0x0100'0000},  // RXDCTL1
      {0x2c00, 0},            // RSRPD
      {0x2c08, 0},            // RAID
      {0x3820, 0},            // TIDV
      {0x3828, 0},            // TXDCTL
      {0x382c, 0},            // TADV
      {0x3840, 0x0000'0403},  // TARC0
      {0x3928, 0},            // TXDCTL1
      {0x3940, 0x0000'0403},  // TARC1
      {0x5800, 0},            // WUC
      {0x5808, 0},            // WUFC
      {0x5810, 0},            // WUS
      {0x5820, 0},            // MANC
      {0x5838, 0},            // IPAV
      {0x5860, 0},            // MANC2H
      {0x5b00, 0},            // GCR
      {0x5b58, 0},            // SWSM2
      {0x5b5c, 0},            // SW_FW_SYNC
      {0x5b64, 0},            // GCR2
      {0x5f40, 0},            // FCRTV
  };
  static constexpr size_t kCount = std::size(kRegisters);

  static size_t find(uint32_t offset) {
    const auto* at = std::ranges::lower_bound(kRegisters, offset, {}, &Register::offset);
    return at != std::end(kRegisters) && at->offset == offset ? static_cast<size_t>(at - kRegisters) : kCount;
  }

  std::array<uint32_t, kCount> values_{};
};

}  // namespace skerry::devices::e1000e
