#include "irqchip/lapic.hpp"

#include <algorithm>

#include "irqchip/lapic_bits.hpp"

namespace skerry::irqchip {

using namespace apic;

namespace {
uint32_t lvt_mode(uint32_t entry) { return (entry & kLvtDeliveryMode) >> kLvtModeShift; }
bool is_mode(uint32_t entry, DeliveryMode mode) { return lvt_mode(entry) == static_cast<uint32_t>(mode); }

bool is_message(uint64_t icr, bool smis) {
  const auto mode = static_cast<DeliveryMode>(icr >> kIcrModeShift & 7);
  // INIT level de-assert only synchronised the arbitration IDs of processors before the Pentium 4.
  if (mode == DeliveryMode::kInit && (icr & kIcrLevel) && !(icr & kIcrAssert)) return false;
  return mode != DeliveryMode::kReserved && mode != DeliveryMode::kExtInt && (mode != DeliveryMode::kSmi || smis);
}
}  // namespace

Lapic::Lapic(uint32_t id, bool bootstrap, ApicBus& bus, bus::VcpuInterrupts& interrupts, EventLoop& loop,
             std::function<uint64_t()> guest_tsc, uint64_t tsc_hz)
    : id_(id),
      bootstrap_(bootstrap),
      name_(fmt::format("lapic{}", id)),
      bus_(bus),
      interrupts_(interrupts),
      timer_(
          loop, [this] { timer_expired(); }, std::move(guest_tsc), tsc_hz) {
  reset();
}

// PPR (Intel SDM vol. 3, 11.8.3.1).
uint8_t Lapic::priority() const {
  const int in_service = std::max(isr_.highest(), 0);
  return static_cast<uint8_t>((tpr_ >> 4) >= static_cast<uint32_t>(in_service >> 4) ? tpr_ : in_service & 0xf0);
}

// LDR; in x2APIC mode it follows from the ID (Intel SDM vol. 3, 11.12.10.2).
uint32_t Lapic::logical_id() const { return mode_ == Mode::kX2apic ? (id_ >> 4) << 16 | 1u << (id_ & 15) : ldr_; }

// Without a local APIC, LINT0 is the processor's INTR pin (Intel SDM vol. 3, 11.4.3).
bool Lapic::extint_requested() const {
  if (mode_ == Mode::kDisabled) return lint0_;
  const uint32_t lint0 = lvt_[kLvtLint0];
  return extint_latched_ || (lint0_ && !(lint0 & kLvtMasked) && is_mode(lint0, DeliveryMode::kExtInt));
}

// To be called after every change of a register: the processor's INTR, and what the bus knows of this LAPIC.
void Lapic::update() {
  const uint8_t ppr = priority();
  const int request = mode_ == Mode::kDisabled ? -1 : irr_.highest();
  const bool level = foreign_ ? lint0_ : extint_requested() || (request >> 4) > (ppr >> 4);
  routing_.store(Routing{logical_id(), ppr, mode_, dfr_model_, (svr_ & kSvrEnabled) != 0}, std::memory_order_release);
  if (level == output_.load(std::memory_order_relaxed)) return;
  output_.store(level, std::memory_order_release);
  drive_intr(level);
}

void Lapic::drive_intr(bool level) {
  interrupts_.interrupt_request(level);
  wake_due_ |= level;
}

int Lapic::acknowledge() {
  if (foreign_) return bus_.acknowledge_extint();
  {
    const Hold hold(*this);
    if (!extint_requested()) {
      const int request = mode_ == Mode::kDisabled ? -1 : irr_.highest();
      if ((request >> 4) <= (priority() >> 4)) return -1;
      irr_.clear(static_cast<uint8_t>(request));
      isr_.set(static_cast<uint8_t>(request));
      update();
      return request;
    }
    if (extint_latched_) {
      extint_latched_ = false;
      update();
    }
  }
  const int vector = bus_.acknowledge_extint();
  if (vector >= 0) return vector;
  const Hold hold(*this);
  return static_cast<int>(svr_ & kLvtVector);  // nobody answered: the spurious vector (Intel SDM vol. 3, 11.9)
}

bool Lapic::accept(const ApicMessage& message) {
  const Hold hold(*this);
  if (mode_ == Mode::kDisabled) return false;
  return accept_locked(message);
}

bool Lapic::accept_locked(const ApicMessage& message) {
  switch (message.mode) {
    case DeliveryMode::kFixed:
    case DeliveryMode::kLowestPriority:
      if (!(svr_ & kSvrEnabled)) return false;
      return accept_fixed(message.vector, message.level_triggered);
    case DeliveryMode::kNmi:
      interrupts_.nmi();
      return true;
    case DeliveryMode::kInit:
      reset_registers();
      interrupts_.init();
      return true;
    case DeliveryMode::kStartUp:
      interrupts_.sipi(message.vector);
      return true;
    case DeliveryMode::kExtInt:
      extint_latched_ = true;
      update();
      return true;
    case DeliveryMode::kSmi:
      if (!bus_.delivers_smis()) return false;
      interrupts_.smi();
      return true;
    case DeliveryMode::kReserved:
      break;
  }
  return false;
}

bool Lapic::accept_fixed(uint8_t vector, bool level_triggered) {
  if (vector < kFirstLegalVector) {
    raise_error(kEsrReceivedIllegalVector);
    return false;
  }
  irr_.set(vector);
  tmr_.assign(vector, level_triggered);
  update();
  return true;
}

// The error interrupt is raised by the first error since ESR was last written: a write re-arms it. An illegal vector in
// the LVT error register itself therefore ends here.
void Lapic::raise_error(uint32_t esr_bit) {
  const bool first = esr_pending_ == 0;
  esr_pending_ |= esr_bit;
  if (first) fire_lvt(kLvtError);
}

void Lapic::raise_local(Lvt which) {
  const Hold hold(*this);
  if (mode_ == Mode::kDisabled) return;
  fire_lvt(which);
  // Intel SDM vol. 3, 11.5.1: a performance-monitoring interrupt masks its entry.
  if (which == kLvtPmc) lvt_[which] |= kLvtMasked;
}

void Lapic::fire_lvt(Lvt which) {
  const uint32_t entry = lvt_[which];
  if (entry & kLvtMasked) return;
  ApicMessage message;
  // The timer's and the error entry have no delivery mode: fixed.
  message.mode = static_cast<DeliveryMode>(which == kLvtTimer || which == kLvtError ? 0 : lvt_mode(entry));
  message.vector = static_cast<uint8_t>(entry & kLvtVector);
  if (message.mode == DeliveryMode::kFixed)
    accept_fixed(message.vector, false);
  else if (message.mode == DeliveryMode::kNmi || message.mode == DeliveryMode::kInit || message.mode == DeliveryMode::kSmi)
    accept_locked(message);
  // ExtINT is a level, not an event; the other codes are reserved in an LVT.
}

void Lapic::lint_changed(Lvt which, bool rising, bool level) {
  uint32_t& entry = lvt_[which];
  // Only LINT0 has a level-triggered mode that works; LINT1 is always edge (Intel SDM vol. 3, 11.5.1).
  const bool level_triggered =
      which == kLvtLint0 && (entry & kLvtLevelTriggered) && is_mode(entry, DeliveryMode::kFixed);
  if (!level_triggered) {
    if (rising) fire_lvt(which);
  } else if (level && !(entry & (kLvtMasked | kLvtRemoteIrr))) {
    if (accept_fixed(static_cast<uint8_t>(entry & kLvtVector), true)) entry |= kLvtRemoteIrr;
  }
}

void Lapic::set_lint0(bool level) {
  const Hold hold(*this);
  if (level == lint0_) return;
  lint0_ = level;
  if (!foreign_ && mode_ != Mode::kDisabled) lint_changed(kLvtLint0, level, level);
  update();
}

void Lapic::set_lint1(bool level) {
  const Hold hold(*this);
  if (level == lint1_) return;
  lint1_ = level;
  if (!foreign_ && mode_ != Mode::kDisabled)
    lint_changed(kLvtLint1, level, level);
  else if (level)
    interrupts_.nmi();  // the processor's NMI pin, or a foreign APIC's LINT1
}

void Lapic::end_of_interrupt(Later& later) {
  const int ended = isr_.highest();
  if (ended < 0) return;
  const uint8_t vector = static_cast<uint8_t>(ended);
  isr_.clear(vector);
  if (tmr_.test(vector)) {
    later.eoi = vector;
    uint32_t& lint0 = lvt_[kLvtLint0];
    if ((lint0 & kLvtRemoteIrr) && (lint0 & kLvtVector) == vector) {
      lint0 &= ~kLvtRemoteIrr;
      lint_changed(kLvtLint0, false, lint0_);
    }
  }
  update();
}

void Lapic::carry_out(const Later& later) {
  if (later.eoi) bus_.broadcast_eoi(*later.eoi);
  if (later.icr) send_ipi(*later.icr);
}

// With the lock: notes an illegal vector; says whether there is anything to send.
bool Lapic::sendable(uint64_t icr) {
  const auto mode = static_cast<DeliveryMode>(icr >> kIcrModeShift & 7);
  const bool has_vector = mode == DeliveryMode::kFixed || mode == DeliveryMode::kLowestPriority;
  if (has_vector && (icr & kLvtVector) < kFirstLegalVector) {
    raise_error(kEsrSendIllegalVector);
    return false;
  }
  return is_message(icr, bus_.delivers_smis());
}

bool Lapic::send_to(uint32_t id, uint32_t icr) {
  if (!is_message(icr, bus_.delivers_smis())) return false;
  ApicMessage message;
  message.mode = static_cast<DeliveryMode>(icr >> kIcrModeShift & 7);
  message.vector = static_cast<uint8_t>(icr);
  return bus_.deliver_to(id, message);
}

void Lapic::send_ipi(uint64_t icr) {
  ApicMessage message;
  message.wide = routing().mode == Mode::kX2apic;
  message.destination = static_cast<uint32_t>(message.wide ? icr >> 32 : icr >> 56);
  message.logical = icr & kIcrLogical;
  message.mode = static_cast<DeliveryMode>(icr >> kIcrModeShift & 7);
  message.vector = static_cast<uint8_t>(icr);
  // Always edge: the trigger mode of IPIs "has no meaning in Pentium 4 and Intel Xeon processors".
  switch (icr >> kIcrShorthandShift & 3) {
    case kNoShorthand:
      bus_.deliver(message);
      break;
    case kSelf:
      accept(message);
      break;
    case kAllIncludingSelf:
      bus_.deliver_to_all(message, nullptr);
      break;
    case kAllExcludingSelf:
      bus_.deliver_to_all(message, this);
      break;
  }
}

// Intel SDM vol. 3, 11.6.2.2 and 11.12.10.2.
bool Lapic::matches_logical(uint32_t destination) const {
  const Routing at = routing();
  if (at.mode == Mode::kX2apic) return at.ldr >> 16 == destination >> 16 && (at.ldr & destination & 0xffff) != 0;
  if (at.mode == Mode::kDisabled || destination > 0xff) return false;
  const uint32_t logical_id = at.ldr >> 24;
  if (at.dfr_model == 15) return (logical_id & destination) != 0;  // flat
  if (at.dfr_model != 0) return false;
  return logical_id >> 4 == destination >> 4 && (logical_id & destination & 15) != 0;  // cluster
}

void Lapic::timer_expired() {
  const Hold hold(*this);
  if (timer_.expire()) fire_lvt(kLvtTimer);
}

void Lapic::set_tsc_offset(int64_t offset) {
  const Hold hold(*this);
  if (timer_.set_tsc_offset(offset) && !foreign_) fire_lvt(kLvtTimer);
}

// Intel SDM vol. 3, 11.4.7.1 and 11.4.7.3; the mode stays.
void Lapic::reset_registers() {
  tpr_ = 0;
  icr_ = 0;
  esr_ = esr_pending_ = 0;
  svr_ = 0xff;
  dfr_model_ = 15;
  ldr_ = 0;
  lvt_.fill(kLvtMasked);
  if (bootstrap_) lvt_[kLvtLint0] = static_cast<uint32_t>(DeliveryMode::kExtInt) << kLvtModeShift;
  irr_.clear_all();
  isr_.clear_all();
  tmr_.clear_all();
  extint_latched_ = false;
  timer_.reset();
  update();
}

void Lapic::init_reset() {
  const Hold hold(*this);
  reset_registers();
}

void Lapic::reset() {
  const Hold hold(*this);
  mode_ = Mode::kXapic;
  reset_registers();
  if (foreign_) foreign_->set_apic(registers());
}

void Lapic::describe(state::Fields& fields) {
  if (foreign_) set_registers(foreign_->get_apic());
  uint32_t id = id_;
  fields.field("id", id, state::Legal{id_, id_});
  fields.field("mode", mode_, state::up_to(2));
  fields.field("tpr", tpr_, state::up_to(255));
  fields.field("ldr", ldr_, state::in_mask(0xff000000));
  fields.field("svr", svr_, state::in_mask(kSvrWritable));
  fields.field("dfr_model", dfr_model_, state::up_to(15));
  fields.field("icr", icr_, state::in_mask(uint64_t{0xffffffff} << 32 | kIcrWritable));
  fields.field("esr", esr_, state::in_mask(kEsrAll));
  fields.field("esr_pending", esr_pending_, state::in_mask(kEsrAll));
  fields.list("lvt", kLvtCount, [&](size_t i) {
    const uint32_t remote_irr = i == kLvtLint0 ? kLvtRemoteIrr : 0;
    fields.field("", lvt_[i], state::in_mask(kLvtWritable[i] | remote_irr));
  });
  irr_.describe("irr", fields);
  isr_.describe("isr", fields);
  tmr_.describe("tmr", fields);
  fields.field("lint0", lint0_);
  fields.field("lint1", lint1_);
  fields.field("extint_latched", extint_latched_);
  fields.group("timer", [&] { timer_.describe(fields); });
}

void Lapic::restored() {
  const Hold hold(*this);
  timer_.restored(static_cast<ApicTimer::Mode>(lvt_[kLvtTimer] >> kLvtTimerModeShift & 3));
  if (foreign_) {
    foreign_->set_apic(registers());
    timer_.reset();
  }
  update();
  drive_intr(output_.load(std::memory_order_relaxed));
}

}  // namespace skerry::irqchip
