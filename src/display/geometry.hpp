// Rectangles of pixels. The first column and row are 0; a rectangle without width or height is empty.
#pragma once

#include <algorithm>
#include <cstdint>

namespace skerry::display {

// The largest screen: what a guest may ask for at the most.
constexpr uint32_t kMaxWidth = 8192, kMaxHeight = 8192;

struct Rect {
  uint32_t x = 0, y = 0, width = 0, height = 0;

  bool empty() const { return width == 0 || height == 0; }
  uint64_t right() const { return uint64_t{x} + width; }    // the first column behind it
  uint64_t bottom() const { return uint64_t{y} + height; }  // the first row below it
  uint64_t area() const { return uint64_t{width} * height; }
  bool contains(const Rect& other) const {
    return other.x >= x && other.y >= y && other.right() <= right() && other.bottom() <= bottom();
  }
  bool operator==(const Rect&) const = default;
};

// What both have; any numbers are allowed.
inline Rect intersection(const Rect& a, const Rect& b) {
  const uint64_t x = std::max(a.x, b.x), y = std::max(a.y, b.y);
  const uint64_t right = std::min(a.right(), b.right()), bottom = std::min(a.bottom(), b.bottom());
  if (right <= x || bottom <= y) return {};
  return {static_cast<uint32_t>(x), static_cast<uint32_t>(y), static_cast<uint32_t>(right - x),
          static_cast<uint32_t>(bottom - y)};
}

// The smallest that has both; of rectangles on a screen.
inline Rect bounding(const Rect& a, const Rect& b) {
  if (a.empty()) return b;
  if (b.empty()) return a;
  const uint32_t x = std::min(a.x, b.x), y = std::min(a.y, b.y);
  return {x, y, static_cast<uint32_t>(std::max(a.right(), b.right()) - x),
          static_cast<uint32_t>(std::max(a.bottom(), b.bottom()) - y)};
}

}  // namespace skerry::display
