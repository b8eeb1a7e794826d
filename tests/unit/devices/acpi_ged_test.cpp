#include "devices/acpi_ged.hpp"

#include <gtest/gtest.h>

#include "unit/devices/fakes.hpp"

namespace skerry::devices {
namespace {

struct GedRig : test::PortRig {
  unsigned resets = 0, power_offs = 0;
  AcpiGed ged{line(AcpiGed::kIrq), {.power_off = [this] { ++power_offs; }, .reset = [this] { ++resets; }}};
  GedRig() { EXPECT_TRUE(ged.attach(pio)); }
  bus::Device& device() { return ged; }
  bool high() const { return irqs.level[AcpiGed::kIrq]; }
};

TEST(AcpiGed, ThePowerButtonHoldsTheLineUntilItIsTakenNoteOf) {
  GedRig rig;
  rig.ged.press_power_button();
  EXPECT_TRUE(rig.high());
  EXPECT_EQ(rig.in(0x600), 1u);
  EXPECT_EQ(rig.in(0x600), 1u) << "to read is not to clear";
  rig.out(0x600, 0xfe);
  EXPECT_TRUE(rig.high());
  rig.out(0x600, 1);
  EXPECT_FALSE(rig.high());
  EXPECT_EQ(rig.in(0x600), 0u);
}

TEST(AcpiGed, SleepTypeFivePowersOff) {
  GedRig rig;
  rig.out(0x601, 5 << 2);
  EXPECT_EQ(rig.in(0x601), 5u << 2);
  rig.out(0x601, 1 << 2 | 1 << 5);
  EXPECT_EQ(rig.power_offs, 0u) << "there is no other sleep";
  rig.out(0x601, 5 << 2 | 1 << 5);
  EXPECT_EQ(rig.power_offs, 1u);
  EXPECT_EQ(rig.in(0x601), 5u << 2) << "SLP_EN is not kept";
  EXPECT_EQ(rig.in(0x602), 0u) << "nothing wakes";
}

TEST(AcpiGed, TheResetValueResets) {
  GedRig rig;
  rig.out(0x603, 2);
  EXPECT_EQ(rig.resets, 0u);
  rig.out(0x603, AcpiGed::kResetValue);
  EXPECT_EQ(rig.resets, 1u);
}

test::Trace drive(GedRig& rig, std::mt19937_64& random) {
  test::Trace trace;
  rig.irqs.rises = {};
  rig.resets = rig.power_offs = 0;
  for (int i = 0; i < 300; ++i) {
    const auto port = static_cast<uint16_t>(AcpiGed::kPorts + random() % 4);
    const unsigned size = 1u << random() % 3;
    switch (random() % 4) {
      case 0:
        rig.ged.press_power_button();
        break;
      case 1:
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

TEST(AcpiGed, StateSurvivesAndRandomAccessesAreHarmless) { test::run_state_test<GedRig>(60, drive); }

}  // namespace
}  // namespace skerry::devices
