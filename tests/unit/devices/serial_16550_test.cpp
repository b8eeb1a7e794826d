#include "devices/serial_16550.hpp"

#include <gtest/gtest.h>

#include "unit/devices/fakes.hpp"

namespace skerry::devices {
namespace {

constexpr uint16_t kBase = Serial16550::kCom1;
enum : uint16_t {
  RBR = kBase,
  THR = kBase,
  IER = kBase + 1,
  IIR = kBase + 2,
  FCR = kBase + 2,
  LCR = kBase + 3,
  MCR = kBase + 4,
  LSR = kBase + 5,
  MSR = kBase + 6,
  SCR = kBase + 7
};

struct SerialRig : test::PortRig {
  test::FakeChardev host;
  Serial16550 serial{"serial0", line(4), time.loop(), host};
  SerialRig() { EXPECT_TRUE(serial.attach(pio, kBase)); }
  bus::Device& device() { return serial; }
  void follow(SerialRig& other) {
    test::PortRig::follow(other);
    host.room = other.host.room;
  }
  bool irq() const { return irqs.level[4]; }
};

TEST(Serial16550, StartsAsTheDataSheetSays) {
  SerialRig rig;
  EXPECT_EQ(rig.in(IER), 0);
  EXPECT_EQ(rig.in(IIR), 0x01);
  EXPECT_EQ(rig.in(LCR), 0);
  EXPECT_EQ(rig.in(LSR), 0x60);
  EXPECT_EQ(rig.in(MSR), 0xb0);
  EXPECT_FALSE(rig.irq());
}

TEST(Serial16550, OutputReachesTheHostAndThrStaysEmpty) {
  SerialRig rig;
  for (const char c : std::string("hello")) {
    EXPECT_EQ(rig.in(LSR)&0x60, 0x60);
    rig.out(THR, static_cast<uint8_t>(c));
  }
  EXPECT_EQ(rig.host.output, "hello");
}

TEST(Serial16550, EnablingTheTransmitterInterruptRaisesItAndReadingIirClearsIt) {
  SerialRig rig;
  rig.out(IER, 2);
  EXPECT_TRUE(rig.irq());
  EXPECT_EQ(rig.in(IIR), 0x02);
  EXPECT_FALSE(rig.irq());
  EXPECT_EQ(rig.in(IIR), 0x01);
  rig.out(IER, 0);
  rig.out(IER, 2);
  EXPECT_TRUE(rig.irq()) << "drivers test a port by this";
}

TEST(Serial16550, EachByteSentGivesAnEdge) {
  SerialRig rig;
  rig.out(IER, 2);
  const unsigned before = rig.irqs.rises[4];
  rig.out(THR, 'a');
  rig.out(THR, 'b');
  EXPECT_EQ(rig.irqs.rises[4], before + 2);
}

TEST(Serial16550, SlowHostKeepsThreClearAndLosesNothing) {
  SerialRig rig;
  rig.out(FCR, 1);
  rig.out(IER, 2);
  rig.in(IIR);
  rig.host.room = 2;
  rig.out(THR, '1');
  rig.out(THR, '2');
  rig.in(IIR);
  rig.out(THR, '3');
  EXPECT_EQ(rig.in(LSR)&0x60, 0);
  EXPECT_FALSE(rig.irq());
  rig.out(THR, '4');
  rig.host.make_room(1);
  EXPECT_EQ(rig.in(LSR)&0x60, 0) << "one byte is left";
  rig.host.make_room(100);
  EXPECT_EQ(rig.host.output, "1234");
  EXPECT_EQ(rig.in(LSR)&0x60, 0x60);
  EXPECT_TRUE(rig.irq());
}

TEST(Serial16550, ReceivesOneByteWithoutFifosAndSixteenWith) {
  SerialRig rig;
  EXPECT_EQ(rig.host.send("abcdefghijklmnopqrstuvwxyz"), 1u);
  EXPECT_EQ(rig.host.send("b"), 0u);
  EXPECT_EQ(rig.in(LSR), 0x61);
  const unsigned calls = rig.host.ready_calls;
  EXPECT_EQ(rig.in(RBR), 'a');
  EXPECT_GT(rig.host.ready_calls, calls) << "the host is told that there is room";
  rig.out(FCR, 1);
  EXPECT_EQ(rig.in(IIR)&0xc0, 0xc0);
  EXPECT_EQ(rig.host.send("abcdefghijklmnopqrstuvwxyz"), 16u);
  for (char c = 'a'; c < 'a' + 16; ++c) EXPECT_EQ(rig.in(RBR), static_cast<uint8_t>(c));
  EXPECT_EQ(rig.in(LSR)&1, 0);
}

TEST(Serial16550, DataInterruptComesAtTheTriggerLevel) {
  SerialRig rig;
  rig.out(FCR, 0x81);  // level 8
  rig.out(IER, 1);
  rig.host.send("1234567");
  EXPECT_FALSE(rig.irq());
  rig.host.send("8");
  EXPECT_TRUE(rig.irq());
  EXPECT_EQ(rig.in(IIR), 0xc4);
  rig.in(RBR);
  EXPECT_FALSE(rig.irq());
}

TEST(Serial16550, TimeoutInterruptComesAfterFourCharacterTimes) {
  SerialRig rig;
  rig.out(LCR, 0x83);
  rig.out(kBase, 1);
  rig.out(kBase + 1, 0);
  rig.out(LCR, 0x03);  // 115200 8N1: ten bits a character
  rig.out(FCR, 0xc1);
  rig.out(IER, 1);
  rig.host.send("x");
  rig.time.advance(347'000);
  EXPECT_FALSE(rig.irq());
  rig.time.advance(500);
  EXPECT_TRUE(rig.irq());
  EXPECT_EQ(rig.in(IIR), 0xcc);
  EXPECT_EQ(rig.in(RBR), 'x');
  EXPECT_FALSE(rig.irq());
  EXPECT_EQ(rig.in(IIR), 0xc1);
}

TEST(Serial16550, InterruptsHaveTheirPriorities) {
  SerialRig rig;
  rig.out(MCR, 0x10);  // loopback: the guest drives all sources itself
  rig.out(IER, 0x0f);
  rig.in(MSR);
  rig.out(THR, 'a');
  rig.out(THR, 'b');   // overrun
  rig.out(MCR, 0x13);  // modem lines change
  EXPECT_EQ(rig.in(IIR), 0x06);
  EXPECT_EQ(rig.in(LSR)&0x1e, 0x02);
  EXPECT_EQ(rig.in(IIR), 0x04);
  EXPECT_EQ(rig.in(RBR), 'a');
  EXPECT_EQ(rig.in(IIR), 0x02);
  EXPECT_EQ(rig.in(IIR), 0x00);
  EXPECT_EQ(rig.in(MSR), 0x33);
  EXPECT_EQ(rig.in(IIR), 0x01);
  EXPECT_FALSE(rig.irq());
}

TEST(Serial16550, LoopbackConnectsModemOutputsToInputs) {
  SerialRig rig;
  rig.in(MSR);
  rig.out(MCR, 0x1a);
  EXPECT_EQ(rig.in(MSR)&0xf0, 0x90);  // what Linux's autoconfiguration expects
  rig.out(MCR, 0x14);
  EXPECT_EQ(rig.in(MSR)&0xf0, 0x40);
  rig.out(MCR, 0x10);
  EXPECT_EQ(rig.in(MSR)&0x04, 0x04) << "TERI, on RI's trailing edge";
  rig.out(THR, 'z');
  EXPECT_EQ(rig.in(RBR), 'z');
  EXPECT_EQ(rig.host.output, "");
  EXPECT_EQ(rig.host.send("q"), 0u) << "the line is cut off";
}

TEST(Serial16550, DlabReachesTheDivisorAndScratchHolds) {
  SerialRig rig;
  rig.out(LCR, 0x83);
  rig.out(kBase, 0x34);
  rig.out(kBase + 1, 0x12);
  EXPECT_EQ(rig.in(kBase), 0x34);
  EXPECT_EQ(rig.in(kBase + 1), 0x12);
  rig.out(LCR, 0x03);
  EXPECT_EQ(rig.in(IER), 0);
  rig.out(SCR, 0xa5);
  EXPECT_EQ(rig.in(SCR), 0xa5);
  rig.out(IER, 0xff);
  EXPECT_EQ(rig.in(IER), 0x0f);
}

TEST(Serial16550, BreakIsAZeroWithBi) {
  SerialRig rig;
  rig.out(IER, 4);
  rig.host.device.receive_break();
  EXPECT_TRUE(rig.irq());
  EXPECT_EQ(rig.in(LSR)&0x11, 0x11);
  EXPECT_EQ(rig.in(LSR)&0x11, 0x01);
  EXPECT_EQ(rig.in(RBR), 0);
}

TEST(Serial16550, ClearingFifosEmptiesThem) {
  SerialRig rig;
  rig.out(FCR, 1);
  rig.host.send("abc");
  rig.host.room = 0;
  rig.out(THR, 'x');
  rig.out(FCR, 7);
  EXPECT_EQ(rig.in(LSR), 0x60);
  rig.host.make_room(9);
  EXPECT_EQ(rig.host.output, "");
}

test::Trace drive(SerialRig& rig, std::mt19937_64& random) {
  test::Trace trace;
  rig.irqs.rises = {};
  rig.host.output.clear();
  for (int i = 0; i < 200; ++i) {
    switch (random() % 8) {
      case 0:
        rig.time.advance(static_cast<int64_t>(random() % 2'000'000));
        break;
      case 1:
        trace.push_back(rig.host.send("typed"));
        break;
      case 2:
        rig.host.make_room(random() % 8);
        break;
      case 3:
      case 4:
        rig.out(static_cast<uint16_t>(kBase + random() % 8), static_cast<uint8_t>(random()));
        break;
      default:
        trace.push_back(rig.in(static_cast<uint16_t>(kBase + random() % 8)));
        break;
    }
    rig.irqs.append_to(trace);
  }
  trace.insert(trace.end(), rig.host.output.begin(), rig.host.output.end());
  return trace;
}

TEST(Serial16550, StateSurvives) { test::run_state_test<SerialRig>(60, drive); }

TEST(Serial16550, RandomAccessesAreHarmless) {
  for (uint64_t seed = 1; seed <= 50; ++seed) {
    SCOPED_TRACE(seed);
    SerialRig rig;
    std::mt19937_64 random(seed);
    drive(rig, random);
    for (int i = 0; i < 2000; ++i) {
      const unsigned size = 1u << random() % 3;
      if (random() & 1)
        rig.out(static_cast<uint16_t>(kBase + random() % 8), static_cast<uint32_t>(random()), size);
      else
        rig.in(static_cast<uint16_t>(kBase + random() % 8), size);
    }
  }
}

}  // namespace
}  // namespace skerry::devices
