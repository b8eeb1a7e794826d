#include "irqchip/ioapic.hpp"

#include "unit/irqchip/apic_rig.hpp"
#include "unit/state_test.hpp"

namespace skerry::irqchip {
namespace {

constexpr uint32_t kLevel = 1u << 15, kMasked = 1u << 16, kRemoteIrr = 1u << 14, kLogical = 1u << 11;

struct IoApicTest : ::testing::Test, test::ApicRig {
  IoApicTest() { enable_all(); }
};

TEST_F(IoApicTest, ReportsVersion20With24Pins) {
  EXPECT_EQ(ioapic_read(1), 0x00170020u);
  ioapic_write(0, 0x0f000000);
  EXPECT_EQ(ioapic_read(0), 0x0f000000u);
  EXPECT_EQ(ioapic_read(0x10), kMasked);
  EXPECT_EQ(ioapic_read(0x40), 0u);
}

TEST_F(IoApicTest, AnEdgeInterruptsItsDestinationOnce) {
  route(5, 1, 0x55);
  ioapic.set_irq(5, true);
  ioapic.set_irq(5, true);
  EXPECT_FALSE(pins[0].intr);
  EXPECT_EQ(take(1), 0x55);
  EXPECT_EQ(take(1), -1);
  ioapic.set_irq(5, false);
  ioapic.set_irq(5, true);
  EXPECT_EQ(take(1), 0x55);
}

TEST_F(IoApicTest, AnEdgeOnAMaskedPinIsLost) {
  route(5, 0, 0x55 | kMasked);
  ioapic.set_irq(5, true);
  route(5, 0, 0x55);
  EXPECT_EQ(take(0), -1);
}

TEST_F(IoApicTest, ALevelInterruptsAgainAfterEoiWhileItIsAsserted) {
  route(9, 2, 0x61 | kLevel);
  ioapic.set_irq(9, true);
  EXPECT_EQ(lapics[2].acknowledge(), 0x61);
  EXPECT_TRUE(ioapic_read(0x10 + 18) & kRemoteIrr);
  EXPECT_FALSE(pins[2].intr);
  lapics[2].mmio_write(0xb0, 0);
  EXPECT_TRUE(pins[2].intr) << "still asserted";
  EXPECT_EQ(lapics[2].acknowledge(), 0x61);
  ioapic.set_irq(9, false);
  lapics[2].mmio_write(0xb0, 0);
  EXPECT_FALSE(pins[2].intr);
  EXPECT_FALSE(ioapic_read(0x10 + 18) & kRemoteIrr);
}

TEST_F(IoApicTest, ALevelOnAMaskedPinWaitsForTheUnmask) {
  route(9, 0, 0x61 | kLevel | kMasked);
  ioapic.set_irq(9, true);
  EXPECT_FALSE(pins[0].intr);
  route(9, 0, 0x61 | kLevel);
  EXPECT_EQ(take(0), 0x61);
}

TEST_F(IoApicTest, TheEoiRegisterClearsRemoteIrr) {
  route(9, 0, 0x61 | kLevel);
  ioapic.set_irq(9, true);
  ioapic.set_irq(9, false);
  mmio.write(0xfec00040, 4, 0x60);
  EXPECT_TRUE(ioapic_read(0x10 + 18) & kRemoteIrr);
  mmio.write(0xfec00040, 4, 0x61);
  EXPECT_FALSE(ioapic_read(0x10 + 18) & kRemoteIrr);
}

TEST_F(IoApicTest, SwitchingToEdgeClearsRemoteIrr) {
  route(9, 0, 0x61 | kLevel);
  ioapic.set_irq(9, true);
  ioapic_write(0x10 + 18, 0x61 | kMasked);
  EXPECT_EQ(ioapic_read(0x10 + 18), 0x61 | kMasked);
}

TEST_F(IoApicTest, ReadOnlyBitsCannotBeWritten) {
  route(3, 0, 0x31 | kLevel | kRemoteIrr | 1u << 12);
  EXPECT_EQ(ioapic_read(0x16), 0x31 | kLevel);
}

TEST_F(IoApicTest, PolarityIsStoredAndLinesStayLogical) {
  route(3, 0, 0x31 | 1u << 13);
  EXPECT_EQ(ioapic_read(0x16), 0x31 | 1u << 13);
  EXPECT_EQ(take(0), -1);
  ioapic.set_irq(3, true);
  EXPECT_EQ(take(0), 0x31);
}

TEST_F(IoApicTest, LogicalDestinationsReachEveryMember) {
  route(4, 0b0110, 0x41 | kLogical);
  ioapic.set_irq(4, true);
  EXPECT_EQ(take(0), -1);
  EXPECT_EQ(take(1), 0x41);
  EXPECT_EQ(take(2), 0x41);
}

TEST_F(IoApicTest, LowestPriorityReachesTheLeastBusyOne) {
  route(4, 0b0111, 0x41 | 1u << 8 | kLogical);
  lapics[0].write_tpr(5);
  lapics[1].write_tpr(3);
  lapics[2].write_tpr(4);
  ioapic.set_irq(4, true);
  EXPECT_EQ(take(0), -1);
  EXPECT_EQ(take(2), -1);
  EXPECT_EQ(take(1), 0x41);
}

TEST_F(IoApicTest, NmiInitAndExtIntGoToThePins) {
  route(6, 1, 4u << 8);
  ioapic.set_irq(6, true);
  EXPECT_EQ(pins[1].nmis, 1u);
  route(7, 1, 5u << 8);
  ioapic.set_irq(7, true);
  EXPECT_EQ(pins[1].inits, 1u);
  route(8, 2, 7u << 8);
  ioapic.set_irq(8, true);
  EXPECT_TRUE(pins[2].intr);
  EXPECT_EQ(lapics[2].acknowledge(), 7) << "the 8259 answers; it has nothing, so IRQ 7";
  EXPECT_FALSE(pins[2].intr);
}

TEST_F(IoApicTest, ALevelThatNobodyTakesDoesNotHang) {
  route(9, 77, 0x61 | kLevel);
  ioapic.set_irq(9, true);
  EXPECT_FALSE(ioapic_read(0x10 + 18) & kRemoteIrr);
  route(9, 1, 0x61 | kLevel);
  EXPECT_EQ(take(1), 0x61);
}

TEST_F(IoApicTest, RouterPutsTheTimerOnPin2AndDropsTheCascade) {
  route(2, 0, 0x30);
  route(0, 0, 0x31);
  router.set_irq(0, true);
  EXPECT_EQ(take(0), 0x30);
  EXPECT_EQ(take(0), -1);
  router.set_irq(0, false);
  router.set_irq(2, true);
  EXPECT_EQ(take(0), -1);
  route(20, 0, 0x44);
  router.set_irq(20, true);
  router.set_irq(24, true);
  router.set_irq(~0u, true);
  EXPECT_EQ(take(0), 0x44);
}

struct IoApicRig : test::ApicRig {
  IoApicRig() { enable_all(); }
  bus::Device& device() { return ioapic; }
};

test::Trace drive(IoApicRig& rig, std::mt19937_64& random) {
  test::Trace trace;
  for (int i = 0; i < 200; ++i) {
    const size_t cpu = random() % 4;
    switch (random() % 6) {
      case 0:
        rig.ioapic_write(static_cast<uint8_t>(random() % 0x42), static_cast<uint32_t>(random()));
        break;
      case 1:
        trace.push_back(rig.ioapic_read(static_cast<uint8_t>(random() % 0x42)));
        break;
      case 2:
        rig.ioapic.set_irq(random() % 26, random() & 1);
        break;
      case 3:
        trace.push_back(static_cast<uint64_t>(rig.take(cpu)));
        break;
      case 4:
        rig.mmio.write(0xfec00000 + random() % 0x60, 1u << random() % 4, random());
        break;
      case 5:
        rig.ioapic.end_of_interrupt(static_cast<uint8_t>(random()));
        break;
    }
  }
  for (uint8_t reg = 0; reg < 0x40; ++reg) trace.push_back(rig.ioapic_read(reg));
  // The LAPICs are not what is being copied: they end as they began.
  for (auto& lapic : rig.lapics) lapic.reset();
  rig.enable_all();
  return trace;
}

TEST(IoApic, StateSurvives) { test::run_state_test<IoApicRig>(200, drive); }

}  // namespace
}  // namespace skerry::irqchip
