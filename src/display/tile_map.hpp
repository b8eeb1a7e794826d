// Which parts of a screen somebody has not seen: one bit for each square of 32 x 32 pixels of the largest screen, 8 KiB
// whatever a guest draws.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "display/geometry.hpp"

namespace skerry::display {

class TileMap {
 public:
  static constexpr uint32_t kTile = 32;  // pixels
  static constexpr uint32_t kColumns = kMaxWidth / kTile, kRows = kMaxHeight / kTile;

  // Every tile that has a pixel of the rectangle.
  void set(const Rect& rect);
  void clear(const Rect& rect);
  bool any(const Rect& rect) const;
  void set_tile(uint32_t column, uint32_t row) { word(column, row) |= bit(column); }

  // Takes the tiles that have a pixel of `rect` out of `from` and puts them in here.
  void take(TileMap& from, const Rect& rect);

  // The tiles as rectangles that do not overlap, clipped to `within`, which begins at 0, 0. From top to bottom.
  std::vector<Rect> rects(const Rect& within) const;

 private:
  static constexpr uint32_t kWordsPerRow = kColumns / 64;
  struct Span {
    uint32_t first, behind;  // columns, or rows
    bool empty() const { return first >= behind; }
  };
  static Span columns_of(const Rect& rect);
  static Span rows_of(const Rect& rect);
  static uint64_t mask(uint32_t word, Span columns);
  static uint64_t bit(uint32_t column) { return uint64_t{1} << column % 64; }
  uint64_t& word(uint32_t column, uint32_t row) { return words_[row * kWordsPerRow + column / 64]; }
  bool is_set(uint32_t column, uint32_t row) const {
    return words_[row * kWordsPerRow + column / 64] & bit(column);
  }
  bool all_set(Span columns, uint32_t row) const;

  std::array<uint64_t, kRows * kWordsPerRow> words_{};
};

}  // namespace skerry::display
