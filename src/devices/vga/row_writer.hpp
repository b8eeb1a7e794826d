// Takes a picture row by row, and gives it to the screen some rows at a time.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "display/screen.hpp"

namespace skerry::devices::vga {

class RowWriter {
 public:
  static constexpr uint32_t kRowsAtOnce = 16;

  RowWriter(display::Screen& screen, uint32_t width)
      : screen_(screen), width_(width), pixels_(size_t{width} * kRowsAtOnce) {}
  ~RowWriter() { flush(); }
  RowWriter(const RowWriter&) = delete;
  RowWriter& operator=(const RowWriter&) = delete;

  // Memory for the next row, to be filled before the one after it is asked for.
  std::span<uint32_t> next() {
    if (rows_ == kRowsAtOnce) flush();
    return std::span(pixels_).subspan(size_t{width_} * rows_++, width_);
  }

 private:
  void flush() {
    screen_.update({0, first_, width_, rows_}, pixels_, width_);
    first_ += rows_;
    rows_ = 0;
  }

  display::Screen& screen_;
  const uint32_t width_;
  std::vector<uint32_t> pixels_;
  uint32_t first_ = 0;  // row of the screen
  uint32_t rows_ = 0;   // in pixels_
};

}  // namespace skerry::devices::vga
