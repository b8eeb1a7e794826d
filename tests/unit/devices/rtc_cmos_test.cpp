#include "devices/rtc_cmos.hpp"

#include <gtest/gtest.h>

#include "devices/civil_time.hpp"
#include "unit/devices/fakes.hpp"

namespace skerry::devices {
namespace {

constexpr int64_t kSecond = 1'000'000'000;
constexpr int64_t kStart = 1'709'251'197;  // 2024-02-29 23:59:57 UTC, a Thursday

struct RtcRig : test::PortRig {
  RtcCmos rtc{line(8), time.loop(), kStart* kSecond};
  RtcRig() { EXPECT_TRUE(rtc.attach(pio)); }
  bus::Device& device() { return rtc; }
  bool irq() const { return irqs.level[8]; }
  uint8_t get(uint8_t index) {
    out(0x70, index);
    return static_cast<uint8_t>(in(0x71));
  }
  void set(uint8_t index, uint8_t value) {
    out(0x70, index);
    out(0x71, value);
  }
  // Century, year, month, day, hour, minute, second as the registers say them.
  std::vector<unsigned> when() { return {get(0x32), get(9), get(8), get(7), get(4), get(2), get(0)}; }
};
using When = std::vector<unsigned>;

TEST(CivilTime, GoesBothWays) {
  std::mt19937_64 random(7);
  for (int i = 0; i < 100'000; ++i) {
    const int64_t seconds = static_cast<int64_t>(random() % 900'000'000'000) - 62'000'000'000;
    ASSERT_EQ(to_unix_seconds(from_unix_seconds(seconds)), seconds);
  }
  const CivilTime leap = from_unix_seconds(kStart);
  EXPECT_EQ(leap.year, 2024);
  EXPECT_EQ(leap.month, 2u);
  EXPECT_EQ(leap.day, 29u);
  EXPECT_EQ(leap.weekday, 4u);
  EXPECT_EQ(to_unix_seconds({.year = 2023, .month = 14, .day = 29, .hour = 23, .minute = 59, .second = 57}), kStart);
}

TEST(Rtc, TellsTheTimeInBcdAndGoesOn) {
  RtcRig rig;
  EXPECT_EQ(rig.when(), (When{0x20, 0x24, 0x02, 0x29, 0x23, 0x59, 0x57}));
  EXPECT_EQ(rig.get(6), 5);
  rig.time.advance(3 * kSecond);
  EXPECT_EQ(rig.when(), (When{0x20, 0x24, 0x03, 0x01, 0x00, 0x00, 0x00}));
  EXPECT_EQ(rig.get(6), 6);
}

TEST(Rtc, TellsTheTimeInBinaryAndTwelveHours) {
  RtcRig rig;
  rig.set(0x0b, 0x06);
  EXPECT_EQ(rig.when(), (When{20, 24, 2, 29, 23, 59, 57}));
  rig.set(0x0b, 0x04);
  EXPECT_EQ(rig.get(4), 0x80 | 11);
  rig.set(0x0b, 0x00);
  EXPECT_EQ(rig.get(4), 0x80 | 0x11);
  rig.time.advance(3 * kSecond);
  EXPECT_EQ(rig.get(4), 0x12) << "midnight is 12 am";
}

TEST(Rtc, StandsStillWhileSetAndTakesWhatIsWritten) {
  RtcRig rig;
  rig.set(0x0b, 0x82);
  rig.time.advance(10 * kSecond);
  EXPECT_EQ(rig.get(0), 0x57);
  rig.set(0x32, 0x19);
  rig.set(9, 0x99);
  rig.set(8, 0x12);
  rig.set(7, 0x31);
  rig.set(4, 0x23);
  rig.set(2, 0x59);
  rig.set(0, 0x59);
  rig.set(0x0b, 0x02);
  EXPECT_EQ(rig.when(), (When{0x19, 0x99, 0x12, 0x31, 0x23, 0x59, 0x59}));
  rig.time.advance(kSecond);
  EXPECT_EQ(rig.when(), (When{0x20, 0x00, 0x01, 0x01, 0x00, 0x00, 0x00}));
}

TEST(Rtc, FirstUpdateAfterADividerResetComesAfterHalfASecond) {
  RtcRig rig;
  rig.time.advance(kSecond / 4);
  rig.set(0x0b, 0x82);
  rig.set(0x0a, 0x76);
  rig.set(0, 0x10);
  rig.set(0x0b, 0x02);
  rig.time.advance(5 * kSecond);
  EXPECT_EQ(rig.get(0), 0x10);
  rig.set(0x0a, 0x26);
  rig.time.advance(kSecond / 2 - 1000);
  EXPECT_EQ(rig.get(0), 0x10);
  rig.time.advance(1000);
  EXPECT_EQ(rig.get(0), 0x11);
}

TEST(Rtc, UipWarnsOfAnUpdate) {
  RtcRig rig;
  EXPECT_EQ(rig.get(0x0a), 0x26);
  rig.time.advance(kSecond - 244'001);
  EXPECT_EQ(rig.get(0x0a) & 0x80, 0);
  rig.time.advance(1);
  EXPECT_EQ(rig.get(0x0a) & 0x80, 0x80);
  rig.time.advance(244'000);
  EXPECT_EQ(rig.get(0x0a) & 0x80, 0);
}

TEST(Rtc, UpdateEndedInterrupt) {
  RtcRig rig;
  rig.set(0x0b, 0x12);
  rig.time.advance(kSecond - 1);
  EXPECT_FALSE(rig.irq());
  rig.time.advance(1);
  EXPECT_TRUE(rig.irq());
  EXPECT_EQ(rig.get(0x0c) & 0x90, 0x90);
  EXPECT_FALSE(rig.irq());
  EXPECT_EQ(rig.get(0x0c), 0);
  rig.time.advance(kSecond);
  EXPECT_TRUE(rig.irq());
}

TEST(Rtc, PeriodicInterruptHasItsRate) {
  RtcRig rig;
  rig.set(0x0b, 0x42);  // 1024 Hz
  unsigned count = 0;
  for (int i = 0; i < 10'000; ++i) {
    rig.time.advance(100'000);
    if (!rig.irq()) continue;
    ++count;
    EXPECT_EQ(rig.get(0x0c) & 0xc0, 0xc0);
  }
  EXPECT_EQ(count, 1024u);
}

TEST(Rtc, FlagsAreSetWithoutTheirInterrupts) {
  RtcRig rig;
  rig.time.advance(kSecond);
  EXPECT_FALSE(rig.irq());
  EXPECT_EQ(rig.get(0x0c), 0x50);
  rig.time.advance(kSecond);
  rig.set(0x0b, 0x12);
  EXPECT_TRUE(rig.irq()) << "enabling an interrupt whose flag is set raises it";
}

TEST(Rtc, AlarmMatchesWithDontCares) {
  RtcRig rig;
  rig.set(5, 0x00);
  rig.set(3, 0x00);
  rig.set(1, 0x02);
  rig.set(0x0b, 0x22);
  rig.time.advance(5 * kSecond - 1);
  EXPECT_FALSE(rig.irq());
  rig.time.advance(1);
  EXPECT_TRUE(rig.irq());
  EXPECT_EQ(rig.get(0x0c) & 0xa0, 0xa0);

  rig.set(5, 0xff);
  rig.set(3, 0xc0);  // each minute
  rig.time.advance(60 * kSecond - 1);
  EXPECT_FALSE(rig.irq());
  rig.time.advance(1);
  EXPECT_TRUE(rig.irq());
  rig.get(0x0c);

  rig.set(3, 0x7f);  // never
  rig.time.advance(90'000 * kSecond);
  EXPECT_FALSE(rig.irq());
}

TEST(Rtc, AlarmOfTomorrow) {
  RtcRig rig;
  rig.set(5, 0x23);
  rig.set(3, 0x59);
  rig.set(1, 0x56);
  rig.set(0x0b, 0x22);
  rig.time.advance((86'399) * kSecond - 1);
  EXPECT_FALSE(rig.irq());
  rig.time.advance(1);
  EXPECT_TRUE(rig.irq());
}

TEST(Rtc, FollowsTheTimeThatTheVmWasInAFile) {
  RtcRig rig;
  rig.time.advance(kSecond / 2);
  rig.rtc.advance(kSecond * 3 / 4);
  EXPECT_EQ(rig.get(0), 0x58);
  rig.time.advance(kSecond * 3 / 4 - 1);
  EXPECT_EQ(rig.get(0), 0x58);
  rig.time.advance(1);
  EXPECT_EQ(rig.get(0), 0x59) << "a quarter of a second had been left over";
  rig.rtc.advance(uint64_t{86'400} * kSecond);
  EXPECT_EQ(rig.when(), (When{0x20, 0x24, 0x03, 0x01, 0x23, 0x59, 0x59}));
}

TEST(Rtc, AnAlarmInThatTimeGoesOff) {
  RtcRig rig;
  rig.set(5, 0x00);
  rig.set(3, 0x10);
  rig.set(1, 0x00);
  rig.set(0x0b, 0x22);
  rig.rtc.advance(uint64_t{300} * kSecond);
  EXPECT_FALSE(rig.irq());
  rig.rtc.advance(uint64_t{600} * kSecond);
  EXPECT_TRUE(rig.irq());
  EXPECT_EQ(rig.get(0x0c) & 0xa0, 0xa0);
}

TEST(Rtc, StandsStillWhenTheGuestHasStoppedIt) {
  RtcRig rig;
  rig.set(0x0b, 0x82);
  rig.rtc.advance(uint64_t{100} * kSecond);
  rig.set(0x0b, 0x02);
  EXPECT_EQ(rig.get(0), 0x57);
}

TEST(Rtc, MemoryHoldsAndSurvivesReset) {
  RtcRig rig;
  rig.rtc.set_cmos(0x15, 0x80);
  rig.set(0x7f, 0x5a);
  rig.set(0x80 | 0x0f, 0x0a);  // NMI masked
  rig.set(0x0b, 0x72);
  rig.rtc.reset();
  EXPECT_EQ(rig.get(0x15), 0x80);
  EXPECT_EQ(rig.rtc.cmos(0x7f), 0x5a);
  EXPECT_EQ(rig.get(0x0f), 0x0a);
  EXPECT_EQ(rig.get(0x0b), 0x02);
  EXPECT_EQ(rig.get(0x0d), 0x80);
  EXPECT_EQ(rig.in(0x70), 0xff);
}

test::Trace drive(RtcRig& rig, std::mt19937_64& random) {
  test::Trace trace;
  rig.irqs.rises = {};
  for (int i = 0; i < 300; ++i) {
    const uint8_t index = static_cast<uint8_t>(random() % 4 == 0 ? random() : random() % 14);
    switch (random() % 4) {
      case 0:
        rig.time.advance(static_cast<int64_t>(random() % (uint64_t{1} << random() % 38)));
        break;
      case 1:
        rig.set(index, static_cast<uint8_t>(random()));
        break;
      default:
        trace.push_back(rig.get(index));
        break;
    }
    rig.irqs.append_to(trace);
  }
  return trace;
}

TEST(Rtc, StateSurvivesAndRandomAccessesAreHarmless) { test::run_state_test<RtcRig>(60, drive); }

}  // namespace
}  // namespace skerry::devices
