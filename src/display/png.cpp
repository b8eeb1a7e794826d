#include "display/png.hpp"

#include <zlib.h>

#include <cstring>
#include <string_view>

#include "display/deflater.hpp"

namespace skerry::display {

namespace {

constexpr uint8_t kSignature[] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};
constexpr uint8_t kColourTypeRgb = 2;
constexpr uint8_t kFilterUp = 2;  // a byte less the one above it: rows of a screen are often alike
constexpr int kLevel = 3;

void put_be32(std::vector<uint8_t>& to, uint32_t value) {
  for (int shift = 24; shift >= 0; shift -= 8) to.push_back(static_cast<uint8_t>(value >> shift));
}

// Length, type, data, and the checksum of type and data.
void put_chunk(std::vector<uint8_t>& to, std::string_view type, const std::vector<uint8_t>& data) {
  put_be32(to, static_cast<uint32_t>(data.size()));
  const size_t start = to.size();
  to.insert(to.end(), type.begin(), type.end());
  to.insert(to.end(), data.begin(), data.end());
  put_be32(to, static_cast<uint32_t>(::crc32(0, to.data() + start, static_cast<uInt>(to.size() - start))));
}

// A row as the filter leaves it, with the filter's number in front.
void filter_row(std::span<const uint32_t> pixels, std::vector<uint8_t>& above, std::vector<uint8_t>& filtered) {
  filtered[0] = kFilterUp;
  for (size_t n = 0; n < pixels.size(); ++n) {
    for (unsigned part = 0; part < 3; ++part) {
      const auto value = static_cast<uint8_t>(pixels[n] >> (16 - 8 * part));
      filtered[1 + n * 3 + part] = static_cast<uint8_t>(value - above[n * 3 + part]);
      above[n * 3 + part] = value;
    }
  }
}

}  // namespace

Result<std::vector<uint8_t>> png_of(const Screen& screen) {
  const Screen::Size size = screen.size();
  const Error no_memory = error("screen dump: there is no memory to compress {} x {} pixels", size.width, size.height);
  std::vector<uint8_t> header;
  put_be32(header, size.width);
  put_be32(header, size.height);
  for (const uint8_t byte : {uint8_t{8}, kColourTypeRgb, uint8_t{0}, uint8_t{0}, uint8_t{0}}) header.push_back(byte);

  Deflater deflater(kLevel);
  std::vector<uint8_t> data;
  const uint32_t rows_at_once = std::max(1u, std::min(size.height, Screen::kReadAtOnce / size.width));
  std::vector<uint32_t> pixels(size_t{rows_at_once} * size.width);
  std::vector<uint8_t> above(size_t{size.width} * 3), filtered(1 + size_t{size.width} * 3);
  for (uint32_t y = 0; y < size.height; y += rows_at_once) {
    const uint32_t rows = std::min(rows_at_once, size.height - y);
    screen.read({0, y, size.width, rows}, pixels, false);
    for (uint32_t row = 0; row < rows; ++row) {
      filter_row(std::span(pixels).subspan(size_t{row} * size.width, size.width), above, filtered);
      const bool last = y + row + 1 == size.height;
      if (!deflater.write(filtered, data, last ? Z_FINISH : Z_NO_FLUSH)) return no_memory;
    }
  }

  std::vector<uint8_t> png(std::begin(kSignature), std::end(kSignature));
  put_chunk(png, "IHDR", header);
  put_chunk(png, "IDAT", data);
  put_chunk(png, "IEND", {});
  return png;
}

}  // namespace skerry::display
