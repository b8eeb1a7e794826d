#include "sound/resampler.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

namespace skerry::sound {
namespace {

using Samples = std::vector<int16_t>;

Samples converted(const Format& from, const Format& to, std::span<const int16_t> in) {
  Resampler resampler(from, to);
  Samples out;
  resampler.convert(in, out);
  return out;
}

Samples noise(size_t count, uint64_t seed) {
  std::mt19937_64 random(seed);
  Samples samples(count);
  for (int16_t& sample : samples) sample = static_cast<int16_t>(random());
  return samples;
}

TEST(Resampler, LeavesFramesAsTheyAreWhereRatesAreEqual) {
  const Samples samples = noise(1000, 1);
  for (const uint32_t rate : {4'000u, 44'100u, 192'000u}) {
    EXPECT_EQ(converted({rate, 2}, {rate, 2}, samples), samples);
    EXPECT_EQ(converted({rate, 1}, {rate, 1}, samples), samples);
  }
}

TEST(Resampler, PutsFramesOnTheLineBetweenThose) {
  const Samples samples = {0, 100, -32768, 32767};
  EXPECT_EQ(converted({8'000, 1}, {16'000, 1}, samples), (Samples{0, 50, 100, -16334, -32768, 0, 32767}));
  EXPECT_EQ(converted({8'000, 1}, {24'000, 1}, Samples{0, 300}), (Samples{0, 100, 200, 300}));
  EXPECT_EQ(converted({16'000, 1}, {8'000, 1}, Samples{1, 2, 3, 4, 5}), (Samples{1, 3, 5}));
  EXPECT_EQ(converted({6'000, 1}, {4'000, 1}, Samples{0, 10, 20, 30, 40}), (Samples{0, 15, 30}));
  EXPECT_EQ(converted({8'000, 2}, {16'000, 2}, Samples{0, 1000, 10, 0}), (Samples{0, 1000, 5, 500, 10, 0}));
}

TEST(Resampler, MakesTwoChannelsOfOneAndOneOfTwo) {
  EXPECT_EQ(converted({8'000, 1}, {8'000, 2}, Samples{1, -2}), (Samples{1, 1, -2, -2}));
  EXPECT_EQ(converted({8'000, 2}, {8'000, 1}, Samples{100, 200, -32768, -32768, 32767, 32767}),
            (Samples{150, -32768, 32767}));
}

TEST(Resampler, DoesNotCareHowASoundIsCut) {
  const uint64_t seed = std::random_device{}();
  SCOPED_TRACE(seed);
  std::mt19937_64 random(seed);
  for (int round = 0; round < 200; ++round) {
    const Format from{static_cast<uint32_t>(4'000 + random() % 188'001), static_cast<uint32_t>(1 + random() % 2)};
    const Format to{static_cast<uint32_t>(4'000 + random() % 188'001), static_cast<uint32_t>(1 + random() % 2)};
    const Samples samples = noise(size_t{from.channels} * (1 + random() % 500), random());
    const Samples whole = converted(from, to, samples);
    // Frame n is at n / to.rate seconds, up to the time of the last frame that was given.
    const uint64_t last = samples.size() / from.channels - 1;
    ASSERT_EQ(whole.size(), (last * to.rate / from.rate + 1) * to.channels) << from.rate << " to " << to.rate;
    Resampler resampler(from, to);
    Samples parts;
    for (std::span<const int16_t> left = samples; !left.empty();) {
      const size_t part = std::min<size_t>(left.size(), random() % 20 * from.channels);
      resampler.convert(left.first(part), parts);
      left = left.subspan(part);
    }
    ASSERT_EQ(parts, whole) << from.rate << " to " << to.rate;
  }
}

TEST(Resampler, KeepsThePitchAndTheLengthOverTime) {
  Resampler resampler({44'100, 1}, {48'000, 1});
  Samples out;
  size_t frames = 0;
  const Samples second(44'100);
  for (int n = 0; n < 60; ++n) {
    out.clear();
    resampler.convert(second, out);
    frames += out.size();
  }
  EXPECT_NEAR(static_cast<double>(frames), 60.0 * 48'000, 2);
}

TEST(Resampler, ATone) {
  // 440 Hz: a straight line between frames is at most (pi f / rate)^2 / 2 off.
  const auto tone = [](uint32_t rate, size_t n) {
    return 20'000 * std::sin(2 * M_PI * 440 * static_cast<double>(n) / rate);
  };
  Samples in(4'410);
  for (size_t n = 0; n < in.size(); ++n) in[n] = static_cast<int16_t>(std::lround(tone(44'100, n)));
  const Samples out = converted({44'100, 1}, {48'000, 1}, in);
  for (size_t n = 0; n < out.size(); ++n) ASSERT_NEAR(out[n], tone(48'000, n), 20'000 * 0.0005 + 1) << n;
}

}  // namespace
}  // namespace skerry::sound
