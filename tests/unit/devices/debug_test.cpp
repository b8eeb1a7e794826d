#include <gtest/gtest.h>

#include "devices/debug_console.hpp"
#include "devices/debug_exit.hpp"
#include "unit/devices/fakes.hpp"

namespace skerry::devices {
namespace {

struct ConsoleRig : test::PortRig {
  std::string text;
  DebugConsole console{[this](std::string_view line) { text += line; }};
  ConsoleRig() { EXPECT_TRUE(console.attach(pio)); }
  bus::Device& device() { return console; }
  void put(uint16_t port, std::string_view bytes) {
    for (const char c : bytes) out(port, static_cast<uint8_t>(c));
  }
};

TEST(DebugConsole, WritesWholeLinesOfEachPort) {
  ConsoleRig rig;
  rig.put(0xe9, "boo");
  rig.put(0x402, "firm\n");
  EXPECT_EQ(rig.text, "firm\n");
  rig.put(0xe9, "t\r\n");
  EXPECT_EQ(rig.text, "firm\nboot\n");
  EXPECT_EQ(rig.in(0xe9), 0xe9);
  EXPECT_EQ(rig.in(0x402), 0xe9);
}

TEST(DebugConsole, BoundsLinesAndCommandsNoTerminal) {
  ConsoleRig rig;
  rig.put(0xe9, std::string(DebugConsole::kLongestLine + 3, 'x'));
  EXPECT_EQ(rig.text, std::string(DebugConsole::kLongestLine, 'x') + "\n");
  rig.text.clear();
  rig.put(0xe9, "\x1b[2J\n");
  EXPECT_EQ(rig.text, "xxx[2J\n");
}

TEST(DebugConsole, StateSurvives) {
  test::run_state_test<ConsoleRig>(30, [](ConsoleRig& rig, std::mt19937_64& random) {
    rig.text.clear();
    for (int i = 0; i < 2000; ++i) rig.out(random() & 1 ? 0xe9 : 0x402, static_cast<uint8_t>(random()));
    return test::Trace(rig.text.begin(), rig.text.end());
  });
}

TEST(DebugExit, GivesTheStatus) {
  bus::AddressSpace pio{"port"};
  std::vector<unsigned> statuses;
  DebugExit device([&](uint8_t status) { statuses.push_back(status); });
  ASSERT_TRUE(device.attach(pio));
  pio.write(0xf4, 4, 0x10);
  pio.write(0xf4, 1, 0);
  pio.write(0xf4, 1, 0xff);
  EXPECT_EQ(statuses, (std::vector<unsigned>{0x21, 0x01, 0xff}));
  EXPECT_EQ(pio.read(0xf4, 4), 0u);
}

}  // namespace
}  // namespace skerry::devices
