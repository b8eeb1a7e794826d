#include "irqchip/apic_timer.hpp"

#include <algorithm>
#include <limits>

namespace skerry::irqchip {

namespace {
// Later deadlines are looked at again after an hour: keeps every sum far from overflow.
constexpr uint64_t kLongestWait = 3'600'000'000'000;
// Where the TSC is not quite there at expiry, because two clocks round differently.
constexpr int64_t kRetry = 1'000;
// Longer than the longest count (2^32 - 1 ticks of 128 ns).
constexpr int64_t kLongestCount = int64_t{1} << 40;
}  // namespace

ApicTimer::ApicTimer(EventLoop& loop, std::function<void()> expired, std::function<uint64_t()> guest_tsc,
                     uint64_t tsc_hz)
    : guest_tsc_(std::move(guest_tsc)), tsc_hz_(std::max<uint64_t>(tsc_hz, 1)), timer_(loop, std::move(expired)) {}

// Divide Configuration Register, bits 3, 1, 0: 2, 4, ... 128, then 1 (Intel SDM vol. 3, figure 11-10).
int64_t ApicTimer::divisor() const {
  const unsigned code = (divide_configuration_ & 3) | (divide_configuration_ >> 1 & 4);
  return int64_t{1} << ((code + 1) & 7);
}

int64_t ApicTimer::period() const { return int64_t{initial_count_} * divisor(); }

void ApicTimer::stop() {
  counting_ = false;
  tsc_deadline_ = 0;
  timer_.cancel();
}

// Going to and from TSC deadline mode disarms the timer; one-shot and periodic share the count under way.
void ApicTimer::set_mode(Mode mode) {
  if (mode == mode_) return;
  if (mode == Mode::kTscDeadline || mode_ == Mode::kTscDeadline) {
    stop();
    initial_count_ = 0;
  }
  mode_ = mode;
}

void ApicTimer::set_initial_count(uint32_t value) {
  if (mode_ == Mode::kTscDeadline) return;  // "writes to the initial-count register are ignored"
  initial_count_ = value;
  stop();
  if (value == 0) return;
  counting_ = true;
  deadline_ = timer_.now() + (mode_ == Mode::kPeriodic ? std::max(period(), kMinimumPeriod) : period());
  timer_.set(deadline_);
}

uint32_t ApicTimer::current_count() const {
  if (!counting_) return 0;
  const int64_t left = std::clamp<int64_t>(deadline_ - timer_.now(), 0, kLongestCount);
  return static_cast<uint32_t>(std::min<int64_t>((left + divisor() - 1) / divisor(), initial_count_));
}

// The count goes on from where it is, at the new rate.
void ApicTimer::set_divide_configuration(uint32_t value) {
  const int64_t left = current_count();
  divide_configuration_ = value;
  if (!counting_) return;
  deadline_ = timer_.now() + left * divisor();
  timer_.set(deadline_);
}

bool ApicTimer::set_tsc_deadline(uint64_t deadline) {
  if (mode_ != Mode::kTscDeadline) return false;  // the write is ignored
  tsc_deadline_ = deadline;
  if (deadline == 0) timer_.cancel();
  return arm_tsc_deadline();
}

bool ApicTimer::set_tsc_offset(int64_t offset) {
  if (offset == tsc_offset_) return false;
  tsc_offset_ = offset;
  return arm_tsc_deadline();
}

// Arms the timer for the deadline, or ends it and says true when it has passed.
bool ApicTimer::arm_tsc_deadline() {
  if (tsc_deadline_ == 0) return false;
  const uint64_t tsc_now = tsc();
  if (tsc_now >= tsc_deadline_) {
    tsc_deadline_ = 0;
    timer_.cancel();
    return true;
  }
  using Wide = unsigned __int128;
  const Wide wait = (Wide{tsc_deadline_ - tsc_now} * 1'000'000'000 + tsc_hz_ - 1) / tsc_hz_;
  const int64_t wait_ns = static_cast<int64_t>(std::min<Wide>(wait, kLongestWait));
  timer_.set(timer_.now() + std::max(wait_ns, kRetry));
  return false;
}

bool ApicTimer::expire() {
  if (mode_ == Mode::kTscDeadline) return arm_tsc_deadline();
  const int64_t now = timer_.now();
  if (!counting_ || now < deadline_) return false;  // programmed anew since it expired
  if (mode_ != Mode::kPeriodic) {
    counting_ = false;
    return true;
  }
  const int64_t step = std::max(period(), kMinimumPeriod);
  deadline_ += step * ((now - deadline_) / step + 1);
  timer_.set(deadline_);
  return true;
}

void ApicTimer::load(Mode mode, uint32_t initial_count, uint32_t current_count, uint32_t divide_configuration,
                     uint64_t tsc_deadline) {
  stop();
  mode_ = mode;
  initial_count_ = initial_count;
  divide_configuration_ = divide_configuration;
  counting_ = mode != Mode::kTscDeadline && current_count != 0;
  deadline_ = counting_ ? timer_.now() + int64_t{current_count} * divisor() : 0;
  tsc_deadline_ = mode == Mode::kTscDeadline ? tsc_deadline : 0;
}

void ApicTimer::reset() {
  stop();
  mode_ = Mode::kOneShot;
  initial_count_ = divide_configuration_ = 0;
}

void ApicTimer::describe(state::Fields& fields) {
  fields.field("initial_count", initial_count_);
  fields.field("divide_configuration", divide_configuration_, state::in_mask(0xb));
  fields.field("counting", counting_);
  fields.field("deadline", deadline_, state::up_to(std::numeric_limits<int64_t>::max()));
  fields.field("tsc_deadline", tsc_deadline_);
}

void ApicTimer::restored(Mode mode) {
  mode_ = mode;
  timer_.cancel();
  if (mode_ == Mode::kTscDeadline) {
    counting_ = false;
    // A deadline that has passed fires from the loop, when the machine runs again.
    if (tsc_deadline_ != 0) timer_.set(timer_.now());
    return;
  }
  tsc_deadline_ = 0;
  if (!counting_) return;
  deadline_ = std::min(deadline_, timer_.now() + std::max(period(), kMinimumPeriod));
  timer_.set(deadline_);
}

}  // namespace skerry::irqchip
