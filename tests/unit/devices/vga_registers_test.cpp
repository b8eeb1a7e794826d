// The VGA's registers as ports reach them.
#include "unit/devices/vga_rig.hpp"

namespace skerry::devices::vga::test {
namespace {

TEST(VgaRegisters, KeepTheBitsThatTheyHave) {
  VgaRig rig;
  rig.out(0x3c2, 0xff);
  EXPECT_EQ(rig.in(0x3cc), 0xef);
  const std::array<uint8_t, 5> sequencer = {0x03, 0x3d, 0x0f, 0x3f, 0x0e};
  for (unsigned i = 0; i < sequencer.size(); ++i) {
    rig.seq(i, 0xff);
    EXPECT_EQ(rig.indexed(0x3c4, i), sequencer[i]) << i;
  }
  const std::array<uint8_t, 9> graphics = {0x0f, 0x0f, 0x0f, 0x1f, 0x03, 0x7b, 0x0f, 0x0f, 0xff};
  for (unsigned i = 0; i < graphics.size(); ++i) {
    rig.gr(i, 0xff);
    EXPECT_EQ(rig.indexed(0x3ce, i), graphics[i]) << i;
  }
  for (unsigned i = 0; i < 25; ++i) {
    rig.crtc(i, i == 0x11 ? 0x7f : 0xa0 + i);
    EXPECT_EQ(rig.indexed(0x3d4, i), i == 0x11 ? 0x7f : 0xa0 + i) << i;
  }
  rig.crtc(0x40, 0x55);
  EXPECT_EQ(rig.indexed(0x3d4, 0x40), 0);
}

TEST(VgaRegisters, AreWhereTheMiscellaneousOutputSays) {
  VgaRig rig;
  rig.out(0x3c2, 0);
  rig.indexed(0x3b4, 0x0f, 0x12);
  rig.indexed(0x3d4, 0x0f, 0x34);
  EXPECT_EQ(rig.indexed(0x3b4, 0x0f), 0x12);
  EXPECT_EQ(rig.in(0x3d4), 0xff);
  rig.out(0x3ba, 0x02);
  EXPECT_EQ(rig.in(0x3ca), 0x02);
  rig.out(0x3c2, 1);
  EXPECT_EQ(rig.in(0x3b5), 0xff);
  EXPECT_EQ(rig.in(0x3ba), 0xff);
  EXPECT_EQ(rig.indexed(0x3d4, 0x0f), 0x12);
  for (const uint16_t port : {0x3b0, 0x3bf, 0x3d0, 0x3d8, 0x3df, 0x3c3, 0x3cb, 0x3cd}) EXPECT_EQ(rig.in(port), 0xff) << port;
}

TEST(VgaRegisters, ProtectedTimingsKeepAllButTheLineCompare) {
  VgaRig rig;
  rig.out(0x3c2, 1);
  for (unsigned i = 0; i < 8; ++i) rig.crtc(i, 0);
  rig.crtc(0x11, 0x80);
  for (unsigned i = 0; i < 9; ++i) rig.crtc(i, 0xff);
  for (unsigned i = 0; i < 7; ++i) EXPECT_EQ(rig.indexed(0x3d4, i), 0) << i;
  EXPECT_EQ(rig.indexed(0x3d4, 7), 0x10);
  EXPECT_EQ(rig.indexed(0x3d4, 8), 0xff);
  rig.crtc(7, 0);
  EXPECT_EQ(rig.indexed(0x3d4, 7), 0);
}

TEST(VgaRegisters, TheAttributeControllerTakesIndexAndDataInTurn) {
  VgaRig rig;
  rig.out(0x3c2, 1);
  rig.in(0x3da);
  rig.out(0x3c0, 0x05);
  rig.out(0x3c0, 0xff);
  rig.out(0x3c0, 0x11);
  EXPECT_EQ(rig.in(0x3c0), 0x11);
  rig.in(0x3da);  // the next is an index again
  rig.out(0x3c0, 0x25);
  EXPECT_EQ(rig.in(0x3c0), 0x25);
  EXPECT_EQ(rig.in(0x3c1), 0x3f);
  rig.out(0x3c0, 0x0a);
  EXPECT_EQ(rig.in(0x3c1), 0x0a);
  rig.out(0x3c0, 0x3f);  // no register
  rig.out(0x3c0, 0x12);
  EXPECT_EQ(rig.in(0x3c1), 0);
}

TEST(VgaRegisters, StatusShowsEveryEdgeThatAProgramWaitsFor) {
  VgaRig rig;
  rig.out(0x3c2, 1);
  const auto comes = [&](uint8_t mask, uint8_t value) {
    for (int i = 0; i < 100; ++i)
      if ((rig.in(0x3da) & mask) == value) return true;
    return false;
  };
  for (int i = 0; i < 50; ++i) {
    EXPECT_TRUE(comes(8, 8));
    EXPECT_TRUE(comes(8, 0));
    EXPECT_TRUE(comes(9, 1));  // a horizontal one
    EXPECT_TRUE(comes(1, 0));
  }
  for (int i = 0; i < 100; ++i) {
    const uint8_t status = rig.in(0x3da);
    if (status & 8) {
      EXPECT_TRUE(status & 1) << "nothing is displayed during retrace";
    }
  }
}

TEST(VgaRegisters, TheDacCountsThroughItsColours) {
  VgaRig rig;
  rig.out(0x3c8, 0xff);
  EXPECT_EQ(rig.in(0x3c7), 0);
  for (const unsigned value : {1, 2, 0xff, 4, 5, 6}) rig.out(0x3c9, value);
  EXPECT_EQ(rig.in(0x3c8), 1);
  rig.out(0x3c7, 0xff);
  EXPECT_EQ(rig.in(0x3c7), 3);
  for (const unsigned value : {1, 2, 0x3f, 4, 5, 6}) EXPECT_EQ(rig.in(0x3c9), value);
  rig.out(0x3c7, 0);
  rig.in(0x3c9);
  rig.out(0x3c7, 0);  // begins with red again
  EXPECT_EQ(rig.in(0x3c9), 4);
  EXPECT_EQ(rig.in(0x3c6), 0xff);
  rig.out(0x3c6, 0x0f);
  EXPECT_EQ(rig.in(0x3c6), 0x0f);
}

TEST(VgaRegisters, TheDacHasEightBitsWhereDispiSaysSo) {
  VgaRig rig;
  rig.vbe(64, 64, 8, 0x60);
  rig.out(0x3c8, 7);
  for (const unsigned value : {0x81, 0xfe, 0x7f}) rig.out(0x3c9, value);
  rig.out(0x3c7, 7);
  for (const unsigned value : {0x81, 0xfe, 0x7f}) EXPECT_EQ(rig.in(0x3c9), value);
  rig.vram[0] = std::byte{7};
  rig.draw();
  EXPECT_EQ(rig.pixel(0, 0), 0x81fe7fu);
  rig.dispi(Dispi::VBE_DISPI_INDEX_ENABLE, 0x41);
  rig.out(0x3c7, 7);
  EXPECT_EQ(rig.in(0x3c9), 0x01);
}

TEST(VgaRegisters, ResetTurnsTheScreenOff) {
  VgaRig rig;
  rig.set(kMode3);
  rig.vbe(640, 480, 32);
  rig.core.reset();
  EXPECT_EQ(rig.in(0x3cc), 0);
  EXPECT_EQ(rig.in(0x3c6), 0xff);
  EXPECT_EQ(rig.dispi(Dispi::VBE_DISPI_INDEX_ENABLE), 0);
  EXPECT_EQ(rig.dispi(Dispi::VBE_DISPI_INDEX_ID), 0xb0c5);
  rig.draw();
  EXPECT_EQ(std::ranges::count(rig.shown, 0u), static_cast<ptrdiff_t>(rig.shown.size()));
}

}  // namespace
}  // namespace skerry::devices::vga::test
