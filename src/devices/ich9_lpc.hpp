// The LPC bridge of the ICH9 (device 00:1f.0): where PCI interrupts go, and the ports that firmware asks about system
// management mode. Intel I/O Controller Hub 9 Family Datasheet, chapter 13.
//
// The power management block stays at 0x600 (devices/acpi_pm.hpp), where firmware puts it. A machine without SMM says so by SMI_EN having
// APMC_EN set: firmware then takes it as done. In one with SMM a write to APM_CNT is what makes an SMI, and nothing else of the chipset
// does; each makes one, whether the handler has cleared APM_STS and set EOS or not. It goes to the processor that writes, or to all, if
// firmware has asked for that (QEMU, docs/specs and OVMF's SmmControl2Dxe: files etc/smi/ of fw_cfg).
#pragma once

#include <functional>
#include <mutex>

#include "bus/pci.hpp"
#include "devices/io_window.hpp"
#include "devices/pirq_routes.hpp"

namespace skerry::devices {

class Ich9Lpc final : public bus::PciFunction, public bus::PciHost::IntxSink {
 public:
  static constexpr unsigned kPirqs = 8;
  static constexpr unsigned kFirstGsi = 16;  // of PIRQA; the eight follow each other
  static constexpr uint16_t kPmBase = 0x600;

  // Makes an SMI for all processors, or for the one whose thread calls; with the device's lock held.
  using RaiseSmi = std::function<void(bool all)>;
  static constexpr uint64_t kSmiBroadcast = 1 << 0;  // of the features that firmware may ask for, all there are
  // `raise_smi` is null where there is no SMM.
  explicit Ich9Lpc(bus::IrqSink& irqs, RaiseSmi raise_smi = nullptr);
  Result<void> attach(bus::AddressSpace& pio);

  // Which of the PIRQs pin `pin` (0 to 3) of root bus device `device` is wired to.
  static unsigned pirq(unsigned device, unsigned pin) { return 4 + ((device + pin) & 3); }
  // As firmware leaves it, for a machine that has none. At rest.
  void set_up();
  // What set_up() makes of a PIRQ, and what the ACPI tables say of it.
  static constexpr unsigned isa_irq(unsigned pirq_index) { return pirq_index & 2 ? 11 : 10; }

  // What firmware asks for, until the next reset; any thread. False: there is no such feature, or others were agreed on before.
  bool agree_on_smi_features(uint64_t features);
  bool smi_features_agreed();

  void set_intx(const bus::PciFunction& source, unsigned device, unsigned pin, bool level) override;
  void config_write(unsigned offset, unsigned size, uint32_t value) override;
  void reset() override;
  void restored() override;
  void describe(state::Fields& fields) override;

 private:
  void apply_routes();
  uint64_t read_smi(uint64_t offset);
  void write_smi(uint64_t offset, unsigned size, uint64_t value);
  void write_apm(uint64_t offset, uint8_t value);

  PirqRoutes routes_;
  std::mutex lock_;
  uint8_t apm_control_ = 0, apm_status_ = 0;
  uint32_t smi_enable_ = 0, smi_status_ = 0;
  bool smi_features_agreed_ = false;
  uint64_t smi_features_ = 0;
  bool smi_locked_ = false;  // SMI_LOCK, of the configuration space
  const RaiseSmi raise_smi_;
  IoWindow smi_window_, apm_window_;
};

}  // namespace skerry::devices
