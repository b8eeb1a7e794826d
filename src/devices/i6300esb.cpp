#include "devices/i6300esb.hpp"

#include <algorithm>
#include <utility>

namespace skerry::devices {

namespace {
constexpr bus::PciIdentity kIdentity = {.vendor = 0x8086, .device = 0x25ab, .class_code = 0x088000};
// 16.4: configuration space.
constexpr unsigned kConfig = 0x60, kLock = 0x68;
constexpr uint16_t kConfigMask = 0x27, kInterruptMask = 3, kInterruptByLine = 0, kFast = 1 << 2, kOutputOff = 1 << 5;
constexpr uint8_t kLockMask = 0x07, kLocked = 1 << 0, kEnabled = 1 << 1;
// 16.5: memory.
constexpr uint64_t kSize = 16, kPreload1 = 0x00, kPreload2 = 0x04, kInterruptStatus = 0x08, kReload = 0x0c;
constexpr uint32_t kPreloadMask = 0xf'ffff, kReloadBit = 1 << 8, kTimedOut = 1 << 9;
constexpr uint64_t kUnlock1 = 0x80, kUnlock2 = 0x86;
// The PCI clock of 33 MHz, of which the counters count each 2^15th or 2^5th.
constexpr int64_t kClock = 30;  // ns
constexpr int64_t kShortest = 1'000'000;  // of a stage, ns: a guest may choose one that leaves the loop no rest
constexpr int64_t kLongest = (int64_t{kPreloadMask} + 1) * (kClock << 15);
}  // namespace

I6300Esb::I6300Esb(std::string name, EventLoop& loop, std::function<void()> expired)
    : PciFunction(std::move(name), kIdentity), expired_(std::move(expired)), timer_(loop, [this] { timer_due(); }) {
  set_writable<uint16_t>(kConfig, kConfigMask);
  set_writable<uint8_t>(kLock, kLockMask);
  add_bar(0, bus::BarKind::kMemory32, kSize, *this);
  use_interrupt_pin(1);
  std::ranges::fill(preload_, kPreloadMask);
}

void I6300Esb::reset() {
  PciFunction::reset();
  std::lock_guard guard(mutex_);
  config_register_ = 0;
  lock_register_ = 0;
  std::ranges::fill(preload_, kPreloadMask);
  unlock_ = Unlock::kNone;
  interrupted_ = false;
  stop();
}

void I6300Esb::describe(state::Fields& fields) {
  PciFunction::describe(fields);
  std::lock_guard guard(mutex_);
  fields.field("preload", preload_, state::up_to(kPreloadMask));
  fields.field("unlock", unlock_, state::up_to(static_cast<uint64_t>(Unlock::kUnlocked)));
  fields.field("stage", stage_, state::up_to(static_cast<uint64_t>(Stage::kSecond)));
  const int64_t now = timer_.now();
  uint64_t left = stage_ == Stage::kStopped ? 0 : static_cast<uint64_t>(std::clamp<int64_t>(deadline_ - now, 0, kLongest));
  fields.field("left", left, state::up_to(kLongest));
  deadline_ = now + static_cast<int64_t>(left);
  fields.field("interrupted", interrupted_);
  fields.field("timed_out", timed_out_);
}

void I6300Esb::restored() {
  PciFunction::restored();
  std::lock_guard guard(mutex_);
  config_register_ = config<uint16_t>(kConfig);
  lock_register_ = config<uint8_t>(kLock);
  if (stage_ == Stage::kStopped) {
    timer_.cancel();
    deadline_ = timer_.now();
  } else {
    timer_.set(deadline_);
  }
}

// --- registers -------------------------------------------------------------------------------------------------------

// 16.4.2: what is locked stays as it is until a reset. To enable is to begin.
void I6300Esb::config_write(unsigned offset, unsigned size, uint32_t value) {
  const auto before = config<uint8_t>(kLock);
  PciFunction::config_write(offset, size, value);
  if (before & kLocked) set_config(kLock, before);
  std::lock_guard guard(mutex_);
  config_register_ = config<uint16_t>(kConfig);
  lock_register_ = config<uint8_t>(kLock);
  if (!(lock_register_ & kEnabled)) stop();
  else if (!(before & kEnabled)) begin(Stage::kFirst, timer_.now());
}

uint64_t I6300Esb::io_read(uint64_t offset, unsigned size) {
  std::lock_guard guard(mutex_);
  uint32_t value = 0;
  switch (offset & ~uint64_t{3}) {
    case kPreload1: value = preload_[0]; break;
    case kPreload2: value = preload_[1]; break;
    case kInterruptStatus: value = interrupted_ ? 1 : 0; break;
    default: value = timed_out_ ? kTimedOut : 0; break;
  }
  return value >> (8 * (offset & 3)) & (~0u >> (32 - 8 * size));
}

// 16.5: the preloads and the reload register take one write after 80h and 86h were written to the latter.
void I6300Esb::io_write(uint64_t offset, unsigned size, uint64_t value) {
  std::lock_guard guard(mutex_);
  value &= ~0u >> (32 - 8 * size);
  if (offset == kInterruptStatus) {
    if (!(value & 1)) return;
    interrupted_ = false;
    return set_intx(false);
  }
  if (offset == kReload && value == kUnlock1) {
    unlock_ = Unlock::kHalf;
    return;
  }
  if (offset == kReload && value == kUnlock2 && unlock_ == Unlock::kHalf) {
    unlock_ = Unlock::kUnlocked;
    return;
  }
  if (std::exchange(unlock_, Unlock::kNone) != Unlock::kUnlocked) return;
  if (offset == kPreload1) preload_[0] = static_cast<uint32_t>(value) & kPreloadMask;
  if (offset == kPreload2) preload_[1] = static_cast<uint32_t>(value) & kPreloadMask;
  if (offset != kReload) return;
  if (value & kTimedOut) timed_out_ = false;
  if ((value & kReloadBit) && stage_ != Stage::kStopped) begin(Stage::kFirst, timer_.now());
}

// --- time ------------------------------------------------------------------------------------------------------------

int64_t I6300Esb::tick() const { return kClock << (config_register_ & kFast ? 5 : 15); }

void I6300Esb::begin(Stage stage, int64_t from) {
  stage_ = stage;
  deadline_ = from + std::max(preload_[stage == Stage::kSecond ? 1 : 0] * tick(), kShortest);
  timer_.set(deadline_);
}

void I6300Esb::stop() {
  stage_ = Stage::kStopped;
  deadline_ = timer_.now();
  timer_.cancel();
  if (!interrupted_) set_intx(false);
}

void I6300Esb::end_of_first() {
  if ((config_register_ & kInterruptMask) == kInterruptByLine) {
    interrupted_ = true;
    set_intx(true);
  }
  if (free_running()) begin(Stage::kFirst, timer_.now());
  else begin(Stage::kSecond, deadline_);
}

void I6300Esb::timer_due() {
  {
    std::lock_guard guard(mutex_);
    if (stage_ == Stage::kStopped) return;
    if (timer_.now() < deadline_) return timer_.set(deadline_);
    if (stage_ == Stage::kFirst) return end_of_first();
    stop();
    timed_out_ = true;
    if (config_register_ & kOutputOff) return;
  }
  expired_();
}

}  // namespace skerry::devices
