#include "irqchip/lapic.hpp"

#include "unit/irqchip/apic_rig.hpp"

namespace skerry::irqchip {
namespace {

using enum MsrAccess;

constexpr uint32_t kMasked = 1u << 16;

struct LapicTest : ::testing::Test, test::ApicRig {
  Lapic& cpu0 = lapics[0];
  LapicTest() { enable_all(); }
  uint32_t reg(uint32_t offset) { return cpu0.mmio_read(offset); }
  void self_ipi(uint8_t vector) { send_ipi(0, 0, 0x40000u | vector); }
};

TEST_F(LapicTest, ComesOutOfResetDisabledBySoftware) {
  cpu0.reset();
  lapics[1].reset();
  EXPECT_EQ(reg(0x20), 0u);
  EXPECT_EQ(lapics[1].mmio_read(0x20), 0x01000000u);
  EXPECT_EQ(reg(0x30), 0x00050014u);
  EXPECT_EQ(reg(0xf0), 0xffu);
  EXPECT_EQ(reg(0xe0), ~0u);
  for (uint32_t lvt = 0x320; lvt <= 0x370; lvt += 0x10) EXPECT_EQ(lapics[1].mmio_read(lvt), kMasked);
  EXPECT_EQ(reg(0x350), 0x700u) << "the bootstrap processor takes the 8259's interrupts";
  uint64_t base = 0;
  EXPECT_EQ(cpu0.read_msr(0x1b, base), kDone);
  EXPECT_EQ(base, 0xfee00900u);
  EXPECT_EQ(lapics[1].read_msr(0x1b, base), kDone);
  EXPECT_EQ(base, 0xfee00800u);
}

TEST_F(LapicTest, HigherVectorsGoFirstAndHoldBackTheirClass) {
  self_ipi(0x41);
  self_ipi(0x53);
  self_ipi(0x51);
  EXPECT_EQ(cpu0.acknowledge(), 0x53);
  EXPECT_EQ(reg(0xa0), 0x50u);
  EXPECT_FALSE(pins[0].intr) << "0x51 is of the class in service";
  self_ipi(0x61);
  EXPECT_TRUE(pins[0].intr);
  EXPECT_EQ(cpu0.acknowledge(), 0x61);
  EXPECT_EQ(cpu0.acknowledge(), -1);
  cpu0.mmio_write(0xb0, 0);
  EXPECT_FALSE(pins[0].intr);
  cpu0.mmio_write(0xb0, 0);
  EXPECT_EQ(cpu0.acknowledge(), 0x51);
  cpu0.mmio_write(0xb0, 0);
  EXPECT_EQ(cpu0.acknowledge(), 0x41);
}

// Else the vCPU's thread, just woken, would sleep again until the lock is free.
TEST_F(LapicTest, WhoIsWokenFindsTheInterruptAndTheLockFree) {
  int taken = -1;
  pins[0].at_wake = [&] { taken = cpu0.acknowledge(); };
  self_ipi(0x41);
  EXPECT_EQ(taken, 0x41);
  const unsigned wakes = pins[0].wakes;
  self_ipi(0x42);
  EXPECT_EQ(pins[0].wakes, wakes) << "its class is in service";
  cpu0.mmio_write(0xb0, 0);
  EXPECT_EQ(pins[0].wakes, wakes + 1);
  EXPECT_EQ(taken, 0x42);
}

TEST_F(LapicTest, IrrAndIsrShowWhereAVectorIs) {
  self_ipi(0x41);
  EXPECT_EQ(reg(0x220), 2u);
  EXPECT_EQ(cpu0.acknowledge(), 0x41);
  EXPECT_EQ(reg(0x220), 0u);
  EXPECT_EQ(reg(0x120), 2u);
  cpu0.mmio_write(0xb0, 0);
  EXPECT_EQ(reg(0x120), 0u);
}

TEST_F(LapicTest, TaskPriorityHoldsBackInterrupts) {
  cpu0.write_tpr(5);
  EXPECT_EQ(reg(0x80), 0x50u);
  self_ipi(0x5f);
  EXPECT_FALSE(pins[0].intr);
  EXPECT_EQ(cpu0.acknowledge(), -1);
  cpu0.mmio_write(0x80, 0x4f);
  EXPECT_EQ(cpu0.read_tpr(), 4);
  EXPECT_EQ(reg(0xa0), 0x4fu);
  EXPECT_EQ(take(0), 0x5f);
}

TEST_F(LapicTest, IllegalVectorsAreErrorsThatEsrLatches) {
  cpu0.mmio_write(0x370, 0xfe);
  self_ipi(0x0f);
  EXPECT_EQ(reg(0x280), 0u);
  EXPECT_EQ(take(0), 0xfe);
  cpu0.mmio_read(0x3f0);  // not there
  EXPECT_EQ(take(0), -1) << "ESR has to be written first";
  cpu0.mmio_write(0x280, 0);
  EXPECT_EQ(reg(0x280), 0xa0u);
  bus.send_msi(0xfee00000, 3);
  EXPECT_EQ(take(0), 0xfe);
  cpu0.mmio_write(0x280, 0);
  EXPECT_EQ(reg(0x280), 0x40u);
  cpu0.mmio_write(0x280, 0);
  EXPECT_EQ(reg(0x280), 0u);
}

TEST_F(LapicTest, AnIllegalVectorInTheErrorEntryEndsThere) {
  cpu0.mmio_write(0x370, 1);
  self_ipi(2);
  cpu0.mmio_write(0x280, 0);
  EXPECT_EQ(reg(0x280), 0x60u);
}

TEST_F(LapicTest, SoftwareDisableMasksTheLvtAndRefusesInterrupts) {
  cpu0.mmio_write(0x360, 0x400);
  self_ipi(0x77);
  cpu0.mmio_write(0xf0, 0xff);
  EXPECT_EQ(reg(0x360), 0x400 | kMasked);
  cpu0.mmio_write(0x360, 0x400);
  EXPECT_EQ(reg(0x360), 0x400 | kMasked) << "masks cannot be cleared";
  self_ipi(0x78);
  EXPECT_EQ(take(0), 0x77) << "what was pending stays";
  EXPECT_EQ(take(0), -1);
  bus.send_msi(0xfee00000, 0x400);
  EXPECT_EQ(pins[0].nmis, 1u);
}

TEST_F(LapicTest, Lint0AsExtIntTakesTheVectorFromThe8259) {
  cpu0.mmio_write(0x350, 0x700);
  for (auto [port, value] : {std::pair{0x20, 0x11}, {0x21, 0x30}, {0x21, 4}, {0x21, 1}})
    pio.write(static_cast<uint64_t>(port), 1, static_cast<uint64_t>(value));
  router.set_irq(4, true);
  EXPECT_TRUE(pins[0].intr);
  EXPECT_FALSE(pins[1].intr) << "LINT0 of the others is masked";
  cpu0.write_tpr(15);
  EXPECT_TRUE(pins[0].intr) << "ExtINT has no priority";
  EXPECT_EQ(cpu0.acknowledge(), 0x34);
  EXPECT_FALSE(pins[0].intr);
  EXPECT_EQ(reg(0x110), 0u) << "not in service here";
}

TEST_F(LapicTest, WithoutAnybodyToAnswerExtIntIsTheSpuriousVector) {
  bus.connect(nullptr, nullptr);
  cpu0.mmio_write(0xf0, 0x1ef);
  cpu0.mmio_write(0x350, 0x700);
  cpu0.set_lint0(true);
  EXPECT_EQ(cpu0.acknowledge(), 0xef);
}

TEST_F(LapicTest, LintsDeliverFixedEdgesLevelsAndNmi) {
  cpu0.mmio_write(0x350, 0x45);
  cpu0.set_lint0(true);
  EXPECT_EQ(take(0), 0x45);
  EXPECT_EQ(take(0), -1);
  cpu0.set_lint0(false);
  cpu0.mmio_write(0x350, 0x8046);
  cpu0.set_lint0(true);
  EXPECT_EQ(cpu0.acknowledge(), 0x46);
  EXPECT_TRUE(reg(0x350) & 0x4000) << "remote IRR";
  cpu0.mmio_write(0xb0, 0);
  EXPECT_EQ(cpu0.acknowledge(), 0x46) << "still asserted";
  cpu0.set_lint0(false);
  cpu0.mmio_write(0xb0, 0);
  EXPECT_EQ(cpu0.acknowledge(), -1);
  cpu0.mmio_write(0x360, 0x400);
  cpu0.set_lint1(true);
  cpu0.set_lint1(true);
  EXPECT_EQ(pins[0].nmis, 1u);
}

TEST_F(LapicTest, SmisAreDroppedWhereThereIsNoSmm) {
  for (const bool smm : {false, true}) {
    if (smm) bus.deliver_smis();
    const unsigned expected = smm ? 1 : 0;
    for (test::Pins& pin : pins) pin.smis = 0;
    cpu0.mmio_write(0x310, 1u << 24);
    cpu0.mmio_write(0x300, 0x4200);  // to the one with ID 1
    EXPECT_EQ(pins[1].smis, expected);
    EXPECT_EQ(pins[0].smis, 0u);
    cpu0.mmio_write(0x300, 0xc4200);  // to all others
    EXPECT_EQ(pins[1].smis, 2 * expected);
    EXPECT_EQ(pins[0].smis, 0u);
    cpu0.mmio_write(0x340, 0x200);  // by the performance counters' entry
    cpu0.raise_pmc();
    EXPECT_EQ(pins[0].smis, expected);
    cpu0.send_to(1, 0x200);
    EXPECT_EQ(pins[1].smis, 3 * expected);
    cpu0.mmio_write(0x340, 0x10000);
  }
}

TEST_F(LapicTest, PerformanceInterruptMasksItself) {
  cpu0.mmio_write(0x340, 0x400);
  cpu0.raise_pmc();
  cpu0.raise_pmc();
  EXPECT_EQ(pins[0].nmis, 1u);
  EXPECT_EQ(reg(0x340), 0x400 | kMasked);
}

TEST_F(LapicTest, EoiOfALevelInterruptIsBroadcastAndOfAnEdgeIsNot) {
  struct Listener final : EoiListener {
    std::vector<uint8_t> heard;
    void end_of_interrupt(uint8_t vector) override { heard.push_back(vector); }
  } listener;
  bus.connect(nullptr, &listener);
  bus.send_msi(0xfee00000, 0x8000 | 0x4000 | 0x70);
  EXPECT_EQ(reg(0x1b0), 1u << 16);
  EXPECT_EQ(take(0), 0x70);
  bus.send_msi(0xfee00000, 0x70);
  EXPECT_EQ(reg(0x1b0), 0u);
  EXPECT_EQ(take(0), 0x70);
  EXPECT_EQ(listener.heard, std::vector<uint8_t>{0x70});
  cpu0.mmio_write(0xb0, 0);  // nothing in service
}

TEST_F(LapicTest, InitKeepsIdentityAndModeAndForgetsTheRest) {
  enter_x2apic(lapics[1]);
  EXPECT_EQ(lapics[1].write_msr(0x808, 0x20), kDone);
  bus.send_msi(0xfee01000, 0x55);
  send_ipi(0, 1, 0x4500);
  EXPECT_EQ(pins[1].inits, 1u);
  EXPECT_FALSE(pins[1].intr);
  uint64_t value = 0;
  EXPECT_EQ(lapics[1].read_msr(0x808, value), kDone) << "still in x2APIC mode";
  EXPECT_EQ(value, 0u);
  EXPECT_EQ(lapics[1].read_msr(0x80d, value), kDone);
  EXPECT_EQ(value, 2u);
  send_ipi(0, 1, 0x8500);  // INIT level de-assert
  EXPECT_EQ(pins[1].inits, 1u);
  send_ipi(0, 1, 0x4609);
  EXPECT_EQ(pins[1].sipis, std::vector<uint8_t>{9});
}

TEST_F(LapicTest, ApicBaseAllowsOnlyTheLegalTransitions) {
  EXPECT_EQ(cpu0.write_msr(0x1b, 0xfee00500), kFault) << "EXTD without EN";
  EXPECT_EQ(cpu0.write_msr(0x1b, 0xfed00900), kFault) << "relocation";
  EXPECT_EQ(cpu0.write_msr(0x1b, 0xfee00901), kFault) << "reserved";
  EXPECT_EQ(cpu0.write_msr(0x1b, 0xfee00100), kDone);
  EXPECT_EQ(cpu0.write_msr(0x1b, 0xfee00d00), kFault) << "disabled to x2APIC";
  EXPECT_EQ(cpu0.write_msr(0x1b, 0xfee00900), kDone);
  EXPECT_EQ(cpu0.write_msr(0x1b, 0xfee00d00), kDone);
  EXPECT_EQ(cpu0.write_msr(0x1b, 0xfee00900), kFault) << "x2APIC to xAPIC";
  EXPECT_EQ(cpu0.write_msr(0x1b, 0xfee00100), kDone);
}

TEST_F(LapicTest, WhileDisabledThePinsGoStraightToTheProcessor) {
  EXPECT_EQ(cpu0.write_msr(0x1b, 0xfee00100), kDone);
  EXPECT_EQ(reg(0x30), ~0u);
  EXPECT_FALSE(bus.deliver({.destination = 0, .vector = 0x50}));
  bus.set_lint0(true);
  EXPECT_TRUE(pins[0].intr);
  EXPECT_EQ(cpu0.acknowledge(), 7);
  cpu0.set_lint1(true);
  EXPECT_EQ(pins[0].nmis, 1u);
}

TEST_F(LapicTest, X2apicRegistersAreMsrsWithFaults) {
  uint64_t value = 0;
  EXPECT_EQ(cpu0.read_msr(0x802, value), kFault) << "in xAPIC mode";
  EXPECT_EQ(cpu0.read_msr(0x900, value), kUnknown);
  enter_x2apic(cpu0);
  EXPECT_EQ(reg(0x30), ~0u) << "the page is gone";
  EXPECT_EQ(cpu0.read_msr(0x803, value), kDone);
  EXPECT_EQ(value, 0x00050014u);
  EXPECT_EQ(cpu0.write_msr(0x803, 0), kFault) << "read-only";
  EXPECT_EQ(cpu0.read_msr(0x80b, value), kFault) << "write-only";
  for (uint32_t absent : {0x800u, 0x809u, 0x80cu, 0x80eu, 0x82fu, 0x831u, 0x8ffu}) {
    EXPECT_EQ(cpu0.read_msr(absent, value), kFault);
    EXPECT_EQ(cpu0.write_msr(absent, 0), kFault);
  }
  EXPECT_EQ(cpu0.write_msr(0x808, 0x100), kFault);
  EXPECT_EQ(cpu0.write_msr(0x80b, 1), kFault);
  EXPECT_EQ(cpu0.write_msr(0x828, 1), kFault);
  EXPECT_EQ(cpu0.write_msr(0x83f, 0x100), kFault);
  EXPECT_EQ(cpu0.write_msr(0x832, uint64_t{1} << 32), kFault);
  EXPECT_EQ(cpu0.write_msr(0x830, 1u << 20), kFault);
  EXPECT_EQ(cpu0.write_msr(0x83f, 0x66), kDone);
  EXPECT_EQ(cpu0.acknowledge(), 0x66);
  EXPECT_EQ(cpu0.write_msr(0x80b, 0), kDone);
}

TEST_F(LapicTest, UnalignedAndForeignAccessesAreHarmless) {
  cpu0.mmio_write(0x84, 0xff);
  cpu0.mmio_write(0x81, 0xff);
  EXPECT_EQ(reg(0x80), 0u);
  EXPECT_EQ(reg(0x84), 0u);
  EXPECT_EQ(reg(0xffffffff), 0u);
}

struct ApicTimerTest : LapicTest {
  ApicTimerTest() { cpu0.mmio_write(0x3e0, 0xb); }  // divide by 1
};

TEST_F(ApicTimerTest, OneShotCountsDownOnce) {
  cpu0.mmio_write(0x320, 0x40);
  cpu0.mmio_write(0x380, 1'000'000);
  time.advance(400'000);
  EXPECT_EQ(reg(0x390), 600'000u);
  time.advance(599'999);
  EXPECT_EQ(take(0), -1);
  time.advance(1);
  EXPECT_EQ(take(0), 0x40);
  EXPECT_EQ(reg(0x390), 0u);
  time.advance(10'000'000);
  EXPECT_EQ(take(0), -1);
}

TEST_F(ApicTimerTest, PeriodicGoesOnWithoutDriftAndMergesWhatWasMissed) {
  cpu0.mmio_write(0x320, 0x20040);
  cpu0.mmio_write(0x380, 1'000'000);
  for (int i = 0; i < 3; ++i) {
    time.advance(1'000'000);
    EXPECT_EQ(take(0), 0x40);
  }
  time.advance(3'300'000);
  EXPECT_EQ(take(0), 0x40);
  EXPECT_EQ(take(0), -1);
  EXPECT_EQ(reg(0x390), 700'000u);
  cpu0.mmio_write(0x380, 0);
  time.advance(3'300'000);
  EXPECT_EQ(take(0), -1);
}

TEST_F(ApicTimerTest, DividesByTheConfiguredPowerOfTwo) {
  for (auto [code, divisor] :
       {std::pair{0u, 2}, {1u, 4}, {2u, 8}, {3u, 16}, {8u, 32}, {9u, 64}, {10u, 128}, {11u, 1}}) {
    cpu0.mmio_write(0x3e0, code);
    cpu0.mmio_write(0x320, 0x40);
    cpu0.mmio_write(0x380, 1000);
    time.advance(1000 * divisor - 1);
    EXPECT_EQ(take(0), -1);
    time.advance(1);
    EXPECT_EQ(take(0), 0x40);
  }
}

TEST_F(ApicTimerTest, APeriodOfOneTickIsHeldToTheMinimum) {
  cpu0.mmio_write(0x320, 0x20040);
  cpu0.mmio_write(0x380, 1);
  unsigned taken = 0;
  for (int i = 0; i < 1000; ++i) {
    time.advance(1000);
    taken += take(0) >= 0;
  }
  EXPECT_EQ(taken, 1'000'000 / ApicTimer::kMinimumPeriod);
}

TEST_F(ApicTimerTest, AMaskedTimerCountsSilently) {
  cpu0.mmio_write(0x320, 0x40 | kMasked);
  cpu0.mmio_write(0x380, 1000);
  time.advance(2000);
  EXPECT_EQ(take(0), -1);
  EXPECT_EQ(reg(0x390), 0u);
}

TEST_F(ApicTimerTest, TscDeadlineFiresWhenTheTscGetsThere) {
  cpu0.mmio_write(0x320, 0x40040);
  const uint64_t deadline = tsc() + 2'500'000;  // 1 ms
  EXPECT_EQ(cpu0.write_msr(0x6e0, deadline), kDone);
  uint64_t value = 0;
  EXPECT_EQ(cpu0.read_msr(0x6e0, value), kDone);
  EXPECT_EQ(value, deadline);
  time.advance(999'999);
  EXPECT_EQ(take(0), -1);
  time.advance(1);
  EXPECT_EQ(take(0), 0x40);
  EXPECT_EQ(cpu0.read_msr(0x6e0, value), kDone);
  EXPECT_EQ(value, 0u);
}

TEST_F(ApicTimerTest, APastTscDeadlineFiresAtOnceAndZeroDisarms) {
  cpu0.mmio_write(0x320, 0x40040);
  EXPECT_EQ(cpu0.write_msr(0x6e0, 1), kDone);
  EXPECT_EQ(take(0), 0x40);
  EXPECT_EQ(cpu0.write_msr(0x6e0, tsc() + 2500), kDone);
  EXPECT_EQ(cpu0.write_msr(0x6e0, 0), kDone);
  time.advance(1'000'000);
  EXPECT_EQ(take(0), -1);
  EXPECT_EQ(cpu0.write_msr(0x6e0, ~uint64_t{0}), kDone);
  time.advance(7'200'000'000'000);
  EXPECT_EQ(take(0), -1) << "the end of time is looked at once an hour";
}

TEST_F(ApicTimerTest, TscDeadlineFollowsTheVcpusOffset) {
  cpu0.mmio_write(0x320, 0x40040);
  EXPECT_EQ(cpu0.write_msr(0x6e0, tsc() + 2'500'000), kDone);
  cpu0.set_tsc_offset(-2'500'000);
  time.advance(1'000'000);
  EXPECT_EQ(take(0), -1);
  cpu0.set_tsc_offset(0);
  EXPECT_EQ(take(0), 0x40);
}

TEST_F(ApicTimerTest, OutsideItsModeTheTscDeadlineIsIgnored) {
  EXPECT_EQ(cpu0.write_msr(0x6e0, 1), kDone);
  uint64_t value = 1;
  EXPECT_EQ(cpu0.read_msr(0x6e0, value), kDone);
  EXPECT_EQ(value, 0u);
  cpu0.mmio_write(0x320, 0x40);
  cpu0.mmio_write(0x380, 1000);
  cpu0.mmio_write(0x320, 0x40040);  // disarms
  time.advance(10'000);
  EXPECT_EQ(take(0), -1);
  cpu0.mmio_write(0x380, 1000);
  EXPECT_EQ(reg(0x380), 0u);
}

}  // namespace
}  // namespace skerry::irqchip
