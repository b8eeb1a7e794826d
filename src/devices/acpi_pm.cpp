#include "devices/acpi_pm.hpp"

#include "base/log.hpp"
#include "base/units.hpp"
#include "devices/vm_time.hpp"

namespace skerry::devices {

namespace {
// ACPI 6.5, 4.8.3.1 "PM1 Event Grouping".
enum Pm1Status : uint16_t {
  TMR_STS = 1 << 0,
  BM_STS = 1 << 4,
  GBL_STS = 1 << 5,
  PWRBTN_STS = 1 << 8,
  SLPBTN_STS = 1 << 9,
  RTC_STS = 1 << 10,
  PCIEXP_WAKE_STS = 1 << 14,
  WAK_STS = 1 << 15,
  kPm1StatusMask = TMR_STS | BM_STS | GBL_STS | PWRBTN_STS | SLPBTN_STS | RTC_STS | PCIEXP_WAKE_STS | WAK_STS,
};
enum Pm1Enable : uint16_t {
  TMR_EN = 1 << 0,
  GBL_EN = 1 << 5,
  PWRBTN_EN = 1 << 8,
  SLPBTN_EN = 1 << 9,
  RTC_EN = 1 << 10,
  PCIEXP_WAKE_DIS = 1 << 14,
  kPm1EnableMask = TMR_EN | GBL_EN | PWRBTN_EN | SLPBTN_EN | RTC_EN | PCIEXP_WAKE_DIS,
  kPm1Interrupts = TMR_EN | GBL_EN | PWRBTN_EN | SLPBTN_EN | RTC_EN,
};
// 4.8.3.2 "PM1 Control Grouping".
enum Pm1Control : uint16_t {
  SCI_EN = 1 << 0,
  BM_RLD = 1 << 1,
  SLP_TYP = 7 << 10,
  SLP_EN = 1 << 13,
  kPm1ControlKept = BM_RLD | SLP_TYP,  // GBL_RLS and SLP_EN read as 0, SCI_EN as 1
};
constexpr unsigned kSlpTypShift = 10;
constexpr unsigned kHalfWrapShift = 31;  // TMR_STS is set whenever the timer's top bit changes (4.8.3.3)
// ICH9, 13.7.5 "RST_CNT - Reset Control Register".
enum ResetControl : uint8_t {
  SYS_RST = 0x02,
  RST_CPU = 0x04,
  FULL_RST = 0x08,
  kResetMask = SYS_RST | RST_CPU | FULL_RST
};

uint8_t byte_of(uint16_t low, uint16_t high, uint64_t offset) {
  return static_cast<uint8_t>((offset < 2 ? low : high) >> (offset % 2 * 8));
}
uint16_t with_byte(uint16_t word, uint64_t offset, uint8_t value) {
  const unsigned shift = offset % 2 * 8;
  return static_cast<uint16_t>((word & ~(0xff << shift)) | value << shift);
}
}  // namespace

AcpiPm::AcpiPm(bus::IrqLine sci, EventLoop& loop, Actions actions)
    : sci_(sci),
      actions_(std::move(actions)),
      timer_(loop, [this] { expired(); }),
      event_window_(
          1, [this](uint64_t offset, unsigned) { return read_event(offset); },
          [this](uint64_t offset, unsigned, uint64_t value) { write_event(offset, static_cast<uint8_t>(value)); }),
      control_window_(
          2, [this](uint64_t offset, unsigned) { return read_control(offset); },
          [this](uint64_t offset, unsigned size, uint64_t value) { write_control(offset, size, value); }),
      timer_window_(
          4, [this](uint64_t offset, unsigned size) { return read_timer(offset, size); },
          [](uint64_t, unsigned, uint64_t) {}),
      gpe_window_(
          1, [this](uint64_t offset, unsigned) { return read_gpe(offset); },
          [this](uint64_t offset, unsigned, uint64_t value) { write_gpe(offset, static_cast<uint8_t>(value)); }),
      reset_window_(
          1,
          [this](uint64_t, unsigned) {
            std::lock_guard guard(lock_);
            return reset_control_;
          },
          [this](uint64_t, unsigned, uint64_t value) { write_reset(static_cast<uint8_t>(value)); }) {}

Result<void> AcpiPm::attach(bus::AddressSpace& pio) {
  if (auto added = pio.add(kPm1aEventBlock, kPm1EventLength, event_window_, "acpi-pm"); !added) return added;
  if (auto added = pio.add(kPm1aControlBlock, kPm1ControlLength, control_window_, "acpi-pm"); !added) return added;
  if (auto added = pio.add(kPmTimerBlock, kPmTimerLength, timer_window_, "acpi-pm"); !added) return added;
  return pio.add(kGpe0Block, kGpe0Length, gpe_window_, "acpi-pm");
}

Result<void> AcpiPm::attach_reset_register(bus::AddressSpace& pio) {
  return pio.add(kResetRegister, 1, reset_window_, "acpi-pm");
}

void AcpiPm::reset() {
  std::lock_guard guard(lock_);
  pm1_status_ = pm1_enable_ = pm1_control_ = gpe0_status_ = gpe0_enable_ = 0;
  reset_control_ = 0;
  half_wraps_ = ticks() >> kHalfWrapShift;
  update();
}

void AcpiPm::describe(state::Fields& fields) {
  fields.field("pm1_status", pm1_status_, state::in_mask(kPm1StatusMask));
  fields.field("pm1_enable", pm1_enable_, state::in_mask(kPm1EnableMask));
  fields.field("pm1_control", pm1_control_, state::in_mask(kPm1ControlKept));
  fields.field("gpe0_status", gpe0_status_);
  fields.field("gpe0_enable", gpe0_enable_);
  fields.field("reset_control", reset_control_, state::in_mask(kResetMask));
  fields.field("half_wraps", half_wraps_);
}

void AcpiPm::restored() {
  std::lock_guard guard(lock_);
  update();
}

void AcpiPm::press_power_button() {
  std::lock_guard guard(lock_);
  pm1_status_ |= PWRBTN_STS;
  update();
}

void AcpiPm::raise_gpe(unsigned event) {
  if (event >= kGpe0Events) return;
  std::lock_guard guard(lock_);
  gpe0_status_ = static_cast<uint16_t>(gpe0_status_ | 1u << event);
  update();
}

// --- registers -------------------------------------------------------------------------------------------------------

uint64_t AcpiPm::read_event(uint64_t offset) {
  std::lock_guard guard(lock_);
  account_timer();
  return byte_of(pm1_status_, pm1_enable_, offset);
}

void AcpiPm::write_event(uint64_t offset, uint8_t value) {
  std::lock_guard guard(lock_);
  account_timer();
  if (offset < 2)  // status: writing 1 clears
    pm1_status_ &= static_cast<uint16_t>(~(value << offset * 8));
  else
    pm1_enable_ = with_byte(pm1_enable_, offset, value) & kPm1EnableMask;
  update();
}

uint64_t AcpiPm::read_control(uint64_t offset) {
  std::lock_guard guard(lock_);
  return static_cast<uint16_t>(pm1_control_ | SCI_EN) >> offset * 8;
}

void AcpiPm::write_control(uint64_t offset, unsigned size, uint64_t value) {
  uint16_t written = static_cast<uint16_t>(value);
  {
    std::lock_guard guard(lock_);
    if (size == 1) written = with_byte(pm1_control_, offset, static_cast<uint8_t>(value));
    pm1_control_ = written & kPm1ControlKept;
  }
  if (!(written & SLP_EN)) return;
  const unsigned type = (written & SLP_TYP) >> kSlpTypShift;
  if (type == kSlpTypS5 || type == kSlpTypFirmwaresS5)
    actions_.power_off();
  else
    log::debug(log::Category::kDevice, "acpi-pm: the guest asks for sleep type {}, which there is not", type);
}

uint64_t AcpiPm::read_timer(uint64_t offset, unsigned) {
  return static_cast<uint32_t>(ticks()) >> offset * 8;  // the clock needs no lock
}

uint64_t AcpiPm::read_gpe(uint64_t offset) {
  std::lock_guard guard(lock_);
  return byte_of(gpe0_status_, gpe0_enable_, offset);
}

void AcpiPm::write_gpe(uint64_t offset, uint8_t value) {
  std::lock_guard guard(lock_);
  if (offset < 2)
    gpe0_status_ &= static_cast<uint16_t>(~(value << offset * 8));
  else
    gpe0_enable_ = with_byte(gpe0_enable_, offset, value);
  update();
}

void AcpiPm::write_reset(uint8_t value) {
  {
    std::lock_guard guard(lock_);
    reset_control_ = value & kResetMask;
  }
  if (value & RST_CPU) actions_.reset();
}

// --- events ----------------------------------------------------------------------------------------------------------

uint64_t AcpiPm::ticks() const {
  return multiply_divide(static_cast<uint64_t>(timer_.now()), kPmTimerHz, kNanosecondsPerSecond);
}

void AcpiPm::account_timer() {
  const uint64_t now = ticks() >> kHalfWrapShift;
  if (now != half_wraps_) pm1_status_ |= TMR_STS;
  half_wraps_ = now;
}

void AcpiPm::update() {
  sci_.set((pm1_status_ & pm1_enable_ & kPm1Interrupts) || (gpe0_status_ & gpe0_enable_));
  // While TMR_STS is set, a further change of the top bit tells nothing new.
  if (!(pm1_enable_ & TMR_EN) || (pm1_status_ & TMR_STS)) {
    timer_.cancel();
    return;
  }
  const int64_t now = timer_.now();
  const uint64_t next = (half_wraps_ + 1) << kHalfWrapShift;
  const uint64_t left = next > ticks() ? next - ticks() : 0;
  set_after(timer_, now, multiply_divide_up(left, kNanosecondsPerSecond, kPmTimerHz));
}

void AcpiPm::expired() {
  std::lock_guard guard(lock_);
  account_timer();
  update();
}

}  // namespace skerry::devices
