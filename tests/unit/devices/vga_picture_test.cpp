// What the monitor shows of text and of the VGA's own graphics.
#include "unit/devices/vga_rig.hpp"

namespace skerry::devices::vga::test {
namespace {

constexpr int64_t kNoCursor = 250'000'000, kNoBlinking = 500'000'000;

struct TextRig : VgaRig {
  explicit TextRig(const Mode& mode = kMode3) {
    set(mode);
    crtc(0x0a, 0x20);  // no cursor, but where it is the subject
  }
};

TEST(VgaText, HasDotsOfTheFontInColoursOfTheAttribute) {
  TextRig rig;
  rig.put_glyph('A', 0);
  rig.put_font('A' * 32 + 5, 0b1010'0001);
  rig.put(0, 'A', 0x1e);
  rig.put(160 * 24 + 158, 'A', 0x74);
  rig.draw();
  ASSERT_EQ(rig.size, (display::Screen::Size{720, 400}));
  EXPECT_EQ(rig.row(0, 4, 10), "1111111110");
  EXPECT_EQ(rig.row(0, 5, 10), "e1e1111e10");
  EXPECT_EQ(rig.row(720 - 10, 24 * 16 + 5, 10), "0474777747");
}

TEST(VgaText, TheNinthDotGoesOnWithLinesOnly) {
  TextRig rig;
  for (const unsigned character : {0xbf, 0xc0, 0xdf, 0xe0}) {
    rig.put_glyph(character, 0xff);
    rig.put(0, character, 0x07);
    rig.draw();
    EXPECT_EQ(rig.row(0, 0, 9), character == 0xc0 || character == 0xdf ? "777777777" : "777777770") << character;
  }
  rig.put(0, 0xc0, 0x07);
  rig.ar(0x10, 0x08);
  rig.draw();
  EXPECT_EQ(rig.row(0, 0, 9), "777777770");
}

TEST(VgaText, EightDotsAndHalvedClock) {
  TextRig rig;
  rig.put_glyph('A', 0x81);
  rig.put(0, 'A', 0x07);
  rig.seq(1, 1);
  rig.draw();
  ASSERT_EQ(rig.size, (display::Screen::Size{640, 400}));
  EXPECT_EQ(rig.row(0, 0, 9), "700000070");
  rig.set(kMode1);
  rig.crtc(0x0a, 0x20);
  rig.put(80, 'A', 0x07);  // the second line
  rig.draw();
  ASSERT_EQ(rig.size, (display::Screen::Size{720, 400}));
  EXPECT_EQ(rig.row(0, 16, 20), "77000000000000770000");
}

TEST(VgaText, HasAsManyColumnsAsTheRegistersSay) {
  TextRig rig;
  rig.crtc(0x11, 0), rig.crtc(0x01, 131), rig.crtc(0x13, 66);
  rig.seq(1, 1);
  rig.put_glyph('A', 0xff);
  rig.put(132 * 2 + 131 * 2, 'A', 0x07);
  rig.draw();
  ASSERT_EQ(rig.size, (display::Screen::Size{1056, 400}));
  EXPECT_EQ(rig.row(1056 - 9, 16, 9), "077777777");
}

TEST(VgaText, BrightnessChoosesBetweenTwoFonts) {
  TextRig rig;
  rig.put_glyph('A', 0xf0, 0x2000);  // set 4
  rig.put_glyph('A', 0x0f, 0xc000);  // set 3
  rig.put(0, 'A', 0x0f);
  rig.put(2, 'A', 0x07);
  rig.seq(3, 0x20 | 0x03);  // A: 4, B: 3
  rig.draw();
  EXPECT_EQ(rig.row(0, 0, 18), "ffff00000000077770");
  rig.seq(3, 0x10 | 0x0c);  // A: 3, B: 4
  rig.draw();
  EXPECT_EQ(rig.row(0, 0, 18), "0000ffff0777700000");
}

TEST(VgaText, BlinksOrHasBrightBackgrounds) {
  TextRig rig;
  rig.put_glyph('A', 0xf0);
  rig.put(0, 'A', 0x92);
  rig.draw(0);
  EXPECT_EQ(rig.row(0, 0, 9), "222211111");
  rig.draw(kNoBlinking);
  EXPECT_EQ(rig.row(0, 0, 9), "111111111");
  rig.ar(0x10, 0x04);
  rig.draw(kNoBlinking);
  EXPECT_EQ(rig.row(0, 0, 9), "222299999");
}

TEST(VgaText, UnderlinesWhereAttributeAndLineSaySo) {
  TextRig rig;
  rig.crtc(0x14, 0x0d);
  rig.put(0, ' ', 0x01);
  rig.put(2, ' ', 0x02);
  rig.draw();
  EXPECT_EQ(rig.row(0, 13, 12), "111111111000");
  EXPECT_EQ(rig.row(0, 12, 12), "000000000000");
}

TEST(VgaText, TheCursorHasShapePlaceAndBlinks) {
  VgaRig rig;
  rig.set(kMode3);
  rig.put(160 + 4, ' ', 0x1e);
  rig.crtc(0x0a, 13), rig.crtc(0x0b, 14);
  rig.crtc(0x0e, 0), rig.crtc(0x0f, 82);
  const auto lines = [&] {
    std::string text;
    for (uint32_t y = 0; y < 16; ++y) text += rig.row(18, 16 + y, 1);
    return text;
  };
  rig.draw(0);
  EXPECT_EQ(lines(), "1111111111111ee1");
  EXPECT_EQ(rig.row(17, 16 + 13, 11), "0eeeeeeeee0");
  rig.draw(kNoCursor);
  EXPECT_EQ(lines(), "1111111111111111");
  rig.crtc(0x0a, 15);  // begins below its end
  rig.draw(0);
  EXPECT_EQ(lines(), "1111111111111111");
  rig.crtc(0x0a, 0), rig.crtc(0x0b, 31);
  rig.draw(0);
  EXPECT_EQ(lines(), "eeeeeeeeeeeeeeee");
  rig.crtc(0x0a, 0x20);
  rig.draw(0);
  EXPECT_EQ(lines(), "1111111111111111");
  rig.crtc(0x0a, 0), rig.crtc(0x0f, 81), rig.crtc(0x0b, 0x3f);  // one further by the skew
  rig.draw(0);
  EXPECT_EQ(lines(), "eeeeeeeeeeeeeeee");
}

TEST(VgaText, BeginsAtTheStartAddress) {
  TextRig rig;
  rig.put_glyph('A', 0xff);
  rig.put(2 * 80 * 3, 'A', 0x07);  // line 3
  rig.crtc(0x0c, 0), rig.crtc(0x0d, 160);
  rig.draw();
  EXPECT_EQ(rig.row(0, 15, 2), "00");
  EXPECT_EQ(rig.row(0, 16, 2), "77");
  EXPECT_EQ(rig.row(0, 32, 2), "00");
}

TEST(VgaText, IsPannedByDotsBytesAndLines) {
  TextRig rig;
  rig.put_glyph('A', 0x80);
  rig.put(2, 'A', 0x07);
  rig.draw();
  EXPECT_EQ(rig.row(0, 0, 12), "000000000700");
  rig.ar(0x13, 1);  // two dots of nine
  rig.draw();
  EXPECT_EQ(rig.row(0, 0, 12), "000000070000");
  rig.ar(0x13, 8);
  rig.crtc(0x08, 0x20);  // a character
  rig.draw();
  EXPECT_EQ(rig.row(0, 0, 3), "700");
  rig.crtc(0x08, 0x03);  // three lines
  rig.draw();
  EXPECT_EQ(rig.row(9, 12, 1), "7");
  EXPECT_EQ(rig.row(9, 13, 1), "0");
  rig.seq(1, 1);
  rig.crtc(0x08, 0);
  rig.ar(0x13, 3);
  rig.draw();
  EXPECT_EQ(rig.row(0, 0, 8), "00000700");
}

TEST(VgaText, TheLineCompareSplitsTheScreen) {
  TextRig rig;
  rig.put_glyph('A', 0x80);
  rig.put_glyph('B', 0xf0);
  rig.put(0, 'A', 0x07);
  rig.put(2 * 800, 'B', 0x07);
  rig.crtc(0x0c, 800 >> 8), rig.crtc(0x0d, 800 & 0xff);
  rig.crtc(0x11, 0), rig.crtc(0x18, 99), rig.crtc(0x07, 0x0f), rig.crtc(0x09, 0x0f);
  rig.ar(0x13, 0);  // one dot
  rig.draw();
  EXPECT_EQ(rig.row(0, 0, 5), "77700");
  EXPECT_EQ(rig.row(0, 99, 5), "00000");
  EXPECT_EQ(rig.row(0, 100, 5), "00000") << "panned like the rest";
  EXPECT_EQ(rig.row(0, 116, 5), "00000");
  rig.ar(0x10, 0x2c);
  rig.draw();
  EXPECT_EQ(rig.row(0, 99, 5), "00000");
  EXPECT_EQ(rig.row(0, 100, 5), "70000");
  EXPECT_EQ(rig.row(0, 115, 5), "70000");
  EXPECT_EQ(rig.row(0, 116, 5), "00000");
}

TEST(VgaColours, GoThroughThePaletteAndItsMasks) {
  TextRig rig;
  rig.put_glyph('A', 0xff);
  rig.put(0, 'A', 0x05);
  const auto shown = [&] {
    rig.draw();
    return rig.pixel(0, 0);
  };
  rig.ar(5, 0x2a);
  EXPECT_EQ(shown(), VgaRig::colour(0x2a));
  rig.ar(0x14, 0x0d);
  EXPECT_EQ(shown(), VgaRig::colour(0xea));
  rig.ar(0x10, 0x8c);
  EXPECT_EQ(shown(), VgaRig::colour(0xda));
  rig.out(0x3c6, 0x0f);
  EXPECT_EQ(shown(), VgaRig::colour(0x0a));
  rig.out(0x3c6, 0xff);
  rig.ar(0x12, 0x04);  // of 5 it leaves 4
  rig.ar(0x10, 0x0c);
  rig.ar(0x14, 0);
  EXPECT_EQ(shown(), VgaRig::colour(4));
}

TEST(VgaGraphics, SixteenColoursInPlanes) {
  VgaRig rig;
  rig.set(kMode12);
  for (unsigned plane = 0; plane < 4; ++plane) {
    rig.seq(2, 1 << plane);
    rig.core.write_window(80 * 479 + 79, 1, 0x80 | 1 << plane);
  }
  rig.draw();
  ASSERT_EQ(rig.size, (display::Screen::Size{640, 480}));
  EXPECT_EQ(rig.row(632, 479, 8), "f0008421");
  EXPECT_EQ(rig.row(624, 479, 8), "00000000");
  rig.set(kMode0d);
  rig.core.write_window(40, 1, 0xa0);
  rig.draw();
  ASSERT_EQ(rig.size, (display::Screen::Size{640, 400}));
  EXPECT_EQ(rig.row(0, 1, 8), "00000000");
  EXPECT_EQ(rig.row(0, 2, 8), "ff00ff00");
  EXPECT_EQ(rig.row(0, 3, 8), "ff00ff00");
  EXPECT_EQ(rig.row(0, 4, 8), "00000000");
  rig.ar(0x13, 1);
  rig.draw();
  EXPECT_EQ(rig.row(0, 2, 8), "00ff0000");
}

TEST(VgaGraphics, FourAndTwoColoursOfTheCga) {
  VgaRig rig;
  rig.set(kMode4);
  rig.core.write_window(0x18000 + 80 + 1, 1, 0b00'01'10'11);  // the third line
  rig.core.write_window(0x18000 + 0x2000, 1, 0b11'00'00'01);  // the second
  rig.draw();
  ASSERT_EQ(rig.size, (display::Screen::Size{640, 400}));
  EXPECT_EQ(rig.row(8, 4, 8), "00112233");
  EXPECT_EQ(rig.row(8, 5, 8), "00112233");
  EXPECT_EQ(rig.row(0, 2, 8), "33000011");
  EXPECT_EQ(rig.row(0, 3, 8), "33000011");
  EXPECT_EQ(rig.row(0, 6, 8), "00000000");
  std::ranges::fill(rig.memory, 0);
  rig.set(kMode6);
  rig.core.write_window(0x18000 + 80, 1, 0x41);
  rig.core.write_window(0x18000 + 0x2000, 1, 0x82);
  rig.draw();
  ASSERT_EQ(rig.size, (display::Screen::Size{640, 400}));
  EXPECT_EQ(rig.row(0, 4, 8), "01000001");
  EXPECT_EQ(rig.row(0, 2, 8), "10000010");
}

TEST(VgaGraphics, InterleavedBitsComeFromAllPlanes) {
  VgaRig rig;
  rig.set(kMode4);
  rig.ar(0x12, 0x0f);
  rig.memory[0] = 0x21301be4;  // plane 3 first: 0 2 0 1, 0 3 0 0, 0 1 2 3, 3 2 1 0
  rig.draw();
  EXPECT_EQ(rig.row(0, 0, 8), "33ee1100") << "planes 0 and 2";
  EXPECT_EQ(rig.row(8, 0, 8), "00992277") << "planes 1 and 3";
}

TEST(VgaGraphics, TwoAddressBitsMayBeThoseOfTheLine) {
  VgaRig rig;
  rig.set(kMode6);
  rig.crtc(0x17, 0xc0);  // neither MAP13 nor MAP14
  rig.crtc(0x09, 0x43);  // four lines a row
  for (unsigned line = 0; line < 4; ++line) rig.memory[line * 0x1000] = 0x80 >> line;
  rig.draw();
  for (uint32_t y = 0; y < 4; ++y) EXPECT_EQ(rig.row(0, y, 4), std::string("0000").replace(y, 1, "1")) << y;
  EXPECT_EQ(rig.row(0, 4, 4), "0000");
}

TEST(VgaGraphics, TwoHundredAndFiftySixColours) {
  VgaRig rig;
  rig.set(kMode13);
  for (unsigned x = 0; x < 256; ++x) rig.core.write_window(320 * 10 + x, 1, x);
  rig.draw();
  ASSERT_EQ(rig.size, (display::Screen::Size{640, 400}));
  for (unsigned x = 0; x < 512; ++x)
    for (const unsigned y : {20u, 21u}) ASSERT_EQ(rig.pixel(x, y), VgaRig::colour(x / 2)) << x;
  EXPECT_EQ(rig.pixel(100, 22), VgaRig::colour(0));
  rig.ar(0x13, 4);
  rig.draw();
  EXPECT_EQ(rig.pixel(0, 20), VgaRig::colour(2));
}

TEST(VgaGraphics, ModeXHasItsPixelsInPlanes) {
  VgaRig rig;
  rig.set(kMode13);
  rig.seq(4, 6), rig.crtc(0x14, 0), rig.crtc(0x17, 0xe3);
  rig.seq(2, 1 << 2);
  rig.core.write_window(80 * 3 + 1, 1, 0x0b);  // pixel 6 of line 3
  rig.draw();
  EXPECT_EQ(rig.row(10, 6, 6), "00bb00");
  rig.crtc(0x0d, 80);  // a line further
  rig.draw();
  EXPECT_EQ(rig.row(10, 4, 6), "00bb00");
}

TEST(VgaGraphics, ThePlanesOfAPictureBeginAgainAfterTheirEnd) {
  VgaRig rig;
  rig.set(kMode12);
  rig.crtc(0x0c, 0xff), rig.crtc(0x0d, 0xff);
  rig.core.write_window(0xffff, 1, 0x80);
  rig.core.write_window(0, 1, 0x40);
  rig.draw();
  EXPECT_EQ(rig.row(0, 0, 16), "f00000000f000000");
}

TEST(VgaGraphics, TextReturnsWhereAModeOfVbeWasOn) {
  VgaRig rig;
  rig.vbe(800, 60, 32);
  rig.draw();
  EXPECT_EQ(rig.size, (display::Screen::Size{800, 60}));
  rig.set(kMode3);
  rig.draw();
  EXPECT_EQ(rig.size, (display::Screen::Size{720, 400})) << "whoever set it knew nothing of dispi";
  rig.dispi(Dispi::VBE_DISPI_INDEX_ENABLE, 0);
  rig.draw();
  EXPECT_EQ(rig.size, (display::Screen::Size{720, 400}));
}

}  // namespace
}  // namespace skerry::devices::vga::test
