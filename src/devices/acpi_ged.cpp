#include "devices/acpi_ged.hpp"

#include "base/log.hpp"

namespace skerry::devices {

namespace {
constexpr unsigned kSize = 4;
// ACPI 6.5, 4.8.3.7 "Sleep Control and Status Registers". WAK_STS is never set: there is no sleep to wake from.
enum SleepControl : uint8_t { SLP_TYP = 7 << 2, SLP_EN = 1 << 5 };
constexpr unsigned kSlpTypShift = 2;
}  // namespace

Result<void> AcpiGed::attach(bus::AddressSpace& pio) { return pio.add(kPorts, kSize, *this, "acpi-ged"); }

void AcpiGed::press_power_button() {
  std::lock_guard guard(lock_);
  events_ |= kPowerButtonEvent;
  irq_.set(true);
}

void AcpiGed::reset() {
  std::lock_guard guard(lock_);
  events_ = sleep_control_ = 0;
  irq_.set(false);
}

void AcpiGed::describe(state::Fields& fields) {
  fields.field("events", events_, state::in_mask(kPowerButtonEvent));
  fields.field("sleep_control", sleep_control_, state::in_mask(SLP_TYP));
}

void AcpiGed::restored() {
  std::lock_guard guard(lock_);
  irq_.set(events_ != 0);
}

uint64_t AcpiGed::io_read(uint64_t offset, unsigned) {
  std::lock_guard guard(lock_);
  switch (kPorts + offset) {
    case kEventPort:
      return events_;
    case kSleepControlPort:
      return sleep_control_;
    default:
      return 0;
  }
}

void AcpiGed::io_write(uint64_t offset, unsigned, uint64_t wide) {
  const auto value = static_cast<uint8_t>(wide);
  switch (kPorts + offset) {
    case kEventPort: {
      std::lock_guard guard(lock_);
      events_ &= static_cast<uint8_t>(~value);
      irq_.set(events_ != 0);
      return;
    }
    case kSleepControlPort:
      return write_sleep_control(value);
    case kResetPort:
      if (value == kResetValue) actions_.reset();
      return;
    default:
      return;
  }
}

void AcpiGed::write_sleep_control(uint8_t value) {
  {
    std::lock_guard guard(lock_);
    sleep_control_ = value & SLP_TYP;  // SLP_EN reads as 0
  }
  if (!(value & SLP_EN)) return;
  const unsigned type = (value & SLP_TYP) >> kSlpTypShift;
  if (type == kSlpTypS5)
    actions_.power_off();
  else
    log::debug(log::Category::kDevice, "acpi-ged: the guest asks for sleep type {}, which there is not", type);
}

}  // namespace skerry::devices
