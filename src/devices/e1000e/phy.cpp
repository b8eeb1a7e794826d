#include "devices/e1000e/phy.hpp"

namespace skerry::devices::e1000e {

namespace {
// 10.2.2.7, MDIC.
constexpr uint32_t kDataMask = 0xffff, kReady = 1 << 28, kError = 1 << 30;
constexpr unsigned kRegisterShift = 16, kAddressShift = 21, kOperationShift = 26;
constexpr unsigned kWrite = 1, kRead = 2, kOwnAddress = 1;

// IEEE 802.3, 22.2.4, and of the PHY's own.
enum Register : unsigned {
  kControl = 0, kStatus = 1, kIdentifier1 = 2, kIdentifier2 = 3, kAdvertisement = 4, kPartner = 5, kExpansion = 6, kNextPage = 7,
  kGigabitControl = 9, kGigabitStatus = 10, kExtendedStatus = 15, kSpecificControl = 16, kSpecificStatus = 17, kPageSelect = 22,
};
constexpr uint16_t kControlReset = 1 << 15, kControlNegotiate = 1 << 12, kControlPowerDown = 1 << 11, kControlRestart = 1 << 9;
constexpr uint16_t kControlDefault = 0x1140, kAdvertised = 0x0de1, kGigabitAdvertised = 0x0300, kNextPageDefault = 0x2001;
constexpr uint16_t kStatusAbilities = 0x7949, kStatusNegotiated = 1 << 5, kStatusLink = 1 << 2;
constexpr uint16_t kId1 = 0x0141, kId2 = 0x0cb1;
constexpr uint16_t kPartnerAbilities = 0x41e1;   // acknowledged: 10 and 100 Mbit/s
constexpr uint16_t kPartnerNegotiates = 1 << 0;  // Expansion
constexpr uint16_t kPartnerGigabit = 0x3800;     // both receivers work; 1000BASE-T full duplex
constexpr uint16_t kGigabitAbilities = 0x3000;
constexpr uint16_t kSpecificDefault = 0x0078;
constexpr uint16_t kSpecificUp = 0xac00;  // 1000 Mbit/s, full duplex, resolved, link
}  // namespace

void Phy::reset() {
  reset_registers();
  negotiating_ = false;
}

void Phy::reset_registers() {
  page_ = 0;
  flat_ = {};
  paged_ = {};
  flat_[kControl] = kControlDefault;
  flat_[kAdvertisement] = kAdvertised;
  flat_[kNextPage] = kNextPageDefault;
  flat_[kGigabitControl] = kGigabitAdvertised;
  paged_[0][kSpecificControl - kFlat] = kSpecificDefault;
}

bool Phy::powered_down() const { return flat_[kControl] & kControlPowerDown; }

uint32_t Phy::command(uint32_t value, bool& changed) {
  const unsigned reg = value >> kRegisterShift & 31, address = value >> kAddressShift & 31, operation = value >> kOperationShift & 3;
  value &= ~(kReady | kError);
  if (address != kOwnAddress || (operation != kRead && operation != kWrite)) return value | kReady | kError;
  if (operation == kRead) return (value & ~kDataMask) | read(reg) | kReady;
  write(reg, static_cast<uint16_t>(value));
  changed = reg == kControl;
  return value | kReady;
}

uint16_t Phy::read(unsigned reg) const {
  if (reg >= kFlat) {
    if (reg == kPageSelect) return page_;
    if (page_ >= kPages) return 0;
    if (page_ == 0 && reg == kSpecificStatus) return link() ? kSpecificUp : 0;
    return paged_[page_][reg - kFlat];
  }
  const bool found = cable_ && !powered_down() && !negotiating_ && (flat_[kControl] & kControlNegotiate);
  switch (reg) {
    case kStatus: return static_cast<uint16_t>(kStatusAbilities | (found ? kStatusNegotiated : 0) | (link() ? kStatusLink : 0));
    case kIdentifier1: return kId1;
    case kIdentifier2: return kId2;
    case kPartner: return found ? kPartnerAbilities : 0;
    case kExpansion: return found ? kPartnerNegotiates : 0;
    case kGigabitStatus: return found ? kPartnerGigabit : 0;
    case kExtendedStatus: return kGigabitAbilities;
    default: return flat_[reg];
  }
}

void Phy::write(unsigned reg, uint16_t value) {
  if (reg == kControl) return write_control(value);
  if (reg == kPageSelect) {
    page_ = value;
  } else if (reg >= kFlat) {
    if (page_ < kPages) paged_[page_][reg - kFlat] = value;
  } else if (reg == kAdvertisement || reg == kNextPage || reg == kGigabitControl) {
    flat_[reg] = value;
  }
}

// 22.2.4.1: reset and restart clear themselves.
void Phy::write_control(uint16_t value) {
  const bool was_down = powered_down();
  const uint16_t before = flat_[kControl];
  if (value & kControlReset) {
    value = static_cast<uint16_t>((value & ~kControlReset) | kControlNegotiate | kControlRestart);
  }
  flat_[kControl] = static_cast<uint16_t>(value & ~kControlRestart);
  const bool negotiate_now = (value & kControlNegotiate) && !(before & kControlNegotiate);
  if (((value & kControlRestart) && (value & kControlNegotiate)) || negotiate_now || (was_down && !powered_down())) negotiating_ = true;
  if (powered_down()) negotiating_ = false;
}

void Phy::describe(state::Fields& fields) {
  fields.field("negotiating", negotiating_);
  fields.field("page", page_);
  fields.field("flat", flat_);
  fields.list("paged", kPages, [&](size_t i) { fields.field("page", paged_[i]); });
}

}  // namespace skerry::devices::e1000e
