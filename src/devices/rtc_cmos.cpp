#include "devices/rtc_cmos.hpp"

#include <time.h>

#include "base/units.hpp"
#include "devices/civil_time.hpp"
#include "devices/vm_time.hpp"

namespace skerry::devices {

namespace {
// MC146818A, figure 8 "Address Map".
enum Index : uint8_t {
  kSeconds = 0x00,
  kSecondsAlarm = 0x01,
  kMinutes = 0x02,
  kMinutesAlarm = 0x03,
  kHours = 0x04,
  kHoursAlarm = 0x05,
  kDayOfWeek = 0x06,
  kDayOfMonth = 0x07,
  kMonth = 0x08,
  kYear = 0x09,
  kRegisterA = 0x0a,
  kRegisterB = 0x0b,
  kRegisterC = 0x0c,
  kRegisterD = 0x0d,
  kCentury = 0x32,  // not the chip's: the PC's convention, named by the FADT
};
enum RegisterA : uint8_t { UIP = 0x80, kDivider = 0x70, kRate = 0x0f, kDivider32768Hz = 0x20, kDividerReset = 0x60 };
enum RegisterB : uint8_t {
  SET = 0x80,
  PIE = 0x40,
  AIE = 0x20,
  UIE = 0x10,
  SQWE = 0x08,
  DM = 0x04,   // 1: binary, 0: BCD
  H24 = 0x02,  // "24/12"
};
enum RegisterC : uint8_t { IRQF = 0x80, PF = 0x40, AF = 0x20, UF = 0x10 };
enum RegisterD : uint8_t { VRT = 0x80 };
constexpr uint8_t kPm = 0x80;                 // in an hour of 12
constexpr uint8_t kDontCare = 0xc0;           // alarm bytes from 0xc0 up match always
constexpr uint64_t kUpdateWarning = 244'000;  // UIP rises 244 us before an update
constexpr uint64_t kOscillatorHz = 32'768;
// Legal times: a century byte of 0xff is year 25755, and the other fields may carry over once more.
constexpr int64_t kLatest = int64_t{900'000} * 1'000'000;
constexpr int64_t kEarliest = -int64_t{63} * 1'000'000'000;  // year 0 is 62.2e9 s before 1970

bool is_time(uint8_t index) {
  return index == kSeconds || index == kMinutes || index == kHours || (index >= kDayOfWeek && index <= kYear) ||
         index == kCentury;
}
}  // namespace

// --- life ------------------------------------------------------------------------------------------------------------

int64_t RtcCmos::host_utc() {
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  return now.tv_sec * kNanosecondsPerSecond + now.tv_nsec;
}

RtcCmos::RtcCmos(bus::IrqLine irq, EventLoop& loop, int64_t now_ns)
    : irq_(irq),
      timer_(loop, [this] { expired(); }),
      register_a_(kDivider32768Hz | 6),  // as firmware leaves it: 1024 Hz
      register_b_(H24) {
  const int64_t fraction = (now_ns % kNanosecondsPerSecond + kNanosecondsPerSecond) % kNanosecondsPerSecond;
  base_seconds_ = std::clamp((now_ns - fraction) / kNanosecondsPerSecond, kEarliest, kLatest);
  base_clock_ = static_cast<uint64_t>(timer_.now() + kNanosecondsPerSecond - fraction);
  accounted_ = timer_.now();
}

Result<void> RtcCmos::attach(bus::AddressSpace& pio) { return pio.add(kPort, 2, *this, "rtc"); }

void RtcCmos::reset() {
  std::lock_guard guard(lock_);
  index_ = 0;
  register_b_ &= static_cast<uint8_t>(~(PIE | AIE | UIE | SQWE));  // MC146818A, "RESET"
  register_c_ = 0;
  accounted_ = timer_.now();
  irq_.set(false);
  rearm(timer_.now());
}

void RtcCmos::describe(state::Fields& fields) {
  fields.bytes("cmos", cmos_);
  fields.field("index", index_, state::up_to(kSize - 1));
  fields.field("register_a", register_a_, state::in_mask(kDivider | kRate));
  fields.field("register_b", register_b_);
  fields.field("register_c", register_c_, state::in_mask(IRQF | PF | AF | UF));
  uint64_t since_year_0 = static_cast<uint64_t>(base_seconds_ - kEarliest);
  fields.field("seconds", since_year_0, state::up_to(static_cast<uint64_t>(kLatest - kEarliest)));
  base_seconds_ = static_cast<int64_t>(since_year_0) + kEarliest;
  fields.field("base_clock", base_clock_, instant());
  fields.field("accounted", accounted_, instant());
}

void RtcCmos::restored() {
  std::lock_guard guard(lock_);
  irq_.set(register_c_ & IRQF);
  rearm(timer_.now());
}

void RtcCmos::advance(uint64_t ns) {
  std::lock_guard guard(lock_);
  const int64_t now = timer_.now();
  account(now);
  if (!counting()) return;  // the guest has stopped it
  const auto alarm = next_alarm(seconds_at(now));
  const uint64_t fraction = ns % kNanosecondsPerSecond;
  int64_t seconds = static_cast<int64_t>(ns / kNanosecondsPerSecond);
  if (base_clock_ >= fraction) {
    base_clock_ -= fraction;
  } else {
    base_clock_ += kNanosecondsPerSecond - fraction;
    ++seconds;
  }
  base_seconds_ = std::min(base_seconds_ + seconds, kLatest);
  if (alarm && *alarm <= seconds_at(now)) raise_flags(AF);
  rearm(now);
}

void RtcCmos::set_cmos(uint8_t index, uint8_t value) {
  std::lock_guard guard(lock_);
  cmos_[index % kSize] = value;
}

uint8_t RtcCmos::cmos(uint8_t index) {
  std::lock_guard guard(lock_);
  return cmos_[index % kSize];
}

// --- ports -----------------------------------------------------------------------------------------------------------

uint64_t RtcCmos::io_read(uint64_t offset, unsigned) {
  if (offset == 0) return 0xff;  // the index is write-only
  std::lock_guard guard(lock_);
  return read_register(timer_.now());
}

void RtcCmos::io_write(uint64_t offset, unsigned, uint64_t value) {
  std::lock_guard guard(lock_);
  if (offset == 0)
    index_ = value & (kSize - 1);  // bit 7 masks the NMI; nothing on these boards raises one through it
  else
    write_register(static_cast<uint8_t>(value), timer_.now());
}

uint8_t RtcCmos::read_register(int64_t now) {
  switch (index_) {
    case kRegisterA:
      return register_a_ | (update_in_progress(now) ? UIP : 0);
    case kRegisterB:
      return register_b_;
    case kRegisterC: {
      account(now);
      const uint8_t flags = register_c_;
      register_c_ = 0;
      irq_.set(false);
      rearm(now);
      return flags;
    }
    case kRegisterD:
      return VRT;
    default:
      if (is_time(index_) && counting()) put_time(seconds_at(now));
      return cmos_[index_];
  }
}

void RtcCmos::write_register(uint8_t value, int64_t now) {
  switch (index_) {
    case kRegisterA:
      write_a(value, now);
      break;
    case kRegisterB:
      write_b(value, now);
      break;
    case kRegisterC:
    case kRegisterD:
      break;  // read-only
    default:
      account(now);
      if (is_time(index_) && counting()) {
        put_time(seconds_at(now));
        cmos_[index_] = value;
        take_time(now);
      } else {
        cmos_[index_] = value;
      }
      rearm(now);
      break;
  }
}

void RtcCmos::write_a(uint8_t value, int64_t now) {
  account(now);
  const bool was_counting = counting();
  const bool was_reset = (register_a_ & kDividerReset) == kDividerReset;
  register_a_ = value & (kDivider | kRate);
  if (was_counting && !counting()) put_time(seconds_at(now));
  // "The first update cycle begins one-half second later" (MC146818A, "Register A").
  if (was_reset && (register_a_ & kDividerReset) != kDividerReset)
    base_clock_ = static_cast<uint64_t>(now) + kNanosecondsPerSecond - kNanosecondsPerSecond / 2;
  if (!was_counting && counting()) take_time(now);
  rearm(now);
}

void RtcCmos::write_b(uint8_t value, int64_t now) {
  account(now);
  const bool was_counting = counting();
  if (value & SET) value &= static_cast<uint8_t>(~UIE);  // "UIE ... is cleared by the SET bit going high"
  if (was_counting) put_time(seconds_at(now));  // in the format so far: DM and 24/12 convert nothing that is frozen
  register_b_ = value;
  if (!was_counting && counting()) take_time(now);
  raise_flags(0);  // enabling an interrupt whose flag is set already raises it
  rearm(now);
}

// --- time ------------------------------------------------------------------------------------------------------------

// The divider values 000 and 001 are for other crystals; a PC has 32768 Hz and firmware sets 010.
bool RtcCmos::counting() const { return !(register_b_ & SET) && (register_a_ & kDivider) <= kDivider32768Hz; }

uint64_t RtcCmos::run_time(int64_t now) const {
  const uint64_t shifted = static_cast<uint64_t>(now) + kNanosecondsPerSecond;
  return shifted > base_clock_ ? shifted - base_clock_ : 0;
}

int64_t RtcCmos::seconds_at(int64_t now) const {
  return base_seconds_ + static_cast<int64_t>(run_time(now) / kNanosecondsPerSecond);
}

// The registers become the time. The phase within the second goes on.
void RtcCmos::take_time(int64_t now) {
  const uint64_t phase = run_time(now) % kNanosecondsPerSecond;
  base_seconds_ = std::clamp(written_time(), kEarliest, kLatest);
  base_clock_ = static_cast<uint64_t>(now) + kNanosecondsPerSecond - phase;
}

void RtcCmos::put_time(int64_t seconds) {
  const CivilTime time = from_unix_seconds(seconds);
  cmos_[kSeconds] = encode(time.second);
  cmos_[kMinutes] = encode(time.minute);
  cmos_[kHours] = encode_hour(time.hour);
  cmos_[kDayOfWeek] = encode(time.weekday + 1);
  cmos_[kDayOfMonth] = encode(time.day);
  cmos_[kMonth] = encode(time.month);
  const int64_t year = std::max<int64_t>(time.year, 0);
  cmos_[kYear] = encode(static_cast<unsigned>(year % 100));
  cmos_[kCentury] = encode(static_cast<unsigned>(year / 100 % 256));
}

// Whatever a guest wrote makes some time. The day of the week follows from the date.
int64_t RtcCmos::written_time() const {
  CivilTime time;
  time.second = decode(cmos_[kSeconds]);
  time.minute = decode(cmos_[kMinutes]);
  time.hour = decode_hour(cmos_[kHours]);
  time.day = decode(cmos_[kDayOfMonth]);
  time.month = decode(cmos_[kMonth]);
  time.year = int64_t{100} * decode(cmos_[kCentury]) + decode(cmos_[kYear]);
  return to_unix_seconds(time);
}

uint8_t RtcCmos::encode(unsigned value) const {
  return static_cast<uint8_t>(register_b_ & DM ? value : value / 10 << 4 | value % 10);
}
unsigned RtcCmos::decode(uint8_t value) const { return register_b_ & DM ? value : (value >> 4) * 10u + (value & 0x0f); }

uint8_t RtcCmos::encode_hour(unsigned hour) const {
  if (register_b_ & H24) return encode(hour);
  return encode(hour % 12 == 0 ? 12 : hour % 12) | (hour >= 12 ? kPm : 0);
}
unsigned RtcCmos::decode_hour(uint8_t value) const {
  if (register_b_ & H24) return decode(value);
  return decode(value & static_cast<uint8_t>(~kPm)) % 12 + (value & kPm ? 12 : 0);
}

bool RtcCmos::update_in_progress(int64_t now) const {
  return counting() && run_time(now) % kNanosecondsPerSecond >= kNanosecondsPerSecond - kUpdateWarning;
}

// --- events ----------------------------------------------------------------------------------------------------------

// MC146818A, table 5 "Periodic Interrupt Rate", the 32768 Hz column.
uint64_t RtcCmos::periodic_ticks() const {
  const unsigned rate = register_a_ & kRate;
  if (rate == 0 || (register_a_ & kDivider) > kDivider32768Hz) return 0;
  return bit(rate <= 2 ? rate + 6 : rate - 1);
}

// The first second later than `after` that the alarm bytes match, if any does.
std::optional<int64_t> RtcCmos::next_alarm(int64_t after) const {
  const auto matches = [](uint8_t pattern, unsigned value, unsigned meaning) {
    return pattern >= kDontCare || meaning == value;
  };
  const uint8_t hours = cmos_[kHoursAlarm], minutes = cmos_[kMinutesAlarm], seconds = cmos_[kSecondsAlarm];
  const auto possible = [](uint8_t pattern, unsigned meaning, unsigned limit) {
    return pattern >= kDontCare || meaning < limit;
  };
  if (!possible(hours, decode_hour(hours), 24) || !possible(minutes, decode(minutes), 60) ||
      !possible(seconds, decode(seconds), 60))
    return std::nullopt;
  const CivilTime start = from_unix_seconds(after + 1);
  const int64_t midnight = after + 1 - (start.hour * 3600 + start.minute * 60 + start.second);
  bool later = false;  // past `start` in some unit, so that the smaller units begin at 0
  for (unsigned hour = start.hour; hour < 48; ++hour) {
    if (matches(hours, hour % 24, decode_hour(hours))) {
      for (unsigned minute = later ? 0 : start.minute; minute < 60; ++minute) {
        if (matches(minutes, minute, decode(minutes))) {
          for (unsigned second = later ? 0 : start.second; second < 60; ++second)
            if (matches(seconds, second, decode(seconds))) return midnight + hour * 3600 + minute * 60 + second;
        }
        later = true;
      }
    }
    later = true;
  }
  return std::nullopt;
}

// Sets the flags of what happened since the last look. Flags are set whether or not their interrupt is enabled, but
// nobody sees them before register C is read: no timer runs for a disabled one.
void RtcCmos::account(int64_t now) {
  if (now <= accounted_) return;
  const uint64_t before = run_time(accounted_), after = run_time(now);
  uint8_t flags = 0;
  if (counting() && after / kNanosecondsPerSecond != before / kNanosecondsPerSecond) {
    flags |= UF;
    const auto alarm = next_alarm(seconds_at(accounted_));
    if (alarm && *alarm <= seconds_at(now)) flags |= AF;
  }
  if (const uint64_t period = periodic_ticks(); period != 0) {
    const auto count = [&](uint64_t time) {
      return multiply_divide(time, kOscillatorHz, kNanosecondsPerSecond) / period;
    };
    if (count(before) != count(after)) flags |= PF;
  }
  accounted_ = now;
  raise_flags(flags);
}

void RtcCmos::raise_flags(uint8_t flags) {
  register_c_ |= flags;
  if (register_c_ & register_b_ & (PF | AF | UF)) register_c_ |= IRQF;  // PF-PIE, AF-AIE, UF-UIE share their bits
  irq_.set(register_c_ & IRQF);
}

void RtcCmos::rearm(int64_t now) {
  const uint64_t run = run_time(now);
  uint64_t wait = ~uint64_t{0};
  // An interrupt that is pending already says nothing new before register C has been read.
  const uint8_t wanted = register_b_ & static_cast<uint8_t>(~register_c_);
  if ((wanted & UIE) && counting()) wait = kNanosecondsPerSecond - run % kNanosecondsPerSecond;
  if ((wanted & AIE) && counting()) {
    if (const auto alarm = next_alarm(seconds_at(now))) {
      const uint64_t seconds = static_cast<uint64_t>(*alarm - seconds_at(now));
      wait = std::min(wait, seconds * kNanosecondsPerSecond - run % kNanosecondsPerSecond);
    }
  }
  if (const uint64_t period = periodic_ticks(); (wanted & PIE) && period != 0) {
    const uint64_t next = (multiply_divide(run, kOscillatorHz, kNanosecondsPerSecond) / period + 1) * period;
    wait = std::min(wait, multiply_divide_up(next, kNanosecondsPerSecond, kOscillatorHz) - run);
  }
  if (wait == ~uint64_t{0})
    timer_.cancel();
  else
    set_after(timer_, now, wait);
}

void RtcCmos::expired() {
  std::lock_guard guard(lock_);
  const int64_t now = timer_.now();
  account(now);
  rearm(now);
}

}  // namespace skerry::devices
