// Each encoding, decoded again by the test's decoder.
#include "display/rfb/encoder.hpp"

#include <gtest/gtest.h>

#include <random>

#include "unit/display/decoder.hpp"

namespace skerry::display::test {
namespace {

using rfb::Encoder;
using rfb::Picture;
using rfb::PixelFormat;
using rfb::PixelWriter;

struct NamedFormat {
  std::string name;
  PixelFormat format;
};

std::vector<NamedFormat> formats() {
  const auto format = [](uint8_t bits, uint8_t depth, bool big, std::array<uint16_t, 3> max, std::array<uint8_t, 3> shift) {
    PixelFormat made;
    made.bits_per_pixel = bits;
    made.depth = depth;
    made.big_endian = big;
    made.max = max;
    made.shift = shift;
    return made;
  };
  return {
      {"the server's own", PixelFormat()},
      {"32 bits, big-endian", format(32, 24, true, {255, 255, 255}, {16, 8, 0})},
      {"32 bits, blue first", format(32, 24, false, {255, 255, 255}, {0, 8, 16})},
      {"32 bits in the upper three bytes", format(32, 24, false, {255, 255, 255}, {24, 16, 8})},
      {"32 bits in the upper three bytes, big-endian", format(32, 24, true, {255, 255, 255}, {24, 16, 8})},
      {"32 bits all over", format(32, 32, false, {255, 255, 255}, {24, 8, 0})},
      {"30 bits of colour", format(32, 30, false, {1023, 1023, 1023}, {20, 10, 0})},
      {"565", format(16, 16, false, {31, 63, 31}, {11, 5, 0})},
      {"565, big-endian", format(16, 16, true, {31, 63, 31}, {11, 5, 0})},
      {"555", format(16, 15, false, {31, 31, 31}, {10, 5, 0})},
      {"332", format(8, 8, false, {7, 7, 3}, {0, 3, 6})},
      {"222", format(8, 6, false, {3, 3, 3}, {4, 2, 0})},
  };
}

// Pictures of all kinds: `colours` of them, with runs of up to `run` pixels.
std::vector<uint32_t> picture(uint32_t width, uint32_t height, unsigned colours, unsigned run, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<uint32_t> palette(colours);
  for (uint32_t& colour : palette) colour = static_cast<uint32_t>(random()) & 0xffffff;
  std::vector<uint32_t> pixels;
  while (pixels.size() < size_t{width} * height)
    pixels.insert(pixels.end(), 1 + random() % run, palette[random() % palette.size()]);
  pixels.resize(size_t{width} * height);
  return pixels;
}

struct Pictures {
  std::vector<std::pair<uint32_t, uint32_t>> sizes;
  std::vector<unsigned> colours, runs;
};
const Pictures kSome = {{{1, 1}, {3, 2}, {7, 9}, {70, 66}}, {1, 2, 4, 16, 128, 3000}, {1, 50}};
const Pictures kMany = {{{3, 2}, {64, 64}, {130, 70}}, {1, 2, 3, 4, 5, 16, 17, 127, 128, 257, 5000}, {1, 3, 700}};

// One encoder, many pictures: its streams go on.
void round_trips(Encoder& encoder, const PixelFormat& format, Decoder& decoder, const Pictures& pictures = kMany) {
  const PixelWriter writer(format);
  decoder.format = format;
  uint64_t seed = 1;
  for (const auto& [width, height] : pictures.sizes) {
    for (const unsigned colours : pictures.colours) {
      for (const unsigned run : pictures.runs) {
        const auto pixels = picture(width, height, colours, run, ++seed);
        Bytes out;
        ASSERT_TRUE(encoder.encode(Picture{pixels, width, height}, writer, out));
        Canvas canvas(width, height);
        MemorySource source(out);
        ASSERT_NO_THROW(decoder.decode(encoder.number(), {0, 0, width, height}, source, canvas));
        ASSERT_EQ(source.left(), 0u);
        std::vector<uint32_t> expected;
        for (const uint32_t pixel : pixels) expected.push_back(quantized(pixel, format));
        ASSERT_TRUE(canvas.pixels == expected) << width << " x " << height << ", " << colours << " colours";
      }
    }
  }
}

TEST(Encoders, GiveBackEveryPixelInEveryFormat) {
  for (const auto& [name, format] : formats()) {
    SCOPED_TRACE(name);
    ASSERT_TRUE(format.check());
    for (const auto& make : {+[] { return rfb::raw_encoder(); }, +[] { return rfb::zrle_encoder(); },
                             +[]() -> std::unique_ptr<Encoder> { return rfb::tight_encoder(); }}) {
      auto encoder = make();
      SCOPED_TRACE(encoder->number());
      Decoder decoder;
      round_trips(*encoder, format, decoder, kSome);
      if (HasFatalFailure()) return;
    }
  }
}

TEST(Encoders, ChooseAmongTheirWays) {
  Decoder decoder;
  auto zrle = rfb::zrle_encoder();
  round_trips(*zrle, PixelFormat(), decoder);
  EXPECT_GT(decoder.zrle_tiles[0], 0u) << "raw";
  EXPECT_GT(decoder.zrle_tiles[1], 0u) << "one colour";
  for (unsigned packed : {2u, 3u, 4u, 5u, 16u}) EXPECT_GT(decoder.zrle_tiles[packed], 0u) << packed << " colours, packed";
  EXPECT_GT(decoder.zrle_tiles[128], 0u) << "runs";
  EXPECT_GT(decoder.zrle_tiles.rbegin()->first, 130u) << "runs of a palette";
  auto tight = rfb::tight_encoder();
  round_trips(*tight, PixelFormat(), decoder);
  EXPECT_GT(decoder.tight_rects[0x0], 0u) << "all pixels";
  EXPECT_GT(decoder.tight_rects[0x5], 0u) << "two colours, stream 1";
  EXPECT_GT(decoder.tight_rects[0x6], 0u) << "a palette, stream 2";
  EXPECT_GT(decoder.tight_rects[0x8], 0u) << "one colour";
  EXPECT_EQ(decoder.jpegs, 0u) << "nobody has allowed losses";
}

// A photograph's worth of smooth colours.
std::vector<uint32_t> gradient(uint32_t width, uint32_t height) {
  std::vector<uint32_t> pixels;
  for (uint32_t y = 0; y < height; ++y)
    for (uint32_t x = 0; x < width; ++x) pixels.push_back((x * 255 / width) << 16 | (y * 255 / height) << 8 | ((x + y) & 0x7f));
  return pixels;
}

TEST(Tight, SendsPhotographsAsJpegIfLossesAreAllowed) {
  auto tight = rfb::tight_encoder();
  const auto pixels = gradient(200, 150);
  for (const int quality : {0, 5, 9}) {
    SCOPED_TRACE(quality);
    tight->set_levels({quality, 2});
    Bytes out;
    ASSERT_TRUE(tight->encode(Picture{pixels, 200, 150}, PixelWriter(PixelFormat()), out));
    Decoder decoder;
    Canvas canvas(200, 150);
    MemorySource source(out);
    decoder.decode(tight->number(), {0, 0, 200, 150}, source, canvas);
    EXPECT_EQ(decoder.jpegs, 1u);
    EXPECT_EQ(source.left(), 0u);
    int64_t difference = 0;
    for (size_t n = 0; n < pixels.size(); ++n)
      for (unsigned shift = 0; shift < 24; shift += 8)
        difference += std::abs(static_cast<int>(canvas.pixels[n] >> shift & 0xff) - static_cast<int>(pixels[n] >> shift & 0xff));
    EXPECT_LT(difference / static_cast<int64_t>(pixels.size() * 3), quality == 9 ? 3 : 40);
  }
  // 8-bit pixels have no JPEG; few colours are sent exactly.
  Decoder decoder;
  PixelFormat small;
  small.bits_per_pixel = small.depth = 8;
  small.max = {7, 7, 3};
  small.shift = {5, 2, 0};
  round_trips(*tight, small, decoder, kSome);
  EXPECT_EQ(decoder.jpegs, 0u);
}

TEST(PixelFormat, RefusesWhatIsNone) {
  PixelFormat format;
  format.true_colour = false;
  ASSERT_FALSE(format.check());
  EXPECT_NE(format.check().error().message().find("colour map"), std::string::npos);
  for (const uint8_t bits : {0, 1, 4, 15, 24, 64, 255}) {
    format = {};
    format.bits_per_pixel = bits;
    EXPECT_FALSE(format.check()) << int{bits};
  }
  for (const uint16_t max : {0, 2, 254, 256, 65534}) {
    format = {};
    format.max[1] = max;
    EXPECT_FALSE(format.check()) << max;
  }
  for (const uint8_t shift : {25, 31, 32, 255}) {
    format = {};
    format.shift[2] = shift;
    EXPECT_FALSE(format.check()) << int{shift};
  }
  format = {};
  format.max[0] = 65535;
  format.shift[0] = 16;
  EXPECT_TRUE(format.check());
}

TEST(PixelFormat, IsReadAndWrittenAsInTheSpecification) {
  Bytes bytes;
  PixelFormat().write(bytes);
  const Bytes expected = {32, 24, 0, 1, 0, 255, 0, 255, 0, 255, 16, 8, 0, 0, 0, 0};
  EXPECT_EQ(bytes, expected);
  EXPECT_EQ(PixelFormat::read(expected), PixelFormat());
}

}  // namespace
}  // namespace skerry::display::test
