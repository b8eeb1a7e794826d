#include "sound/outlet.hpp"

#include <gtest/gtest.h>

#include <string>

#include <fmt/format.h>

namespace skerry::sound {
namespace {

// What it is told, as text.
class Ear final : public Listener {
 public:
  std::string heard;

 private:
  void sound_begins(Format format) override { heard += fmt::format("[{}x{}", format.rate, format.channels); }
  void sound(std::span<const int16_t> samples) override {
    for (const int16_t sample : samples) heard += fmt::format(" {}", sample);
  }
  void sound_ends() override { heard += "]"; }
};

constexpr int16_t kSamples[] = {1, -2, 3, -32768};

TEST(Outlet, TellsEveryListener) {
  Outlet outlet;
  Ear first, second;
  outlet.add(first);
  outlet.add(second);
  outlet.begin({44'100, 2});
  outlet.play(kSamples);
  outlet.end();
  EXPECT_EQ(first.heard, "[44100x2 1 -2 3 -32768]");
  EXPECT_EQ(second.heard, first.heard);
}

TEST(Outlet, TellsWhoComesLaterThatThereIsASound) {
  Outlet outlet;
  outlet.begin({8'000, 1});
  outlet.play(kSamples);
  Ear ear;
  outlet.add(ear);
  outlet.play(std::span(kSamples).first(1));
  outlet.remove(ear);
  outlet.play(kSamples);
  outlet.end();
  EXPECT_EQ(ear.heard, "[8000x1 1");
}

TEST(Outlet, ASoundEndsWhereAnotherBegins) {
  Outlet outlet;
  Ear ear;
  outlet.add(ear);
  outlet.begin({});
  outlet.begin({16'000, 1});
  outlet.end();
  outlet.end();
  EXPECT_EQ(ear.heard, "[48000x2][16000x1]");
}

TEST(Outlet, OutsideOfASoundNothingIsPlayed) {
  Outlet outlet;
  Ear ear;
  outlet.add(ear);
  outlet.play(kSamples);
  outlet.begin({});
  outlet.play({});
  outlet.end();
  outlet.play(kSamples);
  EXPECT_EQ(ear.heard, "[48000x2]");
}

TEST(Outlet, KeepsFormatsWithinTheirLimits) {
  Outlet outlet;
  Ear ear;
  outlet.add(ear);
  outlet.begin({0, 0});
  outlet.begin({1'000'000, 16});
  EXPECT_EQ(ear.heard, "[4000x1][192000x2");
}

}  // namespace
}  // namespace skerry::sound
