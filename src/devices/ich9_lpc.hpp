// The LPC bridge of the ICH9 (device 00:1f.0): where PCI interrupts go, and the ports that firmware asks about system
// management mode. Intel I/O Controller Hub 9 Family Datasheet, chapter 13.
//
// The power management block stays at 0x600 (devices/acpi_pm.hpp), where firmware puts it; there is no SMM, which
// SMI_EN says by having APMC_EN set: firmware then takes it as done.
#pragma once

#include <array>
#include <mutex>

#include "bus/pci.hpp"
#include "devices/io_window.hpp"

namespace skerry::devices {

class Ich9Lpc final : public bus::PciFunction, public bus::PciHost::IntxSink {
 public:
  static constexpr unsigned kPirqs = 8;
  static constexpr unsigned kFirstGsi = 16;  // of PIRQA; the eight follow each other
  static constexpr uint16_t kPmBase = 0x600;

  explicit Ich9Lpc(bus::IrqSink& irqs);
  Result<void> attach(bus::AddressSpace& pio);

  // Which of the PIRQs pin `pin` (0 to 3) of root bus device `device` is wired to.
  static unsigned pirq(unsigned device, unsigned pin) { return 4 + ((device + pin) & 3); }
  // As firmware leaves it, for a machine that has none. At rest.
  void set_up();
  // What set_up() makes of a PIRQ, and what the ACPI tables say of it.
  static constexpr unsigned isa_irq(unsigned pirq_index) { return pirq_index & 2 ? 11 : 10; }

  void set_intx(const bus::PciFunction& source, unsigned device, unsigned pin, bool level) override;
  void config_write(unsigned offset, unsigned size, uint32_t value) override;
  void reset() override;
  void restored() override;
  void describe(state::Fields& fields) override;

 private:
  void apply_routes();
  void drive_isa();  // with lines_lock_ held

  bus::IrqSink& irqs_;
  std::mutex lines_lock_;
  std::array<int, kPirqs> asserted_{};  // how many functions drive it; derived
  uint16_t isa_levels_ = 0;             // the ISA interrupts that it drives; derived
  std::array<uint8_t, kPirqs> routes_{};
  std::mutex lock_;
  uint8_t apm_control_ = 0, apm_status_ = 0;
  IoWindow smi_window_, apm_window_;
};

}  // namespace skerry::devices
