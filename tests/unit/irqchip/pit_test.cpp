#include "irqchip/pit.hpp"

#include <gtest/gtest.h>

#include "unit/irqchip/test_time.hpp"
#include "unit/state_test.hpp"

namespace skerry::irqchip {
namespace {

struct CountingSink final : bus::IrqSink {
  unsigned pulses = 0;
  void set_irq(unsigned gsi, bool level) override {
    EXPECT_EQ(gsi, 0u);
    pulses += level;
  }
};

struct PitRig {
  test::TestTime time;
  CountingSink sink;
  Pit pit{bus::IrqLine(sink, 0), time.loop()};
  bus::AddressSpace pio{"port"};

  PitRig() { EXPECT_TRUE(pit.attach(pio)); }
  bus::Device& device() { return pit; }
  void follow(PitRig& other) { time.set(other.time.now()); }
  void out(uint16_t port, uint8_t value) { pio.write(port, 1, value); }
  uint8_t in(uint16_t port) { return static_cast<uint8_t>(pio.read(port, 1)); }

  int64_t tick() const {
    return static_cast<int64_t>(static_cast<__int128>(time.now()) * Pit::kFrequency / 1'000'000'000);
  }
  void to_tick(int64_t tick) {
    time.set(
        static_cast<int64_t>((static_cast<__int128>(tick) * 1'000'000'000 + Pit::kFrequency - 1) / Pit::kFrequency));
  }
  void ticks(int64_t count) { to_tick(tick() + count); }

  // A counter with both bytes of its count.
  void program(unsigned channel, unsigned mode, uint16_t count, bool bcd = false) {
    out(0x43, static_cast<uint8_t>(channel << 6 | 0x30 | mode << 1 | (bcd ? 1 : 0)));
    load(channel, count);
  }
  void load(unsigned channel, uint16_t count) {
    out(static_cast<uint16_t>(0x40 + channel), static_cast<uint8_t>(count));
    out(static_cast<uint16_t>(0x40 + channel), static_cast<uint8_t>(count >> 8));
  }
  uint16_t count(unsigned channel) {
    out(0x43, static_cast<uint8_t>(channel << 6));
    const uint16_t low = in(static_cast<uint16_t>(0x40 + channel));
    return static_cast<uint16_t>(low | in(static_cast<uint16_t>(0x40 + channel)) << 8);
  }
  uint8_t status(unsigned channel) {
    out(0x43, static_cast<uint8_t>(0xe0 | 2u << channel));
    return in(static_cast<uint16_t>(0x40 + channel));
  }
  bool out2() { return in(0x61) & 0x20; }
};

TEST(Pit, Mode0RisesAtTerminalCountAndGoesOnCounting) {
  PitRig rig;
  rig.out(0x61, 1);
  rig.program(2, 0, 1000);
  EXPECT_FALSE(rig.out2());
  rig.ticks(400);
  EXPECT_EQ(rig.count(2), 600);
  rig.ticks(599);
  EXPECT_FALSE(rig.out2());
  rig.ticks(1);
  EXPECT_TRUE(rig.out2());
  EXPECT_EQ(rig.count(2), 0);
  rig.ticks(1);
  EXPECT_TRUE(rig.out2());
  EXPECT_EQ(rig.count(2), 0xffff);
}

TEST(Pit, Mode0PausesWhileItsGateIsLow) {
  PitRig rig;
  rig.out(0x61, 1);
  rig.program(2, 0, 1000);
  rig.ticks(300);
  rig.out(0x61, 0);
  rig.ticks(5000);
  EXPECT_EQ(rig.count(2), 700);
  rig.out(0x61, 1);
  rig.ticks(699);
  EXPECT_FALSE(rig.out2());
  rig.ticks(1);
  EXPECT_TRUE(rig.out2());
}

TEST(Pit, Mode0StopsAtTheFirstByteOfANewCount) {
  PitRig rig;
  rig.out(0x61, 1);
  rig.program(2, 0, 1000);
  rig.ticks(1000);
  rig.out(0x42, 0x10);
  EXPECT_FALSE(rig.out2());
  rig.ticks(5000);
  EXPECT_FALSE(rig.out2());
  rig.out(0x42, 0x00);
  rig.ticks(16);
  EXPECT_TRUE(rig.out2());
}

TEST(Pit, Mode1IsARetriggerableOneShot) {
  PitRig rig;
  rig.program(2, 1, 100);
  rig.ticks(500);
  EXPECT_TRUE(rig.out2()) << "waits for the trigger";
  EXPECT_TRUE(rig.status(2) & 0x40) << "null count: not loaded yet";
  rig.out(0x61, 1);
  EXPECT_FALSE(rig.out2());
  EXPECT_FALSE(rig.status(2) & 0x40);
  rig.ticks(60);
  rig.out(0x61, 0);
  rig.out(0x61, 1);
  rig.ticks(99);
  EXPECT_FALSE(rig.out2());
  rig.ticks(1);
  EXPECT_TRUE(rig.out2());
}

TEST(Pit, Mode2IsLowForTheLastTickOfEachPeriod) {
  PitRig rig;
  rig.out(0x61, 1);
  rig.program(2, 2, 10);
  for (int i = 0; i < 40; ++i) {
    EXPECT_EQ(rig.out2(), i % 10 != 9) << i;
    EXPECT_EQ(rig.count(2), 10 - i % 10);
    rig.ticks(1);
  }
}

TEST(Pit, Mode2LoadsANewCountAtTheEndOfThePeriod) {
  PitRig rig;
  rig.out(0x61, 1);
  rig.program(2, 2, 100);
  rig.ticks(250);
  rig.load(2, 40);
  EXPECT_TRUE(rig.status(2) & 0x40);
  EXPECT_EQ(rig.count(2), 50);
  rig.ticks(50);
  EXPECT_EQ(rig.count(2), 40);
  EXPECT_FALSE(rig.status(2) & 0x40);
  rig.ticks(39);
  EXPECT_FALSE(rig.out2());
}

TEST(Pit, Mode2GateStopsAndRestartsThePeriod) {
  PitRig rig;
  rig.out(0x61, 1);
  rig.program(2, 2, 100);
  rig.ticks(99);
  EXPECT_FALSE(rig.out2());
  rig.out(0x61, 0);
  EXPECT_TRUE(rig.out2()) << "a low gate sets OUT high at once";
  rig.ticks(500);
  rig.out(0x61, 1);
  EXPECT_EQ(rig.count(2), 100);
  rig.ticks(30);
  EXPECT_EQ(rig.count(2), 70);
}

TEST(Pit, Mode3IsASquareWave) {
  PitRig rig;
  rig.out(0x61, 1);
  for (const uint16_t period : {10, 11}) {
    rig.program(2, 3, period);
    for (int i = 0; i < 3 * period; ++i) {
      EXPECT_EQ(rig.out2(), i % period < (period + 1) / 2) << "period " << period << " tick " << i;
      EXPECT_EQ(rig.count(2) % 2, 0) << "counts by twos";
      rig.ticks(1);
    }
  }
}

TEST(Pit, Mode3LoadsANewCountAtTheEndOfTheHalfPeriod) {
  PitRig rig;
  rig.out(0x61, 1);
  rig.program(2, 3, 100);
  rig.ticks(10);
  rig.load(2, 20);
  rig.ticks(39);
  EXPECT_TRUE(rig.out2());
  rig.ticks(1);
  EXPECT_FALSE(rig.out2());
  rig.ticks(9);
  EXPECT_FALSE(rig.out2());
  rig.ticks(1);
  EXPECT_TRUE(rig.out2());
}

TEST(Pit, Mode4StrobesOnceByWriteAndMode5ByGate) {
  PitRig rig;
  rig.out(0x61, 1);
  rig.program(2, 4, 50);
  rig.ticks(49);
  EXPECT_TRUE(rig.out2());
  rig.ticks(1);
  EXPECT_FALSE(rig.out2());
  rig.ticks(1);
  EXPECT_TRUE(rig.out2());

  rig.out(0x61, 0);
  rig.program(2, 5, 50);
  rig.ticks(50);
  EXPECT_TRUE(rig.out2());
  rig.out(0x61, 1);
  rig.ticks(50);
  EXPECT_FALSE(rig.out2());
  rig.ticks(1);
  EXPECT_TRUE(rig.out2());
}

TEST(Pit, BcdCountsInDecimalAndZeroIsTenThousand) {
  PitRig rig;
  rig.out(0x61, 1);
  rig.program(2, 2, 0x1234, true);
  rig.ticks(35);
  EXPECT_EQ(rig.count(2), 0x1199);
  rig.program(2, 2, 0, true);
  rig.ticks(1);
  EXPECT_EQ(rig.count(2), 0x9999);
  rig.program(2, 2, 0);
  rig.ticks(1);
  EXPECT_EQ(rig.count(2), 0xffff);
}

TEST(Pit, SingleByteAccessModes) {
  PitRig rig;
  rig.out(0x43, 0x14);  // counter 0, low byte, mode 2
  rig.out(0x40, 200);
  rig.ticks(50);
  EXPECT_EQ(rig.in(0x40), 150);
  EXPECT_EQ(rig.in(0x40), 150);
  rig.out(0x43, 0x24);  // high byte
  rig.out(0x40, 2);
  rig.ticks(0x100);
  EXPECT_EQ(rig.in(0x40), 1);
}

TEST(Pit, ALatchedCountStandsUntilItIsRead) {
  PitRig rig;
  rig.program(0, 2, 5000);
  rig.ticks(100);
  rig.out(0x43, 0x00);
  rig.ticks(100);
  rig.out(0x43, 0x00);  // ignored: the first has not been read
  EXPECT_EQ(rig.in(0x40), 4900 & 0xff);
  rig.ticks(100);
  EXPECT_EQ(rig.in(0x40), 4900 >> 8);
  EXPECT_EQ(rig.count(0), 4700);
}

TEST(Pit, ReadBackGivesStatusThenCount) {
  PitRig rig;
  rig.program(0, 2, 5000);
  rig.program(1, 3, 18);
  rig.ticks(100);
  rig.out(0x43, 0xc6);  // count and status of counters 0 and 1
  EXPECT_EQ(rig.in(0x40), 0x80 | 0x30 | 2 << 1);
  EXPECT_EQ(rig.in(0x40), 4900 & 0xff);
  EXPECT_EQ(rig.in(0x40), 4900 >> 8);
  EXPECT_EQ(rig.in(0x41) & 0x3f, 0x30 | 3 << 1);
}

TEST(Pit, Port61TogglesRefreshAndKeepsItsBits) {
  PitRig rig;
  rig.out(0x61, 0xff);
  EXPECT_EQ(rig.in(0x61) & 0xcf, 0x0f);
  const uint8_t before = rig.in(0x61) & 0x10;
  rig.ticks(18);
  EXPECT_NE(rig.in(0x61) & 0x10, before);
}

TEST(Pit, Channel0InterruptsAtEachPeriod) {
  PitRig rig;
  rig.program(0, 2, 11932);  // 100 Hz
  for (unsigned i = 1; i <= 10; ++i) {
    rig.ticks(11931);
    EXPECT_EQ(rig.sink.pulses, i - 1);
    rig.ticks(1);
    EXPECT_EQ(rig.sink.pulses, i);
  }
}

TEST(Pit, Channel0OneShotInterruptsOnce) {
  PitRig rig;
  rig.program(0, 0, 1000);
  rig.ticks(1000);
  EXPECT_EQ(rig.sink.pulses, 1u);
  rig.ticks(200000);
  EXPECT_EQ(rig.sink.pulses, 1u);
}

TEST(Pit, ANewControlWordStopsTheInterrupts) {
  PitRig rig;
  rig.program(0, 2, 1000);
  rig.out(0x43, 0x34);
  rig.ticks(100000);
  EXPECT_EQ(rig.sink.pulses, 0u);
}

TEST(Pit, MissedPeriodsAreMergedAndKeepThePhase) {
  PitRig rig;
  rig.program(0, 3, 1000);
  rig.ticks(10500);
  EXPECT_EQ(rig.sink.pulses, 1u);
  rig.ticks(499);
  EXPECT_EQ(rig.sink.pulses, 1u);
  rig.ticks(1);
  EXPECT_EQ(rig.sink.pulses, 2u);
}

TEST(Pit, TinyCountsAreHeldToTheMinimumInterval) {
  PitRig rig;
  rig.program(0, 2, 1);
  for (int i = 0; i < 1000; ++i) rig.time.advance(1000);  // 1 ms
  EXPECT_LE(rig.sink.pulses, 1'000'000 / Pit::kMinimumRearm + 1);
  EXPECT_GE(rig.sink.pulses, 40u);
}

test::Trace drive(PitRig& rig, std::mt19937_64& random) {
  test::Trace trace;
  for (int i = 0; i < 120; ++i) {
    const uint16_t port = random() % 5 == 0 ? 0x61 : static_cast<uint16_t>(0x40 + random() % 4);
    switch (random() % 4) {
      case 0:
      case 1:
        rig.out(port, static_cast<uint8_t>(random()));
        break;
      case 2:
        trace.push_back(rig.in(port));
        break;
      case 3:
        rig.time.advance(static_cast<int64_t>(random() % (random() & 1 ? 20'000'000 : 20'000)));
        break;
    }
    trace.push_back(rig.sink.pulses);
  }
  const uint64_t first = trace.empty() ? 0 : rig.sink.pulses;
  for (auto port : {0x40, 0x41, 0x42, 0x61}) trace.push_back(rig.in(static_cast<uint16_t>(port)));
  trace.push_back(first);
  rig.sink.pulses = 0;
  return trace;
}

TEST(Pit, StateSurvives) { test::run_state_test<PitRig>(200, drive); }

}  // namespace
}  // namespace skerry::irqchip
