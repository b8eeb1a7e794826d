// The high precision event timer (IA-PC HPET Specification 1.0a): 100 MHz, 64 bits, three comparators.
#pragma once

#include <array>
#include <functional>
#include <mutex>

#include "base/event_loop.hpp"
#include "bus/address_space.hpp"
#include "bus/device.hpp"
#include "bus/interrupt.hpp"

namespace skerry::devices {

class Hpet final : public bus::Device, private bus::IoHandler {
 public:
  static constexpr uint64_t kBase = 0xfed00000;
  static constexpr uint64_t kSize = 0x400;
  static constexpr unsigned kTimers = 3;
  static constexpr uint64_t kPeriodFs = 10'000'000;             // of the main counter: 10 ns
  static constexpr uint32_t kGeneralCapabilities = 0x8086a201;  // low half of GCAP_ID, as the ACPI table repeats it

  struct Wiring {
    bus::IrqSink* irqs = nullptr;           // by GSI, for INT_ROUTE
    uint32_t int_route_cap = 0;             // Tn_INT_ROUTE_CAP: which GSIs the board lets timers use
    bus::IrqLine legacy_irq0, legacy_irq8;  // where timers 0 and 1 go under legacy replacement
    bus::MsiSink* msi = nullptr;            // where FSB interrupts go; null: none offered
    // LEG_RT_CNF changed: while true the board keeps the PIT off IRQ 0 and the RTC off IRQ 8. With no lock held, from a
    // vCPU thread, and from reset() and restored().
    std::function<void(bool on)> legacy_replacement;
  };
  Hpet(EventLoop& loop, Wiring wiring);
  Result<void> attach(bus::AddressSpace& mmio, uint64_t base = kBase);

  std::string_view name() const override { return "hpet"; }
  void reset() override;
  void describe(state::Fields& fields) override;
  void restored() override;

 private:
  struct Comparator {
    uint32_t config = 0;      // the writable bits of Tn_CONF
    uint64_t comparator = 0;  // Tn_COMPARATOR
    uint64_t period = 0;      // what was written last, where periodic
    uint64_t fsb_route = 0;   // Tn_FSB_INT_ROUTE: value, and address in the high half
    bool armed = false;
    uint64_t match = 0;  // armed: at which main count it fires next
  };

  uint64_t io_read(uint64_t offset, unsigned size) override;
  void io_write(uint64_t offset, unsigned size, uint64_t value) override;

  // Everything below with lock_ held.
  uint64_t read_register(uint64_t offset);
  uint64_t read_comparator(const Comparator& timer, uint64_t offset) const;
  void write_register(uint64_t offset, uint64_t value, uint64_t mask);
  void write_comparator(unsigned index, uint64_t offset, uint64_t value, uint64_t mask);
  void write_general_config(uint64_t value);
  void write_timer_config(Comparator& timer, uint64_t value);
  void write_comparator_value(Comparator& timer, uint64_t value, uint64_t mask);
  uint32_t config_mask() const;
  bool enabled() const;
  bool legacy() const;
  uint64_t count(int64_t now) const;
  void set_count(uint64_t value, int64_t now);
  static bool never_set(const Comparator& timer);
  enum class IfPassed : uint8_t { kFire, kWait };
  static void arm(Comparator& timer, uint64_t now_count, IfPassed if_passed);
  void advance();
  void fire(unsigned index);
  bool asserts(unsigned index) const;
  bus::IrqLine line(unsigned index) const;
  void update_lines();
  void rearm();
  void expired();

  const Wiring wiring_;
  std::mutex lock_;
  Timer timer_;
  uint8_t config_ = 0;        // GEN_CONF
  uint8_t status_ = 0;        // GINTR_STA
  uint64_t counter_ = 0;      // MAIN_CNT at counted_from_, or for as long as it is halted
  int64_t counted_from_ = 0;  // VmClock
  std::array<Comparator, kTimers> timers_;
  uint32_t driven_ = 0;        // GSIs that a level-triggered timer holds up; derived
  uint8_t driven_legacy_ = 0;  // likewise of the two legacy lines
};

}  // namespace skerry::devices
