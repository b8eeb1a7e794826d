// The board "pc-1": a PC with PCI and IDE, as the i440FX chipset with PIIX3 has it, for guests that know nothing newer.
//
// Root bus, beside what every board with PCI has: 00.0 host bridge; 01.0 ISA bridge, 01.1 IDE controller, 01.3 power
// management; the AHCI controller, if there is one, is 1f.0. It is started by a BIOS or with a kernel; there is neither PCI Express
// nor System Management Mode.
#pragma once

#include <vector>

#include "devices/i440fx_pmc.hpp"
#include "devices/piix3_isa.hpp"
#include "devices/piix4_pm.hpp"
#include "machine/pci_board.hpp"

namespace skerry::machine {

class PcBoard final : public PciBoard {
 public:
  static constexpr std::string_view kName = "pc-1";
  static constexpr unsigned kPiixSlot = 1, kFirstSlot = 2;

  PcBoard(const config::VmConfig& config, EventLoop& loop, chardev::Chardev& console, GuestRequests requests, memory::GuestMemory& memory,
          Spaces spaces, Processors processors);

  unsigned ahci_function() const override { return 0; }

 private:
  void set_intx(const bus::PciFunction&, unsigned device, unsigned pin, bool level) override { isa_.set_intx(device, pin, level); }
  Result<void> attach_chipset(bus::AddressSpace& pio) override;
  void set_up_chipset() override;
  uint8_t interrupt_line(unsigned device, unsigned pin) const override;
  std::vector<bus::Device*> bridges() override { return {&isa_, &pm_}; }
  std::vector<bus::Device*> last_devices() override { return {&host_state(), &pmc_}; }
  Result<void> tell_firmware(const FirmwareImage& image) override;

  devices::Piix3Isa isa_;
  devices::Piix4Pm pm_;
  devices::I440fxPmc pmc_;
};

}  // namespace skerry::machine
