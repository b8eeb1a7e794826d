// Two bits of wiring that no device owns: who drives IRQ 0 and 8, and the x87 error latch.
#pragma once

#include <mutex>
#include <string_view>

#include "bus/address_space.hpp"
#include "bus/device.hpp"
#include "bus/interrupt.hpp"

namespace skerry::machine {

// The lines of PIT and RTC, which the HPET takes over while its legacy replacement is on (IA-PC HPET Specification,
// 2.3.5). Called from any thread. Its lock is between those of the PIT and of the interrupt controllers.
class LegacyTimerGate final : public bus::IrqSink {
 public:
  explicit LegacyTimerGate(bus::IrqSink& sink) : sink_(sink) {}

  void set_irq(unsigned gsi, bool level) override {
    std::lock_guard guard(lock_);
    levels_ = level ? levels_ | 1u << gsi : levels_ & ~(1u << gsi);
    if (!replaced_) sink_.set_irq(gsi, level);
  }
  void set_replaced(bool replaced) {
    std::lock_guard guard(lock_);
    if (replaced == replaced_) return;
    replaced_ = replaced;
    for (unsigned gsi = 0; gsi < 16; ++gsi)
      if (levels_ >> gsi & 1) sink_.set_irq(gsi, !replaced);
  }

 private:
  bus::IrqSink& sink_;
  std::mutex lock_;
  uint32_t levels_ = 0;  // as the devices drive them; derived: they drive them anew after a restore
  bool replaced_ = false;
};

// FERR# makes IRQ 13, a write to port 0xf0 takes it back: error reporting of the x87 as the PC/AT had it (Intel SDM
// vol. 1, appendix D.2.1).
class FerrLatch final : public bus::Device, private bus::IoHandler {
 public:
  static constexpr uint16_t kPort = 0xf0;
  static constexpr unsigned kIrq = 13;

  explicit FerrLatch(bus::IrqLine irq) : irq_(irq) {}
  Result<void> attach(bus::AddressSpace& pio) { return pio.add(kPort, 1, *this, "ferr"); }
  void raise() { set(true); }  // any thread

  std::string_view name() const override { return "ferr"; }
  void reset() override { set(false); }
  void describe(state::Fields& fields) override { fields.field("asserted", asserted_); }
  void restored() override { irq_.set(asserted_); }

 private:
  uint64_t io_read(uint64_t, unsigned) override { return 0xff; }
  void io_write(uint64_t, unsigned, uint64_t) override { set(false); }
  unsigned widest_access() const override { return 1; }
  void set(bool level) {
    std::lock_guard guard(lock_);
    asserted_ = level;
    irq_.set(level);
  }

  const bus::IrqLine irq_;
  std::mutex lock_;
  bool asserted_ = false;
};

}  // namespace skerry::machine
