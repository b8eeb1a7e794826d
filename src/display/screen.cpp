#include "display/screen.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

namespace skerry::display {

namespace {

constexpr uint32_t kColour = 0x00ff'ffff;

Result<void> check(Screen::Size size) {
  if (size.width >= 1 && size.height >= 1 && size.width <= kMaxWidth && size.height <= kMaxHeight) return ok();
  return error("a screen of {} x {} pixels: it may have from 1 x 1 to {} x {}", size.width, size.height, kMaxWidth,
               kMaxHeight);
}

// `above` with colours multiplied by alpha, on `below`.
uint32_t blend(uint32_t above, uint32_t below) {
  const uint32_t through = 255 - (above >> 24);
  uint32_t result = 0;
  for (unsigned shift = 0; shift < 24; shift += 8) {
    const uint32_t colour = (above >> shift & 0xff) + ((below >> shift & 0xff) * through + 127) / 255;
    result |= std::min<uint32_t>(colour, 255) << shift;
  }
  return result;
}

}  // namespace

Result<Screen::Pixels> Screen::Pixels::allocate(size_t count) {
  void* start = ::mmap(nullptr, count * sizeof(uint32_t), PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (start == MAP_FAILED) return errno_error(errno, fmt::format("cannot get memory for {} pixels", count));
  Pixels pixels;
  pixels.start_ = static_cast<uint32_t*>(start);
  pixels.count_ = count;
  return pixels;
}

Screen::Pixels::~Pixels() {
  if (start_) ::munmap(start_, count_ * sizeof(uint32_t));
}

Result<std::unique_ptr<Screen>> Screen::create(Size size) {
  std::unique_ptr<Screen> screen(new Screen);
  if (auto resized = screen->resize(size); !resized) return std::move(resized).error();
  return screen;
}

Screen::~Screen() = default;

Result<void> Screen::resize(Size size) {
  if (auto checked = check(size); !checked) return checked;
  if (size == this->size()) return ok();
  auto pixels = Pixels::allocate(size_t{size.width} * size.height);
  if (!pixels) return std::move(pixels).error();
  std::lock_guard guard(lock_);
  pixels_ = std::move(*pixels);
  size_ = size;
  for (ScreenView* view : views_) {
    view->dirty({0, 0, kMaxWidth, kMaxHeight});
    view->copies_.clear();
  }
  tell();
  return ok();
}

Screen::Size Screen::size() const {
  std::lock_guard guard(lock_);
  return size_;
}

void Screen::set_source(std::function<void()> draw) {
  std::lock_guard guard(refresh_lock_);
  draw_ = std::move(draw);
}

bool Screen::refresh() {
  std::lock_guard refreshing(refresh_lock_);
  if (draw_) draw_();
  std::lock_guard guard(lock_);
  return std::exchange(changes_seen_, changes_) != changes_;
}

void Screen::set_sizer(std::function<bool(Size)> ask) {
  std::lock_guard guard(sizer_lock_);
  ask_ = std::move(ask);
}

bool Screen::ask_for_size(Size size) {
  if (!check(size)) return false;
  std::lock_guard guard(sizer_lock_);
  return ask_ && ask_(size);
}

void Screen::set_listener(std::function<void()> listener) {
  std::lock_guard guard(lock_);
  listener_ = std::move(listener);
}

// One row's pixels within the screen. Compared tile by tile: devices that learn by the page what has been drawn pass on
// much that is as it was.
bool Screen::take_row(uint32_t x, uint32_t y, const uint32_t* from, uint32_t count) {
  bool changed = false;
  while (count != 0) {
    const uint32_t part = std::min(count, TileMap::kTile - x % TileMap::kTile);
    uint32_t* to = at(x, y);
    if (std::memcmp(to, from, part * sizeof *from) != 0) {
      std::memcpy(to, from, part * sizeof *from);
      for (ScreenView* view : views_) view->dirty_.set_tile(x / TileMap::kTile, y / TileMap::kTile);
      changed = true;
    }
    x += part;
    from += part;
    count -= part;
  }
  return changed;
}

void Screen::update(const Rect& where, std::span<const uint32_t> pixels, size_t stride) {
  if (where.empty() || stride < where.width || pixels.size() < where.width ||
      (pixels.size() - where.width) / stride < where.height - 1)
    return;
  std::lock_guard guard(lock_);
  const Rect inside = intersection(where, size_.rect());
  bool changed = false;
  for (uint32_t row = 0; row < inside.height; ++row)
    changed |= take_row(inside.x, inside.y + row, pixels.data() + row * stride, inside.width);
  if (changed) tell();
}

void Screen::fill(const Rect& where, uint32_t pixel) {
  std::lock_guard guard(lock_);
  const Rect inside = intersection(where, size_.rect());
  if (inside.empty()) return;
  for (uint32_t row = 0; row < inside.height; ++row) std::fill_n(at(inside.x, inside.y + row), inside.width, pixel);
  for (ScreenView* view : views_) view->dirty(inside);
  tell();
}

void Screen::move_pixels(const Rect& from, uint32_t x, uint32_t y) {
  const bool upwards = y <= from.y;  // a row that is still to be read is not written to
  for (uint32_t n = 0; n < from.height; ++n) {
    const uint32_t row = upwards ? n : from.height - 1 - n;
    std::memmove(at(x, y + row), at(from.x, from.y + row), from.width * sizeof(uint32_t));
  }
}

void Screen::copy(const Rect& from, uint32_t x, uint32_t y) {
  std::lock_guard guard(lock_);
  const Rect to = intersection({x, y, from.width, from.height}, size_.rect());
  // What comes from outside of the screen does not count, nor does where it would go.
  const Rect source = intersection({from.x, from.y, to.width, to.height}, size_.rect());
  const Rect target{x, y, source.width, source.height};
  if (source.empty() || (source.x == x && source.y == y)) return;
  move_pixels(source, x, y);
  for (ScreenView* view : views_) view->copied(source, target);
  tell();
}

void Screen::read(const Rect& where, std::span<uint32_t> pixels, bool with_cursor) const {
  std::lock_guard guard(lock_);
  read_pixels(where, pixels, with_cursor);
}

void Screen::read_pixels(const Rect& where, std::span<uint32_t> pixels, bool with_cursor) const {
  if (where.empty() || where.area() > std::min<size_t>(pixels.size(), kReadAtOnce)) return;
  const Rect inside = intersection(where, size_.rect());
  if (inside != where) std::fill_n(pixels.begin(), where.area(), 0);
  for (uint32_t row = inside.y; row < inside.bottom(); ++row) {
    const uint32_t* from = at(inside.x, row);
    uint32_t* to = pixels.data() + size_t{row - where.y} * where.width + (inside.x - where.x);
    for (uint32_t column = 0; column < inside.width; ++column) to[column] = from[column] & kColour;
  }
  if (with_cursor) draw_cursor(where, pixels);
}

// --- the cursor ------------------------------------------------------------------------------------------------------

// Its part of the screen; empty if it is not to be seen.
Rect Screen::cursor_rect() const {
  if (!cursor_ || !cursor_visible_) return {};
  const int64_t left = int64_t{cursor_x_} - cursor_->hot_x, top = int64_t{cursor_y_} - cursor_->hot_y;
  const int64_t right = std::min<int64_t>(left + cursor_->width, size_.width);
  const int64_t bottom = std::min<int64_t>(top + cursor_->height, size_.height);
  const int64_t x = std::max<int64_t>(left, 0), y = std::max<int64_t>(top, 0);
  if (right <= x || bottom <= y) return {};
  return {static_cast<uint32_t>(x), static_cast<uint32_t>(y), static_cast<uint32_t>(right - x),
          static_cast<uint32_t>(bottom - y)};
}

void Screen::draw_cursor(const Rect& where, std::span<uint32_t> pixels) const {
  const Rect part = intersection(cursor_rect(), where);
  for (uint32_t y = part.y; y < part.bottom(); ++y) {
    for (uint32_t x = part.x; x < part.right(); ++x) {
      const size_t row = static_cast<size_t>(int64_t{y} - cursor_y_ + cursor_->hot_y);
      const size_t column = static_cast<size_t>(int64_t{x} - cursor_x_ + cursor_->hot_x);
      uint32_t& pixel = pixels[size_t{y - where.y} * where.width + (x - where.x)];
      pixel = blend(cursor_->argb[row * cursor_->width + column], pixel);
    }
  }
}

template <typename Change>
void Screen::change_cursor(bool new_image, Change change) {
  std::lock_guard guard(lock_);
  const Rect before = cursor_rect();
  change();
  const Rect after = cursor_rect();
  if (!new_image && before == after) return;
  for (ScreenView* view : views_) {
    view->cursor_changed_ |= new_image;
    if (view->can_show_cursor_) continue;
    view->dirty(before);
    view->dirty(after);
  }
  tell();
}

Result<void> Screen::set_cursor(Cursor cursor) {
  const bool none = cursor.width == 0 || cursor.height == 0;
  if (!none && (cursor.width > Cursor::kMaxSide || cursor.height > Cursor::kMaxSide || cursor.hot_x >= cursor.width ||
                cursor.hot_y >= cursor.height || cursor.argb.size() != size_t{cursor.width} * cursor.height))
    return error("a cursor of {} x {} pixels with its hot spot at {}, {}: it may have {} x {}, the hot spot within",
                 cursor.width, cursor.height, cursor.hot_x, cursor.hot_y, Cursor::kMaxSide, Cursor::kMaxSide);
  auto image = none ? nullptr : std::make_shared<const Cursor>(std::move(cursor));
  change_cursor(true, [&] { cursor_ = std::move(image); });
  return ok();
}

void Screen::move_cursor(int32_t x, int32_t y) {
  change_cursor(false, [&] {
    cursor_x_ = x;
    cursor_y_ = y;
  });
}

void Screen::show_cursor(bool visible) {
  change_cursor(true, [&] { cursor_visible_ = visible; });
}

// --- views -----------------------------------------------------------------------------------------------------------

ScreenView::ScreenView(Screen& screen) : screen_(screen) {
  std::lock_guard guard(screen_.lock_);
  size_ = screen_.size_;
  dirty_.set({0, 0, kMaxWidth, kMaxHeight});
  screen_.views_.push_back(this);
}

ScreenView::~ScreenView() {
  std::lock_guard guard(screen_.lock_);
  std::erase(screen_.views_, this);
}

void ScreenView::can(bool copies, bool cursor) {
  std::lock_guard guard(screen_.lock_);
  can_copy_ = copies;
  if (!can_copy_) {
    for (const Copy& copy : copies_) dirty(copy.to);
    copies_.clear();
  }
  if (can_show_cursor_ != cursor) dirty(screen_.cursor_rect());
  can_show_cursor_ = cursor;
  cursor_changed_ = true;
}

void ScreenView::set_size(Screen::Size size) {
  std::lock_guard guard(screen_.lock_);
  size_ = size;
}

void ScreenView::forget(const Rect& rect) {
  std::lock_guard guard(screen_.lock_);
  dirty(rect);
}

// What the viewer has of the source is what the screen has, or the copy would be a copy of something else. That includes
// what has been taken and not been read: it will be sent as it is then, before the copy.
void ScreenView::copied(const Rect& from, const Rect& to) {
  const Rect known = size_.rect();
  const bool can = can_copy_ && copies_.size() < kMaxCopies && known.contains(from) &&
                   known.contains(to) && current(from) &&
                   // a cursor that is drawn into the picture would be copied with it
                   (can_show_cursor_ || intersection(screen_.cursor_rect(), bounding(from, to)).empty());
  if (can)
    copies_.push_back({to, from.x, from.y});
  else
    dirty(to);
}

ScreenView::News ScreenView::take(const Rect& wanted) {
  std::lock_guard guard(screen_.lock_);
  News news;
  news.cursor_changed = std::exchange(cursor_changed_, false);
  if (screen_.cursor_visible_) news.cursor = screen_.cursor_;
  news.copies = std::exchange(copies_, {});
  sending_.take(dirty_, intersection(wanted, size_.rect()));
  news.rects = sending_.rects(size_.rect());
  return news;
}

void ScreenView::read(const Rect& rect, std::span<uint32_t> pixels) {
  std::lock_guard guard(screen_.lock_);
  sending_.clear(rect);
  screen_.read_pixels(rect, pixels, !can_show_cursor_);
}

}  // namespace skerry::display
