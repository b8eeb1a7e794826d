// ACPI power management: PM1a event and control, PM timer, GPE0, and the reset register (ACPI 6.5, chapter 4.8).
//
// The board's ACPI tables use the constants of this file. There is no SMI command port: ACPI is always on.
#pragma once

#include <functional>
#include <mutex>

#include "base/event_loop.hpp"
#include "bus/device.hpp"
#include "bus/interrupt.hpp"
#include "devices/io_window.hpp"

namespace skerry::devices {

class AcpiPm final : public bus::Device {
 public:
  // FADT: PM1a_EVT_BLK, PM1_EVT_LEN, and so on.
  static constexpr uint16_t kPm1aEventBlock = 0x600;
  static constexpr uint8_t kPm1EventLength = 4;
  static constexpr uint16_t kPm1aControlBlock = 0x604;
  static constexpr uint8_t kPm1ControlLength = 2;
  static constexpr uint16_t kPmTimerBlock = 0x608;
  static constexpr uint8_t kPmTimerLength = 4;
  static constexpr bool kPmTimerIs32Bit = true;  // TMR_VAL_EXT
  static constexpr uint64_t kPmTimerHz = 3'579'545;
  static constexpr uint16_t kGpe0Block = 0x620;
  static constexpr uint8_t kGpe0Length = 4;  // two bytes of status, two of enable
  static constexpr unsigned kGpe0Events = 16;
  static constexpr unsigned kSciIrq = 9;
  static constexpr uint8_t kSlpTypS5 = 5;  // \_S5
  static constexpr uint8_t kSlpTypFirmwaresS5 = 0;  // QEMU's, which OVMF and SeaBIOS write to power off without asking \_S5
  static constexpr uint16_t kResetRegister = 0xcf9;
  static constexpr uint8_t kResetValue = 0x06;

  struct Actions {  // called from any vCPU thread, with no lock held
    std::function<void()> power_off;
    std::function<void()> reset;
  };
  AcpiPm(bus::IrqLine sci, EventLoop& loop, Actions actions);

  // The blocks at 0x600 to 0x623.
  Result<void> attach(bus::AddressSpace& pio);
  // The reset register. It lies within the ports of the PCI configuration mechanism (0xcf8 to 0xcff): a board whose
  // host bridge claims those as one range gives its byte accesses at 0xcf9 to reset_register() instead.
  Result<void> attach_reset_register(bus::AddressSpace& pio);
  bus::IoHandler& reset_register() { return reset_window_; }

  void press_power_button();       // any thread
  void raise_gpe(unsigned event);  // sets the status bit; any thread

  std::string_view name() const override { return "acpi-pm"; }
  void reset() override;
  void describe(state::Fields& fields) override;
  void restored() override;

 private:
  uint64_t read_event(uint64_t offset);
  void write_event(uint64_t offset, uint8_t value);
  uint64_t read_control(uint64_t offset);
  void write_control(uint64_t offset, unsigned size, uint64_t value);
  uint64_t read_timer(uint64_t offset, unsigned size);
  uint64_t read_gpe(uint64_t offset);
  void write_gpe(uint64_t offset, uint8_t value);
  void write_reset(uint8_t value);

  // With lock_ held.
  uint64_t ticks() const;
  void account_timer();
  void update();
  void expired();

  const bus::IrqLine sci_;
  const Actions actions_;
  std::mutex lock_;
  Timer timer_;
  uint16_t pm1_status_ = 0, pm1_enable_ = 0, pm1_control_ = 0;
  uint16_t gpe0_status_ = 0, gpe0_enable_ = 0;
  uint8_t reset_control_ = 0;
  uint64_t half_wraps_ = 0;  // of the PM timer's top bit, as far as TMR_STS knows of them
  IoWindow event_window_, control_window_, timer_window_, gpe_window_, reset_window_;
};

}  // namespace skerry::devices
