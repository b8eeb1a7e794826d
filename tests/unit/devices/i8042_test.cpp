#include "devices/i8042.hpp"

#include <gtest/gtest.h>

#include "unit/devices/fakes.hpp"

namespace skerry::devices {
namespace {

template <bool with_mouse>
struct Rig : test::PortRig {
  unsigned resets = 0;
  I8042 controller{
      {.keyboard_irq = line(1), .mouse_irq = line(12), .mouse = with_mouse, .reset = [this] { ++resets; }}};
  Rig() { EXPECT_TRUE(controller.attach(pio)); }
  bus::Device& device() { return controller; }
  void command(uint8_t value) { out(0x64, value); }
  void command(uint8_t value, uint8_t data) {
    out(0x64, value);
    out(0x60, data);
  }
  std::vector<unsigned> read_all() {
    std::vector<unsigned> bytes;
    while (in(0x64) & 1) bytes.push_back(in(0x60));
    return bytes;
  }
  void keyboard(uint8_t value) { out(0x60, value); }
  void mouse(uint8_t value) { command(0xd4, value); }
};
using MouseRig = Rig<true>;
using Bytes = std::vector<unsigned>;

TEST(I8042, SelfTestAndInterfaceTests) {
  MouseRig rig;
  EXPECT_EQ(rig.in(0x64), 0x14u);
  rig.command(0xaa);
  EXPECT_EQ(rig.in(0x64) & 0x0d, 0x0du);
  EXPECT_EQ(rig.read_all(), Bytes{0x55});
  rig.command(0xab);
  EXPECT_EQ(rig.read_all(), Bytes{0});
  rig.command(0xa9);
  EXPECT_EQ(rig.read_all(), Bytes{0});
}

TEST(I8042, CommandByteIsWrittenAndRead) {
  MouseRig rig;
  rig.command(0x60, 0x74);
  rig.command(0x20);
  EXPECT_EQ(rig.read_all(), Bytes{0x74});
  rig.command(0xae);
  rig.command(0xa7);
  rig.command(0x20);
  EXPECT_EQ(rig.read_all(), Bytes{0x64});
}

TEST(I8042, KeyboardAnswersWithInterrupts) {
  MouseRig rig;
  rig.command(0x60, 0x05);  // no translation
  rig.keyboard(0xff);
  EXPECT_TRUE(rig.irqs.level[1]);
  const unsigned rises = rig.irqs.rises[1];
  EXPECT_EQ(rig.read_all(), (Bytes{0xfa, 0xaa}));
  EXPECT_EQ(rig.irqs.rises[1], rises + 1) << "an edge for each byte";
  EXPECT_FALSE(rig.irqs.level[1]);
  rig.keyboard(0xf2);
  EXPECT_EQ(rig.read_all(), (Bytes{0xfa, 0xab, 0x83}));
  rig.keyboard(0xed);
  rig.keyboard(0x07);
  EXPECT_EQ(rig.read_all(), (Bytes{0xfa, 0xfa}));
  rig.keyboard(0xee);
  EXPECT_EQ(rig.read_all(), Bytes{0xee});
  rig.keyboard(0xf0);
  rig.keyboard(0x01);
  rig.keyboard(0xf0);
  rig.keyboard(0x00);
  EXPECT_EQ(rig.read_all(), (Bytes{0xfa, 0xfa, 0xfa, 0xfa, 0x01}));
  rig.keyboard(0xe1);
  EXPECT_EQ(rig.read_all(), Bytes{0xfe});
}

TEST(I8042, TranslatesToSet1) {
  MouseRig rig;
  rig.keyboard(0xf2);
  EXPECT_EQ(rig.read_all(), (Bytes{0xfa, 0xab, 0x41})) << "as Linux's atkbd knows it";
  rig.controller.key(std::array<uint8_t, 1>{0x1c});
  rig.controller.key(std::array<uint8_t, 2>{0xf0, 0x1c});
  rig.controller.key(std::array<uint8_t, 3>{0xe0, 0xf0, 0x75});
  EXPECT_EQ(rig.read_all(), (Bytes{0x1e, 0x9e, 0xe0, 0xc8}));
}

TEST(I8042, DisabledKeyboardWaits) {
  MouseRig rig;
  rig.command(0xad);
  rig.controller.key(std::array<uint8_t, 1>{0x1c});
  EXPECT_EQ(rig.read_all(), Bytes{});
  rig.command(0xae);
  EXPECT_EQ(rig.read_all(), Bytes{0x1e});
}

TEST(I8042, MouseAnswersOnItsOwnInterrupt) {
  MouseRig rig;
  rig.mouse(0xff);
  EXPECT_EQ(rig.in(0x64) & 0x21, 0x21u);
  EXPECT_TRUE(rig.irqs.level[12]);
  EXPECT_FALSE(rig.irqs.level[1]);
  EXPECT_EQ(rig.read_all(), (Bytes{0xfa, 0xaa, 0x00}));
  rig.mouse(0xf2);
  EXPECT_EQ(rig.read_all(), (Bytes{0xfa, 0x00}));
  rig.mouse(0xe8);
  rig.mouse(0x03);
  EXPECT_EQ(rig.read_all(), (Bytes{0xfa, 0xfa}));
  rig.mouse(0xe9);
  EXPECT_EQ(rig.read_all(), (Bytes{0xfa, 0x00, 0x03, 100}));
  rig.command(0xd3, 0x5a);
  EXPECT_EQ(rig.in(0x64) & 0x20, 0x20u) << "loop, by which drivers find the port";
  EXPECT_EQ(rig.read_all(), Bytes{0x5a});
}

TEST(I8042, WithoutAMouseItsInterfaceStaysDisabled) {
  Rig<false> rig;
  rig.command(0xa8);
  rig.command(0x20);
  EXPECT_EQ(rig.read_all().at(0) & 0x20, 0x20u);
  rig.command(0xa9);
  EXPECT_EQ(rig.read_all(), Bytes{0xff});
  rig.mouse(0xf2);
  EXPECT_EQ(rig.read_all(), Bytes{});
}

TEST(I8042, ResetLine) {
  MouseRig rig;
  rig.command(0xfe);
  EXPECT_EQ(rig.resets, 1u);
  rig.command(0xff);
  EXPECT_EQ(rig.resets, 1u);
  rig.command(0xd1, 0xdd);
  EXPECT_EQ(rig.resets, 1u);
  rig.command(0xd1, 0xde);
  EXPECT_EQ(rig.resets, 2u);
  rig.out(0x92, 0x02);
  EXPECT_EQ(rig.resets, 2u);
  rig.out(0x92, 0x03);
  EXPECT_EQ(rig.resets, 3u);
}

TEST(I8042, A20ReadsAsWrittenByBothWays) {
  MouseRig rig;
  EXPECT_EQ(rig.in(0x92), 0x02u);
  rig.command(0xd1, 0xdd);
  EXPECT_EQ(rig.in(0x92), 0x00u);
  rig.out(0x92, 0x02);
  rig.command(0xd0);
  EXPECT_EQ(rig.read_all(), Bytes{0xcf});
}

template <bool with_mouse>
test::Trace drive(Rig<with_mouse>& rig, std::mt19937_64& random) {
  test::Trace trace;
  rig.irqs.rises = {};
  rig.resets = 0;
  for (int i = 0; i < 500; ++i) {
    const uint8_t value = static_cast<uint8_t>(random());
    switch (random() % 8) {
      case 0:
        rig.keyboard(value | 0xe0);
        break;
      case 1:
        rig.mouse(value | 0xe0);
        break;
      case 2:
        rig.command(value);
        break;
      case 3:
        rig.out(std::array<uint16_t, 3>{0x60, 0x64, 0x92}[random() % 3], value);
        break;
      case 4:
        rig.controller.key(std::array<uint8_t, 2>{0xf0, value});
        break;
      default:
        trace.push_back(rig.in(std::array<uint16_t, 4>{0x60, 0x60, 0x64, 0x92}[random() % 4]));
        break;
    }
    rig.irqs.append_to(trace);
  }
  trace.push_back(rig.resets);
  return trace;
}

TEST(I8042, StateSurvivesAndRandomAccessesAreHarmless) {
  test::run_state_test<Rig<true>>(60, drive<true>);
  test::run_state_test<Rig<false>>(20, drive<false>);
}

}  // namespace
}  // namespace skerry::devices
