#include "irqchip/pic.hpp"

#include <gtest/gtest.h>

#include "unit/state_test.hpp"

namespace skerry::irqchip {
namespace {

struct PicRig {
  bool intr = false;
  Pic pic{[this](bool level) { intr = level; }};
  bus::AddressSpace pio{"port"};

  PicRig() { EXPECT_TRUE(pic.attach(pio)); }
  bus::Device& device() { return pic; }
  void out(uint16_t port, uint8_t value) { pio.write(port, 1, value); }
  uint8_t in(uint16_t port) { return static_cast<uint8_t>(pio.read(port, 1)); }
  // As a PC's firmware or Linux does it.
  void initialize(uint8_t master_icw4 = 1, uint8_t slave_icw4 = 1) {
    for (auto [port, base, icw3, icw4] :
         {std::tuple{0x20, 0x20, 4, master_icw4}, std::tuple{0xa0, 0x28, 2, slave_icw4}}) {
      out(static_cast<uint16_t>(port), 0x11);
      out(static_cast<uint16_t>(port + 1), static_cast<uint8_t>(base));
      out(static_cast<uint16_t>(port + 1), static_cast<uint8_t>(icw3));
      out(static_cast<uint16_t>(port + 1), icw4);
    }
  }
  void pulse(unsigned irq) {
    pic.set_irq(irq, true);
    pic.set_irq(irq, false);
  }
};

TEST(Pic, IsSilentUntilItIsInitialized) {
  PicRig rig;
  rig.pulse(1);
  EXPECT_FALSE(rig.intr);
}

TEST(Pic, InitializationSetsTheVectorBaseAndClearsTheMask) {
  PicRig rig;
  rig.initialize();
  EXPECT_EQ(rig.in(0x21), 0);
  rig.pulse(3);
  EXPECT_TRUE(rig.intr);
  EXPECT_EQ(rig.pic.acknowledge(), 0x23);
  EXPECT_FALSE(rig.intr);
}

TEST(Pic, DoesNotInterruptInTheMiddleOfItsInitialization) {
  PicRig rig;
  rig.initialize();
  rig.out(0x20, 0x11);
  rig.pulse(0);
  EXPECT_FALSE(rig.intr);
  for (uint8_t icw : {0x40, 4, 1}) rig.out(0x21, icw);
  EXPECT_TRUE(rig.intr);
  EXPECT_EQ(rig.pic.acknowledge(), 0x40);
}

TEST(Pic, SkipsIcw3WhenSingleAndIcw4WhenNotAnnounced) {
  PicRig rig;
  rig.out(0x20, 0x12);  // single, no ICW4
  rig.out(0x21, 0x48);
  rig.out(0x21, 0xfe);  // so this is OCW1 already
  EXPECT_EQ(rig.in(0x21), 0xfe);
}

TEST(Pic, LowerNumbersGoFirstAndAreNotInterruptedByHigherOnes) {
  PicRig rig;
  rig.initialize();
  rig.pulse(5);
  rig.pulse(1);
  EXPECT_EQ(rig.pic.acknowledge(), 0x21);
  EXPECT_FALSE(rig.intr);  // 5 waits for the end of 1
  rig.pulse(0);
  EXPECT_TRUE(rig.intr);
  EXPECT_EQ(rig.pic.acknowledge(), 0x20);
  rig.out(0x20, 0x20);  // non-specific EOI ends 0, the highest in service
  EXPECT_FALSE(rig.intr);
  rig.out(0x20, 0x61);  // specific EOI of 1
  EXPECT_TRUE(rig.intr);
  EXPECT_EQ(rig.pic.acknowledge(), 0x25);
}

TEST(Pic, MaskedRequestsWaitInIrr) {
  PicRig rig;
  rig.initialize();
  rig.out(0x21, 0xff);
  rig.pulse(4);
  EXPECT_FALSE(rig.intr);
  rig.out(0x20, 0x0a);
  EXPECT_EQ(rig.in(0x20), 0x10);
  rig.out(0x21, 0xef);
  EXPECT_EQ(rig.pic.acknowledge(), 0x24);
  rig.out(0x20, 0x0b);
  EXPECT_EQ(rig.in(0x20), 0x10);
}

TEST(Pic, SlaveInterruptsComeThroughTheCascade) {
  PicRig rig;
  rig.initialize();
  rig.pulse(12);
  rig.pulse(9);
  EXPECT_EQ(rig.pic.acknowledge(), 0x29);
  rig.out(0x20, 0x0b);
  EXPECT_EQ(rig.in(0x20), 0x04);
  rig.out(0xa0, 0x20);
  EXPECT_FALSE(rig.intr);  // the master's IR2 is still in service
  rig.out(0x20, 0x20);
  EXPECT_TRUE(rig.intr);
  EXPECT_EQ(rig.pic.acknowledge(), 0x2c);
}

TEST(Pic, CascadeLineOfADeviceIsIgnored) {
  PicRig rig;
  rig.initialize();
  rig.pulse(2);
  EXPECT_FALSE(rig.intr);
}

TEST(Pic, AWithdrawnRequestIsSpuriousIrq7) {
  PicRig rig;
  rig.initialize();
  EXPECT_EQ(rig.pic.acknowledge(), 0x27);
  rig.out(0x20, 0x0b);
  EXPECT_EQ(rig.in(0x20), 0) << "no in-service bit for a spurious interrupt";
}

TEST(Pic, ASlaveRequestThatIsWithdrawnIsSpuriousIrq15) {
  PicRig rig;
  rig.initialize();
  rig.out(0x4d1, 0x02);  // IRQ 9 level-triggered
  rig.pic.set_irq(9, true);
  rig.pic.set_irq(9, false);
  EXPECT_EQ(rig.pic.acknowledge(), 0x2f);
  rig.out(0xa0, 0x0b);
  EXPECT_EQ(rig.in(0xa0), 0);
  rig.out(0x20, 0x0b);
  EXPECT_EQ(rig.in(0x20), 0x04) << "the master does not know, and needs its EOI";
}

TEST(Pic, LevelTriggeredInputInterruptsUntilItsLineFalls) {
  PicRig rig;
  rig.initialize();
  rig.out(0x4d1, 0x08);
  rig.pic.set_irq(11, true);
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(rig.pic.acknowledge(), 0x2b);
    rig.out(0xa0, 0x20);
    rig.out(0x20, 0x20);
    EXPECT_TRUE(rig.intr);
  }
  EXPECT_EQ(rig.pic.acknowledge(), 0x2b);
  rig.pic.set_irq(11, false);
  rig.out(0xa0, 0x20);
  rig.out(0x20, 0x20);
  EXPECT_FALSE(rig.intr);
}

TEST(Pic, ElcrKeepsSystemInterruptsEdgeTriggered) {
  PicRig rig;
  rig.out(0x4d0, 0xff);
  rig.out(0x4d1, 0xff);
  EXPECT_EQ(rig.in(0x4d0), 0xf8);
  EXPECT_EQ(rig.in(0x4d1), 0xde);
}

TEST(Pic, AnEdgeInterruptsOnceHoweverLongItsLineStays) {
  PicRig rig;
  rig.initialize();
  rig.pic.set_irq(6, true);
  EXPECT_EQ(rig.pic.acknowledge(), 0x26);
  rig.out(0x20, 0x20);
  rig.pic.set_irq(6, true);
  EXPECT_FALSE(rig.intr);
}

TEST(Pic, RotateOnEoiMakesTheEndedOneTheLowest) {
  PicRig rig;
  rig.initialize();
  rig.pulse(3);
  EXPECT_EQ(rig.pic.acknowledge(), 0x23);
  rig.out(0x20, 0xa0);  // rotate on non-specific EOI
  rig.pulse(3);
  rig.pulse(4);
  EXPECT_EQ(rig.pic.acknowledge(), 0x24);
  EXPECT_FALSE(rig.intr);
  rig.out(0x20, 0xe4);  // rotate on specific EOI
  rig.pulse(5);
  EXPECT_EQ(rig.pic.acknowledge(), 0x25);
}

TEST(Pic, SetPriorityCommandRotatesWithoutEoi) {
  PicRig rig;
  rig.initialize();
  rig.out(0x20, 0xc4);  // 4 lowest, 5 highest
  rig.pulse(0);
  rig.pulse(5);
  EXPECT_EQ(rig.pic.acknowledge(), 0x25);
}

TEST(Pic, AutomaticEoiLeavesNothingInService) {
  PicRig rig;
  rig.initialize(3);
  rig.pulse(1);
  rig.pulse(4);
  EXPECT_EQ(rig.pic.acknowledge(), 0x21);
  EXPECT_TRUE(rig.intr);
  EXPECT_EQ(rig.pic.acknowledge(), 0x24);
  rig.out(0x20, 0x80);  // rotate in automatic EOI mode
  rig.pulse(1);
  EXPECT_EQ(rig.pic.acknowledge(), 0x21);
  rig.pulse(1);
  rig.pulse(4);
  EXPECT_EQ(rig.pic.acknowledge(), 0x24);
}

TEST(Pic, SlaveUnderAutomaticEoiLosesNoRequest) {
  PicRig rig;
  rig.initialize(3, 3);
  rig.pulse(9);
  rig.pulse(10);
  EXPECT_EQ(rig.pic.acknowledge(), 0x29);
  EXPECT_TRUE(rig.intr);
  EXPECT_EQ(rig.pic.acknowledge(), 0x2a);
  EXPECT_FALSE(rig.intr);
}

TEST(Pic, SpecialMaskModeLetsLowerPrioritiesInterrupt) {
  PicRig rig;
  rig.initialize();
  rig.pulse(1);
  EXPECT_EQ(rig.pic.acknowledge(), 0x21);
  rig.pulse(6);
  EXPECT_FALSE(rig.intr);
  rig.out(0x21, 0x02);
  rig.out(0x20, 0x68);
  EXPECT_TRUE(rig.intr);
  EXPECT_EQ(rig.pic.acknowledge(), 0x26);
  rig.out(0x20, 0x20);  // ends 6, not the masked 1
  rig.out(0x20, 0x0b);
  EXPECT_EQ(rig.in(0x20), 0x02);
  rig.pulse(6);
  rig.out(0x20, 0x48);
  EXPECT_FALSE(rig.intr);
}

TEST(Pic, SpecialFullyNestedModeLetsTheSlaveNest) {
  PicRig rig;
  rig.initialize(0x11);
  rig.pulse(12);
  EXPECT_EQ(rig.pic.acknowledge(), 0x2c);
  rig.pulse(8);
  EXPECT_TRUE(rig.intr);
  EXPECT_EQ(rig.pic.acknowledge(), 0x28);
  rig.pulse(9);
  EXPECT_FALSE(rig.intr);
}

TEST(Pic, PollAcknowledgesByARead) {
  PicRig rig;
  rig.initialize();
  rig.out(0x20, 0x0c);
  EXPECT_EQ(rig.in(0x20), 0x00);
  rig.pulse(4);
  rig.out(0x20, 0x0c);
  EXPECT_EQ(rig.in(0x20), 0x84);
  EXPECT_FALSE(rig.intr);
  rig.out(0x20, 0x0b);
  EXPECT_EQ(rig.in(0x20), 0x10);
}

test::Trace drive(PicRig& rig, std::mt19937_64& random) {
  static constexpr uint16_t kPorts[] = {0x20, 0x21, 0xa0, 0xa1, 0x4d0, 0x4d1};
  test::Trace trace;
  for (int i = 0; i < 200; ++i) {
    const uint16_t port = kPorts[random() % 6];
    switch (random() % 5) {
      case 0:
        rig.out(port, static_cast<uint8_t>(random()));
        break;
      case 1:
        trace.push_back(rig.in(port));
        break;
      case 2:
        rig.pic.set_irq(random() % 17, random() & 1);
        break;
      case 3:
        rig.out(random() & 1 ? 0xa0 : 0x20, 0x20);
        break;
      case 4:
        if (rig.intr) trace.push_back(static_cast<uint64_t>(rig.pic.acknowledge()));
        break;
    }
    trace.push_back(rig.intr);
  }
  return trace;
}

TEST(Pic, StateSurvives) { test::run_state_test<PicRig>(200, drive); }

TEST(Pic, IntrIsHighExactlyWhileAnAcknowledgeIsNotSpurious) {
  for (uint64_t seed = 1; seed <= 50; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937_64 random(seed);
    PicRig rig;
    rig.initialize();
    for (int i = 0; i < 300; ++i) {
      rig.pic.set_irq(random() % 16, random() & 1);
      if (random() % 4 == 0) rig.out(random() & 1 ? 0x21 : 0xa1, static_cast<uint8_t>(random()));
      if (random() % 3 != 0) continue;
      const bool expected = rig.intr;
      rig.out(0x20, 0x0b);
      const uint8_t before = rig.in(0x20);
      const int vector = rig.pic.acknowledge();
      EXPECT_EQ(rig.in(0x20) != before, expected) << "vector " << vector;
      rig.out(0x20, 0x20);
      rig.out(0xa0, 0x20);
    }
  }
}

}  // namespace
}  // namespace skerry::irqchip
