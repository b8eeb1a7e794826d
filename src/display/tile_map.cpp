#include "display/tile_map.hpp"

namespace skerry::display {

namespace {

uint32_t tiles_up_to(uint64_t pixels, uint32_t limit) {
  return static_cast<uint32_t>(std::min<uint64_t>((pixels + TileMap::kTile - 1) / TileMap::kTile, limit));
}

}  // namespace

TileMap::Span TileMap::columns_of(const Rect& rect) {
  return {rect.x / kTile, rect.empty() ? 0 : tiles_up_to(rect.right(), kColumns)};
}

TileMap::Span TileMap::rows_of(const Rect& rect) {
  return {rect.y / kTile, rect.empty() ? 0 : tiles_up_to(rect.bottom(), kRows)};
}

// The bits of word number `word` of a row that are in `columns`.
uint64_t TileMap::mask(uint32_t word, Span columns) {
  const uint32_t first = std::max(columns.first, word * 64), behind = std::min(columns.behind, (word + 1) * 64);
  if (first >= behind) return 0;
  return (~uint64_t{0} >> (64 - (behind - first))) << first % 64;
}

void TileMap::set(const Rect& rect) {
  const Span columns = columns_of(rect), rows = rows_of(rect);
  for (uint32_t row = rows.first; row < rows.behind; ++row)
    for (uint32_t word = 0; word < kWordsPerRow; ++word) words_[row * kWordsPerRow + word] |= mask(word, columns);
}

void TileMap::clear(const Rect& rect) {
  const Span columns = columns_of(rect), rows = rows_of(rect);
  for (uint32_t row = rows.first; row < rows.behind; ++row)
    for (uint32_t word = 0; word < kWordsPerRow; ++word) words_[row * kWordsPerRow + word] &= ~mask(word, columns);
}

bool TileMap::any(const Rect& rect) const {
  const Span columns = columns_of(rect), rows = rows_of(rect);
  for (uint32_t row = rows.first; row < rows.behind; ++row)
    for (uint32_t word = 0; word < kWordsPerRow; ++word)
      if (words_[row * kWordsPerRow + word] & mask(word, columns)) return true;
  return false;
}

void TileMap::take(TileMap& from, const Rect& rect) {
  const Span columns = columns_of(rect), rows = rows_of(rect);
  for (uint32_t row = rows.first; row < rows.behind; ++row) {
    for (uint32_t word = 0; word < kWordsPerRow; ++word) {
      uint64_t& theirs = from.words_[row * kWordsPerRow + word];
      const uint64_t taken = theirs & mask(word, columns);
      theirs &= ~taken;
      words_[row * kWordsPerRow + word] |= taken;
    }
  }
}

bool TileMap::all_set(Span columns, uint32_t row) const {
  for (uint32_t word = columns.first / 64; word * 64 < columns.behind; ++word) {
    const uint64_t wanted = mask(word, columns);
    if ((words_[row * kWordsPerRow + word] & wanted) != wanted) return false;
  }
  return true;
}

// Each run of tiles in a row goes down as far as all of it is set; what it covers is done.
std::vector<Rect> TileMap::rects(const Rect& within) const {
  std::vector<Rect> found;
  TileMap left = *this;
  const Span columns = columns_of(within), rows = rows_of(within);
  for (uint32_t row = rows.first; row < rows.behind; ++row) {
    for (uint32_t column = columns.first; column < columns.behind; ++column) {
      if (!left.is_set(column, row)) continue;
      Span run{column, column + 1};
      while (run.behind < columns.behind && left.is_set(run.behind, row)) ++run.behind;
      uint32_t behind = row + 1;
      while (behind < rows.behind && left.all_set(run, behind)) ++behind;
      const Rect tiles{run.first * kTile, row * kTile, (run.behind - run.first) * kTile, (behind - row) * kTile};
      left.clear(tiles);
      found.push_back(intersection(tiles, within));
      column = run.behind;
    }
  }
  return found;
}

}  // namespace skerry::display
