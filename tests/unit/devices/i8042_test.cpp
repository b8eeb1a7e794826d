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
using display::KeyCode;
KeyCode some_key(unsigned value) { return static_cast<KeyCode>(1 + value % (static_cast<unsigned>(KeyCode::kCount) - 1)); }

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
  rig.controller.key(KeyCode::kA, true);
  rig.controller.key(KeyCode::kA, false);
  rig.controller.key(KeyCode::kUp, false);
  EXPECT_EQ(rig.read_all(), (Bytes{0x1e, 0x9e, 0xe0, 0xc8}));
}

TEST(I8042, AKeySaysTheSameByTranslationAndInSet1) {
  for (unsigned n = 1; n < static_cast<unsigned>(KeyCode::kCount); ++n) {
    const auto key = static_cast<KeyCode>(n);
    MouseRig translated, set1;
    set1.command(0x60, 0x05);  // no translation
    set1.keyboard(0xf0);
    set1.keyboard(0x01);
    set1.read_all();
    for (const bool down : {true, false}) {
      translated.controller.key(key, down);
      set1.controller.key(key, down);
    }
    const Bytes said = set1.read_all();
    EXPECT_EQ(translated.read_all(), said) << display::key_name(key);
    const unsigned code = display::set1_code(key) & 0xff;
    if (key != KeyCode::kPause) {
      EXPECT_EQ(said.back(), code | 0x80) << display::key_name(key);
      EXPECT_EQ(said.size(), display::set1_code(key) >> 8 ? 4u : 2u) << display::key_name(key);
    } else {
      EXPECT_EQ(said, (Bytes{0xe1, 0x1d, 0x45, 0xe1, 0x9d, 0xc5}));
    }
  }
}

TEST(I8042, KeysHaveTheirCodesOfSet2) {
  MouseRig rig;
  rig.command(0x60, 0x05);
  for (const KeyCode key : {KeyCode::kF7, KeyCode::kF1, KeyCode::kSpc, KeyCode::kUp, KeyCode::kDelete}) rig.controller.key(key, true);
  rig.controller.key(KeyCode::kCtrlR, false);
  EXPECT_EQ(rig.read_all(), (Bytes{0x83, 0x05, 0x29, 0xe0, 0x75, 0xe0, 0x71, 0xe0, 0xf0, 0x14}));
}

TEST(I8042, ItsLampsAreTold) {
  MouseRig rig;
  std::vector<display::Leds> told;
  rig.controller.on_leds_change([&] { told.push_back(rig.controller.leds()); });
  rig.keyboard(0xed);
  rig.keyboard(0x06);
  rig.keyboard(0xed);
  rig.keyboard(0x06);
  rig.controller.reset();
  ASSERT_EQ(told.size(), 2u) << "each change";
  EXPECT_EQ(told[0], (display::Leds{.num = true, .caps = true}));
  EXPECT_EQ(told[1], display::Leds());
}

TEST(I8042, TheMouseTellsHowFarItWent) {
  MouseRig rig;
  rig.mouse(0xf4);
  rig.read_all();
  rig.controller.pointer_relative(5, 3, {.left = true});
  EXPECT_TRUE(rig.irqs.level[12]);
  EXPECT_EQ(rig.read_all(), (Bytes{0x29, 5, 0xfd})) << "up is more";
  rig.controller.pointer_relative(-300, 0, {.left = true});
  EXPECT_EQ(rig.read_all(), (Bytes{0x19, 0x01, 0, 0x19, 0xd3, 0})) << "in steps that fit";
  rig.controller.pointer_relative(0, 0, {.right = true});
  EXPECT_EQ(rig.read_all(), (Bytes{0x0a, 0, 0}));
  rig.controller.pointer_relative(0, 0, {.right = true});
  rig.controller.wheel(1, 0, {.right = true});
  EXPECT_EQ(rig.read_all(), (Bytes{0x0a, 0, 0})) << "nothing new is nothing; without a wheel it turns unseen";
}

TEST(I8042, WhatTheGuestDoesNotFetchAddsUp) {
  MouseRig rig;
  rig.mouse(0xf4);
  rig.read_all();
  for (int i = 0; i < 1000; ++i) rig.controller.pointer_relative(1, 0, {});
  unsigned sum = 0;
  const Bytes bytes = rig.read_all();
  ASSERT_EQ(bytes.size() % 3, 0u);
  for (size_t i = 0; i < bytes.size(); i += 3) sum += bytes[i + 1];
  EXPECT_EQ(sum, 1000u);
  for (int i = 0; i < 100'000; ++i) rig.controller.pointer_relative(0x7fffffff, -0x7fffffff, {});
  EXPECT_FALSE(rig.read_all().empty());
}

TEST(I8042, TheWheelIsThereForWhoAsksForIt) {
  MouseRig rig;
  for (const uint8_t rate : {200, 100, 80}) {
    rig.mouse(0xf3);
    rig.mouse(rate);
  }
  rig.mouse(0xf4);
  rig.read_all();
  rig.mouse(0xf2);
  EXPECT_EQ(rig.read_all(), (Bytes{0xfa, 0x03}));
  rig.controller.wheel(1, 0, {});
  rig.controller.wheel(-2, 0, {});
  EXPECT_EQ(rig.read_all(), (Bytes{0x08, 0, 0, 1, 0x08, 0, 0, 0xfe}));
}

TEST(I8042, WhatHappensWhileTheMouseIsSilentIsNotToldLater) {
  MouseRig rig;
  rig.controller.pointer_relative(50, 50, {.left = true});
  rig.mouse(0xf4);
  EXPECT_EQ(rig.read_all(), Bytes{0xfa});
  rig.controller.pointer_relative(1, 0, {.left = true});
  EXPECT_EQ(rig.read_all(), (Bytes{0x09, 1, 0}));
  rig.mouse(0xeb);
  EXPECT_EQ(rig.read_all(), (Bytes{0xfa, 0x09, 0, 0})) << "asked, it tells that nothing is new";
}

TEST(I8042, DisabledKeyboardWaits) {
  MouseRig rig;
  rig.command(0xad);
  rig.controller.key(KeyCode::kA, true);
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
        rig.controller.key(some_key(value), random() % 2 != 0);
        break;
      case 5:
        rig.controller.pointer_relative(static_cast<int32_t>(random()), static_cast<int8_t>(value), {.left = random() % 2 != 0});
        break;
      case 6:
        rig.controller.wheel(static_cast<int8_t>(value), 0, {});
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
