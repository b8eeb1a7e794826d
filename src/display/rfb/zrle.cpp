// RFC 6143, 7.7.6: tiles of 64 x 64 pixels, each in the shortest of several ways, and all of it through one zlib stream.
#include <algorithm>
#include <array>

#include "display/deflater.hpp"
#include "display/rfb/encoder.hpp"
#include "display/rfb/palette.hpp"
#include "display/rfb/protocol.hpp"

namespace skerry::display::rfb {

namespace {

constexpr uint32_t kTile = 64;
constexpr int kLevel = 3;
constexpr unsigned kMaxPacked = 16, kMaxPalette = 127;
// Subencodings of a tile.
constexpr uint8_t kRawTile = 0, kSolidTile = 1, kPlainRle = 128, kPaletteRle = 128;
constexpr uint8_t kRunFollows = 0x80;

// What a tile takes in each way, without the byte that says which.
struct Cost {
  size_t raw = 0, packed = ~size_t{0}, plain_rle = 0, palette_rle = ~size_t{0};
};

class Zrle final : public Encoder {
 public:
  int32_t number() const override { return encoding::kZrle; }
  bool encode(const Picture& picture, const PixelWriter& writer, Bytes& to) override;

 private:
  using Colours = Palette<kMaxPalette>;
  void encode_tile(std::span<const uint32_t> pixels, uint32_t width, const PixelWriter& writer);
  void put_run_length(size_t length);
  void put_packed(std::span<const uint32_t> pixels, uint32_t width, Colours& colours);
  void put_runs(std::span<const uint32_t> pixels, const PixelWriter& writer, Colours* colours);

  Deflater deflater_{kLevel};
  Bytes plain_;  // what is to be compressed
};

size_t length_size(size_t length) { return (length - 1) / 255 + 1; }

template <typename Each>
void for_each_run(std::span<const uint32_t> pixels, Each each) {
  for (size_t first = 0; first < pixels.size();) {
    size_t behind = first + 1;
    while (behind < pixels.size() && pixels[behind] == pixels[first]) ++behind;
    each(pixels[first], behind - first);
    first = behind;
  }
}

// 1, 2 or 4 bits for an index.
unsigned packed_bits(unsigned colours) { return colours <= 2 ? 1 : colours <= 4 ? 2 : 4; }

Cost cost_of(std::span<const uint32_t> pixels, uint32_t width, size_t cpixel, unsigned colours) {
  Cost cost;
  cost.raw = pixels.size() * cpixel;
  size_t palette_rle = colours * cpixel;
  for_each_run(pixels, [&](uint32_t, size_t length) {
    cost.plain_rle += cpixel + length_size(length);
    palette_rle += length == 1 ? 1 : 1 + length_size(length);
  });
  if (colours == 0) return cost;
  cost.palette_rle = palette_rle;
  if (colours <= kMaxPacked)
    cost.packed = colours * cpixel + (width * packed_bits(colours) + 7) / 8 * (pixels.size() / width);
  return cost;
}

// 255 as often as it fits, then the rest: the sum is the length less 1.
void Zrle::put_run_length(size_t length) {
  size_t left = length - 1;
  for (; left >= 255; left -= 255) put_u8(plain_, 255);
  put_u8(plain_, static_cast<uint32_t>(left));
}

void Zrle::put_packed(std::span<const uint32_t> pixels, uint32_t width, Colours& colours) {
  const unsigned bits = packed_bits(colours.size());
  for (size_t row = 0; row < pixels.size(); row += width) {
    unsigned byte = 0, filled = 0;
    for (uint32_t x = 0; x < width; ++x) {
      byte = byte << bits | colours.index(pixels[row + x]);
      filled += bits;
      if (filled == 8) put_u8(plain_, std::exchange(byte, 0));
      filled %= 8;
    }
    if (filled != 0) put_u8(plain_, byte << (8 - filled));
  }
}

void Zrle::put_runs(std::span<const uint32_t> pixels, const PixelWriter& writer, Colours* colours) {
  for_each_run(pixels, [&](uint32_t colour, size_t length) {
    if (!colours) {
      writer.cpixel(plain_, colour);
      put_run_length(length);
    } else if (length == 1) {
      put_u8(plain_, colours->index(colour));
    } else {
      put_u8(plain_, colours->index(colour) | kRunFollows);
      put_run_length(length);
    }
  });
}

void Zrle::encode_tile(std::span<const uint32_t> pixels, uint32_t width, const PixelWriter& writer) {
  Colours colours;
  const bool few = colours.count(pixels, kMaxPalette);
  if (few && colours.size() == 1) {
    put_u8(plain_, kSolidTile);
    return writer.cpixel(plain_, pixels[0]);
  }
  const Cost cost = cost_of(pixels, width, writer.cpixel_size(), few ? colours.size() : 0);
  const size_t least = std::min({cost.raw, cost.packed, cost.plain_rle, cost.palette_rle});
  const bool packed = least == cost.packed;
  if (packed || least == cost.palette_rle) {
    put_u8(plain_, packed ? colours.size() : kPaletteRle + colours.size());
    for (unsigned n = 0; n < colours.size(); ++n) writer.cpixel(plain_, colours.colour(n));
    packed ? put_packed(pixels, width, colours) : put_runs(pixels, writer, &colours);
  } else if (least == cost.plain_rle) {
    put_u8(plain_, kPlainRle);
    put_runs(pixels, writer, nullptr);
  } else {
    put_u8(plain_, kRawTile);
    writer.cpixels(plain_, pixels);
  }
}

bool Zrle::encode(const Picture& picture, const PixelWriter& writer, Bytes& to) {
  plain_.clear();
  std::array<uint32_t, kTile * kTile> tile;
  for (uint32_t y = 0; y < picture.height; y += kTile) {
    for (uint32_t x = 0; x < picture.width; x += kTile) {
      const uint32_t width = std::min(kTile, picture.width - x), height = std::min(kTile, picture.height - y);
      for (uint32_t row = 0; row < height; ++row)
        std::copy_n(&picture.pixels[size_t{y + row} * picture.width + x], width, &tile[size_t{row} * width]);
      encode_tile(std::span(tile).first(size_t{width} * height), width, writer);
    }
  }
  const size_t at = to.size();
  put_u32(to, 0);
  if (!deflater_.write(plain_, to, Z_SYNC_FLUSH)) return false;
  Bytes length;
  put_u32(length, static_cast<uint32_t>(to.size() - at - 4));
  std::copy(length.begin(), length.end(), to.begin() + static_cast<ptrdiff_t>(at));
  return true;
}

}  // namespace

std::unique_ptr<Encoder> zrle_encoder() { return std::make_unique<Zrle>(); }

}  // namespace skerry::display::rfb
