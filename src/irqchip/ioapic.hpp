// The 82093AA I/O APIC, version 0x20 (with an EOI register), 24 pins, at 0xfec00000.
//
// Any thread may call any member. Its lock is taken after a device's and before a LAPIC's. Lines are logical
// ("asserted"), so the polarity of an entry is stored and otherwise ignored, as guests and ACPI tables expect of
// virtual machines.
#pragma once

#include <array>
#include <cstdint>
#include <mutex>

#include "base/result.hpp"
#include "bus/address_space.hpp"
#include "bus/device.hpp"
#include "irqchip/apic_bus.hpp"
#include "irqchip/apic_message.hpp"

namespace skerry::irqchip {

// IOREDTBL (82093AA data sheet, 3.2.4).
class RedirectionEntry {
 public:
  static constexpr uint64_t kDeliveryStatus = 1u << 12, kPolarity = 1u << 13, kRemoteIrr = 1u << 14, kLevel = 1u << 15,
                            kMasked = 1u << 16;
  static constexpr uint64_t kWritable = 0xff0000000001afff;
  static constexpr uint64_t kStored = kWritable | kRemoteIrr;

  uint64_t raw = kMasked;

  uint8_t vector() const { return static_cast<uint8_t>(raw); }
  DeliveryMode mode() const { return static_cast<DeliveryMode>(raw >> 8 & 7); }
  bool logical() const { return raw >> 11 & 1; }
  bool remote_irr() const { return raw & kRemoteIrr; }
  bool masked() const { return raw & kMasked; }
  uint8_t destination() const { return static_cast<uint8_t>(raw >> 56); }
  // "SMI, NMI, INIT and ExtINT must be programmed as edge": only these two can be level-triggered.
  bool level_triggered() const {
    return (raw & kLevel) && (mode() == DeliveryMode::kFixed || mode() == DeliveryMode::kLowestPriority);
  }
  void set_remote_irr(bool value) { raw = value ? raw | kRemoteIrr : raw & ~kRemoteIrr; }
};

class IoApic final : public bus::Device, public bus::IoHandler, public EoiListener {
 public:
  static constexpr uint64_t kBaseAddress = 0xfec00000, kSize = 4096;
  static constexpr unsigned kPins = 24;

  explicit IoApic(ApicBus& bus) : bus_(bus) {}

  Result<void> attach(bus::AddressSpace& mmio);
  void set_irq(unsigned pin, bool level);
  void end_of_interrupt(uint8_t vector) override;

  uint64_t io_read(uint64_t offset, unsigned size) override;
  void io_write(uint64_t offset, unsigned size, uint64_t value) override;
  unsigned widest_access() const override { return 4; }

  std::string_view name() const override { return "ioapic"; }
  void reset() override;
  void describe(state::Fields& fields) override;
  void restored() override;

 private:
  static ApicMessage message_of(const RedirectionEntry& entry);
  void tell_bus(unsigned pin);
  uint32_t read_register() const;
  void write_register(uint32_t value);
  void write_entry(unsigned pin, bool high_half, uint32_t value);
  void send(unsigned pin);
  void service_level(unsigned pin);
  void end_of_interrupt_locked(uint8_t vector);

  ApicBus& bus_;
  std::mutex lock_;
  uint8_t select_ = 0;  // IOREGSEL
  uint8_t id_ = 0;
  uint32_t lines_ = 0;  // the pins' levels
  std::array<RedirectionEntry, kPins> entries_{};
};

}  // namespace skerry::irqchip
