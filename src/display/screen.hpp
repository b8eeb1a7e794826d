// The frame buffer: what a display device of the guest draws to, and what viewers and screen dumps read.
//
// Pixels are XRGB8888: 0x00RRGGBB in a 32-bit word of the host; the uppermost byte means nothing. They are in memory of
// the Screen, of which the host provides what has been drawn to.
//
// Threads: everything may be called from any thread. One lock, the Screen's, covers the pixels, the cursor and the views;
// devices may hold their own locks when they draw. Under it only the listener is called, which may take the event
// loop's lock and nothing else. It is held while pixels are copied in or out, and never while they are encoded: readers
// copy at most kReadAtOnce pixels at a time.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "base/result.hpp"
#include "display/geometry.hpp"
#include "display/tile_map.hpp"

namespace skerry::display {

// A pointer that the guest wants drawn above the screen. The pixels are ARGB8888 with colours multiplied by alpha, as in
// the cursor planes of Linux's DRM.
struct Cursor {
  static constexpr uint32_t kMaxSide = 256;
  uint32_t width = 0, height = 0;  // pixels, up to kMaxSide
  uint32_t hot_x = 0, hot_y = 0;   // the pixel that points, within the image
  std::vector<uint32_t> argb;      // width * height
};

class ScreenView;

class Screen {
 public:
  static constexpr uint32_t kReadAtOnce = 256 * 1024;  // pixels: 1 MiB

  struct Size {
    uint32_t width = 0, height = 0;
    bool operator==(const Size&) const = default;
    Rect rect() const { return {0, 0, width, height}; }
  };

  // A black screen. Fails if the size is not between 1 and kMaxWidth, kMaxHeight, or for want of memory.
  static Result<std::unique_ptr<Screen>> create(Size size);
  ~Screen();
  Screen(const Screen&) = delete;
  Screen& operator=(const Screen&) = delete;

  // The device's side. What is outside of the screen is left out, so a device need not know of a resize under way.

  // Another size makes the screen black; the same size changes nothing. On failure, as of create(), it stays as it was.
  Result<void> resize(Size size);
  // New pixels for `where`, row by row; from one row to the next it is `stride` pixels. `pixels` has at least
  // (height - 1) * stride + width of them, or nothing is drawn. Only what differs is passed to viewers.
  void update(const Rect& where, std::span<const uint32_t> pixels, size_t stride);
  void fill(const Rect& where, uint32_t pixel);
  // The pixels of `from` are to be at (x, y) too; the areas may overlap. Viewers that can copy get told just that.
  void copy(const Rect& from, uint32_t x, uint32_t y);
  // None, or one without pixels: no cursor. One that breaks its limits is refused.
  Result<void> set_cursor(Cursor cursor);
  void move_cursor(int32_t x, int32_t y);  // where the hot spot is; may be off the screen
  void show_cursor(bool visible);          // at first it is visible, once there is an image

  // Of a device whose guest draws to memory by itself, so that somebody has to ask for what it has drawn: `draw` is called by
  // refresh(), with no lock but refresh()'s held. An empty one ends that; when this returns the one before is not being called.
  void set_source(std::function<void()> draw);
  // Of a device that can ask its guest for another size: `ask` is called by ask_for_size(), with no lock but ask_for_size()'s
  // held, and says whether it does. An empty one ends that; when this returns the one before is not being called.
  void set_sizer(std::function<bool(Size)> ask);

  // The readers' side.

  // Has the device draw what it has not drawn yet. True: something has changed. Any thread.
  bool refresh();
  // Asks the guest for another size, if there is a way to. False: there is none. True: it may come, sooner or later. Any thread.
  bool ask_for_size(Size size);

  Size size() const;
  // Pixels of `where`, row by row without gaps, the uppermost byte 0; black where there is no screen. At most kReadAtOnce.
  void read(const Rect& where, std::span<uint32_t> pixels, bool with_cursor) const;
  // Called after each change, under the Screen's lock: it may do no more than post to an event loop. An empty one ends
  // that; when this returns the one before is not being called.
  void set_listener(std::function<void()> listener);

