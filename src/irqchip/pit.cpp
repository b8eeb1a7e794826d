#include "irqchip/pit.hpp"

#include <algorithm>

namespace skerry::irqchip {

namespace {
constexpr int64_t kSecond = 1'000'000'000;

// Port 0x61, NSC (Intel ICH9 data sheet, 13.7.1).
constexpr uint8_t kNscTimer2Enable = 0x01, kNscWritable = 0x0e, kNscRefreshToggle = 0x10, kNscTimer2Out = 0x20;
constexpr int64_t kRefreshTicks = 18;  // 15 us: how firmware programs channel 1

// Control word (8254 data sheet): select counter, and the read-back command's inverted latch bits.
constexpr unsigned kSelectReadBack = 3;
constexpr uint8_t kReadBackNoCount = 0x20, kReadBackNoStatus = 0x10;
constexpr uint8_t kAccessMask = 0x30;  // zero: counter latch command

// Floor one way and ceiling the other, so that to_ticks(to_ns(t)) == t.
int64_t to_ticks(int64_t ns) { return static_cast<int64_t>(static_cast<__int128>(ns) * Pit::kFrequency / kSecond); }
int64_t to_ns(int64_t ticks) {
  return static_cast<int64_t>((static_cast<__int128>(ticks) * kSecond + Pit::kFrequency - 1) / Pit::kFrequency);
}
}  // namespace

Pit::Pit(bus::IrqLine irq0, EventLoop& loop) : irq0_(irq0), timer_(loop, [this] { expired(); }) { reset(); }

Result<void> Pit::attach(bus::AddressSpace& pio) {
  if (auto added = pio.add(0x40, 4, counter_ports_, "pit"); !added) return added;
  return pio.add(0x61, 1, nsc_port_, "pit");
}

int64_t Pit::now() const { return to_ticks(timer_.now()); }

void Pit::arm() {
  if (pulse_due_)
    timer_.set(std::max(to_ns(pulse_at_), not_before_));
  else
    timer_.cancel();
}

void Pit::schedule() {
  const auto rise = channels_[0].next_rise(now());
  pulse_due_ = rise.has_value();
  pulse_at_ = rise.value_or(0);
  arm();
}

void Pit::expired() {
  std::lock_guard guard(lock_);
  const int64_t tick = now();
  if (!pulse_due_ || tick < pulse_at_ || timer_.now() < not_before_) return;  // programmed anew since it expired
  irq0_.pulse();
  const auto rise = channels_[0].next_rise(tick);
  pulse_due_ = rise.has_value();
  pulse_at_ = rise.value_or(0);
  not_before_ = timer_.now() + kMinimumRearm;
  arm();
}

void Pit::write_control(uint8_t value) {
  const unsigned select = value >> 6;
  if (select == kSelectReadBack) return read_back(value);
  if ((value & kAccessMask) == 0) return channels_[select].latch_count(now());
  channels_[select].write_control(value, now());
  if (select == 0) schedule();
}

void Pit::read_back(uint8_t command) {
  for (unsigned i = 0; i < 3; ++i) {
    if (!(command >> (i + 1) & 1)) continue;
    if (!(command & kReadBackNoCount)) channels_[i].latch_count(now());
    if (!(command & kReadBackNoStatus)) channels_[i].latch_status(now());
  }
}

uint64_t Pit::CounterPorts::io_read(uint64_t offset, unsigned) {
  std::lock_guard guard(pit.lock_);
  return offset < 3 ? pit.channels_[offset].read(pit.now()) : 0xff;  // the control word cannot be read
}

void Pit::CounterPorts::io_write(uint64_t offset, unsigned, uint64_t value) {
  std::lock_guard guard(pit.lock_);
  if (offset >= 3) return pit.write_control(static_cast<uint8_t>(value));
  pit.channels_[offset].write_count_byte(static_cast<uint8_t>(value), pit.now());
  if (offset == 0) pit.schedule();
}

uint64_t Pit::NscPort::io_read(uint64_t, unsigned) {
  std::lock_guard guard(pit.lock_);
  const int64_t tick = pit.now();
  uint8_t value = pit.nsc_;
  if (pit.channels_[2].gate()) value |= kNscTimer2Enable;
  if (tick / kRefreshTicks & 1) value |= kNscRefreshToggle;
  if (pit.channels_[2].out(tick)) value |= kNscTimer2Out;
  return value;
}

void Pit::NscPort::io_write(uint64_t, unsigned, uint64_t value) {
  std::lock_guard guard(pit.lock_);
  pit.nsc_ = value & kNscWritable;
  pit.channels_[2].set_gate(value & kNscTimer2Enable, pit.now());
}

void Pit::reset() {
  for (unsigned i = 0; i < 3; ++i) channels_[i].reset(i != 2, now());
  nsc_ = 0;
  not_before_ = 0;
  schedule();
}

void Pit::describe(state::Fields& fields) {
  fields.list("channels", 3, [&](size_t i) { channels_[i].describe(fields); });
  fields.field("nsc", nsc_, state::in_mask(kNscWritable));
  fields.field("pulse_due", pulse_due_);
  fields.field("pulse_at", pulse_at_, state::up_to(uint64_t{1} << 56));
  fields.field("not_before", not_before_, state::up_to(uint64_t{1} << 62));
}

void Pit::restored() {
  for (PitChannel& channel : channels_) channel.restored(now());
  pulse_at_ = std::clamp<int64_t>(pulse_at_, 0, now() + 65537);
  not_before_ = std::min(not_before_, timer_.now() + kMinimumRearm);
  arm();
}

}  // namespace skerry::irqchip
