#include "irqchip/ioapic.hpp"

namespace skerry::irqchip {

namespace {
// Memory-mapped registers (82093AA data sheet, 3.1; IOEOI from version 0x20).
constexpr uint64_t kIoRegSel = 0x00, kIoWin = 0x10, kIoEoi = 0x40;
// Registers behind IOREGSEL (3.2).
constexpr uint8_t kIoApicId = 0, kIoApicVer = 1, kIoApicArb = 2, kIoRedTbl = 0x10;
constexpr uint32_t kVersion = (IoApic::kPins - 1) << 16 | 0x20;
}  // namespace

Result<void> IoApic::attach(bus::AddressSpace& mmio) { return mmio.add(kBaseAddress, kSize, *this, "ioapic"); }

ApicMessage IoApic::message_of(const RedirectionEntry& entry) {
  ApicMessage message;
  message.destination = entry.destination();
  message.logical = entry.logical();
  message.mode = entry.mode();
  message.vector = entry.vector();
  message.level_triggered = entry.level_triggered();
  return message;
}

void IoApic::tell_bus(unsigned pin) {
  const ApicMessage message = message_of(entries_[pin]);
  bus_.pin_changed(pin, message.level_triggered ? &message : nullptr);
}

void IoApic::send(unsigned pin) {
  RedirectionEntry& entry = entries_[pin];
  const ApicMessage message = message_of(entry);
  const bool accepted = bus_.deliver(message);
  // Nobody's interrupt gets no EOI: it is tried again with the next change of its line or entry.
  if (accepted && message.level_triggered) entry.set_remote_irr(true);
}

// A level-triggered pin interrupts while it is asserted and no earlier interrupt of it is being served.
void IoApic::service_level(unsigned pin) {
  const RedirectionEntry& entry = entries_[pin];
  if (entry.level_triggered() && !entry.masked() && !entry.remote_irr() && (lines_ >> pin & 1)) send(pin);
}

void IoApic::set_irq(unsigned pin, bool level) {
  if (pin >= kPins) return;
  std::lock_guard guard(lock_);
  const uint32_t mask = 1u << pin;
  const bool rising = level && !(lines_ & mask);
  lines_ = level ? lines_ | mask : lines_ & ~mask;
  const RedirectionEntry& entry = entries_[pin];
  if (entry.level_triggered())
    service_level(pin);
  else if (rising && !entry.masked())  // "edge-sensitive interrupts signaled on a masked pin are ignored"
    send(pin);
}

void IoApic::end_of_interrupt_locked(uint8_t vector) {
  for (unsigned pin = 0; pin < kPins; ++pin) {
    RedirectionEntry& entry = entries_[pin];
    if (!entry.remote_irr() || entry.vector() != vector) continue;
    entry.set_remote_irr(false);
    service_level(pin);
  }
}

void IoApic::end_of_interrupt(uint8_t vector) {
  std::lock_guard guard(lock_);
  end_of_interrupt_locked(vector);
}

void IoApic::write_entry(unsigned pin, bool high_half, uint32_t value) {
  RedirectionEntry& entry = entries_[pin];
  const unsigned shift = high_half ? 32 : 0;
  const uint64_t writable = RedirectionEntry::kWritable & uint64_t{0xffffffff} << shift;
  entry.raw = (entry.raw & ~writable) | (uint64_t{value} << shift & writable);
  // Software without an EOI register clears a stuck remote IRR by switching to edge and back.
  if (!entry.level_triggered()) entry.set_remote_irr(false);
  tell_bus(pin);
  service_level(pin);
}

uint32_t IoApic::read_register() const {
  switch (select_) {
    case kIoApicId:
    case kIoApicArb:
      return uint32_t{id_} << 24;
    case kIoApicVer:
      return kVersion;
    default:
      break;
  }
  const unsigned index = select_ - kIoRedTbl;
  if (select_ < kIoRedTbl || index >= 2 * kPins) return 0;
  return static_cast<uint32_t>(entries_[index / 2].raw >> (index % 2 ? 32 : 0));
}

void IoApic::write_register(uint32_t value) {
  if (select_ == kIoApicId) id_ = value >> 24 & 15;
  const unsigned index = select_ - kIoRedTbl;
  if (select_ >= kIoRedTbl && index < 2 * kPins) write_entry(index / 2, index % 2, value);
}

uint64_t IoApic::io_read(uint64_t offset, unsigned) {
  std::lock_guard guard(lock_);
  if (offset == kIoRegSel) return select_;
  return offset == kIoWin ? read_register() : 0;
}

void IoApic::io_write(uint64_t offset, unsigned size, uint64_t value) {
  std::lock_guard guard(lock_);
  if (offset == kIoRegSel) select_ = static_cast<uint8_t>(value);
  if (size != 4) return;  // the others are 32 bits only (3.1)
  if (offset == kIoWin) write_register(static_cast<uint32_t>(value));
  if (offset == kIoEoi) end_of_interrupt_locked(static_cast<uint8_t>(value));
}

void IoApic::reset() {
  select_ = id_ = 0;
  entries_.fill(RedirectionEntry{});
  restored();
}

void IoApic::restored() {
  for (unsigned pin = 0; pin < kPins; ++pin) tell_bus(pin);
}

void IoApic::describe(state::Fields& fields) {
  fields.field("select", select_);
  fields.field("id", id_, state::up_to(15));
  fields.field("lines", lines_, state::in_mask((1u << kPins) - 1));
  fields.list("entries", kPins,
              [&](size_t i) { fields.field("", entries_[i].raw, state::in_mask(RedirectionEntry::kStored)); });
}

}  // namespace skerry::irqchip
