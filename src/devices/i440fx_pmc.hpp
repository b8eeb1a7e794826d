// The host bridge of the i440FX chipset (PMC, device 00:00.0): what of the memory below 1 MiB is RAM (pam.hpp).
// Intel 440FX PCIset: 82441FX PCI and Memory Controller datasheet, chapter 3.
//
// The rows of DRAM (DRB) are not told: firmware asks fw_cfg and the CMOS. There is no System Management RAM: the bits of SMRAM
// that open it cannot be set.
#pragma once

#include <functional>

#include "bus/pci.hpp"
#include "memory/guest_memory.hpp"

namespace skerry::devices {

class I440fxPmc final : public bus::PciFunction {
 public:
  // `map_changed` has every vCPU kicked. Memory is as pam::apply() wants it.
  I440fxPmc(memory::GuestMemory& memory, std::function<void()> map_changed);

  // As firmware leaves it, for a machine that has none: all segments are RAM. At rest.
  void set_up();

  void reset() override;
  void restored() override;
  void config_write(unsigned offset, unsigned size, uint32_t value) override;

 private:
  void apply_segments();

  memory::GuestMemory& memory_;
  const std::function<void()> map_changed_;
};

}  // namespace skerry::devices
