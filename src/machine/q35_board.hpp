// The board "q35-1": a PC with PCI Express, as the Q35 chipset has it.
//
// Root bus, beside what every board with PCI has: 00.0 host bridge; 1 to kRootPorts empty root ports, for what is plugged in
// later; 1f.0 LPC bridge.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "devices/cpu_registers.hpp"
#include "devices/ich9_lpc.hpp"
#include "devices/q35_mch.hpp"
#include "machine/pci_board.hpp"

namespace skerry::machine {

class Q35Board final : public PciBoard {
 public:
  static constexpr std::string_view kName = "q35-1";
  static constexpr unsigned kRootPorts = 4, kFirstSlot = 5, kLpcSlot = 31, kAhciFunction = 2;

  Q35Board(const config::VmConfig& config, EventLoop& loop, chardev::Chardev& console, GuestRequests requests,
           memory::GuestMemory& memory, Spaces spaces, Processors processors);

  unsigned ahci_function() const override { return kAhciFunction; }

 private:
  void set_intx(const bus::PciFunction& source, unsigned device, unsigned pin, bool level) override {
    lpc_.set_intx(source, device, pin, level);
  }
  Result<void> attach_chipset(bus::AddressSpace& pio) override;
  void set_up_chipset() override;
  uint8_t interrupt_line(unsigned device, unsigned pin) const override;
  std::vector<bus::Device*> bridges() override;
  std::vector<bus::Device*> last_devices() override;
  Result<void> tell_firmware(const FirmwareImage& image) override;
  void firmware_restarts() override { show_smi_features_agreed(); }

  void show_smi_features_agreed();

  devices::Ich9Lpc lpc_;
  devices::Q35Mch mch_;
  std::vector<std::unique_ptr<bus::PciRootPort>> ports_;
  std::optional<devices::CpuRegisters> cpu_registers_;  // of a machine with System Management Mode
};

}  // namespace skerry::machine
