#include <atomic>
#include <thread>

#include "unit/irqchip/apic_rig.hpp"
#include "unit/state_test.hpp"

namespace skerry::irqchip {
namespace {

struct LapicRig : test::ApicRig {
  bus::Device& device() { return lapics[1]; }
  void follow(LapicRig& other) { time.set(other.time.now()); }
};

void access(Lapic& lapic, std::mt19937_64& random, test::Trace& trace, uint64_t tsc) {
  const auto offset = static_cast<uint32_t>((random() % 8 ? random() % 0x40 : random() % 0x100) * 16);
  const uint32_t msr = random() % 6 ? 0x800 + offset / 16 : random() & 1 ? 0x6e0 : 0x1b;
  uint64_t value = random() >> random() % 64;
  switch (random() % 5) {
    case 0:
      lapic.mmio_write(offset, static_cast<uint32_t>(value));
      break;
    case 1:
      trace.push_back(lapic.mmio_read(offset));
      break;
    case 2:
      trace.push_back(static_cast<uint64_t>(lapic.read_msr(msr, value))), trace.push_back(value);
      break;
    case 3:
      if (msr == 0x1b) value = 0xfee00000 | (random() % 4) << 10;
      if (msr == 0x6e0) value = tsc + random() % 10'000'000;
      trace.push_back(static_cast<uint64_t>(lapic.write_msr(msr, value)));
      break;
    case 4:
      lapic.write_tpr(static_cast<uint8_t>(value));
      break;
  }
}

test::Trace drive(LapicRig& rig, std::mt19937_64& random) {
  test::Trace trace;
  Lapic& lapic = rig.lapics[1];
  for (int i = 0; i < 200; ++i) {
    switch (random() % 8) {
      case 0:
        rig.time.advance(static_cast<int64_t>(random() % (random() & 1 ? 10'000'000 : 100'000)));
        break;
      case 1:
        trace.push_back(static_cast<uint64_t>(lapic.acknowledge()));
        break;
      case 2:
        rig.bus.send_msi(0xfee00000 | random() % 0x100000, static_cast<uint32_t>(random() & 0xc7ff));
        break;
      case 3:
        lapic.set_lint0(random() & 1), lapic.set_lint1(random() & 1);
        break;
      default:
        access(lapic, random, trace, rig.tsc());
        break;
    }
    trace.push_back(rig.pins[1].intr);
  }
  const test::Pins& pins = rig.pins[1];
  trace.insert(trace.end(), {pins.nmis, pins.inits, pins.sipis.size()});
  for (size_t i = 0; i < rig.lapics.size(); ++i) {
    if (i != 1) rig.lapics[i].reset();  // not what is being copied
    rig.pins[i].nmis = rig.pins[i].inits = 0;
    rig.pins[i].sipis.clear();
  }
  return trace;
}

TEST(Lapic, StateSurvives) { test::run_state_test<LapicRig>(150, drive); }

// Everything at once and at random, on all controllers: for crashes and sanitizers.
TEST(Irqchip, SurvivesRandomAccesses) {
  for (uint64_t seed = 1; seed <= 30; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937_64 random(seed);
    test::ApicRig rig;
    test::Trace trace;
    for (int i = 0; i < 2000; ++i) {
      const size_t cpu = random() % 4;
      switch (random() % 8) {
        case 0:
          rig.lapics[cpu].acknowledge();
          break;
        case 1:
          rig.ioapic_write(static_cast<uint8_t>(random()), static_cast<uint32_t>(random()));
          break;
        case 2:
          rig.router.set_irq(random() % 30, random() & 1);
          break;
        case 3:
          rig.pio.write((random() & 1 ? 0x20 : 0xa0) + random() % 2, 1, random());
          break;
        case 4:
          rig.bus.send_msi(0xfee00000 | random() % 0x100000, static_cast<uint32_t>(random()));
          break;
        case 5:
          if (random() % 16 == 0) rig.time.advance(static_cast<int64_t>(random() % 1'000'000'000));
          break;
        default:
          access(rig.lapics[cpu], random, trace, rig.tsc());
          break;
      }
    }
  }
}

// Several processors interrupt each other while devices toggle lines: for the lock order, and for ThreadSanitizer.
TEST(Irqchip, ConcurrentUseNeitherDeadlocksNorLosesTheLastInterrupt) {
  test::ApicRig rig;
  rig.enable_all();
  rig.lapics[0].mmio_write(0x350, 0x700);
  for (unsigned pin = 0; pin < 16; ++pin) rig.route(pin, 0x0f, (0x40 + pin * 4) | 1u << 11 | (pin & 1 ? 1u << 15 : 0));
  std::atomic<bool> stop{false};
  const auto vcpu = [&](size_t cpu) {
    std::mt19937_64 random(cpu);
    for (int i = 0; i < 20000; ++i) {
      rig.take(cpu);
      if (random() % 4 == 0) rig.send_ipi(cpu, static_cast<uint32_t>(random() % 4), 0x90 + static_cast<uint32_t>(cpu));
      if (random() % 8 == 0) rig.lapics[cpu].mmio_write(0x380, static_cast<uint32_t>(random() % 1000));
      rig.pio.write(0x20, 1, 0x20);
    }
  };
  std::thread device([&] {
    std::mt19937_64 random(99);
    while (!stop) rig.router.set_irq(random() % 16, random() & 1);
  });
  {
    std::vector<std::jthread> threads;
    for (size_t cpu = 0; cpu < 4; ++cpu) threads.emplace_back(vcpu, cpu);
  }
  stop = true;
  device.join();
  for (unsigned irq = 0; irq < 16; ++irq) rig.router.set_irq(irq, false);
  for (size_t cpu = 0; cpu < 4; ++cpu)
    for (int i = 0; i < 300 && rig.take(cpu) >= 0; ++i) rig.pio.write(0x20, 1, 0x20), rig.pio.write(0xa0, 1, 0x20);
  for (size_t cpu = 1; cpu < 4; ++cpu) EXPECT_FALSE(rig.pins[cpu].intr);
  for (unsigned pin = 0; pin < 16; ++pin)
    EXPECT_FALSE(rig.ioapic_read(static_cast<uint8_t>(0x10 + 2 * pin)) & 1u << 14);
}

}  // namespace
}  // namespace skerry::irqchip
