// Decodes what a viewer gets, written from the specification and sharing nothing with the encoders.
#pragma once

#include <zlib.h>

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include "display/geometry.hpp"
#include "display/rfb/pixel_format.hpp"

namespace skerry::display::test {

using Bytes = std::vector<uint8_t>;

// What a viewer cannot make sense of.
struct Broken : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// Bytes as they come: from a connection, or from memory.
class Source {
 public:
  virtual ~Source() = default;
  virtual void read(std::span<uint8_t> to) = 0;  // all of them, or throws Broken
  Bytes bytes(size_t count) {
    Bytes got(count);
    read(got);
    return got;
  }
  template <size_t kCount>
  std::array<uint8_t, kCount> few() {
    std::array<uint8_t, kCount> got;
    read(got);
    return got;
  }
  uint8_t u8() { return few<1>()[0]; }
  uint16_t u16() {
    const auto got = few<2>();
    return static_cast<uint16_t>(got[0] << 8 | got[1]);
  }
  uint32_t u32() {
    const uint32_t high = u16();
    return high << 16 | u16();
  }
};

class MemorySource final : public Source {
 public:
  explicit MemorySource(std::span<const uint8_t> all) : left_(all) {}
  void read(std::span<uint8_t> to) override {
    if (to.size() > left_.size()) throw Broken("the data end too early");
    std::copy_n(left_.begin(), to.size(), to.begin());
    left_ = left_.subspan(to.size());
  }
  size_t left() const { return left_.size(); }

 private:
  std::span<const uint8_t> left_;
};

// The pixels that a viewer has: 0x00RRGGBB.
struct Canvas {
  uint32_t width = 0, height = 0;
  std::vector<uint32_t> pixels;

  Canvas() = default;
  Canvas(uint32_t w, uint32_t h) : width(w), height(h), pixels(size_t{w} * h, 0xdddddd) {}
  uint32_t& at(uint32_t x, uint32_t y) {
    if (x >= width || y >= height) throw Broken("a pixel outside of the screen");
    return pixels[size_t{y} * width + x];
  }
};

// What becomes of a colour that is sent in `format`: what a viewer shows for it.
uint32_t quantized(uint32_t colour, const rfb::PixelFormat& format);

class Inflater {
 public:
  Inflater();
  ~Inflater();
  Inflater(const Inflater&) = delete;
  Inflater& operator=(const Inflater&) = delete;
  Bytes all(std::span<const uint8_t> packed);

 private:
  z_stream stream_{};
};

class Decoder {
 public:
  rfb::PixelFormat format;

  // What follows a rectangle's header.
  void decode(int32_t encoding, const Rect& rect, Source& from, Canvas& to);

  unsigned jpegs = 0;                        // images
  std::map<unsigned, unsigned> zrle_tiles;   // by subencoding
  std::map<unsigned, unsigned> tight_rects;  // by the first byte's high half

 private:
  uint32_t pixel(Source& from);
  uint32_t cpixel(Source& from);
  uint32_t tpixel(Source& from);
  uint32_t colour_of(uint32_t value) const;
  size_t cpixel_size() const;

  void raw(const Rect& rect, Source& from, Canvas& to);
  void copy(const Rect& rect, Source& from, Canvas& to);
  void zrle(const Rect& rect, Source& from, Canvas& to);
  void zrle_tile(const Rect& tile, Source& from, Canvas& to);
  void zrle_runs(const Rect& tile, std::span<const uint32_t> palette, Source& from, Canvas& to);
  void tight(const Rect& rect, Source& from, Canvas& to);
  void tight_basic(unsigned control, const Rect& rect, Source& from, Canvas& to);
  void jpeg(const Rect& rect, Source& from, Canvas& to);
  static size_t compact_length(Source& from);

  Inflater zrle_stream_;
  std::array<Inflater, 4> tight_streams_;
};

}  // namespace skerry::display::test
