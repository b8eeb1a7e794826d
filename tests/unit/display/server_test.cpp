// The server with viewers that do as they should; rfb_fuzz_test.cpp has the others.
#include "display/rfb_server.hpp"

#include <sys/resource.h>

#include <filesystem>

#include "display/rfb/vnc_auth.hpp"
#include "unit/display/chance.hpp"
#include "unit/display/server_rig.hpp"

namespace skerry::display::test {
namespace {

using namespace std::chrono_literals;

constexpr int32_t kRaw = 0, kCopyRect = 1, kTight = 7, kZrle = 16;
constexpr int32_t kDesktopSize = -223, kCursor = -239, kPointerMotion = -257, kExtendedKeys = -258, kLedState = -261,
                  kName = -307, kExtendedSize = -308;

void draw_something(Screen& screen, Chance& chance) {
  const Screen::Size size = screen.size();
  switch (chance(4)) {
    case 0: return screen.fill({chance(size.width), chance(size.height), chance(200), chance(200)}, chance.any());
    case 1: {
      const Rect from{chance(size.width), chance(size.height), chance(200), chance(100)};
      return screen.copy(from, chance(size.width), chance(size.height));
    }
    default: {
      const uint32_t width = 1 + chance(150), height = 1 + chance(150);
      std::vector<uint32_t> pixels(size_t{width} * height);
      const unsigned colours = 1 + chance(400);
      for (uint32_t& pixel : pixels) pixel = chance(colours) * 0x10307 & 0xffffff;
      screen.update({chance(size.width), chance(size.height), width, height}, pixels, width);
    }
  }
}

// --- pictures --------------------------------------------------------------------------------------------------------

TEST(RfbServer, SaysWhatItShows) {
  ServerRig rig;
  auto viewer = rig.connect();
  viewer->log_in();
  EXPECT_EQ(viewer->canvas.width, 320u);
  EXPECT_EQ(viewer->canvas.height, 200u);
  EXPECT_EQ(viewer->name, "a guest");
  EXPECT_EQ(viewer->decoder.format, rfb::PixelFormat());
  EXPECT_EQ(viewer->security, "none");
}

class EachEncoding : public testing::TestWithParam<int32_t> {};

TEST_P(EachEncoding, FollowsTheScreen) {
  const uint64_t seed = std::random_device{}();
  SCOPED_TRACE(seed);
  Chance chance(seed);
  ServerRig rig;
  auto viewer = rig.viewer({GetParam(), kCopyRect, kCursor, kDesktopSize});
  viewer->send_request(false);
  viewer->update();
  for (int round = 0; round < 40; ++round) {
    for (uint32_t n = chance(5); n != 0; --n) draw_something(*rig.screen, chance);
    if (round % 10 == 9) {
      ASSERT_TRUE(rig.screen->resize({100 + chance(400), 100 + chance(400)}));
    }
    viewer->follow([&] { return rig.shown_by(*viewer); });
  }
}
INSTANTIATE_TEST_SUITE_P(Rfb, EachEncoding, testing::Values(kRaw, kTight, kZrle));

TEST(RfbServer, SendsNothingUnasked) {
  ServerRig rig;
  auto viewer = rig.viewer({kRaw});
  rig.screen->fill({0, 0, 10, 10}, 1);
  EXPECT_TRUE(viewer->silent(100ms));
  viewer->send_request(false);
  EXPECT_EQ(viewer->update().rects.at(0).x, 0u);
  rig.screen->fill({0, 0, 10, 10}, 2);
  EXPECT_TRUE(viewer->silent(100ms));
  viewer->send_request(true);
  viewer->update();
  EXPECT_TRUE(rig.shown_by(*viewer));
  viewer->send_request(true);
  EXPECT_TRUE(viewer->silent(100ms)) << "there is nothing new";
  rig.screen->fill({0, 0, 10, 10}, 3);
  viewer->update();
  EXPECT_TRUE(rig.shown_by(*viewer));
}

TEST(RfbServer, SendsOnlyWhatWasAskedFor) {
  ServerRig rig;
  auto viewer = rig.viewer({kRaw});
  viewer->send_request(false, {64, 64, 32, 32});
  EXPECT_EQ(viewer->update().rects, (std::vector<Rect>{{64, 64, 32, 32}}));
  viewer->send_request(false, {65000, 65000, 65000, 65000});
  EXPECT_TRUE(viewer->silent(100ms));
  viewer->send_request(false, {0, 0, 1, 1});
  EXPECT_FALSE(viewer->update().rects.empty());
}

TEST(RfbServer, CopiesWhereTheViewerCan) {
  ServerRig rig;
  auto viewer = rig.viewer({kZrle, kCopyRect});
  Chance chance(5);
  for (int n = 0; n < 20; ++n) draw_something(*rig.screen, chance);
  viewer->send_request(false);
  viewer->follow([&] { return rig.shown_by(*viewer); });
  rig.screen->copy({0, 0, 320, 160}, 0, 40);  // scrolls
  viewer->send_request(true);
  const auto update = viewer->update();
  EXPECT_EQ(update.encodings, std::vector<int32_t>{kCopyRect});
  EXPECT_TRUE(rig.shown_by(*viewer));
  auto other = rig.viewer({kZrle});
  other->send_request(false);
  other->follow([&] { return rig.shown_by(*other); });
  rig.screen->copy({0, 0, 320, 160}, 0, 40);
  other->send_request(true);
  EXPECT_FALSE(other->update().has(kCopyRect));
}

TEST(RfbServer, TakesAnotherPixelFormatFromTheNextUpdateOn) {
  ServerRig rig;
  auto viewer = rig.viewer({kTight});
  Chance chance(9);
  for (int n = 0; n < 20; ++n) draw_something(*rig.screen, chance);
  rfb::PixelFormat format;
  format.bits_per_pixel = format.depth = 16;
  format.max = {31, 63, 31};
  format.shift = {11, 5, 0};
  viewer->send_format(format);
  viewer->send_request(false);
  viewer->update();
  std::vector<uint32_t> pixels(320 * 200);
  rig.screen->read({0, 0, 320, 200}, pixels, false);
  for (size_t n = 0; n < pixels.size(); ++n) ASSERT_EQ(viewer->canvas.pixels[n], quantized(pixels[n], format));
}

TEST(RfbServer, RefusesColourMaps) {
  ServerRig rig;
  auto viewer = rig.viewer({kRaw});
  rfb::PixelFormat format;
  format.bits_per_pixel = format.depth = 8;
  format.true_colour = false;
  viewer->send_format(format);
  EXPECT_TRUE(viewer->has_ended());
}

// --- sizes -----------------------------------------------------------------------------------------------------------

TEST(RfbServer, TellsOfAnotherSize) {
  ServerRig rig;
  auto viewer = rig.viewer({kRaw, kDesktopSize});
  viewer->send_request(false);
  viewer->update();
  ASSERT_TRUE(rig.screen->resize({640, 480}));
  rig.screen->fill({600, 400, 40, 80}, 0x123456);
  viewer->send_request(true);
  EXPECT_EQ(viewer->update().encodings, std::vector<int32_t>{kDesktopSize});
  EXPECT_EQ(viewer->canvas.width, 640u);
  viewer->send_request(true);
  viewer->update();
  EXPECT_TRUE(rig.shown_by(*viewer));
}

TEST(RfbServer, TellsOfSizesAtLengthAndRefusesToBeToldThem) {
  ServerRig rig;
  auto viewer = rig.viewer({kRaw, kExtendedSize, kDesktopSize});
  viewer->send_request(false);
  EXPECT_EQ(viewer->update().encodings, std::vector<int32_t>{kExtendedSize}) << "so that the viewer knows of it";
  viewer->send_request(false);
  viewer->update();
  Bytes wish = {251, 0, 4, 0, 3, 0, 1, 0};  // 1024 x 768, one screen
  wish.resize(8 + 16);
  viewer->send(wish);
  viewer->send_request(true);
  viewer->update();
  EXPECT_EQ(viewer->size_reason, 1) << "for this viewer's wish";
  EXPECT_EQ(viewer->size_result, 1) << "prohibited";
  EXPECT_EQ(viewer->canvas.width, 320u);
  ASSERT_TRUE(rig.screen->resize({100, 100}));
  viewer->send_request(true);
  viewer->update();
  EXPECT_EQ(viewer->size_reason, 0);
  EXPECT_EQ(viewer->size_result, 0);
  EXPECT_EQ(viewer->canvas.width, 100u);
}

TEST(RfbServer, PassesAWishForASizeOnToADeviceThatCanAskItsGuest) {
  ServerRig rig;
  Screen::Size asked;
  rig.screen->set_sizer([&](Screen::Size size) {
    asked = size;
    return true;
  });
  auto viewer = rig.viewer({kRaw, kExtendedSize});
  viewer->send_request(false);
  viewer->update();
  Bytes wish = {251, 0, 4, 0, 3, 0, 1, 0};  // 1024 x 768, one screen
  wish.resize(8 + 16);
  viewer->send(wish);
  viewer->send_request(true);
  viewer->update();
  EXPECT_EQ(asked, (Screen::Size{1024, 768}));
  EXPECT_EQ(viewer->size_reason, 1) << "for this viewer's wish";
  EXPECT_EQ(viewer->size_result, 4) << "forwarded";
  EXPECT_EQ(viewer->canvas.width, 320u) << "until the guest has done so";
  rig.screen->set_sizer({});
}

TEST(RfbServer, ShowsWhatFitsToAViewerThatKnowsOneSize) {
  ServerRig rig;
  auto viewer = rig.viewer({kZrle});
  viewer->send_request(false);
  viewer->update();
  ASSERT_TRUE(rig.screen->resize({100, 400}));
  rig.screen->fill({0, 0, 100, 400}, 0x00ff00);
  const auto right = [&] {
    for (uint32_t y = 0; y < 200; ++y)
      for (uint32_t x = 0; x < 320; ++x)
        if (viewer->canvas.at(x, y) != (x < 100 ? 0x00ff00u : 0u)) return false;
    return true;
  };
  viewer->follow(right);
}

TEST(RfbServer, SurvivesResizesInTheMidstOfUpdates) {
  ServerRig rig;
  auto viewer = rig.viewer({kZrle, kDesktopSize, kCopyRect});
  std::atomic<bool> stop{false};
  std::thread guest([&] {
    Chance chance(11);
    while (!stop) {
      if (chance(8) == 0) (void)rig.screen->resize({1 + chance(900), 1 + chance(900)});
      draw_something(*rig.screen, chance);
      std::this_thread::yield();
    }
  });
  viewer->send_request(false);
  EXPECT_NO_THROW({
    for (int n = 0; n < 60; ++n) {
      viewer->update();
      viewer->send_request(n % 5 != 0);
    }
  });
  stop = true;
  guest.join();
  viewer->follow([&] { return rig.shown_by(*viewer); });
}

// --- the rest of what viewers are told -------------------------------------------------------------------------------

TEST(RfbServer, SendsTheCursorToViewersThatShowIt) {
  ServerRig rig;
  auto viewer = rig.viewer({kRaw, kCursor});
  Cursor cursor{9, 2, 3, 1, std::vector<uint32_t>(18)};
  cursor.argb[0] = 0xff102030;
  cursor.argb[8] = 0x80402010;  // seen, its colour as bright again
  cursor.argb[9] = 0x7f000000;
  ASSERT_TRUE(rig.screen->set_cursor(cursor));
  rig.screen->move_cursor(50, 50);
  viewer->send_request(false);
  EXPECT_TRUE(viewer->update().has(kCursor));
  ASSERT_TRUE(viewer->cursor);
  EXPECT_EQ(viewer->cursor_x, 3u);
  EXPECT_EQ(viewer->cursor_y, 1u);
  EXPECT_EQ(viewer->cursor->at(0, 0), 0x102030u);
  EXPECT_EQ(viewer->cursor->at(8, 0), 0x7f3f1fu);
  EXPECT_EQ(viewer->cursor_mask, (Bytes{0x80, 0x80, 0, 0}));
  EXPECT_TRUE(rig.shown_by(*viewer)) << "it is not in the picture";
  rig.screen->move_cursor(60, 60);
  viewer->send_request(true);
  EXPECT_TRUE(viewer->silent(100ms));
  rig.screen->show_cursor(false);
  viewer->update();
  EXPECT_EQ(viewer->cursor->width, 0u);
}

TEST(RfbServer, DrawsTheCursorForViewersThatDoNot) {
  ServerRig rig;
  auto viewer = rig.viewer({kRaw});
  ASSERT_TRUE(rig.screen->set_cursor({8, 8, 0, 0, std::vector<uint32_t>(64, 0xffffffff)}));
  rig.screen->move_cursor(100, 100);
  viewer->send_request(false);
  viewer->update();
  EXPECT_EQ(viewer->canvas.at(107, 107), 0xffffffu);
  rig.screen->move_cursor(0, 0);
  viewer->follow([&] { return viewer->canvas.at(107, 107) == 0 && viewer->canvas.at(0, 0) == 0xffffff; });
}

TEST(RfbServer, TellsLedsNamesAndWhatThePointerIsToSay) {
  ServerRig rig;
  rig.server->leds_changed({.caps = true});
  auto viewer = rig.viewer({kRaw, kLedState, kName, kPointerMotion, kExtendedKeys});
  viewer->send_request(false);
  viewer->update();
  EXPECT_EQ(viewer->leds, 4u);
  EXPECT_EQ(viewer->absolute, true);
  EXPECT_TRUE(viewer->extended_keys);
  viewer->send_request(true);
  rig.server->leds_changed({.scroll = true, .num = true});
  viewer->update();
  EXPECT_EQ(viewer->leds, 3u);
  viewer->send_request(true);
  rig.server->set_name("another name");
  viewer->update();
  EXPECT_EQ(viewer->name, "another name");
  viewer->send_request(true);
  rig.input.absolute = false;
  rig.server->pointer_changed();
  viewer->update();
  EXPECT_EQ(viewer->absolute, false);
}

// --- input -----------------------------------------------------------------------------------------------------------

TEST(RfbServer, PassesOnKeys) {
  ServerRig rig;
  auto viewer = rig.viewer({kRaw});
  for (const bool down : {true, false}) viewer->send_key('?', down);
  for (const bool down : {true, false}) viewer->send_extended_key(0xc8, 0xff52, down);
  viewer->send_key(0xffe3, true);
  EXPECT_TRUE(eventually([&] { return rig.input.text() == "+shift +slash -shift -slash +up -up +ctrl"; })) << rig.input.text();
  viewer.reset();
  EXPECT_TRUE(eventually([&] { return rig.input.text().ends_with("-ctrl"); })) << "its viewer has gone";
}

TEST(RfbServer, PassesOnThePointer) {
  ServerRig rig;
  auto viewer = rig.viewer({kRaw});
  viewer->send_pointer(0, 0, 0);
  viewer->send_pointer(1, 319, 199);
  viewer->send_pointer(5, 65535, 100);
  viewer->send_pointer(8, 160, 100);   // up
  viewer->send_pointer(0, 160, 100);
  viewer->send_pointer(64, 160, 100);  // to the right
  EXPECT_TRUE(eventually([&] {
    return rig.input.text() == "at:0,0 at:32767,32767/L at:32767,16466/LR at:16435,16466 wheel:-1,0 wheel:0,1";
  })) << rig.input.text();
}

TEST(RfbServer, PassesOnMovements) {
  ServerRig rig;
  rig.input.absolute = false;
  rig.server->pointer_changed();
  auto viewer = rig.viewer({kRaw});
  viewer->send_pointer(0, 100, 100);
  viewer->send_pointer(2, 90, 105);
  EXPECT_TRUE(eventually([&] { return rig.input.text() == "by:0,0 by:-10,5/M"; })) << rig.input.text();
  viewer.reset();
  EXPECT_TRUE(eventually([&] { return rig.input.text().ends_with(" by:0,0"); })) << "its button is let go";
  rig.input.clear();
  auto other = rig.viewer({kRaw, kPointerMotion});
  other->send_request(false);
  other->update();
  EXPECT_EQ(other->absolute, false);
  other->send_pointer(0, 0x7fff + 7, 0x7fff - 3);
  other->send_pointer(0, 0x7fff + 7, 0x7fff - 3);
  EXPECT_TRUE(eventually([&] { return rig.input.text() == "by:7,-3 by:7,-3"; })) << rig.input.text();
}

TEST(RfbServer, DropsTextsOfTheClipboard) {
  ServerRig rig;
  auto viewer = rig.viewer({kRaw});
  Bytes text = {6, 0, 0, 0, 0, 0x10, 0, 0};
  text.resize(8 + 0x100000, 'x');
  viewer->send(text);
  viewer->send_request(false);
  viewer->update();
  EXPECT_TRUE(rig.shown_by(*viewer));
  viewer->send(Bytes{6, 0, 0, 0, 0xff, 0xff, 0xff, 0xff});
  EXPECT_TRUE(viewer->has_ended());
}

// --- several viewers -------------------------------------------------------------------------------------------------

TEST(RfbServer, ShowsTheSameToSeveralViewers) {
  ServerRig rig;
  std::vector<std::unique_ptr<TestViewer>> viewers;
  for (const int32_t encoding : {kRaw, kTight, kZrle, kZrle}) viewers.push_back(rig.viewer({encoding, kCopyRect}));
  Chance chance(21);
  for (auto& viewer : viewers) viewer->send_request(false), viewer->update();
  for (int round = 0; round < 10; ++round) {
    for (int n = 0; n < 3; ++n) draw_something(*rig.screen, chance);
    for (auto& viewer : viewers) viewer->follow([&] { return rig.shown_by(*viewer); });
  }
  EXPECT_EQ(rig.server->viewers().size(), 4u);
}

TEST(RfbServer, LeavesAViewerAloneThatWantsToBe) {
  ServerRig rig;
  auto first = rig.viewer({kRaw}), second = rig.viewer({kRaw});
  auto third = rig.connect();
  third->log_in({.shared = false});
  EXPECT_TRUE(first->has_ended());
  EXPECT_TRUE(second->has_ended());
  third->send_request(false);
  third->update();
  EXPECT_EQ(rig.server->viewers().size(), 1u);
}

TEST(RfbServer, LetsInNoMoreThanItMay) {
  ServerRig rig({.max_viewers = 2});
  auto first = rig.viewer({kRaw}), second = rig.viewer({kRaw});
  EXPECT_NE(refusal(*rig.connect(), {}), "");
  first.reset();
  EXPECT_TRUE(eventually([&] { return rig.server->viewers().size() == 1; }));
  EXPECT_EQ(refusal(*rig.connect(), {}), "");
}

TEST(RfbServer, IsNotHeldUpByThoseWhoSayNothing) {
  ServerRig rig;
  std::vector<UniqueFd> silent;
  for (int n = 0; n < 40; ++n) silent.push_back(connect_to(rig.server->port()));
  EXPECT_EQ(refusal(*rig.connect(), {}), "");
  ServerRig impatient({.handshake_ns = 50'000'000});
  TestViewer waits(connect_to(impatient.server->port()));
  EXPECT_TRUE(waits.has_ended());
}

TEST(RfbServer, IsNotDelayedBySlowViewersNorGrowsForThem) {
  ServerRig rig;
  ASSERT_TRUE(rig.screen->resize({1024, 1024}));
  auto slow = rig.viewer({kRaw});
  const auto resident = [] {
    rusage use{};
    ::getrusage(RUSAGE_SELF, &use);
    return use.ru_maxrss;  // KiB, the most there ever was
  };
  auto quick = rig.viewer({kZrle});
  quick->send_request(false);
  quick->update();
  // Each request asks for 4 MiB, none of which is read.
  std::vector<uint32_t> noise(256 * 64);
  Chance chance(31);
  [[maybe_unused]] const auto before = resident();
  for (int round = 0; round < 40; ++round) {
    slow->send_request(false);
    for (uint32_t& pixel : noise) pixel = chance.any();
    rig.screen->update({chance(700), chance(900), 256, 64}, noise, 256);
    quick->send_request(true);
    quick->update();
  }
  quick->follow([&] { return rig.shown_by(*quick); });
#ifndef SKERRY_SANITIZED
  EXPECT_LT(resident() - before, 40 * 1024) << "40 requests would be 160 MiB";
#endif
  // It gets what it asked for when it reads.
  slow->update();
  slow->follow([&] { return rig.shown_by(*slow); });
}

// --- life ------------------------------------------------------------------------------------------------------------

TEST(RfbServer, ListensOnAUnixSocket) {
  const std::string path = fmt::format("{}/skerry-rfb-{}", std::filesystem::temp_directory_path().string(), ::getpid());
  {
    ServerRig rig({.listen = "unix:" + path});
    EXPECT_EQ(rig.server->port(), 0);
    TestViewer viewer(connect_to(path));
    viewer.log_in();
    viewer.send_request(false);
    viewer.update();
    EXPECT_TRUE(rig.shown_by(viewer));
  }
  std::filesystem::remove(path);
}

TEST(RfbServer, EndsItsConnectionsWhenItStops) {
  ServerRig rig;
  auto viewer = rig.viewer({kRaw});
  viewer->send_key(0xffe1, true);
  ASSERT_TRUE(eventually([&] { return rig.input.held() == 1; }));
  rig.server->stop();
  EXPECT_TRUE(viewer->has_ended());
  EXPECT_EQ(rig.input.held(), 0u);
  rig.screen->fill({0, 0, 5, 5}, 5);
  rig.server.reset();
}

TEST(RfbServer, SaysWhatIsWrongWithItsOptions) {
  auto screen = Screen::create({10, 10}).value();
  Recorder input;
  const auto refused = [&](const RfbOptions& options, std::string_view why) {
    const auto opened = RfbServer::listen(*screen, input, nullptr, options);
    ASSERT_FALSE(opened);
    EXPECT_NE(opened.error().message().find(why), std::string::npos) << opened.error().message();
    EXPECT_EQ(opened.error().message().find('\n'), std::string::npos);
  };
  for (const char* where : {"", "5900", "127.0.0.1", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:65536", "127.0.0.1:-1", ":5900",
                            "::1:5900", "[]:5900"})
    refused({.listen = where}, "ADDRESS:PORT");
  refused({.listen = "unix:"}, "path");
  refused({.listen = "unix:/nonexistent/folder/socket"}, "cannot listen");
  refused({.listen = "203.0.113.1:0"}, "cannot listen");
  refused({.listen = "127.0.0.1:0", .password = "123456789"}, "9 bytes");
  refused({.listen = "127.0.0.1:0", .password = "x", .user = "u"}, "certificate");
  const auto tls = [](std::string certificate, std::string key) {
    return RfbOptions{.listen = "127.0.0.1:0", .tls = RfbOptions::Tls::kX509, .certificate = std::move(certificate), .key = std::move(key)};
  };
  refused(tls("", ""), "certificate");
  refused(tls("/nonexistent/c.pem", "/nonexistent/k.pem"), "/nonexistent/c.pem");
  refused(tls("/etc/hostname", "/etc/hostname"), "PEM");
  refused({.listen = "127.0.0.1:0", .max_viewers = 0}, "from 1 to");
}

}  // namespace
}  // namespace skerry::display::test
