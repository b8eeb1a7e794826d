// A small machine of interrupt controllers: some LAPICs on a bus, an I/O APIC, the 8259s.
#pragma once

#include <gtest/gtest.h>

#include <atomic>
#include <deque>
#include <functional>
#include <memory>
#include <vector>

#include "irqchip/apic_bus.hpp"
#include "irqchip/ioapic.hpp"
#include "irqchip/irq_router.hpp"
#include "irqchip/lapic.hpp"
#include "irqchip/pic.hpp"
#include "unit/irqchip/test_time.hpp"

namespace skerry::test {

// What a vCPU's pins have seen.
struct Pins final : bus::VcpuInterrupts {
  bool intr = false;
  unsigned nmis = 0, smis = 0, inits = 0;
  std::atomic<unsigned> wakes = 0;  // it is woken without a lock
  std::function<void()> at_wake;
  std::vector<uint8_t> sipis;
  void interrupt_request(bool level) override { intr = level; }
  void wake() override {
    ++wakes;
    if (at_wake) at_wake();
  }
  void nmi() override { ++nmis; }
  void smi() override { ++smis; }
  void init() override { ++inits; }
  void sipi(uint8_t vector) override { sipis.push_back(vector); }
};

struct ApicRig {
  static constexpr uint64_t kTscHz = 2'500'000'000;

  TestTime time;
  irqchip::ApicBus bus;
  irqchip::Pic pic{[this](bool level) { bus.set_lint0(level); }};
  irqchip::IoApic ioapic{bus};
  irqchip::IrqRouter router{pic, ioapic};
  bus::AddressSpace pio{"port"}, mmio{"memory"};
  std::deque<Pins> pins;
  std::deque<irqchip::Lapic> lapics;

  explicit ApicRig(std::vector<uint32_t> ids = {0, 1, 2, 3}) {
    for (const uint32_t id : ids) {
      lapics.emplace_back(
          id, lapics.empty(), bus, pins.emplace_back(), time.loop(), [this] { return tsc(); }, kTscHz);
      EXPECT_TRUE(bus.add(lapics.back()));
    }
    bus.connect(&pic, &ioapic);
    EXPECT_TRUE(pic.attach(pio));
    EXPECT_TRUE(ioapic.attach(mmio));
  }
  uint64_t tsc() const { return static_cast<uint64_t>(static_cast<__int128>(time.now()) * kTscHz / 1'000'000'000); }

  // Software enable, as every operating system does; flat logical IDs.
  void enable_all() {
    for (size_t i = 0; i < lapics.size(); ++i) {
      lapics[i].mmio_write(0xf0, 0x1ff);
      lapics[i].mmio_write(0xd0, 0x01000000u << i);
    }
  }
  void enter_x2apic(irqchip::Lapic& lapic) {
    uint64_t base = 0;
    EXPECT_EQ(lapic.read_msr(0x1b, base), irqchip::MsrAccess::kDone);
    EXPECT_EQ(lapic.write_msr(0x1b, base | 0x400), irqchip::MsrAccess::kDone);
  }
  void send_ipi(size_t from, uint32_t destination, uint32_t low) {
    lapics[from].mmio_write(0x310, destination << 24);
    lapics[from].mmio_write(0x300, low);
  }
  // Accepts what is pending, and ends it: the vector, or -1.
  int take(size_t cpu) {
    const int vector = lapics[cpu].acknowledge();
    if (vector >= 0) lapics[cpu].mmio_write(0xb0, 0);
    return vector;
  }
  uint32_t ioapic_read(uint8_t reg) {
    mmio.write(0xfec00000, 4, reg);
    return static_cast<uint32_t>(mmio.read(0xfec00010, 4));
  }
  void ioapic_write(uint8_t reg, uint32_t value) {
    mmio.write(0xfec00000, 4, reg);
    mmio.write(0xfec00010, 4, value);
  }
  void route(unsigned pin, uint8_t destination, uint32_t low) {
    ioapic_write(static_cast<uint8_t>(0x11 + 2 * pin), uint32_t{destination} << 24);
    ioapic_write(static_cast<uint8_t>(0x10 + 2 * pin), low);
  }
};

}  // namespace skerry::test
