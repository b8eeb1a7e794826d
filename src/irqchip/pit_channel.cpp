#include "irqchip/pit_channel.hpp"

#include <algorithm>

namespace skerry::irqchip {

namespace {
// Status byte of the read-back command.
constexpr uint8_t kStatusOut = 0x80, kStatusNullCount = 0x40;

uint32_t from_bcd(uint16_t value) {
  return (value & 15u) + (value >> 4 & 15u) * 10 + (value >> 8 & 15u) * 100 + (value >> 12 & 15u) * 1000;
}
uint16_t to_bcd(uint32_t value) {
  return static_cast<uint16_t>(value % 10 | value / 10 % 10 << 4 | value / 100 % 10 << 8 | value / 1000 % 10 << 12);
}
}  // namespace

int64_t PitChannel::elapsed(int64_t now) const { return running_ ? std::max<int64_t>(now - start_, 0) : held_; }

// Where a periodic mode loads a new count: the end of the period, in mode 3 of the half period.
int64_t PitChannel::next_boundary(int64_t now) const {
  const int64_t done = elapsed(now), position = done % period();
  const int64_t period_start = start_ + done - position;
  return mode_ == 3 && position < high_half() ? period_start + high_half() : period_start + period();
}

// Loads the count whose time has come.
void PitChannel::settle(int64_t now) {
  if (!reload_pending() || now < reload_at_) return;
  const bool low_half_follows = mode_ == 3 && (reload_at_ - start_) % period() == high_half();
  start(reload_at_);
  if (low_half_follows) start_ -= high_half();
}

void PitChannel::start(int64_t now) {
  count_ = programmed_;
  null_count_ = false;
  started_ = running_ = true;
  start_ = now;
  held_ = 0;
}

void PitChannel::write_control(uint8_t control, int64_t) {
  access_ = static_cast<Access>(control >> 4 & 3);
  mode_ = control >> 1 & 7;
  if (mode_ > 5) mode_ &= 3;  // 6 and 7 are 2 and 3: the highest bit does not count there
  bcd_ = control & 1;
  null_count_ = true;
  count_written_ = started_ = running_ = false;
  held_ = 0;
  write_high_next_ = read_high_next_ = count_latched_ = status_latched_ = false;
}

void PitChannel::write_count_byte(uint8_t value, int64_t now) {
  settle(now);
  switch (access_) {
    case Access::kLow:
      return load_count(value, now);
    case Access::kHigh:
      return load_count(static_cast<uint16_t>(value << 8), now);
    case Access::kLowThenHigh:
      break;
  }
  write_high_next_ = !write_high_next_;
  if (!write_high_next_) return load_count(static_cast<uint16_t>(write_low_ | value << 8), now);
  write_low_ = value;
  if (mode_ == 0) started_ = running_ = false;  // "writing the first byte disables counting; OUT is set low"
}

void PitChannel::load_count(uint16_t value, int64_t now) {
  const bool already_pending = reload_pending();
  programmed_ = bcd_ ? from_bcd(value) : value;
  if (programmed_ == 0) programmed_ = modulus();
  count_written_ = null_count_ = true;
  if (triggered_by_gate()) return;
  if (periodic()) {
    if (!running_ && gate_)
      start(now);
    else if (running_ && !already_pending)
      reload_at_ = next_boundary(now);
    return;
  }
  start(now);
  running_ = gate_;
}

void PitChannel::set_gate(bool level, int64_t now) {
  settle(now);
  if (level == gate_) return;
  const int64_t done = elapsed(now);
  gate_ = level;
  if (triggered_by_gate() || periodic()) {
    if (level && count_written_) start(now);
    if (!level && periodic()) running_ = false, held_ = 0;  // OUT goes high at once
  } else if (started_) {                                    // modes 0 and 4: the gate only pauses
    running_ = level;
    start_ = now - done;
    held_ = done;
  }
}

bool PitChannel::out(int64_t now) {
  settle(now);
  const int64_t done = elapsed(now);
  switch (mode_) {
    case 0:
      return started_ && done >= count_;
    case 1:
      return !started_ || done >= count_;
    case 2:
      return !running_ || done % period() != period() - 1;
    case 3:
      return !running_ || done % period() < high_half();
    default:
      return !started_ || done != count_;
  }
}

std::optional<int64_t> PitChannel::next_rise(int64_t after) {
  settle(after);
  if (!running_) return std::nullopt;
  const int64_t done = elapsed(after);
  if (!periodic()) {
    const int64_t rise = mode_ == 4 || mode_ == 5 ? int64_t{count_} + 1 : count_;
    return done < rise ? std::optional(start_ + rise) : std::nullopt;
  }
  const int64_t rise = start_ + done - done % period() + period();
  if (!reload_pending() || rise <= reload_at_) return rise;
  // The new count is loaded for the low half, at whose end OUT rises.
  const int64_t next_period = std::max<int64_t>(programmed_, 2);
  return reload_at_ + next_period - (next_period + 1) / 2;
}

uint16_t PitChannel::counter(int64_t now) {
  settle(now);
  const int64_t done = elapsed(now), base = modulus();
  int64_t value = 0;
  if (mode_ == 2) {
    value = period() - done % period();
  } else if (mode_ == 3) {  // counts by twos, from the next lower even number
    const int64_t position = done % period();
    value = (period() & ~int64_t{1}) - 2 * (position < high_half() ? position : position - high_half());
  } else {
    value = (count_ - done % base + base) % base;
  }
  value %= base;
  return bcd_ ? to_bcd(static_cast<uint32_t>(value)) : static_cast<uint16_t>(value);
}

uint8_t PitChannel::status(int64_t now) {
  const bool level = out(now);
  return static_cast<uint8_t>((level ? kStatusOut : 0) | (null_count_ ? kStatusNullCount : 0) |
                              static_cast<unsigned>(access_) << 4 | mode_ << 1 | (bcd_ ? 1 : 0));
}

void PitChannel::latch_count(int64_t now) {
  if (count_latched_) return;  // the first latch holds until it is read
  latched_count_ = counter(now);
  count_latched_ = true;
}

void PitChannel::latch_status(int64_t now) {
  if (status_latched_) return;
  latched_status_ = status(now);
  status_latched_ = true;
}

uint8_t PitChannel::read(int64_t now) {
  if (status_latched_) {
    status_latched_ = false;
    return latched_status_;
  }
  const uint16_t value = count_latched_ ? latched_count_ : counter(now);
  bool high = access_ == Access::kHigh;
  if (access_ == Access::kLowThenHigh) {
    high = read_high_next_;
    read_high_next_ = !read_high_next_;
  }
  if (!read_high_next_) count_latched_ = false;  // its last byte has been read
  return static_cast<uint8_t>(high ? value >> 8 : value);
}

// Power-on leaves an 8254 undefined; here it is in mode 3 and waits for a count.
void PitChannel::reset(bool gate, int64_t) {
  *this = PitChannel{};
  mode_ = 3;
  gate_ = gate;
}

void PitChannel::describe(state::Fields& fields) {
  constexpr uint64_t kLatest = uint64_t{1} << 56;  // ticks; more than a thousand years
  fields.field("mode", mode_, state::up_to(5));
  fields.field("access", access_, state::Legal{1, 3});
  fields.field("bcd", bcd_);
  fields.field("gate", gate_);
  fields.field("programmed", programmed_, state::Legal{1, 65536});
  fields.field("count", count_, state::Legal{1, 65536});
  fields.field("null_count", null_count_);
  fields.field("count_written", count_written_);
  fields.field("started", started_);
  fields.field("running", running_);
  // A gate may have paused a count that began before the clock did.
  fields.field("start", start_, state::Legal{0, ~uint64_t{0}});
  fields.field("held", held_, state::up_to(kLatest));
  fields.field("reload_at", reload_at_, state::up_to(kLatest));
  fields.field("write_low", write_low_);
  fields.field("write_high_next", write_high_next_);
  fields.field("read_high_next", read_high_next_);
  fields.field("count_latched", count_latched_);
  fields.field("status_latched", status_latched_);
  fields.field("latched_count", latched_count_);
  fields.field("latched_status", latched_status_);
}

// A state from elsewhere must not lie in this clock's future, nor so far back that arithmetic overflows.
void PitChannel::restored(int64_t now) {
  start_ = std::clamp(start_, now - (int64_t{1} << 56), now);
  if (reload_pending()) reload_at_ = std::clamp(reload_at_, start_, now + 65536);
}

}  // namespace skerry::irqchip
