#include "devices/e1000e/receive_filter.hpp"

#include <algorithm>

#include "net/frame.hpp"

namespace skerry::devices::e1000e {

namespace {
constexpr uint32_t kAddressValid = 1u << 31, kAddressHighMask = 0x8003'ffff;  // RAH: AV, ASEL, the address's last two bytes
constexpr uint32_t kAddressSelect = 3 << 16;                                    // 0: the destination's
constexpr unsigned kOffsetShift = 12;                                           // RCTL.MO
constexpr size_t kTypeAt = 12, kTagAt = 14;
}  // namespace

uint32_t* ReceiveFilter::find(uint32_t offset) {
  const auto within = [&](uint32_t start, size_t words) { return offset >= start && offset < start + 4 * words; };
  if (within(RAL, addresses_.size())) return &addresses_[(offset - RAL) / 4];
  if (within(MTA, multicast_.size())) return &multicast_[(offset - MTA) / 4];
  if (within(VFTA, vlans_.size())) return &vlans_[(offset - VFTA) / 4];
  return nullptr;
}

bool ReceiveFilter::read(uint32_t offset, uint32_t& value) const {
  const uint32_t* word = const_cast<ReceiveFilter*>(this)->find(offset);
  if (word) value = *word;
  return word;
}

bool ReceiveFilter::write(uint32_t offset, uint32_t value) {
  uint32_t* word = find(offset);
  if (!word) return false;
  const bool high = offset >= RAL && offset < VFTA && (offset & 4);
  *word = high ? value & kAddressHighMask : value;
  return true;
}

bool ReceiveFilter::accepts(std::span<const uint8_t> frame, uint32_t rctl, uint16_t vlan_type) const {
  if ((rctl & rctl::VFE) && frame.size() >= kTagAt + 2 && net::load_be16(&frame[kTypeAt]) == vlan_type) {
    const unsigned vlan = net::load_be16(&frame[kTagAt]) & 0xfff;
    if (!(vlans_[vlan / 32] >> (vlan % 32) & 1)) return false;
  }
  const auto address = frame.first(6);
  if (has_address(address)) return true;
  return address[0] & 1 ? accepts_multicast(address, rctl) : (rctl & rctl::UPE) != 0;
}

bool ReceiveFilter::has_address(std::span<const uint8_t> address) const {
  for (unsigned i = 0; i < kAddresses; ++i) {
    const uint32_t low = addresses_[2 * i], high = addresses_[2 * i + 1];
    if (!(high & kAddressValid) || (high & kAddressSelect)) continue;
    bool same = true;
    for (unsigned byte = 0; byte < 6; ++byte)
      same &= address[byte] == static_cast<uint8_t>(byte < 4 ? low >> (8 * byte) : high >> (8 * (byte - 4)));
    if (same) return true;
  }
  return false;
}

// 10.2.5.21: twelve bits of the address choose one of the table.
bool ReceiveFilter::accepts_multicast(std::span<const uint8_t> address, uint32_t rctl) const {
  if (rctl & rctl::MPE) return true;
  if ((rctl & rctl::BAM) && std::ranges::all_of(address, [](uint8_t byte) { return byte == 0xff; })) return true;
  constexpr unsigned kShifts[] = {4, 3, 2, 0};
  const unsigned last = address[4] | unsigned{address[5]} << 8;
  const unsigned bit = last >> kShifts[rctl >> kOffsetShift & 3] & 0xfff;
  return multicast_[bit / 32] >> (bit % 32) & 1;
}

void ReceiveFilter::reset() {
  addresses_ = {};
  multicast_ = vlans_ = {};
  addresses_[0] = own_[0] | uint32_t{own_[1]} << 8 | uint32_t{own_[2]} << 16 | uint32_t{own_[3]} << 24;
  addresses_[1] = own_[4] | uint32_t{own_[5]} << 8 | kAddressValid;
}

void ReceiveFilter::describe(state::Fields& fields) {
  fields.list("addresses", kAddresses, [&](size_t i) {
    fields.field("low", addresses_[2 * i]);
    fields.field("high", addresses_[2 * i + 1], state::in_mask(kAddressHighMask));
  });
  fields.field("multicast", multicast_);
  fields.field("vlans", vlans_);
}

}  // namespace skerry::devices::e1000e
