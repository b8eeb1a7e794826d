// The registers of the local APIC as software sees them: the xAPIC page and the MSRs.
#include "base/units.hpp"
#include "irqchip/lapic.hpp"
#include "irqchip/lapic_bits.hpp"

namespace skerry::irqchip {

using namespace apic;

namespace {
constexpr uint32_t kMsrApicBase = 0x1b, kMsrTscDeadline = 0x6e0, kMsrX2apicFirst = 0x800, kMsrX2apicLast = 0x8ff;
// IA32_APIC_BASE (Intel SDM vol. 3, figure 11-26)
constexpr uint64_t kBaseBsp = bit(8), kBaseExtd = bit(10), kBaseEnable = bit(11);

constexpr uint32_t kTprWritable = 0xff, kLdrWritable = 0xff000000, kDivideWritable = 0xb;
constexpr uint32_t kLvtDeliveryStatus = 1u << 12;

enum class Access : uint8_t { kNone, kRead, kWrite, kBoth };

bool in(unsigned reg, unsigned first, unsigned count) { return reg >= first && reg < first + count; }

// Table 11-1 for the page, table 11-6 for x2APIC.
Access access_of(unsigned reg, bool x2apic) {
  if (in(reg, kIsr0, 24)) return Access::kRead;  // ISR, TMR, IRR
  if (in(reg, kLvtFirst, 6)) return Access::kBoth;
  switch (reg) {
    case kId:
    case kVersion:
    case kPpr:
    case kCurrentCount:
      return Access::kRead;
    case kTpr:
    case kSvr:
    case kEsr:
    case kIcrLow:
    case kInitialCount:
    case kDivideConfiguration:
      return Access::kBoth;
    case kEoi:
      return Access::kWrite;
    case kLdr:
      return x2apic ? Access::kRead : Access::kBoth;
    case kApr:
    case kRrd:
      return x2apic ? Access::kNone : Access::kRead;
    case kDfr:
    case kIcrHigh:
      return x2apic ? Access::kNone : Access::kBoth;
    case kSelfIpi:
      return x2apic ? Access::kWrite : Access::kNone;
    default:
      return Access::kNone;
  }
}
}  // namespace

const std::array<uint32_t, Lapic::kLvtCount> Lapic::kLvtWritable = {
    0x700ff,  // timer: vector, mask, timer mode
    0x107ff,  // thermal sensor: vector, delivery mode, mask
    0x107ff,  // performance counters
    0x1a7ff,  // LINT0: and polarity, trigger mode
    0x1a7ff,  // LINT1
    0x100ff,  // error: vector, mask
};

uint32_t Lapic::read_register(unsigned reg) const {
  if (in(reg, kIsr0, 8)) return isr_.word(reg);
  if (in(reg, kTmr0, 8)) return tmr_.word(reg);
  if (in(reg, kIrr0, 8)) return irr_.word(reg);
  if (in(reg, kLvtFirst, 6)) return lvt_[reg - kLvtFirst];
  switch (reg) {
    case kId:
      return mode_ == Mode::kX2apic ? id_ : id_ << 24;
    case kVersion:
      return kVersionValue;
    case kTpr:
      return tpr_;
    case kPpr:
      return priority();
    case kLdr:
      return logical_id();
    case kDfr:
      return uint32_t{dfr_model_} << 28 | 0x0fffffff;
    case kSvr:
      return svr_;
    case kEsr:
      return esr_;
    case kIcrLow:
      return static_cast<uint32_t>(icr_);
    case kIcrHigh:
      return static_cast<uint32_t>(icr_ >> 32);
    case kInitialCount:
      return timer_.initial_count();
    case kCurrentCount:
      return timer_.current_count();
    case kDivideConfiguration:
      return timer_.divide_configuration();
    default:
      return 0;  // APR and RRD: not in Pentium 4 and later
  }
}

void Lapic::write_register(unsigned reg, uint32_t value, Later& later) {
  // A timer that has run out counts by its own time, not by when the host got round to it: what the guest changes now
  // comes after.
  if (timer_.mode_is_counting() && timer_.expire()) fire_lvt(kLvtTimer);
  if (in(reg, kLvtFirst, 6)) return write_lvt(static_cast<Lvt>(reg - kLvtFirst), value);
  switch (reg) {
    case kTpr:
      tpr_ = value & kTprWritable;
      break;
    case kEoi:
      return end_of_interrupt(later);
    case kLdr:
      ldr_ = value & kLdrWritable;
      break;
    case kDfr:
      dfr_model_ = static_cast<uint8_t>(value >> 28);
      break;
    case kSvr:
      return write_svr(value);
    case kEsr:  // latches what has come up since the last write, and re-arms the error interrupt
      esr_ = esr_pending_;
      esr_pending_ = 0;
      break;
    case kIcrLow:
      return write_icr((icr_ >> 32 << 32) | value, later);
    case kIcrHigh:
      icr_ = uint64_t{value} << 32 | static_cast<uint32_t>(icr_);
      break;
    case kInitialCount:
      timer_.set_initial_count(value);
      break;
    case kDivideConfiguration:
      timer_.set_divide_configuration(value & kDivideWritable);
      break;
    default:
      break;
  }
  update();
}

void Lapic::write_lvt(Lvt which, uint32_t value) {
  uint32_t& entry = lvt_[which];
  const uint32_t remote_irr = value & kLvtLevelTriggered ? entry & kLvtRemoteIrr : 0;
  entry = (value & kLvtWritable[which]) | remote_irr;
  if (!(svr_ & kSvrEnabled)) entry |= kLvtMasked;  // "mask bits cannot be cleared" while disabled by software
  if (which == kLvtTimer) timer_.set_mode(static_cast<ApicTimer::Mode>(entry >> kLvtTimerModeShift & 3));
  if (which == kLvtLint0) lint_changed(kLvtLint0, false, lint0_);
  update();
}

void Lapic::write_svr(uint32_t value) {
  svr_ = value & kSvrWritable;
  if (!(svr_ & kSvrEnabled))
    for (uint32_t& entry : lvt_) entry |= kLvtMasked;
  update();
}

void Lapic::write_icr(uint64_t value, Later& later) {
  icr_ = value & (uint64_t{0xffffffff} << 32 | kIcrWritable);
  if (sendable(icr_)) later.icr = icr_;
}

LapicRegisters Lapic::registers() const {
  LapicRegisters to;
  for (unsigned reg = 0; reg < to.page.size(); ++reg) to.page[reg] = read_register(reg);
  to.apic_base = apic_base();
  to.tsc_deadline = timer_.tsc_deadline();
  return to;
}

// Into what a saved state may hold.
void Lapic::set_registers(const LapicRegisters& from) {
  const Hold hold(*this);
  const auto& page = from.page;
  mode_ = !(from.apic_base & kBaseEnable) ? Mode::kDisabled : from.apic_base & kBaseExtd ? Mode::kX2apic : Mode::kXapic;
  tpr_ = page[kTpr] & kTprWritable;
  svr_ = page[kSvr] & kSvrWritable;
  ldr_ = mode_ == Mode::kX2apic ? 0 : page[kLdr] & kLdrWritable;
  dfr_model_ = static_cast<uint8_t>(page[kDfr] >> 28);
  icr_ = uint64_t{page[kIcrHigh]} << 32 | (page[kIcrLow] & kIcrWritable);
  esr_ = page[kEsr] & kEsrAll;
  esr_pending_ = 0;
  for (unsigned n = 0; n < kLvtCount; ++n)
    lvt_[n] = page[kLvtFirst + n] & (kLvtWritable[n] | (n == kLvtLint0 ? kLvtRemoteIrr : 0));
  isr_.load(std::span(page).subspan<kIsr0, 8>());
  tmr_.load(std::span(page).subspan<kTmr0, 8>());
  irr_.load(std::span(page).subspan<kIrr0, 8>());
  extint_latched_ = false;
  timer_.load(static_cast<ApicTimer::Mode>(lvt_[kLvtTimer] >> kLvtTimerModeShift & 3), page[kInitialCount], page[kCurrentCount],
              page[kDivideConfiguration] & kDivideWritable, from.tsc_deadline);
}

uint32_t Lapic::mmio_read(uint32_t offset) {
  const Hold hold(*this);
  if (mode_ != Mode::kXapic) return ~0u;
  if (offset % 16 != 0) return 0;
  const unsigned reg = offset / 16 % 256;
  switch (access_of(reg, false)) {
    case Access::kNone:
      raise_error(kEsrIllegalRegister);
      return 0;
    case Access::kWrite:
      return 0;
    default:
      return read_register(reg);
  }
}

void Lapic::mmio_write(uint32_t offset, uint32_t value) {
  Later later;
  {
    const Hold hold(*this);
    if (mode_ != Mode::kXapic || offset % 16 != 0) return;
    const unsigned reg = offset / 16 % 256;
    switch (access_of(reg, false)) {
      case Access::kNone:
        raise_error(kEsrIllegalRegister);
        return;
      case Access::kRead:
        return;
      default:
        write_register(reg, value, later);
    }
  }
  carry_out(later);
}

uint64_t Lapic::apic_base() const {
  return kBaseAddress | (bootstrap_ ? kBaseBsp : 0) | (mode_ != Mode::kDisabled ? kBaseEnable : 0) |
         (mode_ == Mode::kX2apic ? kBaseExtd : 0);
}

// Legal transitions: Intel SDM vol. 3, 11.12.5 (figure 11-27).
MsrAccess Lapic::write_apic_base(uint64_t value) {
  if ((value & ~(kBaseBsp | kBaseExtd | kBaseEnable)) != kBaseAddress) return MsrAccess::kFault;
  if ((value & kBaseExtd) && !(value & kBaseEnable)) return MsrAccess::kFault;
  const Mode to = !(value & kBaseEnable) ? Mode::kDisabled : value & kBaseExtd ? Mode::kX2apic : Mode::kXapic;
  if (to == mode_) return MsrAccess::kDone;
  if (mode_ == Mode::kX2apic && to == Mode::kXapic) return MsrAccess::kFault;
  if (mode_ == Mode::kDisabled && to == Mode::kX2apic) return MsrAccess::kFault;
  const Mode from = mode_;
  mode_ = to;
  // Everything stays when x2APIC mode is entered, but for what means something else there.
  if (to == Mode::kX2apic) icr_ = static_cast<uint32_t>(icr_);
  if (to == Mode::kDisabled || from == Mode::kDisabled) reset_registers();
  update();
  return MsrAccess::kDone;
}

MsrAccess Lapic::read_x2apic(unsigned reg, uint64_t& value) {
  if (mode_ != Mode::kX2apic) return MsrAccess::kFault;
  const Access access = access_of(reg, true);
  if (access != Access::kRead && access != Access::kBoth) return MsrAccess::kFault;
  value = reg == kIcrLow ? icr_ : read_register(reg);
  return MsrAccess::kDone;
}

// Bits that are reserved in x2APIC mode, where setting one is #GP (Intel SDM vol. 3, 11.12.1.3).
static uint64_t x2apic_reserved(unsigned reg, std::span<const uint32_t> lvt_writable) {
  if (in(reg, kLvtFirst, 6)) return ~uint64_t{lvt_writable[reg - kLvtFirst] | kLvtDeliveryStatus | kLvtRemoteIrr};
  switch (reg) {
    case kTpr:
    case kSelfIpi:
      return ~uint64_t{0xff};
    case kSvr:
      return ~uint64_t{kSvrWritable};
    case kIcrLow:
      return kX2apicIcrReserved;
    case kDivideConfiguration:
      return ~uint64_t{kDivideWritable};
    case kInitialCount:
      return ~uint64_t{0xffffffff};
    default:
      return ~uint64_t{0};  // EOI and ESR: only zero is written
  }
}

MsrAccess Lapic::write_x2apic(unsigned reg, uint64_t value, Later& later) {
  if (mode_ != Mode::kX2apic) return MsrAccess::kFault;
  const Access access = access_of(reg, true);
  if (access != Access::kWrite && access != Access::kBoth) return MsrAccess::kFault;
  if (value & x2apic_reserved(reg, kLvtWritable)) return MsrAccess::kFault;
  if (reg == kIcrLow) {
    write_icr(value, later);
  } else if (reg == kSelfIpi) {
    const uint64_t icr = value | uint64_t{kSelf} << kIcrShorthandShift;
    if (sendable(icr)) later.icr = icr;
  } else {
    write_register(reg, static_cast<uint32_t>(value), later);
  }
  return MsrAccess::kDone;
}

MsrAccess Lapic::read_msr(uint32_t index, uint64_t& value) {
  const Hold hold(*this);
  if (index == kMsrApicBase) {
    value = apic_base();
    return MsrAccess::kDone;
  }
  if (index == kMsrTscDeadline) {
    value = timer_.tsc_deadline();
    return MsrAccess::kDone;
  }
  if (index < kMsrX2apicFirst || index > kMsrX2apicLast) return MsrAccess::kUnknown;
  return read_x2apic(index - kMsrX2apicFirst, value);
}

MsrAccess Lapic::write_msr(uint32_t index, uint64_t value) {
  Later later;
  MsrAccess result = MsrAccess::kDone;
  {
    const Hold hold(*this);
    if (index == kMsrApicBase) return write_apic_base(value);
    if (index == kMsrTscDeadline) {
      if (timer_.set_tsc_deadline(value)) fire_lvt(kLvtTimer);
      return MsrAccess::kDone;
    }
    if (index < kMsrX2apicFirst || index > kMsrX2apicLast) return MsrAccess::kUnknown;
    result = write_x2apic(index - kMsrX2apicFirst, value, later);
  }
  carry_out(later);
  return result;
}

uint8_t Lapic::read_tpr() {
  const Hold hold(*this);
  return static_cast<uint8_t>(tpr_ >> 4);
}

void Lapic::write_tpr(uint8_t priority_class) {
  const Hold hold(*this);
  tpr_ = (priority_class & 15u) << 4;
  update();
}

}  // namespace skerry::irqchip
