#include "devices/hpet.hpp"

#include <gtest/gtest.h>

#include "unit/devices/fakes.hpp"

namespace skerry::devices {
namespace {

enum : uint64_t {
  GCAP_ID = 0,
  GEN_CONF = 0x10,
  GINTR_STA = 0x20,
  MAIN_CNT = 0xf0,
  T0 = 0x100,
  T1 = 0x120,
  T2 = 0x140,
  CONF = 0,
  CMP = 8,
  FSB = 16
};
enum : uint64_t { kLevel = 2, kEnable = 4, kPeriodic = 8, kValSet = 0x40, k32 = 0x100, kFsb = 0x4000 };
constexpr uint64_t kRoute20 = 20 << 9, kRoute21 = 21 << 9;
constexpr int64_t kCount = 10;  // nanoseconds

struct HpetRig {
  test::TestTime time;
  test::FakeInterrupts irqs;
  bus::AddressSpace mmio{"memory"};
  int legacy = -1;
  Hpet hpet{time.loop(),
            {.irqs = &irqs,
             .int_route_cap = 0x00f00104,
             .legacy_irq0 = {irqs, 0},
             .legacy_irq8 = {irqs, 8},
             .msi = &irqs,
             .legacy_replacement = [this](bool on) { legacy = on; }}};
  HpetRig() { EXPECT_TRUE(hpet.attach(mmio)); }
  bus::Device& device() { return hpet; }
  void follow(HpetRig& other) { time.set(other.time.now()); }
  uint64_t get(uint64_t offset, unsigned size = 8) { return mmio.read(Hpet::kBase + offset, size); }
  void set(uint64_t offset, uint64_t value, unsigned size = 8) { mmio.write(Hpet::kBase + offset, size, value); }
  void counts(int64_t count) { time.advance(count * kCount); }
};

TEST(Hpet, TellsItsCapabilities) {
  HpetRig rig;
  EXPECT_EQ(rig.get(GCAP_ID), 0x009896808086a201u);
  EXPECT_EQ(rig.get(GCAP_ID + 4, 4), 0x00989680u);
  EXPECT_EQ(rig.get(T0 + CONF), 0x00f0010400008030u);
  EXPECT_EQ(rig.get(T0 + CMP), ~uint64_t{0});
}

TEST(Hpet, CountsAtHundredMegahertzWhileEnabled) {
  HpetRig rig;
  rig.counts(1000);
  EXPECT_EQ(rig.get(MAIN_CNT), 0u);
  rig.set(MAIN_CNT, 0x1'0000'0000 - 5);
  rig.set(GEN_CONF, 1);
  rig.counts(10);
  EXPECT_EQ(rig.get(MAIN_CNT), 0x1'0000'0005u);
  EXPECT_EQ(rig.get(MAIN_CNT + 4, 4), 1u);
  rig.set(GEN_CONF, 0);
  rig.counts(10);
  EXPECT_EQ(rig.get(MAIN_CNT), 0x1'0000'0005u);
}

TEST(Hpet, OneShotFiresOnce) {
  HpetRig rig;
  rig.set(GEN_CONF, 1);
  rig.set(T0 + CONF, kEnable | kRoute20);
  rig.set(T0 + CMP, 100'000);
  rig.counts(99'999);
  EXPECT_EQ(rig.irqs.rises[20], 0u);
  rig.counts(1);
  EXPECT_EQ(rig.irqs.rises[20], 1u);
  rig.counts(10'000'000);
  EXPECT_EQ(rig.irqs.rises[20], 1u);
  EXPECT_EQ(rig.get(GINTR_STA), 0u) << "edge";
}

TEST(Hpet, NothingFiresBeforeAComparatorIsSet) {
  HpetRig rig;
  rig.set(GEN_CONF, 1);
  for (const uint64_t timer : {T0, T1, T2}) {
    rig.set(timer + CONF, kEnable | kRoute20);
    rig.set(timer + CONF, kEnable | kRoute20 | k32 | kPeriodic);
  }
  rig.counts(1'000'000);
  EXPECT_EQ(rig.irqs.rises[20], 0u);
}

TEST(Hpet, ComparatorJustPassedFiresAtOnce) {
  HpetRig rig;
  rig.set(GEN_CONF, 1);
  rig.counts(1000);
  rig.set(T0 + CONF, kEnable | kRoute20 | k32);
  rig.set(T0 + CMP, 990, 4);
  EXPECT_EQ(rig.irqs.rises[20], 1u);
}

TEST(Hpet, PeriodicAsLinuxProgramsIt) {
  HpetRig rig;
  rig.set(GEN_CONF, 3);
  EXPECT_EQ(rig.legacy, 1);
  rig.counts(500);
  rig.set(T0 + CONF, kEnable | kPeriodic | kValSet | k32, 4);
  rig.set(T0 + CMP, 500 + 400'000, 4);
  rig.set(T0 + CMP, 400'000, 4);
  for (int i = 0; i < 50; ++i) rig.counts(40'000);
  EXPECT_EQ(rig.irqs.rises[0], 5u) << "under legacy replacement timer 0 is IRQ 0";
  EXPECT_EQ(rig.get(T0 + CMP), 500u + 6 * 400'000);
  rig.counts(4'000'000);
  EXPECT_EQ(rig.irqs.rises[0], 6u) << "periods missed together are one interrupt";
}

TEST(Hpet, TinyPeriodsDoNotKeepTheHostBusy) {
  HpetRig rig;
  rig.set(GEN_CONF, 1);
  rig.set(T0 + CONF, kEnable | kPeriodic | kValSet | kRoute20);
  rig.set(T0 + CMP, 1);
  rig.irqs.rises = {};
  for (int i = 0; i < 100; ++i) rig.time.advance(1'000);
  EXPECT_LE(rig.irqs.rises[20], 5u);
  EXPECT_GE(rig.irqs.rises[20], 4u);
}

TEST(Hpet, LevelStaysUntilItsStatusIsCleared) {
  HpetRig rig;
  rig.set(GEN_CONF, 1);
  rig.set(T1 + CONF, kEnable | kLevel | kRoute21);
  rig.set(T1 + CMP, 5000);
  rig.counts(5000);
  EXPECT_TRUE(rig.irqs.level[21]);
  EXPECT_EQ(rig.get(GINTR_STA), 2u);
  rig.set(GEN_CONF, 0);
  EXPECT_FALSE(rig.irqs.level[21]);
  rig.set(GEN_CONF, 1);
  EXPECT_TRUE(rig.irqs.level[21]);
  rig.set(GINTR_STA, 2);
  EXPECT_FALSE(rig.irqs.level[21]);
}

TEST(Hpet, RoutesOnlyWhereTheBoardLets) {
  HpetRig rig;
  rig.set(T2 + CONF, kRoute21);
  rig.set(T2 + CONF, 5 << 9);
  EXPECT_EQ(rig.get(T2 + CONF, 4) & (0x1f << 9), kRoute21);
}

TEST(Hpet, LegacyReplacementMovesTimer1ToIrq8) {
  HpetRig rig;
  rig.set(GEN_CONF, 3);
  rig.set(T1 + CONF, kEnable | kRoute20);
  rig.set(T1 + CMP, 5000);
  rig.counts(5000);
  EXPECT_EQ(rig.irqs.rises[8], 1u);
  EXPECT_EQ(rig.irqs.rises[20], 0u);
  rig.hpet.reset();
  EXPECT_EQ(rig.legacy, 0);
}

TEST(Hpet, SendsMessages) {
  HpetRig rig;
  rig.set(GEN_CONF, 1);
  rig.set(T0 + CONF, kEnable | kFsb);
  rig.set(T0 + FSB, 0xfee00000'00004041);
  rig.set(T0 + CMP, 5000);
  rig.counts(5000);
  ASSERT_EQ(rig.irqs.messages.size(), 1u);
  EXPECT_EQ(rig.irqs.messages[0].first, 0xfee00000u);
  EXPECT_EQ(rig.irqs.messages[0].second, 0x4041u);
}

TEST(Hpet, NarrowTimerComesRoundAgain) {
  HpetRig rig;
  rig.set(GEN_CONF, 1);
  rig.set(T0 + CONF, kEnable | kRoute20 | k32);
  rig.set(T0 + CMP, 5000, 4);
  rig.counts(5000);
  EXPECT_EQ(rig.irqs.rises[20], 1u);
  rig.counts(int64_t{1} << 32);
  EXPECT_EQ(rig.irqs.rises[20], 2u);
}

test::Trace drive(HpetRig& rig, std::mt19937_64& random) {
  test::Trace trace;
  rig.irqs.rises = {};
  rig.irqs.messages.clear();
  for (int i = 0; i < 300; ++i) {
    const unsigned size = 1u << random() % 4;
    const uint64_t offset = random() % 3 == 0 ? random() % 0x400
                                              : std::array<uint64_t, 9>{GEN_CONF, GINTR_STA, MAIN_CNT, T0, T0 + CMP, T1,
                                                                        T1 + CMP, T2,        T2 + CMP}[random() % 9];
    uint64_t value = random() >> random() % 64;
    if (random() % 4 == 0) value = ~value;
    switch (random() % 4) {
      case 0:
        rig.time.advance(static_cast<int64_t>(random() % (uint64_t{1} << random() % 40)));
        break;
      case 1:
        trace.push_back(rig.get(offset, size));
        break;
      default:
        rig.set(offset, value, size);
        break;
    }
    rig.irqs.append_to(trace);
    trace.push_back(static_cast<uint64_t>(rig.legacy == 1));
  }
  return trace;
}

TEST(Hpet, StateSurvivesAndRandomAccessesAreHarmless) { test::run_state_test<HpetRig>(60, drive); }

}  // namespace
}  // namespace skerry::devices
