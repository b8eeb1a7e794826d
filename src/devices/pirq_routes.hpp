// How the interrupts of PCI, PIRQA and the others, become those of the ISA bus in Intel's south bridges, and inputs of the
// I/O APIC where they have such. ICH9, 13.1.12; 82371FB/82371SB (PIIX/PIIX3), PIRQRC.
#pragma once

#include <array>
#include <cstdint>
#include <mutex>
#include <optional>
#include <span>

#include "bus/interrupt.hpp"

namespace skerry::devices {

// Any thread may call any member. Its lock is taken before those of the interrupt controllers.
class PirqRoutes {
 public:
  static constexpr unsigned kMostPirqs = 8;
  // The registers: not routed to the ISA bus; the number of an interrupt there.
  static constexpr uint8_t kDisabled = 0x80, kIrq = 0x0f;

  // `first_gsi`: of PIRQA; the others follow.
  PirqRoutes(bus::IrqSink& irqs, std::optional<unsigned> first_gsi) : irqs_(irqs), first_gsi_(first_gsi) { registers_.fill(kDisabled); }

  // One more function drives the PIRQ, or one less.
  void drive(unsigned pirq, bool level) {
    std::lock_guard guard(lock_);
    asserted_[pirq] += level ? 1 : -1;
    if (first_gsi_) irqs_.set_irq(*first_gsi_ + pirq, asserted_[pirq] > 0);
    drive_isa();
  }
  // What the registers hold.
  void set(std::span<const uint8_t> registers) {
    std::lock_guard guard(lock_);
    for (size_t i = 0; i < registers.size(); ++i) registers_[i] = registers[i];
    drive_isa();
  }
  // Together with who drives and who is driven.
  void reset() {
    std::lock_guard guard(lock_);
    asserted_ = {};
    isa_levels_ = 0;
    registers_.fill(kDisabled);
  }

 private:
  static constexpr uint16_t kRoutable = 0xdef8;  // 3 to 7, 9 to 12, 14, 15

  void drive_isa() {
    uint16_t levels = 0;
    for (unsigned i = 0; i < kMostPirqs; ++i)
      if (asserted_[i] > 0 && !(registers_[i] & kDisabled)) levels |= static_cast<uint16_t>(1u << (registers_[i] & kIrq));
    levels &= kRoutable;
    for (unsigned irq = 0; irq < 16; ++irq)
      if ((levels ^ isa_levels_) >> irq & 1) irqs_.set_irq(irq, levels >> irq & 1);
    isa_levels_ = levels;
  }

  bus::IrqSink& irqs_;
  const std::optional<unsigned> first_gsi_;
  std::mutex lock_;
  // All of it is derived: from the functions, which drive anew after a restore, and from the configuration space.
  std::array<int, kMostPirqs> asserted_{};  // how many functions drive it
  uint16_t isa_levels_ = 0;                 // the ISA interrupts that it drives
  std::array<uint8_t, kMostPirqs> registers_;
};

}  // namespace skerry::devices
