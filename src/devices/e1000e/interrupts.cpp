#include "devices/e1000e/interrupts.hpp"

#include <algorithm>

namespace skerry::devices::e1000e {

using namespace icr;

namespace {
constexpr int64_t kIntervalUnit = 256;  // ns: 10.2.4.2
// 7.4.2: what the cause "other" of MSI-X stands for.
constexpr uint32_t kOthers = LSC | RXO | MDAC | SRPD | ACK | MNG;
// Those of MSI-X, in the order of IVAR: a cause's entry is four bits, a vector and whether it is valid (10.2.4.9).
constexpr std::array<uint32_t, kVectors> kOfMsix = {RXQ0, RXQ1, TXQ0, TXQ1, OTHER};
constexpr uint32_t kAutoClear = RXQ0 | RXQ1 | TXQ0 | TXQ1 | OTHER;
constexpr uint32_t kVectorMask = 7, kVectorValid = 8, kIvarMask = 0x800f'ffff;
}  // namespace

Interrupts::Interrupts(EventLoop& loop, std::mutex& lock, InterruptPins& pins) : lock_(lock), pins_(pins) {
  for (unsigned i = 0; i < kThrottles; ++i) throttles_[i].timer = std::make_unique<Timer>(loop, [this, i] { expired(i); });
}

// --- registers -------------------------------------------------------------------------------------------------------

bool Interrupts::read(uint32_t offset, uint32_t& value) {
  switch (offset) {
    case ICR: value = read_causes(); return true;
    case ICS: value = causes_; return true;
    case IMS: value = mask_; return true;
    case EIAC: value = auto_clear_; return true;
    case IAM: value = auto_mask_; return true;
    case IVAR: value = ivar_; return true;
    case ITR: value = throttles_[kOfAll].interval; return true;
    default: break;
  }
  if (offset < EITR || offset >= EITR + 4 * kVectors) return false;
  value = throttles_[(offset - EITR) / 4].interval;
  return true;
}

bool Interrupts::write(uint32_t offset, uint32_t value) {
  switch (offset) {
    case ICR:
      if (ctrl_ext_ & ctrl_ext::IAME) mask(auto_mask_);
      clear(value);
      return true;
    case ICS: raise(value & kCauses); return true;
    case IMS:
      mask_ |= value & kCauses;
      update();
      return true;
    case IMC: mask(value); return true;
    case EIAC: auto_clear_ = value & kAutoClear; return true;
    case IAM: auto_mask_ = value & kCauses; return true;
    case IVAR: ivar_ = value & kIvarMask; return true;
    case ITR: throttles_[kOfAll].interval = static_cast<uint16_t>(value); return true;
    default: break;
  }
  if (offset < EITR || offset >= EITR + 4 * kVectors) return false;
  throttles_[(offset - EITR) / 4].interval = static_cast<uint16_t>(value);
  return true;
}

// 10.2.4.1: it is cleared if it is looked at because of an interrupt, or if all are masked.
uint32_t Interrupts::read_causes() {
  const bool asserted = pending() != 0;
  const uint32_t value = causes_ | (asserted ? INT_ASSERTED : 0);
  if (asserted && (ctrl_ext_ & ctrl_ext::IAME)) mask_ &= ~auto_mask_;
  if (asserted || mask_ == 0) causes_ = 0;
  update();
  return value;
}

void Interrupts::clear(uint32_t causes) {
  causes_ &= ~causes;
  update();
}

void Interrupts::mask(uint32_t causes) {
  mask_ &= ~causes;
  update();
}

// --- from cause to interrupt -----------------------------------------------------------------------------------------

void Interrupts::raise(uint32_t causes) {
  causes_ |= causes;
  if (pins_.has_msix() && (causes & kOthers)) causes_ |= OTHER;
  update();
}

// An interrupt is made of each cause that comes to be pending.
void Interrupts::update() {
  const uint32_t fresh = pending() & ~told_;
  if (pins_.has_msix()) {
    for (unsigned i = 0; i < kVectors; ++i)
      if (fresh & kOfMsix[i]) notify(i);
  } else if (fresh) {
    request(kOfAll);
  }
  told_ = pending();
  if (told_ == 0 && !pins_.has_msix()) {
    throttles_[kOfAll].postponed = false;
    pins_.set_line(false);
  }
}

// 7.4.3: what the message itself clears and masks is its own cause.
void Interrupts::notify(unsigned cause) {
  const uint32_t entry = ivar_ >> (4 * cause);
  const unsigned vector = entry & kVectorMask;
  if ((entry & kVectorValid) && vector < kVectors) request(vector);
  causes_ &= ~(auto_clear_ & kOfMsix[cause]);
  if (ctrl_ext_ & ctrl_ext::EIAME) mask_ &= ~(auto_mask_ & kOfMsix[cause]);
}

void Interrupts::request(unsigned throttle) {
  Throttle& at = throttles_[throttle];
  if (at.postponed) return;
  const int64_t now = at.timer->now();
  if (now < at.until) {
    at.postponed = true;
    at.timer->set(at.until);
    return;
  }
  at.until = now + at.interval * kIntervalUnit;
  send(throttle);
}

void Interrupts::send(unsigned throttle) {
  if (throttle != kOfAll) return pins_.send_msix(throttle);
  pins_.send_message();
  pins_.set_line(true);
}

void Interrupts::expired(unsigned throttle) {
  std::lock_guard guard(lock_);
  Throttle& at = throttles_[throttle];
  const int64_t now = at.timer->now();
  if (!at.postponed) return;
  if (now < at.until) return at.timer->set(at.until);
  at.postponed = false;
  at.until = now + at.interval * kIntervalUnit;
  send(throttle);
}

// --- life ------------------------------------------------------------------------------------------------------------

void Interrupts::reset() {
  causes_ = mask_ = told_ = auto_mask_ = auto_clear_ = ivar_ = ctrl_ext_ = 0;
  for (Throttle& throttle : throttles_) {
    throttle.interval = 0;
    throttle.until = 0;
    throttle.postponed = false;
    throttle.timer->cancel();
  }
  pins_.set_line(false);
}

void Interrupts::describe(state::Fields& fields) {
  fields.field("causes", causes_, state::in_mask(kCauses));
  fields.field("mask", mask_, state::in_mask(kCauses));
  fields.field("told", told_, state::in_mask(kCauses));
  fields.field("auto_mask", auto_mask_, state::in_mask(kCauses));
  fields.field("auto_clear", auto_clear_, state::in_mask(kAutoClear));
  fields.field("ivar", ivar_, state::in_mask(kIvarMask));
  fields.list("throttles", kThrottles, [&](size_t i) {
    Throttle& at = throttles_[i];
    constexpr uint64_t kLongest = 0xffff * kIntervalUnit;
    const int64_t now = at.timer->now();
    uint64_t left = static_cast<uint64_t>(std::clamp<int64_t>(at.until - now, 0, kLongest));
    fields.field("interval", at.interval);
    fields.field("left", left, state::up_to(kLongest));
    fields.field("postponed", at.postponed);
    at.until = now + static_cast<int64_t>(left);
  });
}

// The levels of line and timers follow from what was loaded.
void Interrupts::restored() {
  for (Throttle& at : throttles_)
    if (at.postponed) at.timer->set(at.until);
  told_ &= pending();
  if (!pins_.has_msix()) pins_.set_line(told_ != 0 && !throttles_[kOfAll].postponed);
}

}  // namespace skerry::devices::e1000e
