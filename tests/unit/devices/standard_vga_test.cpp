#include "devices/vga/standard_vga.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/units.hpp"
#include "state/stream.hpp"

namespace skerry::devices::vga {
namespace {

using bus::pci::kBar0;
using bus::pci::kCommand;

struct NoMessages final : bus::MsiSink {
  void send_msi(uint64_t, uint32_t) override {}
  std::unique_ptr<bus::MsiEvent> make_msi_event() override { return nullptr; }
};
struct NoLines final : bus::PciHost::IntxSink {
  void set_intx(const bus::PciFunction&, unsigned, unsigned, bool) override {}
};

// A machine with nothing but a screen.
struct Rig {
  static constexpr unsigned kDevfn = 2 << 3;
  static constexpr uint64_t kFrameBuffer = 0xe000'0000, kRegisters = 0xf000'0000;

  Rig() {
    EXPECT_TRUE(host.attach(nullptr));
    auto made_screen = display::Screen::create({8, 8});
    EXPECT_TRUE(made_screen);
    screen = std::move(*made_screen);
    auto made = StandardVga::create(memory, [this] { ++kicks; }, *screen);
    EXPECT_TRUE(made);
    vga = std::move(*made);
    EXPECT_TRUE(vga->attach(pio, mmio));
    EXPECT_TRUE(host.root().add(*vga, kDevfn >> 3));
  }
  void write_config(unsigned offset, uint32_t value) { host.config_write(0, kDevfn, offset, 4, value); }
  uint32_t read_config(unsigned offset) { return host.config_read(0, kDevfn, offset, 4); }
  void enable() {
    write_config(kBar0, kFrameBuffer);
    write_config(kBar0 + 8, kRegisters);
    write_config(kCommand, bus::pci::kCommandIo | bus::pci::kCommandMemory);
  }
  void dispi(uint16_t index, uint16_t value) {
    pio.write(0x1ce, 2, index);
    pio.write(0x1cf, 2, value);
  }
  uint64_t dispi(uint16_t index) {
    pio.write(0x1ce, 2, index);
    return pio.read(0x1cf, 2);
  }
  void linear_mode(uint16_t width, uint16_t height) {
    dispi(4, 0);
    dispi(1, width);
    dispi(2, height);
    dispi(3, 32);
    dispi(4, 0x41);
    pio.read(0x3da, 1);        // the next write of 3c0h is an index,
    pio.write(0x3c0, 1, 0x20);  // with which the monitor is switched on
  }
  uint32_t shown(uint32_t x, uint32_t y) {
    screen->refresh();
    std::array<uint32_t, 1> pixel{};
    screen->read({x, y, 1, 1}, pixel, false);
    return pixel[0];
  }

