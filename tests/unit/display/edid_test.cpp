#include "display/edid.hpp"

#include <gtest/gtest.h>

#include <numeric>
#include <string>

namespace skerry::display {
namespace {

unsigned sum(const std::array<uint8_t, kEdidSize>& edid) { return std::accumulate(edid.begin(), edid.end(), 0u) & 0xff; }

// As a driver reads the first detailed timing (VESA EDID 1.4, 3.10.2).
struct Timing {
  explicit Timing(const std::array<uint8_t, kEdidSize>& edid) {
    const uint8_t* at = edid.data() + 54;
    clock = (at[0] | at[1] << 8) * 10'000.0;
    width = at[2] | (at[4] & 0xf0) << 4;
    height = at[5] | (at[7] & 0xf0) << 4;
    total_width = width + (at[3] | (at[4] & 0xf) << 8);
    total_height = height + (at[6] | (at[7] & 0xf) << 8);
  }
  double refresh() const { return clock / total_width / total_height; }
  double clock;
  int width, height, total_width, total_height;
};

TEST(Edid, HasTheHeaderAndAddsUpToZero) {
  for (const uint32_t side : {1u, 480u, 1024u, 4095u}) {
    const auto edid = make_edid({side, side});
    EXPECT_EQ(std::string(edid.begin(), edid.begin() + 8), std::string("\0\xff\xff\xff\xff\xff\xff\0", 8));
    EXPECT_EQ(sum(edid), 0u);
    EXPECT_EQ(edid[126], 0) << "no more blocks";
  }
}

TEST(Edid, TheSizeThatIsLikedBestIsTheFirstTiming) {
  for (const Screen::Size size : {Screen::Size{1280, 800}, {1366, 768}, {1, 1}, {1923, 1081}, {4095, 4095}}) {
    const Timing timing(make_edid(size));
    EXPECT_EQ(timing.width, static_cast<int>(size.width));
    EXPECT_EQ(timing.height, static_cast<int>(size.height));
    EXPECT_GT(timing.clock, 0);
  }
  EXPECT_NEAR(Timing(make_edid({1920, 1080})).refresh(), 60, 0.1);
  EXPECT_LE(Timing(make_edid({4095, 4095})).clock, 655'350'000) << "as fast as can be told";
  EXPECT_EQ(Timing(make_edid({100'000, 100'000})).width, 4095) << "as large as can be told";
}

TEST(Edid, SaysWhoseItIsAndItsName) {
  const auto edid = make_edid({1024, 768});
  EXPECT_EQ(edid[8] << 8 | edid[9], ('S' - '@') << 10 | ('K' - '@') << 5 | ('R' - '@'));
  EXPECT_EQ(edid[54 + 18 + 3], 0xfc);
  EXPECT_EQ(std::string(edid.begin() + 54 + 18 + 5, edid.begin() + 54 + 2 * 18), "Skerry\n      ");
}

TEST(Edid, OffersTheUsualSizes) {
  const auto edid = make_edid({1024, 768});
  EXPECT_EQ(edid[35] & 0x21, 0x21) << "640 x 480 and 800 x 600";
  EXPECT_EQ(edid[36] & 0x08, 0x08) << "1024 x 768";
  // 3.9: 1920 x 1080 at 60 Hz.
  bool found = false;
  for (size_t i = 38; i < 54; i += 2) found |= (edid[i] + 31) * 8 == 1920 && edid[i + 1] == 0xc0;
  EXPECT_TRUE(found);
}

}  // namespace
}  // namespace skerry::display
