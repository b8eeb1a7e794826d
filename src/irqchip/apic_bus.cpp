#include "irqchip/apic_bus.hpp"

#include <algorithm>

#include "base/log.hpp"
#include "base/units.hpp"
#include "irqchip/lapic.hpp"

namespace skerry::irqchip {

namespace {
constexpr uint32_t kBroadcast8 = 0xff, kBroadcast32 = 0xffffffff;

bool is_broadcast(const ApicMessage& message) {
  return message.destination == (message.wide ? kBroadcast32 : kBroadcast8);
}

// Message address and data (Intel SDM vol. 3, 11.11.1 and 11.11.2).
constexpr uint64_t kMsiAddressBase = 0xfee00000, kMsiAddressMask = ~uint64_t{0xfffff};
constexpr unsigned kMsiDestinationMode = 2, kMsiRedirectionHint = 3;
constexpr unsigned kMsiLevel = 14, kMsiTriggerMode = 15;
}  // namespace

Result<void> ApicBus::add(Lapic& lapic) {
  const uint32_t id = lapic.id();
  if (id > kMaxApicId) return error("APIC ID {} is above the highest supported one, {}", id, kMaxApicId);
  if (find(id)) return error("two processors have the APIC ID {}", id);
  if (by_id_.size() <= id) by_id_.resize(id + 1);
  by_id_[id] = &lapic;
  lapics_.clear();
  std::copy_if(by_id_.begin(), by_id_.end(), std::back_inserter(lapics_),
               [](const Lapic* at) { return at != nullptr; });
  return ok();
}

void ApicBus::connect(ExtIntSource* pic, EoiListener* ioapic) {
  pic_ = pic;
  ioapic_ = ioapic;
}

void ApicBus::use(ForeignApics& apics) {
  foreign_ = &apics;
  if (ioapic_) apics.connect(*ioapic_);
}

void ApicBus::pin_changed(unsigned pin, const ApicMessage* message) {
  if (foreign_) foreign_->set_pin(pin, message);
}

// An x2APIC logical destination names one cluster of 16 consecutive IDs (Intel SDM vol. 3, 11.12.10.2).
void ApicBus::for_each_in_cluster(uint32_t destination, const std::function<void(Lapic&)>& visit) {
  const uint32_t first = destination >> 16 << 4;
  for (unsigned i = 0; i < 16; ++i) {
    if (!(destination >> i & 1)) continue;
    Lapic* lapic = find(first + i);
    if (lapic && lapic->matches_logical(destination)) visit(*lapic);
  }
}

void ApicBus::for_each_target(const ApicMessage& message, const std::function<void(Lapic&)>& visit) {
  if (is_broadcast(message)) {
    for (Lapic* lapic : lapics_) visit(*lapic);
  } else if (!message.logical) {
    if (Lapic* lapic = find(message.destination)) visit(*lapic);
  } else if (message.wide) {
    for_each_in_cluster(message.destination, visit);
  } else {
    for (Lapic* lapic : lapics_)
      if (lapic->matches_logical(message.destination)) visit(*lapic);
  }
}

// To the processor with the least urgent work. Among equals the vector decides: that spreads a guest's interrupts, and
// needs no memory of whose turn it is.
bool ApicBus::deliver_lowest_priority(const ApicMessage& message) {
  std::vector<Lapic*> candidates;
  unsigned lowest = ~0u;
  for_each_target(message, [&](Lapic& lapic) {
    if (!lapic.accepts_fixed()) return;
    const unsigned priority = lapic.processor_priority() >> 4;
    if (priority < lowest) candidates.clear();
    lowest = std::min(lowest, priority);
    if (priority == lowest) candidates.push_back(&lapic);
  });
  if (candidates.empty()) return false;
  return candidates[message.vector % candidates.size()]->accept(message);
}

bool ApicBus::deliver(const ApicMessage& message) {
  if (foreign_) return foreign_->deliver(message);
  const bool to_one =
      message.mode == DeliveryMode::kLowestPriority || (message.mode == DeliveryMode::kFixed && message.redirect);
  if (to_one && (message.logical || is_broadcast(message))) return deliver_lowest_priority(message);
  bool accepted = false;
  for_each_target(message, [&](Lapic& lapic) { accepted |= lapic.accept(message); });
  return accepted;
}

bool ApicBus::deliver_to(uint32_t id, ApicMessage message) {
  Lapic* const lapic = find(id);
  if (!lapic || !foreign_) return lapic && lapic->accept(message);
  message.destination = id;
  message.logical = false;
  message.wide = true;
  return foreign_->deliver(message);
}

bool ApicBus::deliver_to_all(const ApicMessage& message, const Lapic* except) {
  bool accepted = false;
  for (Lapic* lapic : lapics_)
    if (lapic != except) accepted |= lapic->accept(message);
  return accepted;
}

void ApicBus::send_msi(uint64_t address, uint32_t data) {
  if ((address & kMsiAddressMask) != kMsiAddressBase) {
    log::debug(log::Category::kIrq, "message {:#x} to {:#x}: not an interrupt address", data, address);
    return;
  }
  ApicMessage message;
  message.destination = static_cast<uint32_t>(bits(address, 19, 12));
  message.logical = address >> kMsiDestinationMode & 1;
  message.redirect = address >> kMsiRedirectionHint & 1;
  message.vector = static_cast<uint8_t>(data);
  message.mode = static_cast<DeliveryMode>(bits(data, 10, 8));
  message.level_triggered = data >> kMsiTriggerMode & 1;
  if (message.level_triggered && !(data >> kMsiLevel & 1)) return;  // deassert: there is no line to lower
  deliver(message);
}

std::unique_ptr<bus::MsiEvent> ApicBus::make_msi_event() { return foreign_ ? foreign_->make_msi_event() : nullptr; }

void ApicBus::set_lint0(bool level) {
  for (Lapic* lapic : lapics_) lapic->set_lint0(level);
}

void ApicBus::set_lint1(bool level) {
  for (Lapic* lapic : lapics_) lapic->set_lint1(level);
}

void ApicBus::broadcast_eoi(uint8_t vector) {
  if (ioapic_) ioapic_->end_of_interrupt(vector);
}

int ApicBus::acknowledge_extint() { return pic_ ? pic_->acknowledge() : -1; }

}  // namespace skerry::irqchip
