#include "sound/queue.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <numeric>
#include <thread>

namespace skerry::sound {
namespace {

// Counted from `first` on.
std::vector<int16_t> counted(size_t count, int first = 0) {
  std::vector<int16_t> samples(count);
  std::iota(samples.begin(), samples.end(), static_cast<int16_t>(first));
  return samples;
}

struct Rig {
  unsigned wakes = 0;
  Queue queue{[this] { ++wakes; }};
  Outlet outlet;
  Rig() { outlet.add(queue); }
  ~Rig() { outlet.remove(queue); }

  // Everything there is, as text: its sounds, the first and the last sample of each piece.
  std::string all(uint32_t ms = 1000) {
    std::string text;
    while (const auto piece = queue.take(ms)) {
      text += fmt::format("{}:", piece->sound);
      if (!piece->samples.empty()) text += fmt::format("{}-{}", piece->samples.front(), piece->samples.back());
      text += piece->ends ? "] " : " ";
    }
    return text;
  }
};

TEST(SoundQueue, GivesWhatWasPlayedInItsOrder) {
  Rig rig;
  rig.outlet.begin({4'000, 1});
  EXPECT_EQ(rig.all(), "1: ");
  rig.outlet.play(counted(100));
  rig.outlet.play(counted(100, 100));
  EXPECT_EQ(rig.all(), "1:0-199 ");
  rig.outlet.play(counted(10, 200));
  rig.outlet.end();
  rig.outlet.begin({4'000, 1});
  rig.outlet.play(counted(10));
  EXPECT_EQ(rig.all(), "1:200-209] 2:0-9 ");
  rig.outlet.end();
  EXPECT_EQ(rig.all(), "2:] ");
  EXPECT_FALSE(rig.queue.waits());
}

TEST(SoundQueue, GivesNoMoreAtATimeThanIsAskedFor) {
  Rig rig;
  rig.outlet.begin({4'000, 2});
  rig.outlet.play(counted(400));
  rig.outlet.end();
  EXPECT_EQ(rig.all(20), "1:0-159 1:160-319 1:320-399] ");
}

TEST(SoundQueue, DropsTheOldestBeyondHalfASecond) {
  Rig rig;
  rig.outlet.begin({4'000, 1});
  for (int n = 0; n < 100; ++n) rig.outlet.play(counted(100, 100 * n));
  EXPECT_EQ(rig.all(), "1:8000-9999 ");
  rig.outlet.play(counted(20'000));
  EXPECT_EQ(rig.all(), "1:18000-19999 ");
}

TEST(SoundQueue, DropsWholeFrames) {
  Rig rig;
  rig.outlet.begin({4'000, 1});
  rig.outlet.play(counted(1'001));
  rig.outlet.begin({4'000, 2});
  rig.outlet.play(counted(4'000));
  EXPECT_EQ(rig.all(), "2:0-3999 ") << "half a second, which pushes out the other sound";
  rig.outlet.play(counted(4'000));
  rig.outlet.play(counted(3));
  EXPECT_EQ(rig.all(), "2:2-1 ");
}

TEST(SoundQueue, KeepsFewSounds) {
  Rig rig;
  for (int n = 0; n < 100'000; ++n) {
    rig.outlet.begin({192'000, 1});
    rig.outlet.play(counted(2, n));
  }
  unsigned sounds = 0;
  uint64_t last = 0;
  while (const auto piece = rig.queue.take(1000)) {
    ++sounds;
    last = piece->sound;
  }
  EXPECT_EQ(sounds, 8u);
  EXPECT_EQ(last, 100'000u);
}

TEST(SoundQueue, WakesOnceUntilSomethingIsTaken) {
  Rig rig;
  rig.outlet.begin({4'000, 1});
  rig.outlet.play(counted(10));
  rig.outlet.play(counted(10));
  EXPECT_EQ(rig.wakes, 1u);
  (void)rig.queue.take(1);
  rig.outlet.play(counted(10));
  rig.outlet.end();
  EXPECT_EQ(rig.wakes, 2u);
}

// A card on a thread of its own; what is taken is in order, and ends.
TEST(SoundQueue, FromAnotherThread) {
  Rig rig;
  std::atomic<bool> done{false};
  std::thread card([&] {
    rig.outlet.begin({48'000, 1});
    for (int n = 0; n < 2'000; ++n) rig.outlet.play(counted(10, 10 * n));
    rig.outlet.end();
    done = true;
  });
  std::vector<int16_t> heard;
  for (bool ends = false; !ends;) {
    const bool was_done = done;
    const auto piece = rig.queue.take(20);
    if (!piece) {
      ASSERT_FALSE(was_done) << "the end is missing";
      std::this_thread::yield();
      continue;
    }
    heard.insert(heard.end(), piece->samples.begin(), piece->samples.end());
    ends = piece->ends;
  }
  card.join();
  EXPECT_TRUE(std::is_sorted(heard.begin(), heard.end()));
  EXPECT_EQ(heard.back(), 19'999);
}

}  // namespace
}  // namespace skerry::sound
