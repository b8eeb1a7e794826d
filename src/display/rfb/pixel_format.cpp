#include "display/rfb/pixel_format.hpp"

#include <bit>

namespace skerry::display::rfb {

PixelFormat PixelFormat::read(std::span<const uint8_t> from) {
  PixelFormat format;
  format.bits_per_pixel = from[0];
  format.depth = from[1];
  format.big_endian = from[2] != 0;
  format.true_colour = from[3] != 0;
  for (size_t n = 0; n < 3; ++n) {
    format.max[n] = get_u16(from, 4 + 2 * n);
    format.shift[n] = from[10 + n];
  }
  return format;
}

void PixelFormat::write(Bytes& to) const {
  put_u8(to, bits_per_pixel);
  put_u8(to, depth);
  put_u8(to, big_endian);
  put_u8(to, true_colour);
  for (const uint16_t value : max) put_u16(to, value);
  for (const uint8_t value : shift) put_u8(to, value);
  for (int padding = 0; padding < 3; ++padding) put_u8(to, 0);
}

Result<void> PixelFormat::check() const {
  if (bits_per_pixel != 8 && bits_per_pixel != 16 && bits_per_pixel != 32)
    return error("it wants pixels of {} bits; there are 8, 16 and 32", bits_per_pixel);
  if (!true_colour) return error("it wants colours by a colour map, which is not offered; set it to true colour");
  for (size_t n = 0; n < 3; ++n) {
    const bool whole_bits = std::has_single_bit(uint32_t{max[n]} + 1);
    if (max[n] == 0 || !whole_bits || shift[n] + std::bit_width(uint32_t{max[n]}) > bits_per_pixel)
      return error("it wants pixels of {} bits with a colour of up to {} at bit {}, which is no format",
                   bits_per_pixel, max[n], shift[n]);
  }
  return ok();
}

PixelWriter::PixelWriter(const PixelFormat& format)
    : pixel_size_(format.bits_per_pixel / 8u), cpixel_size_(pixel_size_) {
  uint32_t used = 0;
  for (size_t n = 0; n < 3; ++n) {
    used |= uint32_t{format.max[n]} << format.shift[n];
    for (uint32_t intensity = 0; intensity < 256; ++intensity) {
      const uint32_t share = (intensity * format.max[n] + 127) / 255 << format.shift[n];
      table_[n][intensity] = format.big_endian ? __builtin_bswap32(share) >> (32 - format.bits_per_pixel) : share;
    }
  }
  const bool in_low = (used & 0xff00'0000) == 0, in_high = (used & 0xff) == 0;
  if (format.bits_per_pixel == 32 && format.depth <= 24 && (in_low || in_high)) {
    cpixel_size_ = 3;
    cpixel_first_ = in_low == format.big_endian ? 1 : 0;
  }
  tpixel_is_rgb_ = format.bits_per_pixel == 32 && format.depth == 24 && format.max == decltype(format.max){255, 255, 255};
}

void PixelWriter::tpixel(Bytes& to, uint32_t colour) const {
  if (!tpixel_is_rgb_) return pixel(to, colour);
  put_u8(to, colour >> 16);
  put_u8(to, colour >> 8);
  put_u8(to, colour);
}

void PixelWriter::put_all(Bytes& to, std::span<const uint32_t> colours, size_t first, size_t size) const {
  size_t at = to.size();
  to.resize(at + colours.size() * size);
  for (const uint32_t colour : colours) {
    const uint32_t bytes = value(colour) >> 8 * first;
    for (size_t n = 0; n < size; ++n) to[at++] = static_cast<uint8_t>(bytes >> 8 * n);
  }
}

void PixelWriter::pixels(Bytes& to, std::span<const uint32_t> colours) const { put_all(to, colours, 0, pixel_size_); }

void PixelWriter::cpixels(Bytes& to, std::span<const uint32_t> colours) const {
  put_all(to, colours, cpixel_first_, cpixel_size_);
}

void PixelWriter::tpixels(Bytes& to, std::span<const uint32_t> colours) const {
  if (!tpixel_is_rgb_) return pixels(to, colours);
  size_t at = to.size();
  to.resize(at + colours.size() * 3);
  for (const uint32_t colour : colours) {
    to[at++] = static_cast<uint8_t>(colour >> 16);
    to[at++] = static_cast<uint8_t>(colour >> 8);
    to[at++] = static_cast<uint8_t>(colour);
  }
}

}  // namespace skerry::display::rfb