  bus::AddressSpace pio{"port"}, mmio{"memory"};
  NoMessages messages;
  NoLines lines;
  bus::PciHost host{pio, mmio, messages, lines};
  memory::GuestMemory memory;
  std::unique_ptr<display::Screen> screen;
  std::unique_ptr<StandardVga> vga;
  unsigned kicks = 0;
};

TEST(StandardVga, IsFoundByItsIdentityAndItsBars) {
  Rig rig;
  EXPECT_EQ(rig.read_config(0), 0x1111'1234u);
  EXPECT_EQ(rig.read_config(8), 0x0300'0002u);
  rig.write_config(kBar0, ~0u);
  EXPECT_EQ(rig.read_config(kBar0), 0xff00'0008u) << "16 MiB, prefetchable";
  rig.write_config(kBar0 + 8, ~0u);
  EXPECT_EQ(rig.read_config(kBar0 + 8), 0xffff'f000u);
}

TEST(StandardVga, TheFrameBufferIsMemoryWhereItsBarSays) {
  Rig rig;
  EXPECT_FALSE(rig.memory.load<uint32_t>(Rig::kFrameBuffer));
  rig.enable();
  EXPECT_GT(rig.kicks, 0u);
  rig.linear_mode(640, 480);
  ASSERT_TRUE(rig.memory.store<uint32_t>(Rig::kFrameBuffer + (640 * 10 + 20) * 4, 0x00123456));
  EXPECT_EQ(rig.shown(20, 10), 0x00123456u);
  EXPECT_EQ(rig.screen->size(), (display::Screen::Size{640, 480}));
  EXPECT_EQ(rig.shown(21, 10), 0u);
  rig.write_config(kBar0, 0xd000'0000);
  EXPECT_FALSE(rig.memory.load<uint32_t>(Rig::kFrameBuffer));
  EXPECT_EQ(rig.memory.load<uint32_t>(0xd000'0000 + (640 * 10 + 20) * 4), 0x00123456u);
  EXPECT_EQ(rig.shown(20, 10), 0x00123456u);
}

TEST(StandardVga, ItsMonitorsEdidIsInTheBar) {
  Rig rig;
  rig.enable();
  EXPECT_EQ(rig.mmio.read(Rig::kRegisters, 4), 0xffff'ff00u);
  EXPECT_EQ(rig.mmio.read(Rig::kRegisters + 4, 4), 0x00ff'ffffu);
  unsigned sum = 0;
  for (unsigned i = 0; i < 128; ++i) sum += static_cast<unsigned>(rig.mmio.read(Rig::kRegisters + i, 1));
  EXPECT_EQ(sum & 0xff, 0u);
  EXPECT_EQ(rig.mmio.read(Rig::kRegisters + 56, 1) | (rig.mmio.read(Rig::kRegisters + 58, 1) & 0xf0) << 4, 1024u);
  EXPECT_EQ(rig.mmio.read(Rig::kRegisters + 128, 4), 0u) << "one block";
  rig.mmio.write(Rig::kRegisters, 4, 1);
  EXPECT_EQ(rig.mmio.read(Rig::kRegisters, 4), 0xffff'ff00u);
}

TEST(StandardVga, ThePortsAreInItsBarToo) {
  Rig rig;
  rig.enable();
  EXPECT_EQ(rig.mmio.read(Rig::kRegisters + 0x500, 2), 0xb0c5u);
  rig.mmio.write(Rig::kRegisters + 0x502, 2, 800);
  rig.mmio.write(Rig::kRegisters + 0x504, 2, 600);
  EXPECT_EQ(rig.dispi(1), 800u);
  EXPECT_EQ(rig.mmio.read(Rig::kRegisters + 0x502, 4), 800u | 600u << 16);
  // Palette: port 3c8h chooses, 3c9h takes red, green and blue.
  rig.mmio.write(Rig::kRegisters + 0x408, 1, 5);
  for (const unsigned part : {1, 2, 3}) rig.mmio.write(Rig::kRegisters + 0x409, 1, part);
  rig.pio.write(0x3c7, 1, 5);
  for (const unsigned part : {1, 2, 3}) EXPECT_EQ(rig.pio.read(0x3c9, 1), part);
  // A register's number and its value at once.
  rig.pio.write(0x3c4, 2, 0x0f02);
  rig.pio.write(0x3c4, 1, 2);
  EXPECT_EQ(rig.pio.read(0x3c5, 1) & 0xf, 0xfu);
  EXPECT_EQ(rig.mmio.read(Rig::kRegisters + 0x600, 4), 8u);
  EXPECT_EQ(rig.mmio.read(Rig::kRegisters + 0x604, 4), 0x1e1e'1e1eu);
  EXPECT_EQ(rig.mmio.read(Rig::kRegisters + 0x700, 4), 0u);
  EXPECT_EQ(rig.mmio.read(Rig::kRegisters + 0x100, 8), 0u);
}

TEST(StandardVga, WhatWasSavedIsShownAgain) {
  Rig saved, restored;
  saved.enable();
  saved.linear_mode(320, 200);
  ASSERT_TRUE(saved.memory.store<uint32_t>(Rig::kFrameBuffer, 0x00abcdef));
  saved.pio.write(0x1ce, 2, 3);
  state::Saver saver;
  saved.vga->describe(saver);
  state::Loader loader(saver.data());
  restored.vga->describe(loader);
  ASSERT_TRUE(loader.finish());
  const auto from = saved.memory.content({StandardVga::kHome, StandardVga::kHome + 4});
  ASSERT_TRUE(restored.memory.put(StandardVga::kHome, from));
  restored.vga->restored();
  restored.host.remap();
  EXPECT_EQ(restored.shown(0, 0), 0x00abcdefu);
  EXPECT_EQ(restored.screen->size(), (display::Screen::Size{320, 200}));
  EXPECT_EQ(restored.memory.load<uint32_t>(Rig::kFrameBuffer), 0x00abcdefu);
  EXPECT_EQ(restored.pio.read(0x1ce, 2), 3u);
}

TEST(StandardVga, AResetTakesEverythingBack) {
  Rig rig;
  rig.enable();
  rig.linear_mode(640, 480);
  rig.vga->reset();
  rig.host.reset();
  EXPECT_FALSE(rig.memory.load<uint32_t>(Rig::kFrameBuffer));
  EXPECT_EQ(rig.dispi(4) & 1, 0u);
}

TEST(StandardVga, ItsScreenOutlivesIt) {
  Rig rig;
  rig.screen->refresh();
  rig.vga.reset();
  EXPECT_FALSE(rig.screen->refresh());
  EXPECT_FALSE(rig.memory.load<uint32_t>(StandardVga::kHome)) << "its memory is gone with it";
}

}  // namespace
}  // namespace skerry::devices::vga
