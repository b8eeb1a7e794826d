// The chipset of the board pc-1: i440FX's host bridge, PIIX3's bridge to the ISA bus, PIIX4's power management function.
#include <gtest/gtest.h>

#include "base/units.hpp"
#include "devices/i440fx_pmc.hpp"
#include "devices/pam.hpp"
#include "devices/piix3_isa.hpp"
#include "devices/piix4_pm.hpp"
#include "unit/devices/fakes.hpp"

namespace skerry::devices {
namespace {

struct NoLines final : bus::PciHost::IntxSink {
  void set_intx(const bus::PciFunction&, unsigned, unsigned, bool) override {}
};

// A function has its first values from when it is put into its place.
struct Root {
  bus::AddressSpace pio{"port"}, mmio{"memory"};
  test::FakeInterrupts interrupts;
  NoLines lines;
  bus::PciHost host{pio, mmio, interrupts, lines};
};

struct PmcRig {
  Root root;
  memory::GuestMemory memory;
  unsigned kicks = 0;
  I440fxPmc pmc{memory, [this] { ++kicks; }};

  PmcRig() {
    for (unsigned i = 0; i < pam::kSegments; ++i) EXPECT_TRUE(memory.add_ram(pam::segment(i).base, pam::segment(i).size, std::to_string(i)));
    EXPECT_TRUE(root.host.root().add(pmc, 0));
    pmc.reset();
  }
  bus::Device& device() { return pmc; }
  bool writable(memory::Gpa gpa) { return memory.page(gpa).writable; }
};

TEST(I440fxPmc, EachSegmentIsWritableWhereItsBitSaysSo) {
  PmcRig rig;
  for (unsigned i = 0; i < pam::kSegments; ++i) EXPECT_FALSE(rig.writable(pam::segment(i).base)) << i;
  for (unsigned i = 0; i < pam::kSegments; ++i) {
    // PAM0's low half is reserved, so the last segment is in its high half; from there on low and high take turns.
    const unsigned at = 0x59 + (i + 1) / 2, shift = i % 2 ? 0 : 4;
    rig.pmc.config_write(at, 1, 1u << shift);
    EXPECT_FALSE(rig.writable(pam::segment(i).base)) << "it may be read: " << i;
    rig.pmc.config_write(at, 1, 2u << shift);
    for (unsigned j = 0; j < pam::kSegments; ++j) EXPECT_EQ(rig.writable(pam::segment(j).base), i == j) << i << " " << j;
    rig.pmc.config_write(at, 1, 0);
  }
  const unsigned kicks = rig.kicks;
  rig.pmc.config_write(0x58, 4, 0x3333'3300);
  EXPECT_GT(rig.kicks, kicks);
  EXPECT_TRUE(rig.writable(0xf0000) && rig.writable(0xc0000) && rig.writable(0xcc000));
  EXPECT_FALSE(rig.writable(0xd0000));
  rig.pmc.reset();
  EXPECT_FALSE(rig.writable(0xf0000));
  rig.pmc.set_up();
  for (unsigned i = 0; i < pam::kSegments; ++i) EXPECT_TRUE(rig.writable(pam::segment(i).base)) << i;
}

TEST(I440fxPmc, HasNoSystemManagementRam) {
  PmcRig rig;
  rig.pmc.config_write(0x72, 1, 0xff);
  EXPECT_EQ(rig.pmc.config_read(0x72, 1), 0x02u);
}

test::Trace drive_pmc(PmcRig& rig, std::mt19937_64& random) {
  test::Trace trace;
  for (unsigned n = 0; n < 20; ++n) {
    const unsigned size = 1u << random() % 3, offset = 0x50 + static_cast<unsigned>(random() % 0x30) / size * size;
    rig.pmc.config_write(offset, size, static_cast<uint32_t>(random()));
    trace.push_back(rig.pmc.config_read(offset, size));
  }
  for (unsigned i = 0; i < pam::kSegments; ++i) trace.push_back(rig.writable(pam::segment(i).base));
  return trace;
}

TEST(I440fxPmc, StateSurvivesAndRandomAccessesAreHarmless) { test::run_state_test<PmcRig>(60, drive_pmc); }

struct IsaRig {
  Root root;
  test::FakeInterrupts interrupts;
  Piix3Isa isa{interrupts};

  IsaRig() { EXPECT_TRUE(root.host.root().add(isa, 1)); }
  bus::Device& device() { return isa; }
};

TEST(Piix3Isa, PinsAreTurnedByTheirSlot) {
  EXPECT_EQ(Piix3Isa::pirq(1, 0), 0u);
  EXPECT_EQ(Piix3Isa::pirq(1, 3), 3u);
  EXPECT_EQ(Piix3Isa::pirq(2, 0), 1u);
  EXPECT_EQ(Piix3Isa::pirq(0, 0), 3u);
  EXPECT_EQ(Piix3Isa::pirq(31, 1), 3u);
}

TEST(Piix3Isa, APirqIsTheIsaInterruptThatItsRegisterNames) {
  IsaRig rig;
  rig.isa.set_intx(1, 0, true);
  EXPECT_EQ(rig.interrupts.level, decltype(rig.interrupts.level){}) << "not routed";
  rig.isa.config_write(0x60, 1, 10);
  EXPECT_TRUE(rig.interrupts.level[10]);
  rig.isa.config_write(0x60, 1, 11);
  EXPECT_TRUE(!rig.interrupts.level[10] && rig.interrupts.level[11]) << "it has moved";
  rig.isa.set_intx(5, 0, true);  // on the same PIRQ
  rig.isa.set_intx(1, 0, false);
  EXPECT_TRUE(rig.interrupts.level[11]) << "it is shared";
  rig.isa.set_intx(5, 0, false);
  EXPECT_FALSE(rig.interrupts.level[11]);
  rig.isa.set_intx(1, 0, true);
  for (const unsigned irq : {0u, 1u, 2u, 8u, 13u}) {
    rig.isa.config_write(0x60, 1, irq);
    EXPECT_EQ(rig.interrupts.level, decltype(rig.interrupts.level){}) << "what is another's: " << irq;
  }
  rig.isa.config_write(0x60, 1, 0x80 | 10);
  EXPECT_FALSE(rig.interrupts.level[10]);
  EXPECT_EQ(rig.isa.config_read(0x60, 1), 0x8au);
}

TEST(Piix3Isa, AsFirmwareLeavesItTwoPirqsShareAnInterrupt) {
  IsaRig rig;
  rig.isa.set_up();
  EXPECT_EQ(rig.isa.config_read(0x60, 4), 0x0b0b'0a0au);
  for (unsigned pirq = 0; pirq < Piix3Isa::kPirqs; ++pirq) EXPECT_EQ(rig.isa.config_read(0x60 + pirq, 1), Piix3Isa::isa_irq(pirq));
  rig.isa.reset();
  EXPECT_EQ(rig.isa.config_read(0x60, 4), 0x8080'8080u);
}

test::Trace drive_isa(IsaRig& rig, std::mt19937_64& random) {
  test::Trace trace;
  for (unsigned n = 0; n < 20; ++n) {
    const unsigned device = static_cast<unsigned>(random() % 32), pin = random() % 4;
    rig.isa.config_write(0x60 + static_cast<unsigned>(random() % 4), 1, static_cast<uint32_t>(random()));
    rig.isa.set_intx(device, pin, true);
    rig.interrupts.append_to(trace);
    rig.isa.set_intx(device, pin, false);
    rig.interrupts.append_to(trace);
    trace.push_back(rig.isa.config_read(0x60, 4));
  }
  return trace;
}

TEST(Piix3Isa, StateSurvivesAndRandomAccessesAreHarmless) { test::run_state_test<IsaRig>(60, drive_isa); }

TEST(Piix4Pm, SaysWhereTheBlocksAreAndThatThereIsNoSmm) {
  Piix4Pm pm(0x600);
  EXPECT_EQ(pm.config_read(0x40, 4), 1u) << "nowhere yet";
  EXPECT_EQ(pm.config_read(0x58, 4), 1u << 25);
  pm.config_write(0x40, 4, 0xffff'ffff);
  EXPECT_EQ(pm.config_read(0x40, 4), 0xffc1u);
  pm.config_write(0x58, 4, 0);
  EXPECT_EQ(pm.config_read(0x58, 4), 1u << 25);
  pm.set_up();
  EXPECT_EQ(pm.config_read(0x40, 4), 0x601u);
  EXPECT_EQ(pm.config_read(0x80, 1), 1u);
}

}  // namespace
}  // namespace skerry::devices
