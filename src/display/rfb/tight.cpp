// rfbproto, "Tight Encoding": a rectangle is one colour, a palette, all of its pixels, or a JPEG image.
//
// The gradient filter is not used: it is what a server without JPEG gains from on photographs, at the cost of more time for
// both sides.
#include <turbojpeg.h>

#include <algorithm>
#include <array>
#include <bit>
#include <optional>

#include "display/deflater.hpp"
#include "display/rfb/encoder.hpp"
#include "display/rfb/palette.hpp"
#include "display/rfb/protocol.hpp"

namespace skerry::display::rfb {

namespace {

// The first byte: in its high half the way, or for basic compression the stream and whether a filter is named.
constexpr uint8_t kFill = 0x80, kJpeg = 0x90, kFilterNamed = 0x40;
constexpr uint8_t kPaletteFilter = 1;
constexpr size_t kMinToCompress = 12;  // less than that comes as it is

// Each kind of data has a zlib stream, whose dictionary fits it.
enum Stream : unsigned { kFullColour, kTwoColours, kIndexed, kStreams };

// By the viewer's compression level: more than 6 costs much time for little.
constexpr int kZlibLevels[] = {1, 1, 2, 3, 4, 5, 6, 6, 6, 6};

// With JPEG at hand, more colours than this are a photograph.
constexpr unsigned kMaxColours = 256, kMaxColoursBesideJpeg = 96;
constexpr size_t kMinPixelsOfColour = 4;  // a palette is no gain for pixels of which nearly each has its own colour

// By the viewer's quality level, as TigerVNC and TurboVNC take them: libjpeg's quality and how colours are sampled.
struct JpegLevel {
  int quality;
  TJSAMP sampling;
};
constexpr JpegLevel kJpegLevels[] = {{15, TJSAMP_420}, {29, TJSAMP_420}, {41, TJSAMP_420}, {42, TJSAMP_422},
                                     {62, TJSAMP_422}, {77, TJSAMP_422}, {79, TJSAMP_444}, {86, TJSAMP_444},
                                     {92, TJSAMP_444}, {100, TJSAMP_444}};

class JpegCompressor {
 public:
  ~JpegCompressor() {
    if (handle_) ::tjDestroy(handle_);
  }
  // An empty one: it failed.
  std::span<const uint8_t> compress(const Picture& picture, const JpegLevel& level);

 private:
  tjhandle handle_ = nullptr;
  Bytes buffer_;
};

std::span<const uint8_t> JpegCompressor::compress(const Picture& picture, const JpegLevel& level) {
  if (!handle_) handle_ = ::tjInitCompress();
  if (!handle_) return {};
  const int width = static_cast<int>(picture.width), height = static_cast<int>(picture.height);
  buffer_.resize(::tjBufSize(width, height, level.sampling));
  unsigned char* start = buffer_.data();
  unsigned long size = buffer_.size();
  const int result =
      ::tjCompress2(handle_, reinterpret_cast<const unsigned char*>(picture.pixels.data()), width, 0, height, TJPF_BGRX,
                    &start, &size, level.sampling, level.quality, TJFLAG_NOREALLOC);
  return result == 0 ? std::span<const uint8_t>(buffer_.data(), size) : std::span<const uint8_t>();
}

class Tight final : public TightEncoder {
 public:
  int32_t number() const override { return encoding::kTight; }
  void set_levels(TightLevels levels) override { levels_ = levels; }
  bool encode(const Picture& picture, const PixelWriter& writer, Bytes& to) override;

 private:
  using Colours = Palette<kMaxColours>;
  bool put_jpeg(const Picture& picture, Bytes& to);
  bool put_palette(const Picture& picture, const PixelWriter& writer, Colours& colours, Bytes& to);
  bool put_data(Stream stream, Bytes& to);

  TightLevels levels_;
  std::array<std::optional<Deflater>, kStreams> streams_;
  JpegCompressor jpeg_;
  Bytes plain_, packed_;
};

// 7 bits a byte, the lowest first, bit 7 if more follow; at most 22 bits.
void put_compact_length(Bytes& to, size_t length) {
  put_u8(to, static_cast<uint32_t>((length & 0x7f) | (length > 0x7f ? 0x80 : 0)));
  if (length > 0x7f) put_u8(to, static_cast<uint32_t>((length >> 7 & 0x7f) | (length > 0x3fff ? 0x80 : 0)));
  if (length > 0x3fff) put_u8(to, static_cast<uint32_t>(length >> 14));
}

// plain_, compressed.
bool Tight::put_data(Stream stream, Bytes& to) {
  if (plain_.size() < kMinToCompress) {
    put_bytes(to, plain_);
    return true;
  }
  if (!streams_[stream]) streams_[stream].emplace(kZlibLevels[levels_.compression]);
  packed_.clear();
  if (!streams_[stream]->write(plain_, packed_, Z_SYNC_FLUSH)) return false;
  put_compact_length(to, packed_.size());
  put_bytes(to, packed_);
  return true;
}

bool Tight::put_palette(const Picture& picture, const PixelWriter& writer, Colours& colours, Bytes& to) {
  const Stream stream = colours.size() == 2 ? kTwoColours : kIndexed;
  put_u8(to, stream << 4 | kFilterNamed);
  put_u8(to, kPaletteFilter);
  put_u8(to, colours.size() - 1);
  for (unsigned n = 0; n < colours.size(); ++n) writer.tpixel(to, colours.colour(n));
  plain_.clear();
  if (stream == kIndexed) {
    for (const uint32_t pixel : picture.pixels) put_u8(plain_, colours.index(pixel));
    return put_data(stream, to);
  }
  for (size_t row = 0; row < picture.pixels.size(); row += picture.width) {
    for (uint32_t x = 0; x < picture.width; x += 8) {
      unsigned byte = 0;
      for (uint32_t bit = x; bit < std::min(x + 8, picture.width); ++bit)
        byte |= unsigned{colours.index(picture.pixels[row + bit])} << (7 - bit % 8);
      put_u8(plain_, byte);
    }
  }
  return put_data(stream, to);
}

bool Tight::put_jpeg(const Picture& picture, Bytes& to) {
  const auto image = jpeg_.compress(picture, kJpegLevels[levels_.quality]);
  if (image.empty()) return false;
  put_u8(to, kJpeg);
  put_compact_length(to, image.size());
  put_bytes(to, image);
  return true;
}

bool Tight::encode(const Picture& picture, const PixelWriter& writer, Bytes& to) {
  const bool may_lose = levels_.quality >= 0 && writer.pixel_size() > 1;
  const size_t worth = std::max<size_t>(2, picture.pixels.size() / kMinPixelsOfColour);
  const auto most = static_cast<unsigned>(std::min<size_t>(may_lose ? kMaxColoursBesideJpeg : kMaxColours, worth));
  Colours colours;
  const bool few = colours.count(picture.pixels, most);
  if (few && colours.size() == 1) {
    put_u8(to, kFill);
    writer.tpixel(to, colours.colour(0));
    return true;
  }
  if (few) return put_palette(picture, writer, colours, to);
  if (may_lose && put_jpeg(picture, to)) return true;
  put_u8(to, kFullColour << 4);
  plain_.clear();
  writer.tpixels(plain_, picture.pixels);
  return put_data(kFullColour, to);
}

}  // namespace

std::unique_ptr<TightEncoder> tight_encoder() { return std::make_unique<Tight>(); }

}  // namespace skerry::display::rfb
