// The Bochs VBE registers, and pictures of their modes.
#include <random>

#include "unit/devices/vga_rig.hpp"

namespace skerry::devices::vga::test {
namespace {

constexpr auto ID = Dispi::VBE_DISPI_INDEX_ID, XRES = Dispi::VBE_DISPI_INDEX_XRES, YRES = Dispi::VBE_DISPI_INDEX_YRES,
               BPP = Dispi::VBE_DISPI_INDEX_BPP, ENABLE = Dispi::VBE_DISPI_INDEX_ENABLE,
               VIRT_WIDTH = Dispi::VBE_DISPI_INDEX_VIRT_WIDTH, VIRT_HEIGHT = Dispi::VBE_DISPI_INDEX_VIRT_HEIGHT,
               X_OFFSET = Dispi::VBE_DISPI_INDEX_X_OFFSET, Y_OFFSET = Dispi::VBE_DISPI_INDEX_Y_OFFSET,
               MEMORY = Dispi::VBE_DISPI_INDEX_VIDEO_MEMORY_64K;

TEST(VgaDispi, KnowsEveryVersionOfItself) {
  VgaRig rig;
  EXPECT_EQ(rig.dispi(ID), 0xb0c5);
  for (unsigned id = 0xb0c0; id <= 0xb0c5; ++id) {
    rig.dispi(ID, id);
    EXPECT_EQ(rig.dispi(ID), id);
  }
  rig.dispi(ID, 0xb0c6);
  EXPECT_EQ(rig.dispi(ID), 0xb0c5);
  EXPECT_EQ(rig.dispi(MEMORY), 4);
  EXPECT_EQ(rig.dispi(11), 0);
}

TEST(VgaDispi, TellsWhatItCan) {
  VgaRig rig;
  rig.vbe(320, 200, 16);
  std::ranges::fill(rig.memory, ~uint64_t{0});
  rig.dispi(ENABLE, 0x43);
  EXPECT_EQ(rig.dispi(XRES), 4096);
  EXPECT_EQ(rig.dispi(YRES), 2560);
  EXPECT_EQ(rig.dispi(BPP), 32);
  rig.dispi(ENABLE, 0x41);
  EXPECT_EQ(rig.dispi(XRES), 320);
  EXPECT_EQ(rig.dispi(YRES), 200);
  EXPECT_EQ(rig.dispi(BPP), 16);
  EXPECT_EQ(rig.memory[0], ~uint64_t{0}) << "no mode began, so nothing is cleared";
}

TEST(VgaDispi, AModeBeginsWithClearedMemory) {
  VgaRig rig;
  std::ranges::fill(rig.memory, ~uint64_t{0});
  rig.vbe(64, 16, 32, 0xc0);  // NOCLEARMEM
  EXPECT_EQ(rig.memory[0], ~uint64_t{0});
  rig.vbe(64, 16, 32);
  EXPECT_EQ(rig.memory[64 * 16 / 2 - 1], 0u);
  EXPECT_EQ(rig.memory[64 * 16 / 2], ~uint64_t{0});
}

TEST(VgaDispi, SizesFitIntoTheMemory) {
  VgaRig rig;
  rig.vbe(1024, 768, 32);  // of 256 KiB
  EXPECT_EQ(rig.dispi(XRES), 1024);
  EXPECT_EQ(rig.dispi(YRES), 64);
  EXPECT_EQ(rig.dispi(VIRT_HEIGHT), 64);
  rig.dispi(Y_OFFSET, 100);
  rig.dispi(X_OFFSET, 100);
  EXPECT_EQ(rig.dispi(Y_OFFSET), 0);
  EXPECT_EQ(rig.dispi(X_OFFSET), 0);
  rig.vbe(0xffff, 0xffff, 8);
  EXPECT_EQ(rig.dispi(XRES), 4096);
  EXPECT_EQ(rig.dispi(YRES), 64);
  rig.vbe(100, 50, 7);  // no such depth: it stays
  EXPECT_EQ(rig.dispi(BPP), 8);
  rig.vbe(0, 0, 0);
  EXPECT_EQ(rig.dispi(XRES), 8);
  EXPECT_EQ(rig.dispi(YRES), 1);
}

// Linux' bochs-drm sets a mode while another is on; what is on must not shrink what comes.
TEST(VgaDispi, AModeMayBeReplacedRegisterByRegister) {
  VgaRig rig(1 << 20);
  rig.vbe(800, 300, 32);
  rig.dispi(XRES, 256), rig.dispi(YRES, 1000), rig.dispi(VIRT_WIDTH, 256), rig.dispi(VIRT_HEIGHT, 1000);
  rig.dispi(ENABLE, 0x41);
  EXPECT_EQ(rig.dispi(XRES), 256);
  EXPECT_EQ(rig.dispi(YRES), 1000);
  rig.draw();
  EXPECT_EQ(rig.size, (display::Screen::Size{256, 1000}));
}

TEST(VgaDispi, EveryCombinationStaysWithinTheMemory) {
  constexpr uint64_t kSeed = 7;
  std::mt19937_64 random(kSeed);
  constexpr unsigned kDepths[] = {4, 8, 15, 16, 24, 32};
  for (int i = 0; i < 100'000; ++i) {
    const size_t size = size_t{0x10000} * (4 + random() % 253);
    Dispi dispi(size);
    const auto number = [&] { return static_cast<uint16_t>(random() % 2 ? random() % 3000 : random()); };
    dispi.write(ENABLE, 1);
    dispi.write(BPP, static_cast<uint16_t>(kDepths[random() % 6]));
    for (const uint16_t index : {XRES, YRES, VIRT_WIDTH, X_OFFSET, Y_OFFSET}) dispi.write(index, number());
    const VbeMode mode = dispi.mode();
    ASSERT_GE(mode.width, 8u);
    ASSERT_GE(mode.height, 1u);
    ASSERT_LE(mode.width, mode.virtual_width);
    ASSERT_LE(mode.width, Dispi::kMaxXres);
    ASSERT_LE(mode.height, Dispi::kMaxYres);
    // The last byte of the last row, counted in bits of a plane or in bytes.
    const uint64_t unit = mode.bits == 4 ? 1 : (mode.bits + 7) / 8 * 8;
    const uint64_t end = (uint64_t{mode.y} + mode.height - 1) * mode.stride * 8 + (mode.x + mode.width) * unit;
    ASSERT_LE(end, (mode.bits == 4 ? size / 4 : size) * 8) << i;
  }
}

struct Depth {
  unsigned bits;
  std::vector<uint8_t> bytes;  // of one pixel
  uint32_t pixel;
};

TEST(VgaDispi, EveryDepthHasItsColours) {
  const std::vector<Depth> depths = {{8, {3}, VgaRig::colour(3)},
                                     {15, {0x1f, 0x7c}, 0xff00ff},
                                     {15, {0xe0, 0x83}, 0x00ff00},
                                     {16, {0xe0, 0x07}, 0x00ff00},
                                     {16, {0x00, 0x80}, 0x840000},
                                     {24, {0x56, 0x34, 0x12}, 0x123456},
                                     {32, {0x56, 0x34, 0x12, 0x99}, 0x123456}};
  for (const Depth& depth : depths) {
    VgaRig rig;
    rig.set(kMode3);
    rig.vbe(101, 40, depth.bits);  // rows that begin at odd addresses
    const size_t size = depth.bytes.size();
    std::memcpy(rig.vram.data() + (101 * 7 + 100) * size, depth.bytes.data(), size);
    rig.draw();
    ASSERT_EQ(rig.size, (display::Screen::Size{101, 40}));
    EXPECT_EQ(rig.pixel(100, 7), depth.pixel) << depth.bits;
    EXPECT_EQ(std::ranges::count(rig.shown, depth.pixel), 1) << depth.bits;
    rig.dispi(VIRT_WIDTH, 200);
    rig.dispi(X_OFFSET, 3);
    rig.dispi(Y_OFFSET, 2);
    const size_t at = (101 * 7 + 100);  // pixel 807: (7, 4) of the virtual screen
    rig.draw();
    EXPECT_EQ(rig.pixel(at % 200 - 3, at / 200 - 2), depth.pixel) << depth.bits;
    EXPECT_EQ(std::ranges::count(rig.shown, depth.pixel), 1) << depth.bits;
  }
}

TEST(VgaDispi, SixteenColoursAreInPlanes) {
  VgaRig rig(1 << 20);
  rig.set(kMode12);
  rig.vbe(1024, 768, 4);
  ASSERT_EQ(rig.dispi(XRES), 1024);
  ASSERT_EQ(rig.dispi(YRES), 768);
  rig.gr(8, 0xff);
  rig.seq(2, 0b1010);
  rig.dispi(Dispi::VBE_DISPI_INDEX_BANK, 1);
  rig.core.write_window(0x1000, 1, 0x81);  // plane address 0x11000: row 544, column 0
  rig.draw();
  EXPECT_EQ(rig.row(0, 544, 10), "a000000a00");
  rig.dispi(X_OFFSET, 3);
  rig.draw();
  EXPECT_EQ(rig.row(0, 544, 7), "0000a00");
}

TEST(VgaDispi, AScreenThatIsOffIsBlack) {
  VgaRig rig;
  rig.vbe(32, 32, 32);
  std::ranges::fill(rig.memory, ~uint64_t{0});
  rig.draw();
  EXPECT_EQ(rig.pixel(5, 5), 0xffffffu);
  rig.in(0x3da);
  rig.out(0x3c0, 0);  // PAS
  rig.draw();
  EXPECT_EQ(rig.size, (display::Screen::Size{32, 32}));
  EXPECT_EQ(std::ranges::count(rig.shown, 0u), 32 * 32);
  rig.in(0x3da);
  rig.out(0x3c0, 0x20);
  rig.seq(1, 0x21);
  rig.draw();
  EXPECT_EQ(rig.pixel(5, 5), 0u);
  rig.seq(1, 0x01);
  rig.draw();
  EXPECT_EQ(rig.pixel(5, 5), 0xffffffu);
}

TEST(VgaDispi, NothingNewForViewersWhereNothingChanged) {
  VgaRig rig;
  display::ScreenView view(*rig.screen);
  for (const bool on : {true, false}) {
    rig.vbe(64, 64, 32);
    rig.in(0x3da);
    rig.out(0x3c0, on ? 0x20 : 0);
    rig.draw();
    view.set_size(rig.size);
    for (const display::Rect& rect : view.take({0, 0, 64, 64}).rects) {
      std::vector<uint32_t> pixels(rect.area());
      view.read(rect, pixels);
    }
    rig.draw();
    EXPECT_TRUE(view.take({0, 0, 64, 64}).rects.empty()) << on;
  }
}

}  // namespace
}  // namespace skerry::devices::vga::test
