// How a viewer wants pixels (RFC 6143, 7.4), and what turns a screen's into these.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "base/result.hpp"
#include "display/rfb/wire.hpp"

namespace skerry::display::rfb {

struct PixelFormat {
  static constexpr size_t kSize = 16;  // on the wire

  uint8_t bits_per_pixel = 32;
  uint8_t depth = 24;
  bool big_endian = false;
  bool true_colour = true;
  std::array<uint16_t, 3> max{255, 255, 255};  // red, green, blue
  std::array<uint8_t, 3> shift{16, 8, 0};

  static PixelFormat read(std::span<const uint8_t> from);  // kSize bytes
  void write(Bytes& to) const;
  // Fails for what this server does not offer (colour maps) and for what is no format.
  Result<void> check() const;
  bool operator==(const PixelFormat&) const = default;
};

class PixelWriter {
 public:
  explicit PixelWriter(const PixelFormat& format);  // that passes check()

  size_t pixel_size() const { return pixel_size_; }
  size_t cpixel_size() const { return cpixel_size_; }
  size_t tpixel_size() const { return tpixel_is_rgb_ ? 3 : pixel_size_; }
  bool tpixel_is_rgb() const { return tpixel_is_rgb_; }

  // All of these take 0x00RRGGBB.
  void pixel(Bytes& to, uint32_t colour) const { put(to, colour, 0, pixel_size_); }
  // RFC 6143, 7.7.5: "CPIXEL", without the byte that has no colour.
  void cpixel(Bytes& to, uint32_t colour) const { put(to, colour, cpixel_first_, cpixel_size_); }
  // rfbproto, "Tight Encoding": "TPIXEL".
  void tpixel(Bytes& to, uint32_t colour) const;

  void pixels(Bytes& to, std::span<const uint32_t> colours) const;
  void cpixels(Bytes& to, std::span<const uint32_t> colours) const;
  void tpixels(Bytes& to, std::span<const uint32_t> colours) const;

 private:
  uint32_t value(uint32_t colour) const {
    return table_[0][colour >> 16 & 0xff] | table_[1][colour >> 8 & 0xff] | table_[2][colour & 0xff];
  }
  void put(Bytes& to, uint32_t colour, size_t first, size_t size) const {
    const uint32_t bytes = value(colour) >> 8 * first;
    for (size_t n = 0; n < size; ++n) to.push_back(static_cast<uint8_t>(bytes >> 8 * n));
  }
  void put_all(Bytes& to, std::span<const uint32_t> colours, size_t first, size_t size) const;

  size_t pixel_size_;  // bytes
  size_t cpixel_first_ = 0, cpixel_size_;
  bool tpixel_is_rgb_;
  // By colour and intensity: its share of the pixel, the first byte on the wire least significant.
  std::array<std::array<uint32_t, 256>, 3> table_;
};

}  // namespace skerry::display::rfb
