#include <gtest/gtest.h>

#include "unit/x86/system_rig.hpp"

namespace skerry::x86 {
namespace {

using namespace test;

class InterruptTest : public ::testing::Test {
 protected:
  Rig rig;
};

TEST_F(InterruptTest, RealModePushesThreeWords) {
  rig.real_mode();
  rig.s.rflags |= flags::kIf | flags::kTf;
  const auto event = rig.run({0xcd, 0x21});
  ASSERT_TRUE(event);
  EXPECT_EQ(event->vector, 0x21u);
  EXPECT_EQ(rig.s.gpr[kRsp], 0x7000u - 6);
  EXPECT_EQ(event->rip, kCode + 2u);
  EXPECT_EQ(event->flags, flags::kFixed1 | flags::kIf | flags::kTf);
  EXPECT_FALSE(rig.s.rflags & (flags::kIf | flags::kTf));
}

TEST_F(InterruptTest, LongModeAlignsTheStackAndPushesItAlways) {
  rig.long_mode();
  rig.s.gpr[kRsp] = kStack - 3;
  const auto event = rig.run({0xcd, 0x80});
  ASSERT_TRUE(event);
  EXPECT_EQ(rig.s.gpr[kRsp], (kStack - 16) - 40u);
  EXPECT_EQ(rig.get<uint64_t>(rig.s.gpr[kRsp] + 24), kStack - 3u);
  EXPECT_EQ(rig.get<uint64_t>(rig.s.gpr[kRsp] + 32), kData0);
  EXPECT_EQ(rig.s.seg[kSs].selector, kData0) << "no change of privilege keeps SS";
}

TEST_F(InterruptTest, LongModeLoadsANullStackForTheInnerLevel) {
  rig.long_mode(3);
  const auto event = rig.run({0xcd, 0x80});
  ASSERT_TRUE(event);
  EXPECT_EQ(rig.s.cpl(), 0u);
  EXPECT_EQ(rig.s.seg[kSs].selector, 0);
  EXPECT_TRUE(rig.s.seg[kSs].unusable);
  EXPECT_EQ(rig.s.gpr[kRsp], kStack0 - 40u);
}

TEST_F(InterruptTest, TheInterruptStackTableIsUsedAtAnyLevel) {
  rig.long_mode();
  rig.put<uint64_t>(kTss + 0x24 + 8, kIstStack);
  rig.put<uint64_t>(kIdt + 16 * 0x80, gate(kCode64, Rig::handler(0x80), kPresent | kRing3 | kInterruptGate32, 2));
  ASSERT_TRUE(rig.run({0xcd, 0x80}));
  EXPECT_EQ(rig.s.gpr[kRsp], kIstStack - 40u);
}

TEST_F(InterruptTest, SoftwareInterruptsAreCheckedAgainstTheGatesLevel) {
  rig.long_mode(3);
  rig.put<uint64_t>(kIdt + 16 * 0x80, gate(kCode64, Rig::handler(0x80), kPresent | kInterruptGate32));
  EXPECT_TRUE(raises(rig, {0xcd, 0x80}, kGeneralProtection, 0x80 * 8 + 2));
  rig.long_mode(3);
  rig.put<uint64_t>(kIdt + 16 * kGeneralProtection,
                    gate(kCode64, Rig::handler(kGeneralProtection), kPresent | kInterruptGate32));
  EXPECT_TRUE(raises(rig, {0xf4}, kGeneralProtection)) << "an exception is not";
}

TEST_F(InterruptTest, AnErrorOnTheWayOfAnExternalEventHasTheExtBit) {
  rig.protected_mode();
  rig.s.rflags |= flags::kIf;
  rig.put<uint64_t>(kIdt + 8 * 0x40, gate(kCode0, 0, kInterruptGate32));  // not present
  rig.env.interrupt = 0x40;
  rig.code({0x90});
  rig.cpu.set_request(request::kInterrupt);
  const auto fault = rig.step();
  ASSERT_TRUE(fault);
  EXPECT_EQ(fault->vector, kSegmentNotPresent);
  EXPECT_EQ(fault->error_code, 0x40u * 8 + 3);
}

TEST_F(InterruptTest, FaultsAndOnlyFaultsSetTheResumeFlagInTheImage) {
  rig.protected_mode();
  EXPECT_TRUE(rig.run({0x0f, 0x0b})->flags & flags::kRf) << "#UD";
  rig.protected_mode();
  EXPECT_FALSE(rig.run({0xcc})->flags & flags::kRf) << "INT3";
  rig.protected_mode();
  EXPECT_FALSE(rig.run({0xcd, 0x0d})->flags & flags::kRf) << "INT 13";
  rig.protected_mode();
  EXPECT_FALSE(rig.run({0xf1})->flags & flags::kRf) << "INT1";
}

TEST_F(InterruptTest, GeneralDetectIsAFaultAndItsHandlerMayUseTheDebugRegisters) {
  rig.protected_mode();
  rig.s.dr7 = 0x400 | 1 << 13;
  const auto fault = rig.run({0x0f, 0x21, 0xc0});  // mov eax, dr0
  ASSERT_TRUE(fault);
  EXPECT_EQ(fault->vector, kDebug);
  EXPECT_EQ(fault->rip, kCode);
  EXPECT_TRUE(fault->flags & flags::kRf);
  EXPECT_EQ(rig.s.dr7, 0x400u);
  EXPECT_TRUE(rig.s.dr6 & 1 << 13);
  EXPECT_FALSE(rig.s.rflags & flags::kRf);
}

// The stack of ring 0 grows from the second into the first of two pages; `missing` of them are not mapped.
TEST_F(InterruptTest, Cr2IsTheAddressOfThePushThatFaults) {
  rig.long_mode();
  const uint64_t pd = kPml4 + 0x2000, pt = kPml4 + 0x3000;
  rig.put<uint64_t>(kPml4 + 0x1008, pd | 7);  // the second GiB by 4 KiB pages
  rig.put<uint64_t>(pd, pt | 7);
  rig.put<uint64_t>(kTss + 0x24, kIstStack);
  rig.put<uint64_t>(kIdt + 16 * kPageFault, gate(kCode64, Rig::handler(kPageFault), kPresent | kInterruptGate32, 1));
  rig.s.gpr[kRsp] = GiB + 0x1010;
  rig.run({0xcd, 0x80});
  EXPECT_EQ(rig.s.cr2, GiB + 0x1008) << "both pages are missing: the first push";
  rig.put<uint64_t>(pt + 8, 0x50003);
  rig.s.gpr[kRsp] = GiB + 0x1010;
  rig.s.seg[kSs] = make_segment(kData0, {rig.get_descriptor(kData0)});
  rig.run({0xcd, 0x80});
  EXPECT_EQ(rig.s.cr2, GiB + 0xff8) << "the lower page is missing: the first push to it";
}

TEST_F(InterruptTest, Virtual8086ModeLeavesThroughRing0WithNineWords) {
  rig.v86_mode();
  rig.s.rflags |= flags::kIopl;
  rig.s.seg[kFs] = make_real_segment(0x55, true);
  const auto event = rig.run({0xcd, 0x21});
  ASSERT_TRUE(event);
  EXPECT_EQ(event->vector, 0x21u);
  EXPECT_FALSE(rig.s.v86_mode());
  EXPECT_EQ(rig.s.cpl(), 0u);
  EXPECT_EQ(rig.s.gpr[kRsp], kStack0 - 36u);
  EXPECT_EQ(rig.get<uint32_t>(kStack0 - 8), 0x55u);
  EXPECT_TRUE(event->flags & flags::kVm);
  EXPECT_TRUE(rig.s.seg[kFs].unusable);

  ASSERT_FALSE(rig.run({0xcf})) << "IRET goes back";
  EXPECT_TRUE(rig.s.v86_mode());
  EXPECT_EQ(rig.s.seg[kFs].base, 0x550u);
  EXPECT_EQ(rig.s.gpr[kRsp], 0x7000u);
}

TEST_F(InterruptTest, IntNInVirtual8086ModeNeedsIopl3) {
  rig.v86_mode();
  EXPECT_TRUE(raises(rig, {0xcd, 0x21}, kGeneralProtection));
}

TEST_F(InterruptTest, TheRedirectionBitmapSendsIntNToThe8086Table) {
  rig.v86_mode();
  rig.s.cr4 |= cr4::kVme;
  rig.s.rflags |= flags::kVif;
  rig.s.tr.limit = 0xff;
  rig.put<uint16_t>(kTss + 0x66, 0x88);  // the bitmap is at 68
  rig.put<uint32_t>(4 * 0x21, 0x1000'0010);
  rig.run({0xcd, 0x21});
  EXPECT_TRUE(rig.s.v86_mode());
  EXPECT_EQ(rig.s.seg[kCs].selector, 0x1000);
  EXPECT_EQ(rig.s.rip, 0x10u);
  EXPECT_TRUE(rig.get<uint16_t>(0x7000 - 2) & flags::kIf) << "VIF is what the program sees as IF";
  EXPECT_FALSE(rig.s.rflags & flags::kVif);
  rig.v86_mode();
  rig.s.cr4 |= cr4::kVme;
  rig.s.tr.limit = 0x66;
  EXPECT_TRUE(raises(rig, {0xcd, 0x21}, kGeneralProtection)) << "a TSS too short for the bitmap";
}

TEST_F(InterruptTest, IretUnblocksNmisEvenIfItFaults) {
  rig.long_mode();
  rig.s.nmi_blocked = true;
  for (unsigned n = 0; n < 5; ++n) rig.put<uint64_t>(kStack + 8 * n, 0);
  EXPECT_TRUE(raises(rig, {0x48, 0xcf}, kGeneralProtection));
  EXPECT_FALSE(rig.s.nmi_blocked);
}

TEST_F(InterruptTest, IretqPopsTheStackAlways) {
  rig.long_mode();
  const std::array<uint64_t, 5> frame = {0xa000, kCode64, flags::kFixed1 | flags::kIf, 0x31000, 0};
  for (unsigned n = 0; n < 5; ++n) rig.put<uint64_t>(kStack + 8 * n, frame[n]);
  ASSERT_FALSE(rig.run({0x48, 0xcf}));
  EXPECT_EQ(rig.s.rip, 0xa000u);
  EXPECT_EQ(rig.s.gpr[kRsp], 0x31000u);
  EXPECT_EQ(rig.s.seg[kSs].selector, 0) << "null is fine below ring 3";
  EXPECT_TRUE(rig.s.rflags & flags::kIf);
}

TEST_F(InterruptTest, IretAtRing3ChangesNeitherIoplNorIf) {
  rig.protected_mode(3);
  rig.s.rflags |= flags::kIf;
  const std::array<uint32_t, 3> frame = {0xa000, kCode3, flags::kIopl | flags::kVip | flags::kCf};
  for (unsigned n = 0; n < 3; ++n) rig.put<uint32_t>(kStack + 4 * n, frame[n]);
  ASSERT_FALSE(rig.run({0xcf}));
  EXPECT_EQ(rig.s.rflags, flags::kFixed1 | flags::kIf | flags::kCf);
}

TEST_F(InterruptTest, TheThirdFaultIsTheLast) {
  rig.protected_mode();
  rig.s.idtr.limit = 0;
  rig.run({0x0f, 0x0b});
  EXPECT_EQ(rig.s.activity, Activity::kShutdown);
}

TEST_F(InterruptTest, BoundAndIntoRaiseTheirOwn) {
  rig.protected_mode();
  rig.put<uint32_t>(kData, 5);
  rig.put<uint32_t>(kData + 4, 9);
  rig.s.gpr[kRax] = 10;
  rig.s.gpr[kRbx] = kData;
  EXPECT_TRUE(raises(rig, {0x62, 0x03}, kBoundRange));
  rig.protected_mode();
  rig.s.gpr[kRax] = 9;
  rig.s.gpr[kRbx] = kData;
  EXPECT_TRUE(succeeds(rig, {0x62, 0x03}));
  EXPECT_TRUE(succeeds(rig, {0xce}));
  rig.s.rflags |= flags::kOf;
  const auto overflow = rig.run({0xce});
  ASSERT_TRUE(overflow);
  EXPECT_EQ(overflow->vector, kOverflow);
  EXPECT_EQ(overflow->rip, kCode + 1) << "a trap";
}

}  // namespace
}  // namespace skerry::x86
