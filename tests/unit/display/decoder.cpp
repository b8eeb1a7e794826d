#include "unit/display/decoder.hpp"

#include <turbojpeg.h>

namespace skerry::display::test {

uint32_t quantized(uint32_t colour, const rfb::PixelFormat& format) {
  uint32_t shown = 0;
  for (unsigned n = 0; n < 3; ++n) {
    const unsigned intensity = colour >> (16 - 8 * n) & 0xff, max = format.max[n];
    const unsigned sent = (intensity * max + 127) / 255;
    shown |= sent * 255 / max << (16 - 8 * n);
  }
  return shown;
}

Inflater::Inflater() { ::inflateInit(&stream_); }
Inflater::~Inflater() { ::inflateEnd(&stream_); }

Bytes Inflater::all(std::span<const uint8_t> packed) {
  Bytes plain;
  stream_.next_in = const_cast<uint8_t*>(packed.data());
  stream_.avail_in = static_cast<uInt>(packed.size());
  do {
    const size_t size = plain.size();
    plain.resize(size + 65536);
    stream_.next_out = plain.data() + size;
    stream_.avail_out = 65536;
    const int result = ::inflate(&stream_, Z_SYNC_FLUSH);
    plain.resize(plain.size() - stream_.avail_out);
    if (result == Z_BUF_ERROR) break;
    if (result != Z_OK) throw Broken("zlib does not understand it");
  } while (stream_.avail_in != 0 || stream_.avail_out == 0);
  return plain;
}

uint32_t Decoder::colour_of(uint32_t value) const {
  uint32_t colour = 0;
  for (unsigned n = 0; n < 3; ++n) colour |= (value >> format.shift[n] & format.max[n]) * 255 / format.max[n] << (16 - 8 * n);
  return colour;
}

uint32_t Decoder::pixel(Source& from) {
  const size_t size = format.bits_per_pixel / 8;
  uint32_t value = 0;
  for (size_t n = 0; n < size; ++n) value |= uint32_t{from.u8()} << 8 * (format.big_endian ? size - 1 - n : n);
  return colour_of(value);
}

size_t Decoder::cpixel_size() const {
  uint32_t used = 0;
  for (unsigned n = 0; n < 3; ++n) used |= uint32_t{format.max[n]} << format.shift[n];
  const bool three = format.bits_per_pixel == 32 && format.depth <= 24 && (used < 0x1000000 || (used & 0xff) == 0);
  return three ? 3 : format.bits_per_pixel / 8;
}

uint32_t Decoder::cpixel(Source& from) {
  if (cpixel_size() == format.bits_per_pixel / 8u) return pixel(from);
  uint32_t used = 0;
  for (unsigned n = 0; n < 3; ++n) used |= uint32_t{format.max[n]} << format.shift[n];
  const auto got = from.few<3>();
  const uint32_t low = format.big_endian ? uint32_t{got[0]} << 16 | uint32_t{got[1]} << 8 | got[2]
                                         : uint32_t{got[2]} << 16 | uint32_t{got[1]} << 8 | got[0];
  return colour_of(used < 0x1000000 ? low : low << 8);
}

uint32_t Decoder::tpixel(Source& from) {
  const bool rgb = format.bits_per_pixel == 32 && format.depth == 24 && format.max[0] == 255 && format.max[1] == 255 &&
                   format.max[2] == 255;
  if (!rgb) return pixel(from);
  const auto got = from.few<3>();
  return uint32_t{got[0]} << 16 | uint32_t{got[1]} << 8 | got[2];
}

void Decoder::decode(int32_t encoding, const Rect& rect, Source& from, Canvas& to) {
  if (rect.right() > to.width || rect.bottom() > to.height) throw Broken("a rectangle outside of the screen");
  switch (encoding) {
    case 0: return raw(rect, from, to);
    case 1: return copy(rect, from, to);
    case 7: return tight(rect, from, to);
    case 16: return zrle(rect, from, to);
    default: throw Broken("encoding " + std::to_string(encoding) + " was not asked for");
  }
}

void Decoder::raw(const Rect& rect, Source& from, Canvas& to) {
  const Bytes all = from.bytes(rect.area() * format.bits_per_pixel / 8);
  MemorySource source(all);
  for (uint32_t y = 0; y < rect.height; ++y)
    for (uint32_t x = 0; x < rect.width; ++x) to.at(rect.x + x, rect.y + y) = pixel(source);
}

void Decoder::copy(const Rect& rect, Source& from, Canvas& to) {
  const uint32_t x = from.u16(), y = from.u16();
  Canvas before = to;
  for (uint32_t row = 0; row < rect.height; ++row)
    for (uint32_t column = 0; column < rect.width; ++column)
      to.at(rect.x + column, rect.y + row) = before.at(x + column, y + row);
}

// --- ZRLE ------------------------------------------------------------------------------------------------------------

void Decoder::zrle(const Rect& rect, Source& from, Canvas& to) {
  const uint32_t length = from.u32();
  if (length > 64u << 20) throw Broken("too long");
  const Bytes plain = zrle_stream_.all(from.bytes(length));
  MemorySource source(plain);
  for (uint32_t y = 0; y < rect.height; y += 64)
    for (uint32_t x = 0; x < rect.width; x += 64)
      zrle_tile({rect.x + x, rect.y + y, std::min(64u, rect.width - x), std::min(64u, rect.height - y)}, source, to);
  if (source.left() != 0) throw Broken("more data than tiles");
}

void Decoder::zrle_runs(const Rect& tile, std::span<const uint32_t> palette, Source& from, Canvas& to) {
  for (size_t at = 0; at < tile.area();) {
    uint32_t colour;
    size_t length = 1;
    bool run = true;
    if (palette.empty()) {
      colour = cpixel(from);
    } else {
      const uint8_t index = from.u8();
      run = (index & 0x80) != 0;
      if ((index & 0x7fu) >= palette.size()) throw Broken("no such colour");
      colour = palette[index & 0x7f];
    }
    for (uint8_t more = 255; run && more == 255;) length += more = from.u8();
    if (length > tile.area() - at) throw Broken("a run beyond the tile");
    for (; length != 0; --length, ++at)
      to.at(tile.x + static_cast<uint32_t>(at % tile.width), tile.y + static_cast<uint32_t>(at / tile.width)) = colour;
  }
}

void Decoder::zrle_tile(const Rect& tile, Source& from, Canvas& to) {
  const uint8_t kind = from.u8();
  ++zrle_tiles[kind];
  if ((kind >= 17 && kind <= 127) || kind == 129) throw Broken("unused subencoding");
  if (kind >= 128) {
    std::vector<uint32_t> palette(kind - 128u);
    for (uint32_t& colour : palette) colour = cpixel(from);
    return zrle_runs(tile, palette, from, to);
  }
  if (kind == 0) {
    for (size_t at = 0; at < tile.area(); ++at)
      to.at(tile.x + static_cast<uint32_t>(at % tile.width), tile.y + static_cast<uint32_t>(at / tile.width)) = cpixel(from);
    return;
  }
  std::vector<uint32_t> palette(kind);
  for (uint32_t& colour : palette) colour = cpixel(from);
  const unsigned bits = kind == 1 ? 0 : kind == 2 ? 1 : kind <= 4 ? 2 : 4;
  for (uint32_t y = 0; y < tile.height; ++y) {
    unsigned byte = 0, left = 0;
    for (uint32_t x = 0; x < tile.width; ++x) {
      if (bits != 0 && left == 0) {
        byte = from.u8();
        left = 8;
      }
      left -= bits;
      const unsigned index = bits == 0 ? 0 : byte >> left & ((1u << bits) - 1);
      to.at(tile.x + x, tile.y + y) = palette.at(index);
    }
  }
}

// --- Tight -----------------------------------------------------------------------------------------------------------

size_t Decoder::compact_length(Source& from) {
  size_t length = 0;
  for (unsigned n = 0; n < 3; ++n) {
    const uint8_t byte = from.u8();
    length |= size_t{n == 2 ? byte : byte & 0x7fu} << 7 * n;
    if (n == 2 || !(byte & 0x80)) break;
  }
  return length;
}

void Decoder::tight(const Rect& rect, Source& from, Canvas& to) {
  const unsigned control = from.u8();
  ++tight_rects[control >> 4];
  if ((control & 0x0f) != 0) throw Broken("it resets streams");
  if (control >> 4 == 8) {
    const uint32_t colour = tpixel(from);
    for (uint32_t y = 0; y < rect.height; ++y)
      for (uint32_t x = 0; x < rect.width; ++x) to.at(rect.x + x, rect.y + y) = colour;
    return;
  }
  if (control >> 4 == 9) return jpeg(rect, from, to);
  if (control & 0x80) throw Broken("unknown way of Tight");
  tight_basic(control, rect, from, to);
}

void Decoder::tight_basic(unsigned control, const Rect& rect, Source& from, Canvas& to) {
  const unsigned filter = control & 0x40 ? from.u8() : 0;
  if (filter > 1) throw Broken("a filter that is not used");
  std::vector<uint32_t> palette(filter == 1 ? from.u8() + 1u : 0u);
  for (uint32_t& colour : palette) colour = tpixel(from);
  const bool rgb = format.bits_per_pixel == 32 && format.depth == 24;
  size_t size = rect.area() * (rgb ? 3 : format.bits_per_pixel / 8);
  if (filter == 1) size = palette.size() == 2 ? (rect.width + 7) / 8 * size_t{rect.height} : rect.area();
  Bytes plain = size < 12 ? from.bytes(size)
                          : tight_streams_[control >> 4 & 3].all(from.bytes(compact_length(from)));
  if (plain.size() != size) throw Broken("not as many bytes as pixels");
  MemorySource source(plain);
  for (uint32_t y = 0; y < rect.height; ++y) {
    unsigned byte = 0;
    for (uint32_t x = 0; x < rect.width; ++x) {
      uint32_t& pixel = to.at(rect.x + x, rect.y + y);
      if (palette.empty()) {
        pixel = tpixel(source);
      } else if (palette.size() == 2) {
        if (x % 8 == 0) byte = source.u8();
        pixel = palette[byte >> (7 - x % 8) & 1];
      } else {
        pixel = palette.at(source.u8());
      }
    }
  }
}

void Decoder::jpeg(const Rect& rect, Source& from, Canvas& to) {
  ++jpegs;
  const Bytes image = from.bytes(compact_length(from));
  const tjhandle handle = ::tjInitDecompress();
  std::vector<uint32_t> pixels(rect.area());
  const int result = ::tjDecompress2(handle, image.data(), image.size(), reinterpret_cast<unsigned char*>(pixels.data()),
                                     static_cast<int>(rect.width), 0, static_cast<int>(rect.height), TJPF_BGRX, 0);
  ::tjDestroy(handle);
  if (result != 0) throw Broken("no JPEG image");
  for (uint32_t y = 0; y < rect.height; ++y)
    for (uint32_t x = 0; x < rect.width; ++x)
      to.at(rect.x + x, rect.y + y) = pixels[size_t{y} * rect.width + x] & 0xffffff;
}

}  // namespace skerry::display::test