 private:
  friend class ScreenView;
  // Memory of the host that is black until it is drawn to.
  class Pixels {
   public:
    Pixels() = default;
    static Result<Pixels> allocate(size_t count);
    Pixels(Pixels&& other) noexcept : start_(std::exchange(other.start_, nullptr)), count_(other.count_) {}
    Pixels& operator=(Pixels&& other) noexcept {
      std::swap(start_, other.start_);
      std::swap(count_, other.count_);
      return *this;
    }
    ~Pixels();
    uint32_t* get() const { return start_; }

   private:
    uint32_t* start_ = nullptr;
    size_t count_ = 0;
  };

  Screen() = default;
  // With lock_ held.
  uint32_t* at(uint32_t x, uint32_t y) const { return pixels_.get() + size_t{y} * size_.width + x; }
  void tell() {
    ++changes_;
    if (listener_) listener_();
  }
  bool take_row(uint32_t x, uint32_t y, const uint32_t* from, uint32_t count);
  void move_pixels(const Rect& from, uint32_t x, uint32_t y);
  void read_pixels(const Rect& where, std::span<uint32_t> pixels, bool with_cursor) const;
  Rect cursor_rect() const;
  void draw_cursor(const Rect& where, std::span<uint32_t> pixels) const;
  template <typename Change>
  void change_cursor(bool new_image, Change change);

  std::mutex refresh_lock_;  // before lock_
  std::function<void()> draw_;
  uint64_t changes_seen_ = 0;

  std::mutex sizer_lock_;  // apart from the others
  std::function<bool(Size)> ask_;

  mutable std::mutex lock_;  // for everything that follows
  uint64_t changes_ = 0;
  Size size_;
  Pixels pixels_;
  std::shared_ptr<const Cursor> cursor_;
  int32_t cursor_x_ = 0, cursor_y_ = 0;
  bool cursor_visible_ = true;
  std::vector<ScreenView*> views_;
  std::function<void()> listener_;
};

// One viewer's account of what it has not been told. Belongs to one thread; ends before its Screen.
class ScreenView {
 public:
  static constexpr size_t kMaxCopies = 16;

  struct Copy {
    Rect to;
    uint32_t from_x, from_y;
  };
  // What is new.
  struct News {
    bool cursor_changed = false;            // its image, or whether there is one
    std::shared_ptr<const Cursor> cursor;  // that is to be shown now, or none
    std::vector<Copy> copies;  // to be done first, in this order
    std::vector<Rect> rects;   // then these to be read with read(): each of whole tiles, but at the edge of the viewer
  };

  explicit ScreenView(Screen& screen);  // everything is new to it
  ~ScreenView();
  ScreenView(const ScreenView&) = delete;
  ScreenView& operator=(const ScreenView&) = delete;

  // What the viewer can do: copy by itself; show the cursor by itself, else it is drawn into what read() gives.
  void can(bool copies, bool cursor);
  // What the viewer takes for the size of the screen; at first what it was then. What is outside of the screen is black.
  void set_size(Screen::Size size);
  Screen::Size viewer_size() const { return size_; }

  void forget(const Rect& rect);  // it is new again: the viewer wants all of it
  Screen::Size screen_size() const { return screen_.size(); }
  bool ask_for_size(Screen::Size size) { return screen_.ask_for_size(size); }
  // What is new, as far as it has to do with `wanted` and is within viewer_size(). Not to be called again before all of its
  // rects have been read. When the screen gets another size all of it is new.
  News take(const Rect& wanted);
  // Reads one of these rectangles, or a part that has whole tiles: at most kReadAtOnce pixels.
  void read(const Rect& rect, std::span<uint32_t> pixels);

 private:
  friend class Screen;
  // With the Screen's lock held.
  void dirty(const Rect& rect) { dirty_.set(rect); }
  void copied(const Rect& from, const Rect& to);
  bool current(const Rect& rect) const { return !dirty_.any(rect) && !sending_.any(rect); }

  Screen& screen_;
  Screen::Size size_;
  // Under the Screen's lock:
  TileMap dirty_;    // new, and not taken yet
  TileMap sending_;  // taken, and not read yet
  std::vector<Copy> copies_;
  bool cursor_changed_ = true;
  bool can_copy_ = false;
  bool can_show_cursor_ = false;
};

}  // namespace skerry::display
