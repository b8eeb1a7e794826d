#include "devices/hpet.hpp"

#include "base/units.hpp"
#include "devices/vm_time.hpp"

namespace skerry::devices {

namespace {
// HPET 1.0a, 2.3 "Memory Mapped Registers".
enum Register : uint64_t {
  GCAP_ID = 0x000,
  GEN_CONF = 0x010,
  GINTR_STA = 0x020,
  MAIN_CNT = 0x0f0,
  kTimer0 = 0x100,
  kTimerStride = 0x20,
  Tn_CONF = 0x00,
  Tn_COMPARATOR = 0x08,
  Tn_FSB_INT_ROUTE = 0x10,
};
enum GeneralConfig : uint8_t { ENABLE_CNF = 1 << 0, LEG_RT_CNF = 1 << 1, kGeneralConfigMask = 3 };
// 2.3.8 "Timer N Configuration and Capabilities Register".
enum TimerConfig : uint32_t {
  Tn_INT_TYPE_CNF = 1 << 1,  // level
  Tn_INT_ENB_CNF = 1 << 2,
  Tn_TYPE_CNF = 1 << 3,  // periodic
  Tn_PER_INT_CAP = 1 << 4,
  Tn_SIZE_CAP = 1 << 5,  // 64 bits
  Tn_VAL_SET_CNF = 1 << 6,
  Tn_32MODE_CNF = 1 << 8,
  Tn_INT_ROUTE_CNF = 0x1f << 9,
  Tn_FSB_EN_CNF = 1 << 14,
  Tn_FSB_INT_DEL_CAP = 1 << 15,
};
constexpr unsigned kRouteShift = 9;
constexpr uint64_t kCountNs = Hpet::kPeriodFs / 1'000'000;
constexpr uint8_t kAllTimers = (1 << Hpet::kTimers) - 1;

unsigned route(uint32_t config) { return (config & Tn_INT_ROUTE_CNF) >> kRouteShift; }
}  // namespace

Hpet::Hpet(EventLoop& loop, Wiring wiring) : wiring_(std::move(wiring)), timer_(loop, [this] { expired(); }) {
  for (auto& timer : timers_) timer.comparator = ~uint64_t{0};
}

Result<void> Hpet::attach(bus::AddressSpace& mmio, uint64_t base) { return mmio.add(base, kSize, *this, "hpet"); }

void Hpet::reset() {
  {
    std::lock_guard guard(lock_);
    config_ = status_ = 0;
    counter_ = 0;
    counted_from_ = 0;
    for (auto& timer : timers_) {
      timer = {};
      timer.comparator = ~uint64_t{0};
    }
    update_lines();
    rearm();
  }
  if (wiring_.legacy_replacement) wiring_.legacy_replacement(false);
}

void Hpet::describe(state::Fields& fields) {
  fields.field("config", config_, state::in_mask(kGeneralConfigMask));
  fields.field("status", status_, state::in_mask(kAllTimers));
  fields.field("counter", counter_);
  fields.field("counted_from", counted_from_, instant());
  fields.list("timers", kTimers, [&](size_t i) {
    Comparator& timer = timers_[i];
    fields.field("config", timer.config, state::in_mask(config_mask()));
    fields.field("comparator", timer.comparator);
    fields.field("period", timer.period);
    fields.field("fsb_route", timer.fsb_route);
    fields.field("armed", timer.armed);
    fields.field("match", timer.match);
  });
}

void Hpet::restored() {
  bool legacy_on = false;
  {
    std::lock_guard guard(lock_);
    driven_ = 0;
    driven_legacy_ = 0;
    update_lines();
    rearm();
    legacy_on = legacy();
  }
  if (wiring_.legacy_replacement) wiring_.legacy_replacement(legacy_on);
}

bool Hpet::enabled() const { return config_ & ENABLE_CNF; }
bool Hpet::legacy() const { return config_ & LEG_RT_CNF; }

uint32_t Hpet::config_mask() const {
  return Tn_INT_TYPE_CNF | Tn_INT_ENB_CNF | Tn_TYPE_CNF | Tn_VAL_SET_CNF | Tn_32MODE_CNF | Tn_INT_ROUTE_CNF |
         (wiring_.msi ? uint32_t{Tn_FSB_EN_CNF} : 0);
}

// --- registers -------------------------------------------------------------------------------------------------------

// Registers have 64 bits; an access of 32 takes one half. Others are undefined by 2.3.1: here they are bytes of the
// register, and what reaches over its end is nothing.
uint64_t Hpet::io_read(uint64_t offset, unsigned size) {
  std::lock_guard guard(lock_);
  const unsigned shift = offset % 8 * 8;
  if (offset % 8 + size > 8) return 0;
  advance();
  return read_register(align_down(offset, 8)) >> shift;
}

void Hpet::io_write(uint64_t offset, unsigned size, uint64_t value) {
  const unsigned shift = offset % 8 * 8;
  if (offset % 8 + size > 8) return;
  const uint64_t mask = (size == 8 ? ~uint64_t{0} : bit(size * 8) - 1) << shift;
  bool legacy_changed = false, legacy_on = false;
  {
    std::lock_guard guard(lock_);
    const bool before = legacy();
    advance();
    write_register(align_down(offset, 8), value << shift, mask);
    advance();  // what was set to fire at once
    update_lines();
    rearm();
    legacy_on = legacy();
    legacy_changed = legacy_on != before;
  }
  if (legacy_changed && wiring_.legacy_replacement) wiring_.legacy_replacement(legacy_on);
}

uint64_t Hpet::read_register(uint64_t offset) {
  switch (offset) {
    case GCAP_ID:
      return kPeriodFs << 32 | kGeneralCapabilities;
    case GEN_CONF:
      return config_;
    case GINTR_STA:
      return status_;
    case MAIN_CNT:
      return count(timer_.now());
    default:
      break;
  }
  if (offset < kTimer0 || offset >= kTimer0 + kTimers * kTimerStride) return 0;
  return read_comparator(timers_[(offset - kTimer0) / kTimerStride], offset % kTimerStride);
}

uint64_t Hpet::read_comparator(const Comparator& timer, uint64_t offset) const {
  switch (offset) {
    case Tn_CONF:
      return uint64_t{wiring_.int_route_cap} << 32 | timer.config | Tn_PER_INT_CAP | Tn_SIZE_CAP |
             (wiring_.msi ? uint32_t{Tn_FSB_INT_DEL_CAP} : 0);
    case Tn_COMPARATOR:
      return timer.config & Tn_32MODE_CNF ? static_cast<uint32_t>(timer.comparator) : timer.comparator;
    case Tn_FSB_INT_ROUTE:
      return timer.fsb_route;
    default:
      return 0;
  }
}

void Hpet::write_register(uint64_t offset, uint64_t value, uint64_t mask) {
  const int64_t now = timer_.now();
  switch (offset) {
    case GEN_CONF:
      write_general_config((config_ & ~mask) | (value & mask));
      return;
    case GINTR_STA:
      status_ &= static_cast<uint8_t>(~(value & mask));
      return;
    case MAIN_CNT:
      set_count((count(now) & ~mask) | (value & mask), now);
      for (auto& timer : timers_) arm(timer, counter_, IfPassed::kWait);
      return;
    default:
      break;
  }
  if (offset >= kTimer0 && offset < kTimer0 + kTimers * kTimerStride)
    write_comparator(static_cast<unsigned>((offset - kTimer0) / kTimerStride), offset % kTimerStride, value, mask);
}

void Hpet::write_comparator(unsigned index, uint64_t offset, uint64_t value, uint64_t mask) {
  Comparator& timer = timers_[index];
  switch (offset) {
    case Tn_CONF:
      write_timer_config(timer, (timer.config & ~mask) | (value & mask));
      if (!(timer.config & Tn_INT_TYPE_CNF)) status_ &= static_cast<uint8_t>(~(1u << index));
      break;
    case Tn_COMPARATOR:
      write_comparator_value(timer, value, mask);
      break;
    case Tn_FSB_INT_ROUTE:
      timer.fsb_route = (timer.fsb_route & ~mask) | (value & mask);
      break;
    default:
      break;
  }
}

void Hpet::write_general_config(uint64_t value) {
  const bool was_enabled = enabled();
  const int64_t now = timer_.now();
  const uint64_t counted = count(now);
  config_ = value & kGeneralConfigMask;
  if (was_enabled == enabled()) return;
  set_count(counted, now);
}

void Hpet::write_timer_config(Comparator& timer, uint64_t value) {
  const uint32_t before = timer.config;
  uint32_t config = static_cast<uint32_t>(value) & config_mask();
  // "If the value is not supported, then the value read back will not match what was written." (2.3.8)
  if (!(wiring_.int_route_cap >> route(config) & 1))
    config = (config & ~Tn_INT_ROUTE_CNF) | (before & Tn_INT_ROUTE_CNF);
  if (!(config & Tn_TYPE_CNF)) config &= ~static_cast<uint32_t>(Tn_VAL_SET_CNF);
  timer.config = config;
  if (config & Tn_32MODE_CNF) {
    timer.comparator = static_cast<uint32_t>(timer.comparator);
    timer.period = static_cast<uint32_t>(timer.period);
  }
  if ((before ^ config) & Tn_32MODE_CNF) arm(timer, count(timer_.now()), IfPassed::kWait);
}

// 2.3.9: in periodic mode the value is the period; with VAL_SET it is the comparator's as well, once.
void Hpet::write_comparator_value(Comparator& timer, uint64_t value, uint64_t mask) {
  const bool narrow = timer.config & Tn_32MODE_CNF;
  if (narrow) mask &= 0xffffffff;
  if (mask == 0) return;  // the high half of a 32-bit timer
  const bool periodic = timer.config & Tn_TYPE_CNF;
  if (!periodic || (timer.config & Tn_VAL_SET_CNF)) timer.comparator = (timer.comparator & ~mask) | (value & mask);
  if (periodic) timer.period = (timer.period & ~mask) | (value & mask);
  timer.config &= ~static_cast<uint32_t>(Tn_VAL_SET_CNF);
  // A comparator that the counter has passed since the guest read it fires at once, not a whole wrap later: on real
  // hardware the guest would have been in time.
  arm(timer, count(timer_.now()), IfPassed::kFire);
}

// --- counting --------------------------------------------------------------------------------------------------------

uint64_t Hpet::count(int64_t now) const {
  return enabled() ? counter_ + elapsed(counted_from_, now) / kCountNs : counter_;
}

void Hpet::set_count(uint64_t value, int64_t now) {
  counter_ = value;
  counted_from_ = now;
}

// All ones is the comparator's value after reset: nobody has asked for that match.
bool Hpet::never_set(const Comparator& timer) {
  return timer.comparator == (timer.config & Tn_32MODE_CNF ? 0xffffffff : ~uint64_t{0});
}

void Hpet::arm(Comparator& timer, uint64_t now_count, IfPassed if_passed) {
  const bool narrow = timer.config & Tn_32MODE_CNF;
  const uint64_t distance = timer.comparator - now_count;
  int64_t ahead = static_cast<int64_t>(distance);
  if (narrow) ahead = static_cast<int32_t>(distance);
  timer.armed = true;
  if (ahead < 0 && (if_passed == IfPassed::kWait || never_set(timer))) {
    if (narrow)
      ahead = static_cast<uint32_t>(distance);  // the counter comes round in 43 seconds
    else
      timer.armed = false;  // in 5800 years
  }
  timer.match = now_count + static_cast<uint64_t>(ahead);
}

// Brings every timer up to the present. Periods missed meanwhile are one interrupt.
void Hpet::advance() {
  if (!enabled()) return;
  const uint64_t now = count(timer_.now());
  for (unsigned i = 0; i < kTimers; ++i) {
    Comparator& timer = timers_[i];
    if (!timer.armed || static_cast<int64_t>(now - timer.match) < 0) continue;
    if ((timer.config & Tn_TYPE_CNF) && timer.period != 0) {
      const uint64_t steps = ((now - timer.match) / timer.period + 1) * timer.period;
      timer.match += steps;
      timer.comparator += steps;
    } else if (timer.config & Tn_32MODE_CNF) {
      timer.match += bit(32) * ((now - timer.match) / bit(32) + 1);  // it comes round again
    } else {
      timer.armed = false;
    }
    fire(i);
  }
}

// --- interrupts ------------------------------------------------------------------------------------------------------

bus::IrqLine Hpet::line(unsigned index) const {
  if (legacy() && index == 0) return wiring_.legacy_irq0;
  if (legacy() && index == 1) return wiring_.legacy_irq8;
  const unsigned gsi = route(timers_[index].config);
  if (!wiring_.irqs || !(wiring_.int_route_cap >> gsi & 1)) return {};
  return {*wiring_.irqs, gsi};
}

void Hpet::fire(unsigned index) {
  const Comparator& timer = timers_[index];
  const bool fsb = timer.config & Tn_FSB_EN_CNF;
  if ((timer.config & Tn_INT_TYPE_CNF) && !fsb) {
    status_ |= static_cast<uint8_t>(1u << index);  // whether or not it may interrupt (2.3.8, Tn_INT_ENB_CNF)
    update_lines();
  } else if (timer.config & Tn_INT_ENB_CNF) {
    if (fsb)
      wiring_.msi->send_msi(timer.fsb_route >> 32, static_cast<uint32_t>(timer.fsb_route));
    else
      line(index).pulse();
  }
}

bool Hpet::asserts(unsigned index) const {
  constexpr uint32_t kLevelOn = Tn_INT_TYPE_CNF | Tn_INT_ENB_CNF;
  const uint32_t config = timers_[index].config;
  return enabled() && (status_ >> index & 1) && (config & (kLevelOn | Tn_FSB_EN_CNF)) == kLevelOn;
}

// Level-triggered timers may share a GSI: it is up while one of them asserts it.
void Hpet::update_lines() {
  uint32_t gsis = 0;
  uint8_t legacy_lines = 0;
  for (unsigned i = 0; i < kTimers; ++i) {
    if (!asserts(i)) continue;
    if (legacy() && i < 2)
      legacy_lines |= static_cast<uint8_t>(1u << i);
    else if (wiring_.int_route_cap >> route(timers_[i].config) & 1)
      gsis |= 1u << route(timers_[i].config);
  }
  for (unsigned gsi = 0; gsi < 32 && wiring_.irqs; ++gsi)
    if ((gsis ^ driven_) >> gsi & 1) wiring_.irqs->set_irq(gsi, gsis >> gsi & 1);
  if ((legacy_lines ^ driven_legacy_) & 1) wiring_.legacy_irq0.set(legacy_lines & 1);
  if ((legacy_lines ^ driven_legacy_) & 2) wiring_.legacy_irq8.set(legacy_lines & 2);
  driven_ = gsis;
  driven_legacy_ = legacy_lines;
}

void Hpet::rearm() {
  if (!enabled()) {
    timer_.cancel();
    return;
  }
  const int64_t now = timer_.now();
  const uint64_t counted = count(now);
  uint64_t least = ~uint64_t{0};
  for (const auto& timer : timers_)
    if (timer.armed && (timer.config & Tn_INT_ENB_CNF))
      least = std::min(least, static_cast<int64_t>(timer.match - counted) > 0 ? timer.match - counted : 0);
  if (least == ~uint64_t{0}) {
    timer_.cancel();
    return;
  }
  const uint64_t into_this_count = elapsed(counted_from_, now) % kCountNs;
  const uint64_t wait = std::min<uint64_t>(least, kLongestWait / kCountNs) * kCountNs;
  set_after(timer_, now, wait - std::min(wait, into_this_count));
}

void Hpet::expired() {
  std::lock_guard guard(lock_);
  advance();
  rearm();
}

}  // namespace skerry::devices
