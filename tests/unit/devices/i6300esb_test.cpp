#include "devices/i6300esb.hpp"

#include "unit/devices/test_time.hpp"
#include "unit/state_test.hpp"

namespace skerry::devices {
namespace {

struct Rig final : bus::MsiSink, bus::PciHost::IntxSink {
  static constexpr uint64_t kBar = 0xfe00'0000;
  static constexpr unsigned kDevfn = 5 << 3;
  static constexpr int64_t kTick = 30 << 15;  // ns

  Rig() {
    EXPECT_TRUE(host.attach(nullptr) && host.root().add(watchdog, kDevfn >> 3));
    map();
  }
  void map() {
    host.config_write(0, kDevfn, bus::pci::kBar0, 4, kBar);
    host.config_write(0, kDevfn, bus::pci::kCommand, 2, bus::pci::kCommandMemory);
  }
  void send_msi(uint64_t, uint32_t) override {}
  void set_intx(const bus::PciFunction&, unsigned, unsigned, bool level) override { high = level; }
  bus::Device& device() { return watchdog; }
  void follow(Rig& other) {
    time.set(other.time.now());
    expired = other.expired;
    high = other.high;
  }

  void set(uint64_t at, unsigned size, uint64_t value) { mmio.write(kBar + at, size, value); }
  uint64_t get(uint64_t at) { return mmio.read(kBar + at, 4); }
  // As Linux does it.
  void unlocked(uint64_t at, unsigned size, uint64_t value) {
    set(0xc, 1, 0x80);
    set(0xc, 1, 0x86);
    set(at, size, value);
  }
  void lock(uint8_t value) { host.config_write(0, kDevfn, 0x68, 1, value); }
  void start(uint16_t config = 3, uint8_t locked = 2) {
    host.config_write(0, kDevfn, 0x60, 2, config);
    unlocked(0, 4, 10);
    unlocked(4, 4, 5);
    lock(locked);
  }
  void ticks(int64_t count) { time.advance(count * kTick); }

  skerry::test::TestTime time;
  bus::AddressSpace pio{"port"}, mmio{"memory"};
  bus::PciHost host{pio, mmio, *this, *this};
  unsigned expired = 0;
  bool high = false;
  I6300Esb watchdog{"watchdog", time.loop(), [this] { ++expired; }};
};

TEST(I6300Esb, ExpiresAfterBothStages) {
  Rig rig;
  rig.start();
  rig.ticks(14);
  EXPECT_EQ(rig.expired, 0u);
  EXPECT_EQ(rig.get(0xc), 0u);
  rig.ticks(1);
  EXPECT_EQ(rig.expired, 1u);
  EXPECT_FALSE(rig.high) << "interrupts are off";
  rig.watchdog.reset();
  rig.map();
  EXPECT_EQ(rig.get(0xc), 0x200u) << "it is known after the reset";
  rig.unlocked(0xc, 2, 0x200);
  EXPECT_EQ(rig.get(0xc), 0u);
  rig.ticks(100);
  EXPECT_EQ(rig.expired, 1u) << "once";
}

TEST(I6300Esb, ReloadingKeepsItQuiet) {
  Rig rig;
  rig.start();
  for (int i = 0; i < 20; ++i) {
    rig.ticks(12);  // in the second stage
    rig.unlocked(0xc, 2, 0x100);
  }
  EXPECT_EQ(rig.expired, 0u);
  rig.set(0xc, 2, 0x100);  // without unlocking
  rig.ticks(15);
  EXPECT_EQ(rig.expired, 1u);
}

TEST(I6300Esb, OneWriteIsUnlockedAndOnlyInThatOrder) {
  Rig rig;
  rig.unlocked(0, 4, 0x12345);
  EXPECT_EQ(rig.get(0), 0x12345u);
  rig.set(0, 4, 1);
  EXPECT_EQ(rig.get(0), 0x12345u);
  rig.set(0xc, 1, 0x86);
  rig.set(0xc, 1, 0x80);
  rig.set(0, 4, 1);
  EXPECT_EQ(rig.get(0), 0x12345u);
  rig.unlocked(4, 4, ~0u);
  EXPECT_EQ(rig.get(4), 0xf'ffffu);
}

TEST(I6300Esb, TheFirstStageInterrupts) {
  Rig rig;
  rig.start(0);
  rig.ticks(10);
  EXPECT_TRUE(rig.high);
  EXPECT_EQ(rig.get(8), 1u);
  rig.set(8, 4, 1);
  EXPECT_FALSE(rig.high);
  EXPECT_EQ(rig.expired, 0u);
}

TEST(I6300Esb, WhatIsLockedStaysOn) {
  Rig rig;
  rig.start(3, 3);
  rig.lock(0);
  EXPECT_EQ(rig.host.config_read(0, Rig::kDevfn, 0x68, 1), 3u);
  rig.ticks(15);
  EXPECT_EQ(rig.expired, 1u);
  Rig other;
  other.start();
  other.lock(0);
  other.ticks(100);
  EXPECT_EQ(other.expired, 0u);
}

TEST(I6300Esb, RunsFreelyAndFastButLeavesTheLoopItsRest) {
  Rig rig;
  rig.host.config_write(0, Rig::kDevfn, 0x60, 2, 1 << 2);
  rig.unlocked(0, 4, 0);
  rig.lock(6);
  rig.time.advance(999'999);
  EXPECT_FALSE(rig.high);
  rig.time.advance(1);
  EXPECT_TRUE(rig.high);
  rig.time.advance(1'000'000'000);
  EXPECT_EQ(rig.expired, 0u) << "there is no second stage";
}

TEST(I6300Esb, TheOutputCanBeOff) {
  Rig rig;
  rig.start(3 | 1 << 5);
  rig.ticks(15);
  EXPECT_EQ(rig.expired, 0u);
  EXPECT_EQ(rig.get(0xc), 0x200u);
}

skerry::test::Trace drive(Rig& rig, std::mt19937_64& random) {
  skerry::test::Trace trace;
  rig.map();
  for (int i = 0; i < 60; ++i) {
    switch (random() % 6) {
      case 0: rig.start(static_cast<uint16_t>(random()), static_cast<uint8_t>(random() & 6)); break;
      case 1: rig.unlocked(random() % 4 * 4, 4, random() % 2 ? random() % 64 : random()); break;
      case 2: rig.set(random() % 16, 1u << random() % 3, random()); break;
      case 3: rig.lock(static_cast<uint8_t>(random() % 8)); break;
      default: rig.ticks(static_cast<int64_t>(random() % 20));
    }
    for (uint64_t at = 0; at < 16; at += 4) trace.push_back(rig.get(at));
    trace.push_back(rig.expired);
    trace.push_back(rig.high);
    trace.push_back(rig.host.config_read(0, Rig::kDevfn, 0x60, 4));
    trace.push_back(rig.host.config_read(0, Rig::kDevfn, 0x68, 1));
  }
  return trace;
}

TEST(I6300EsbState, Survives) { skerry::test::run_state_test<Rig>(20, drive); }

}  // namespace
}  // namespace skerry::devices
