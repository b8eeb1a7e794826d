#include "display/screen.hpp"

#include <gtest/gtest.h>
#include <png.h>

#include <array>
#include <atomic>
#include <random>
#include <thread>

#include "display/png.hpp"
#include "unit/display/chance.hpp"

namespace skerry::display::test {
namespace {

std::unique_ptr<Screen> screen_of(uint32_t width, uint32_t height) { return Screen::create({width, height}).value(); }

std::vector<uint32_t> pixels_of(const Screen& screen, const Rect& rect, bool with_cursor = false) {
  std::vector<uint32_t> pixels(rect.area(), 0x12345678);
  screen.read(rect, pixels, with_cursor);
  return pixels;
}

bool covered(const std::vector<Rect>& rects, uint32_t x, uint32_t y) {
  return std::any_of(rects.begin(), rects.end(), [&](const Rect& rect) { return rect.contains({x, y, 1, 1}); });
}

// Takes what is new, reads it, and says what it was.
std::vector<Rect> take_all(ScreenView& view) {
  const auto news = view.take({0, 0, kMaxWidth, kMaxHeight});
  std::vector<uint32_t> pixels(Screen::kReadAtOnce);
  for (const Rect& rect : news.rects) view.read(rect, pixels);
  return news.rects;
}

// --- tiles -----------------------------------------------------------------------------------------------------------

TEST(TileMap, GivesRectanglesThatCoverExactlyWhatWasSet) {
  Chance random(7);
  for (int round = 0; round < 20; ++round) {
    TileMap tiles;
    const Rect within{0, 0, 1 + random(350), 1 + random(350)};
    std::array<std::array<int, 16>, 16> expected{};
    for (int n = 0; n < 12; ++n) {
      const Rect rect{random(400), random(400), random(90), random(70)};
      tiles.set(rect);
      for (uint32_t y = rect.y / 32; !rect.empty() && y * 32 < rect.bottom(); ++y)
        for (uint32_t x = rect.x / 32; x * 32 < rect.right(); ++x) expected[y][x] = 1;
    }
    std::vector<int> found(within.area());
    for (const Rect& rect : tiles.rects(within)) {
      EXPECT_TRUE(within.contains(rect));
      EXPECT_FALSE(rect.empty());
      for (uint32_t y = rect.y; y < rect.bottom(); ++y)
        for (uint32_t x = rect.x; x < rect.right(); ++x) ++found[y * within.width + x];
    }
    unsigned wrong = 0;
    for (uint32_t y = 0; y < within.height; ++y)
      for (uint32_t x = 0; x < within.width; ++x)
        wrong += found[y * within.width + x] != expected[y / 32][x / 32];
    ASSERT_EQ(wrong, 0u);
  }
}

TEST(TileMap, TakesAnyRectangle) {
  TileMap tiles;
  tiles.set({0, 0, kMaxWidth, kMaxHeight});
  const Rect all{0, 0, kMaxWidth, kMaxHeight};
  EXPECT_EQ(tiles.rects(all), std::vector<Rect>{all});
  tiles.clear({kMaxWidth - 1, kMaxHeight - 1, 0xffffffff, 0xffffffff});
  EXPECT_FALSE(tiles.any({kMaxWidth - 32, kMaxHeight - 32, 32, 32}));
  EXPECT_TRUE(tiles.any({kMaxWidth - 33, kMaxHeight - 33, 1, 1}));
  tiles.set({0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff});
  EXPECT_FALSE(tiles.any({0xffffffff, 0, 5, 5}));
  EXPECT_FALSE(tiles.any({5, 5, 0, 5}));
  TileMap other;
  other.take(tiles, {64, 64, 64, 32});
  EXPECT_EQ(other.rects(all), (std::vector<Rect>{{64, 64, 64, 32}}));
  EXPECT_FALSE(tiles.any({64, 64, 64, 32}));
}

// --- the screen ------------------------------------------------------------------------------------------------------

TEST(Screen, RefusesSizesThatAreNone) {
  for (const Screen::Size size : {Screen::Size{0, 5}, {5, 0}, {kMaxWidth + 1, 5}, {5, kMaxHeight + 1}, {~0u, ~0u}}) {
    EXPECT_FALSE(Screen::create(size));
    auto screen = screen_of(10, 10);
    EXPECT_FALSE(screen->resize(size));
    EXPECT_EQ(screen->size(), (Screen::Size{10, 10}));
  }
  EXPECT_TRUE(Screen::create({kMaxWidth, kMaxHeight}));
}

TEST(Screen, ShowsWhatIsDrawnAndNothingOutside) {
  auto screen = screen_of(100, 50);
  EXPECT_EQ(pixels_of(*screen, {0, 0, 2, 1}), (std::vector<uint32_t>{0, 0})) << "black at first";
  const std::vector<uint32_t> drawn = {0xff000001, 2, 3, 99, 4, 5, 6, 99};
  screen->update({98, 49, 3, 2}, drawn, 4);
  EXPECT_EQ(pixels_of(*screen, {97, 49, 4, 2}), (std::vector<uint32_t>{0, 1, 2, 0, 0, 0, 0, 0}));
  screen->fill({0, 0, 1000, 1}, 0xaa112233);
  EXPECT_EQ(pixels_of(*screen, {99, 0, 2, 2}), (std::vector<uint32_t>{0x112233, 0, 0, 0}));
  // Of what is too little nothing is drawn.
  screen->update({0, 0, 3, 2}, std::span(drawn).first(6), 4);
  screen->update({0, 0, 5, 1}, drawn, 4);
  screen->update({0, 0, 0xffffffff, 0xffffffff}, drawn, 0xffffffff);
  EXPECT_EQ(pixels_of(*screen, {0, 0, 1, 1})[0], 0x112233u);
}

TEST(Screen, CopiesOverlappingAreas) {
  Chance random(3);
  for (int round = 0; round < 300; ++round) {
    auto screen = screen_of(20, 20);
    std::vector<uint32_t> expected(400);
    for (uint32_t& pixel : expected) pixel = random.any() & 0xffffff;
    screen->update({0, 0, 20, 20}, expected, 20);
    const Rect from{random(25), random(25), random(25), random(25)};
    const uint32_t x = random(25), y = random(25);
    const auto before = expected;
    for (uint32_t row = 0; row < from.height; ++row)
      for (uint32_t column = 0; column < from.width; ++column)
        if (from.x + column < 20 && from.y + row < 20 && x + column < 20 && y + row < 20)
          expected[(y + row) * 20 + x + column] = before[(from.y + row) * 20 + from.x + column];
    screen->copy(from, x, y);
    ASSERT_EQ(pixels_of(*screen, {0, 0, 20, 20}), expected);
  }
}

TEST(Screen, IsBlackAfterAResize) {
  auto screen = screen_of(10, 10);
  screen->fill({0, 0, 10, 10}, 0x445566);
  ASSERT_TRUE(screen->resize({10, 10}));
  EXPECT_EQ(pixels_of(*screen, {9, 9, 1, 1})[0], 0x445566u) << "the same size is no resize";
  ASSERT_TRUE(screen->resize({20, 5}));
  EXPECT_EQ(pixels_of(*screen, {0, 0, 20, 5}), std::vector<uint32_t>(100, 0));
}

TEST(Screen, TellsItsListenerOfChangesOnly) {
  auto screen = screen_of(64, 64);
  int told = 0;
  screen->set_listener([&] { ++told; });
  const std::vector<uint32_t> pixel = {7};
  screen->update({5, 5, 1, 1}, pixel, 1);
  EXPECT_EQ(told, 1);
  screen->update({5, 5, 1, 1}, pixel, 1);
  EXPECT_EQ(told, 1) << "it was so already";
  ASSERT_TRUE(screen->resize({32, 32}));
  screen->move_cursor(3, 3);
  EXPECT_EQ(told, 2) << "there is no cursor";
  screen->set_listener({});
  screen->fill({0, 0, 5, 5}, 1);
  EXPECT_EQ(told, 2);
}

// --- the cursor ------------------------------------------------------------------------------------------------------

Cursor red_square() {
  Cursor cursor{4, 4, 1, 1, std::vector<uint32_t>(16, 0xffff0000)};
  cursor.argb[0] = 0;           // through which one sees
  cursor.argb[5] = 0x80400000;  // half
  return cursor;
}

TEST(Screen, DrawsTheCursorWhereItIs) {
  auto screen = screen_of(10, 10);
  screen->fill({0, 0, 10, 10}, 0x0000ff);
  ASSERT_TRUE(screen->set_cursor(red_square()));
  screen->move_cursor(5, 5);
  EXPECT_EQ(pixels_of(*screen, {3, 4, 4, 2}, true),
            (std::vector<uint32_t>{0x0000ff, 0x0000ff, 0xff0000, 0xff0000, 0x0000ff, 0xff0000, 0x40007f, 0xff0000}));
  EXPECT_EQ(pixels_of(*screen, {5, 4, 1, 1})[0], 0x0000ffu) << "it is not in the picture";
  for (const auto& [x, y] : {std::pair{-100, 5}, {5, -100}, {100, 100}, {INT32_MIN, INT32_MAX}, {INT32_MAX, INT32_MIN}}) {
    screen->move_cursor(x, y);
    EXPECT_EQ(pixels_of(*screen, {0, 0, 10, 10}, true), std::vector<uint32_t>(100, 0x0000ff));
  }
  screen->move_cursor(-1, -1);
  EXPECT_EQ(pixels_of(*screen, {0, 0, 3, 3}, true),
            (std::vector<uint32_t>{0xff0000, 0xff0000, 0x0000ff, 0xff0000, 0xff0000, 0x0000ff, 0x0000ff, 0x0000ff, 0x0000ff}));
  screen->show_cursor(false);
  EXPECT_EQ(pixels_of(*screen, {0, 0, 10, 10}, true), std::vector<uint32_t>(100, 0x0000ff));
}

TEST(Screen, RefusesCursorsThatBreakTheirLimits) {
  auto screen = screen_of(10, 10);
  EXPECT_FALSE(screen->set_cursor({257, 1, 0, 0, std::vector<uint32_t>(257)}));
  EXPECT_FALSE(screen->set_cursor({4, 4, 4, 0, std::vector<uint32_t>(16)}));
  EXPECT_FALSE(screen->set_cursor({4, 4, 0, 0, std::vector<uint32_t>(15)}));
  EXPECT_TRUE(screen->set_cursor({}));
}

// --- views -----------------------------------------------------------------------------------------------------------

TEST(ScreenView, TellsOnceWhatIsNew) {
  auto screen = screen_of(100, 100);
  ScreenView view(*screen);
  EXPECT_EQ(take_all(view), (std::vector<Rect>{{0, 0, 100, 100}})) << "at first everything";
  EXPECT_TRUE(take_all(view).empty());
  screen->fill({40, 40, 1, 1}, 5);
  EXPECT_EQ(take_all(view), (std::vector<Rect>{{32, 32, 32, 32}}));
  screen->fill({95, 95, 5, 5}, 5);
  EXPECT_TRUE(view.take({0, 0, 60, 60}).rects.empty()) << "not asked for";
  EXPECT_EQ(take_all(view), (std::vector<Rect>{{64, 64, 36, 36}}));
  view.forget({0, 0, 1, 1});
  EXPECT_EQ(take_all(view), (std::vector<Rect>{{0, 0, 32, 32}}));
}

TEST(ScreenView, HasWhatIsDrawnBetweenTakingAndReadingInOneOfBoth) {
  auto screen = screen_of(64, 64);
  ScreenView view(*screen);
  const auto news = view.take({0, 0, 64, 64});
  screen->fill({0, 0, 1, 1}, 0x10);
  std::vector<uint32_t> pixels(64 * 64);
  view.read(news.rects.at(0), pixels);
  EXPECT_EQ(pixels[0], 0x10u);
  EXPECT_EQ(take_all(view), (std::vector<Rect>{{0, 0, 32, 32}}));
}

TEST(ScreenView, PassesOnCopiesOnlyOfWhatTheViewerHas) {
  auto screen = screen_of(256, 256);
  ScreenView view(*screen);
  view.can(true, true);
  const Rect all{0, 0, 256, 256};
  screen->copy({0, 0, 64, 64}, 128, 128);
  EXPECT_TRUE(view.take(all).copies.empty()) << "the viewer has nothing yet";
  std::vector<uint32_t> pixels(256 * 256);
  view.read(all, pixels);

  screen->copy({0, 0, 64, 64}, 128, 128);
  auto news = view.take(all);
  ASSERT_EQ(news.copies.size(), 1u);
  EXPECT_EQ(news.copies[0].to, (Rect{128, 128, 64, 64}));
  EXPECT_TRUE(news.rects.empty());

  screen->fill({10, 10, 1, 1}, 1);
  screen->copy({0, 0, 64, 64}, 128, 128);
  news = view.take(all);
  EXPECT_TRUE(news.copies.empty()) << "the source is new to the viewer";
  EXPECT_TRUE(covered(news.rects, 128, 128));

  screen->copy({0, 0, 64, 64}, 192, 0);  // taken, not read: it will be sent before this copy, but as it is later
  for (const Rect& rect : news.rects) view.read(rect, pixels);
  news = view.take(all);
  EXPECT_TRUE(news.copies.empty());
  EXPECT_TRUE(covered(news.rects, 192, 0));
  for (const Rect& rect : news.rects) view.read(rect, pixels);

  for (size_t n = 0; n < 2 * ScreenView::kMaxCopies; ++n) screen->copy({0, 0, 64, 64}, 64, 64);
  news = view.take(all);
  EXPECT_EQ(news.copies.size(), ScreenView::kMaxCopies);
  EXPECT_TRUE(covered(news.rects, 64, 64));
}

// A viewer that does as it is told has, whenever it has been told everything, what the screen has.
TEST(ScreenView, LetsAViewerFollowAnySequenceOfChanges) {
  const uint64_t seed = std::random_device{}();
  SCOPED_TRACE(seed);
  Chance random(seed);
  const auto any = [&](uint32_t below) { return random(below); };
  auto screen = screen_of(200, 150);
  ScreenView view(*screen);
  view.can(true, false);  // the cursor is drawn into the picture
  std::vector<uint32_t> has(200 * 150), part(Screen::kReadAtOnce);
  const auto change = [&] {
    switch (any(6)) {
      case 0: return screen->fill({any(250), any(200), any(90), any(90)}, any(0x1000000));
      case 1: return screen->move_cursor(static_cast<int32_t>(any(220)) - 10, static_cast<int32_t>(any(170)) - 10);
      case 2: return (void)screen->set_cursor(any(3) ? red_square() : Cursor{});
      default: return screen->copy({any(200), any(150), any(100), any(100)}, any(200), any(150));
    }
  };
  for (int round = 0; round < 3000; ++round) {
    for (uint32_t n = random(3); n != 0; --n) change();
    const auto news = view.take({0, 0, 200, 150});
    for (const auto& copy : news.copies) {
      const auto before = has;
      for (uint32_t y = 0; y < copy.to.height; ++y)
        for (uint32_t x = 0; x < copy.to.width; ++x)
          has[(copy.to.y + y) * 200 + copy.to.x + x] = before[(copy.from_y + y) * 200 + copy.from_x + x];
    }
    for (const Rect& rect : news.rects) {
      if (random(2)) change();
      view.read(rect, part);
      for (uint32_t y = 0; y < rect.height; ++y)
        std::copy_n(&part[y * rect.width], rect.width, &has[(rect.y + y) * 200 + rect.x]);
    }
    if (random(4)) continue;
    for (int more = 0; more < 3; ++more) {  // until nothing is left
      const auto rest = view.take({0, 0, 200, 150});
      for (const auto& copy : rest.copies) {
        const auto before = has;
        for (uint32_t y = 0; y < copy.to.height; ++y)
          for (uint32_t x = 0; x < copy.to.width; ++x)
            has[(copy.to.y + y) * 200 + copy.to.x + x] = before[(copy.from_y + y) * 200 + copy.from_x + x];
      }
      for (const Rect& rect : rest.rects) {
        view.read(rect, part);
        for (uint32_t y = 0; y < rect.height; ++y)
          std::copy_n(&part[y * rect.width], rect.width, &has[(rect.y + y) * 200 + rect.x]);
      }
    }
    ASSERT_EQ(has, pixels_of(*screen, {0, 0, 200, 150}, true)) << "round " << round;
  }
}

TEST(Screen, MayBeDrawnToByManyThreadsWhileItIsReadAndResized) {
  auto screen = screen_of(300, 300);
  std::atomic<bool> stop{false};
  std::array<std::atomic<unsigned>, 3> drawn{};
  std::vector<std::thread> threads;
  for (unsigned n = 0; n < drawn.size(); ++n) {
    threads.emplace_back([&, n] {
      Chance random(n);
      const std::vector<uint32_t> pixels(100 * 100, n);
      while (!stop) {
        screen->update({random(400), random(400), 100, 100}, pixels, 100);
        screen->copy({random(400), random(400), 50, 50}, random(400), random(400));
        ++drawn[n];
        if (n == 0 && !screen->resize({1 + random(500), 1 + random(500)})) ADD_FAILURE() << "no resize";
      }
    });
  }
  ScreenView view(*screen);
  std::vector<uint32_t> pixels(Screen::kReadAtOnce);
  while (std::any_of(drawn.begin(), drawn.end(), [](const auto& count) { return count < 500; })) {
    view.set_size(screen->size());
    for (const Rect& rect : view.take({0, 0, kMaxWidth, kMaxHeight}).rects) view.read(rect, pixels);
  }
  stop = true;
  for (std::thread& thread : threads) thread.join();
}

// --- PNG -------------------------------------------------------------------------------------------------------------

TEST(Png, IsReadByLibpng) {
  for (const Screen::Size size : {Screen::Size{1, 1}, {3, 700}, {1033, 517}}) {
    auto screen = screen_of(size.width, size.height);
    Chance random(size.width);
    std::vector<uint32_t> drawn(size_t{size.width} * size.height);
    for (size_t n = 0; n < drawn.size(); ++n) drawn[n] = n % 5 ? drawn[n ? n - 1 : 0] : random.any();
    screen->update(size.rect(), drawn, size.width);
    auto png = png_of(*screen);
    ASSERT_TRUE(png);
    png_image image{};
    image.version = PNG_IMAGE_VERSION;
    ASSERT_TRUE(::png_image_begin_read_from_memory(&image, png->data(), png->size())) << image.message;
    EXPECT_EQ(image.width, size.width);
    EXPECT_EQ(image.height, size.height);
    EXPECT_EQ(image.format, unsigned{PNG_FORMAT_RGB});
    std::vector<uint8_t> rgb(PNG_IMAGE_SIZE(image));
    ASSERT_TRUE(::png_image_finish_read(&image, nullptr, rgb.data(), 0, nullptr)) << image.message;
    for (size_t n = 0; n < drawn.size(); ++n)
      ASSERT_EQ(uint32_t{rgb[3 * n]} << 16 | uint32_t{rgb[3 * n + 1]} << 8 | rgb[3 * n + 2], drawn[n] & 0xffffff) << n;
  }
}

TEST(Screen, ARefreshHasTheDeviceDrawAndSaysWhetherThatChangedAnything) {
  auto screen = Screen::create({16, 16});
  ASSERT_TRUE(screen);
  EXPECT_TRUE((*screen)->refresh()) << "all of it is new";
  EXPECT_FALSE((*screen)->refresh());
  std::array<uint32_t, 1> pixel = {0x123456};
  (*screen)->set_source([&] { (*screen)->update({3, 3, 1, 1}, pixel, 1); });
  EXPECT_TRUE((*screen)->refresh());
  EXPECT_FALSE((*screen)->refresh()) << "the same again";
  (*screen)->fill({0, 0, 1, 1}, 1);
  EXPECT_TRUE((*screen)->refresh());
  (*screen)->set_source({});
  pixel[0] = 0;
  EXPECT_FALSE((*screen)->refresh());
}

TEST(Screen, AsksForAnotherSizeWhereThereIsAWay) {
  auto screen = *Screen::create({8, 8});
  EXPECT_FALSE(screen->ask_for_size({100, 100}));
  Screen::Size asked;
  screen->set_sizer([&](Screen::Size size) {
    asked = size;
    return true;
  });
  EXPECT_TRUE(screen->ask_for_size({100, 200}));
  EXPECT_EQ(asked, (Screen::Size{100, 200}));
  EXPECT_FALSE(screen->ask_for_size({0, 200})) << "no screen has that";
  EXPECT_FALSE(screen->ask_for_size({100, kMaxHeight + 1}));
  EXPECT_EQ(asked, (Screen::Size{100, 200}));
  screen->set_sizer({});
  EXPECT_FALSE(screen->ask_for_size({100, 100}));
  EXPECT_EQ(screen->size(), (Screen::Size{8, 8}));
}

}  // namespace
}  // namespace skerry::display::test
