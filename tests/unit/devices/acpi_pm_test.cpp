#include "devices/acpi_pm.hpp"

#include <gtest/gtest.h>

#include "unit/devices/fakes.hpp"

namespace skerry::devices {
namespace {

struct PmRig : test::PortRig {
  unsigned resets = 0, power_offs = 0;
  AcpiPm pm{line(9), time.loop(), {.power_off = [this] { ++power_offs; }, .reset = [this] { ++resets; }}};
  PmRig() {
    EXPECT_TRUE(pm.attach(pio));
    EXPECT_TRUE(pm.attach_reset_register(pio));
  }
  bus::Device& device() { return pm; }
  bool sci() const { return irqs.level[9]; }
};

TEST(AcpiPm, PowerButtonRaisesSciUntilAcknowledged) {
  PmRig rig;
  rig.pm.press_power_button();
  EXPECT_FALSE(rig.sci());
  EXPECT_EQ(rig.in(0x600, 2), 0x100u);
  rig.out(0x602, 0x100, 2);
  EXPECT_TRUE(rig.sci());
  rig.out(0x600, 0x100, 2);
  EXPECT_FALSE(rig.sci());
  EXPECT_EQ(rig.in(0x600, 4), 0x01000000u);
}

TEST(AcpiPm, SleepTypeFivePowersOff) {
  PmRig rig;
  EXPECT_EQ(rig.in(0x604, 2), 1u) << "ACPI is always on";
  rig.out(0x604, 5 << 10, 2);
  EXPECT_EQ(rig.power_offs, 0u);
  EXPECT_EQ(rig.in(0x604, 2), 5u << 10 | 1);
  rig.out(0x604, 1 << 10 | 1 << 13, 2);
  EXPECT_EQ(rig.power_offs, 0u);
  rig.out(0x604, 5 << 10 | 1 << 13, 2);
  EXPECT_EQ(rig.power_offs, 1u);
  rig.out(0x605, 5 << 2 | 1 << 5);
  EXPECT_EQ(rig.power_offs, 2u);
  rig.out(0x604, 1 << 13, 2);
  EXPECT_EQ(rig.power_offs, 3u) << "as firmware does it";
}

TEST(AcpiPm, TimerRunsAtItsFrequency) {
  PmRig rig;
  const uint32_t before = rig.in(0x608, 4);
  rig.time.advance(1'000'000'000);
  EXPECT_EQ(rig.in(0x608, 4) - before, 3'579'545u);
  EXPECT_EQ(rig.in(0x609), rig.in(0x608, 4) >> 8 & 0xff);
}

TEST(AcpiPm, TimerStatusFollowsTheTopBit) {
  PmRig rig;
  rig.out(0x602, 1, 2);
  const int64_t half = (int64_t{1} << 31) * 1'000'000'000 / 3'579'545;
  rig.time.set(half - 1000);
  EXPECT_FALSE(rig.sci());
  rig.time.set(half + 1);
  EXPECT_TRUE(rig.sci());
  rig.out(0x600, 1, 2);
  EXPECT_FALSE(rig.sci());
  rig.time.set(2 * half + 2);
  EXPECT_TRUE(rig.sci());
}

TEST(AcpiPm, GeneralPurposeEvents) {
  PmRig rig;
  rig.out(0x622, 0x0204, 2);
  rig.pm.raise_gpe(1);
  EXPECT_FALSE(rig.sci());
  rig.pm.raise_gpe(9);
  EXPECT_TRUE(rig.sci());
  EXPECT_EQ(rig.in(0x620, 2), 0x0202u);
  rig.out(0x621, 0x02);
  EXPECT_FALSE(rig.sci());
  rig.pm.raise_gpe(1000);
  EXPECT_EQ(rig.in(0x620, 2), 0x0002u);
}

TEST(AcpiPm, ResetRegister) {
  PmRig rig;
  rig.out(0xcf9, 0x02);
  EXPECT_EQ(rig.resets, 0u);
  EXPECT_EQ(rig.in(0xcf9), 0x02u);
  rig.out(0xcf9, 0x06);
  rig.out(0xcf9, 0x0e);
  EXPECT_EQ(rig.resets, 2u);
}

test::Trace drive(PmRig& rig, std::mt19937_64& random) {
  test::Trace trace;
  rig.irqs.rises = {};
  rig.resets = rig.power_offs = 0;
  constexpr std::array<uint16_t, 6> kBlocks = {0x600, 0x602, 0x604, 0x608, 0x620, 0x622};
  for (int i = 0; i < 300; ++i) {
    const uint16_t port = static_cast<uint16_t>(random() % 16 == 0 ? 0xcf9 : kBlocks[random() % 6] + random() % 4);
    const unsigned size = 1u << random() % 3;
    switch (random() % 5) {
      case 0:
        rig.time.advance(static_cast<int64_t>(random() % (uint64_t{1} << random() % 42)));
        break;
      case 1:
        random() & 1 ? rig.pm.press_power_button() : rig.pm.raise_gpe(static_cast<unsigned>(random() % 20));
        break;
      case 2:
        trace.push_back(rig.in(port, size));
        break;
      default:
        rig.out(port, static_cast<uint32_t>(random()), size);
        break;
    }
    rig.irqs.append_to(trace);
  }
  trace.push_back(rig.resets);
  trace.push_back(rig.power_offs);
  return trace;
}

TEST(AcpiPm, StateSurvivesAndRandomAccessesAreHarmless) { test::run_state_test<PmRig>(60, drive); }

}  // namespace
}  // namespace skerry::devices
