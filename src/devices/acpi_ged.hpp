// What a hardware-reduced ACPI board has in the place of AcpiPm (ACPI 6.5, 4.1): the sleep control and status
// registers, the reset register, and the register behind its generic event device, which says what has happened.
//
// The board's ACPI tables use the constants of this file.
#pragma once

#include <functional>
#include <mutex>

#include "bus/address_space.hpp"
#include "bus/device.hpp"
#include "bus/interrupt.hpp"

namespace skerry::devices {

class AcpiGed final : public bus::Device, private bus::IoHandler {
 public:
  // Four ports of a byte each. Events: a bit is set by what happens and cleared by writing 1; the line is high while
  // one is set.
  static constexpr uint16_t kPorts = 0x600, kEventPort = 0x600, kSleepControlPort = 0x601, kSleepStatusPort = 0x602,
                            kResetPort = 0x603;
  static constexpr unsigned kIrq = 9;
  static constexpr uint8_t kPowerButtonEvent = 1 << 0;
  static constexpr uint8_t kSlpTypS5 = 5;  // \_S5
  static constexpr uint8_t kResetValue = 1;

  struct Actions {  // called from any vCPU thread, with no lock held
    std::function<void()> power_off;
    std::function<void()> reset;
  };
  AcpiGed(bus::IrqLine irq, Actions actions) : irq_(irq), actions_(std::move(actions)) {}
  Result<void> attach(bus::AddressSpace& pio);

  void press_power_button();  // any thread

  std::string_view name() const override { return "acpi-ged"; }
  void reset() override;
  void describe(state::Fields& fields) override;
  void restored() override;

 private:
  uint64_t io_read(uint64_t offset, unsigned size) override;
  void io_write(uint64_t offset, unsigned size, uint64_t value) override;
  unsigned widest_access() const override { return 1; }
  void write_sleep_control(uint8_t value);

  const bus::IrqLine irq_;
  const Actions actions_;
  std::mutex lock_;
  uint8_t events_ = 0, sleep_control_ = 0;
};

}  // namespace skerry::devices
