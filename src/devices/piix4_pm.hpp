// The power management function of the PIIX4 (8086:7113), which boards with a PIIX3 have beside it, as function 3 of the same device:
// the registers by which guests find the blocks of ports. Intel 82371AB (PIIX4) datasheet, chapter 7.
//
// The blocks themselves stay where they are, which is where SeaBIOS puts them and what the ACPI tables say; there is no
// SMBus host, and no System Management Mode: DEVACTB has APMC_EN set, and firmware takes it as done.
#pragma once

#include "bus/pci.hpp"

namespace skerry::devices {

class Piix4Pm final : public bus::PciFunction {
 public:
  static constexpr unsigned kFunction = 3;
  explicit Piix4Pm(uint16_t base);  // the first port of the blocks

  // As firmware leaves it, for a machine that has none: PMBA says where the blocks are. At rest.
  void set_up();

 private:
  const uint16_t base_;
};

}  // namespace skerry::devices
