#include <gtest/gtest.h>

#include "unit/x86/system_rig.hpp"

namespace skerry::x86 {
namespace {

using namespace test;

// MOV segment, AX.
const std::vector<uint8_t> kMovDs = {0x8e, 0xd8}, kMovEs = {0x8e, 0xc0}, kMovSs = {0x8e, 0xd0}, kMovCs = {0x8e, 0xc8};

class SegmentTest : public ::testing::Test {
 protected:
  void select(uint16_t selector) { rig.s.gpr[kRax] = selector; }
  Rig rig;
};

TEST_F(SegmentTest, ALoadTakesTheHiddenPartAndSetsAccessed) {
  rig.protected_mode();
  rig.put_descriptor(kFree, descriptor(0x12345678, 0x10, kPresent | kNonSystem | 2, 0xd));
  select(kFree);
  ASSERT_TRUE(succeeds(rig, kMovEs));
  const Segment& es = rig.s.seg[kEs];
  EXPECT_EQ(es.selector, kFree);
  EXPECT_EQ(es.base, 0x12345678u);
  EXPECT_EQ(es.limit, 0x10fffu);
  EXPECT_TRUE(es.avl && es.big && es.granular && es.present && !es.unusable);
  EXPECT_EQ(rig.get_descriptor(kFree) >> 40 & 1, 1u) << "accessed";
}

TEST_F(SegmentTest, DataSegmentsAreChecked) {
  rig.protected_mode(3);
  select(kData0);
  EXPECT_TRUE(raises(rig, kMovDs, kGeneralProtection, kData0)) << "DPL 0 at CPL 3";
  rig.put_descriptor(kFree, descriptor(0, 0xfffff, kPresent | kNonSystem | kRing3 | 0x9, 0xc));
  rig.protected_mode(3);
  select(kFree | 3);
  EXPECT_TRUE(raises(rig, kMovDs, kGeneralProtection, kFree)) << "execute-only code";
  rig.put_descriptor(kFree, descriptor(0, 0xfffff, kNonSystem | kRing3 | 0x3, 0xc));
  rig.protected_mode(3);
  select(kFree | 3);
  EXPECT_TRUE(raises(rig, kMovDs, kSegmentNotPresent, kFree));
  rig.protected_mode(3);
  select(kGdtEntries * 8);
  EXPECT_TRUE(raises(rig, kMovDs, kGeneralProtection, kGdtEntries * 8)) << "beyond the table";
  rig.protected_mode(3);
  select(4);
  EXPECT_TRUE(raises(rig, kMovDs, kGeneralProtection, 4)) << "no LDT";
  rig.protected_mode(3);
  select(3);
  EXPECT_TRUE(succeeds(rig, kMovDs)) << "null";
  EXPECT_TRUE(rig.s.seg[kDs].unusable);
  EXPECT_EQ(rig.s.seg[kDs].selector, 3);
}

TEST_F(SegmentTest, StackSegmentsMustBeWritableDataOfThisLevel) {
  rig.protected_mode();
  select(0);
  EXPECT_TRUE(raises(rig, kMovSs, kGeneralProtection));
  rig.protected_mode();
  select(kData3);
  EXPECT_TRUE(raises(rig, kMovSs, kGeneralProtection, kData3 & ~3));
  rig.put_descriptor(kFree, descriptor(0, 0xfffff, kNonSystem | 0x3, 0xc));
  rig.protected_mode();
  select(kFree);
  EXPECT_TRUE(raises(rig, kMovSs, kStackFault, kFree)) << "not present";
  rig.protected_mode();
  EXPECT_TRUE(raises(rig, kMovCs, kInvalidOpcode));
}

TEST_F(SegmentTest, MovSsHoldsInterruptsOffForOneInstruction) {
  rig.protected_mode();
  rig.s.rflags |= flags::kIf;
  rig.env.interrupt = 0x40;
  select(kData0);
  rig.code({0x8e, 0xd0, 0x90, 0x90});
  rig.step();
  rig.cpu.set_request(request::kInterrupt);
  EXPECT_FALSE(rig.step()) << "the NOP behind MOV SS";
  const auto event = rig.step();
  ASSERT_TRUE(event);
  EXPECT_EQ(event->vector, 0x40u);
  EXPECT_EQ(event->rip, kCode + 3);
}

TEST_F(SegmentTest, ANullStackIsFineIn64BitModeBelowRing3) {
  rig.long_mode();
  select(0);
  EXPECT_TRUE(succeeds(rig, kMovSs));
  EXPECT_EQ(rig.s.cpl(), 0u);
  rig.long_mode(3);
  select(3);
  EXPECT_TRUE(raises(rig, kMovSs, kGeneralProtection));
}

TEST_F(SegmentTest, RealModeKeepsTheLimitOfUnrealMode) {
  rig.real_mode();
  rig.s.seg[kDs].limit = 0xffffffff;
  select(0x1234);
  ASSERT_TRUE(succeeds(rig, kMovDs));
  EXPECT_EQ(rig.s.seg[kDs].base, 0x12340u);
  EXPECT_EQ(rig.s.seg[kDs].limit, 0xffffffffu);
}

TEST_F(SegmentTest, RealModeRevivesASegmentThatWasNull) {
  rig.real_mode();
  rig.s.seg[kDs] = make_null_segment(0, 0);
  select(0x100);
  ASSERT_TRUE(succeeds(rig, kMovDs));
  EXPECT_EQ(rig.s.seg[kDs].limit, 0xffffu);
  EXPECT_TRUE(succeeds(rig, {0xa0, 0x10, 0x00})) << "mov al, [10]";
}

TEST_F(SegmentTest, LarAndLslShowWhatThePrivilegeAllows) {
  rig.protected_mode(3);
  select(kData3);
  ASSERT_TRUE(succeeds(rig, {0x0f, 0x02, 0xc8}));  // lar ecx, eax
  EXPECT_TRUE(rig.s.rflags & flags::kZf);
  EXPECT_EQ(rig.s.gpr[kRcx] & 0xf0ff00, 0xc0f300u);
  ASSERT_TRUE(succeeds(rig, {0x0f, 0x03, 0xc8}));  // lsl ecx, eax
  EXPECT_EQ(rig.s.gpr[kRcx], 0xffffffffu);
  select(kData0);
  rig.s.gpr[kRcx] = 7;
  ASSERT_TRUE(succeeds(rig, {0x0f, 0x02, 0xc8}));
  EXPECT_FALSE(rig.s.rflags & flags::kZf);
  EXPECT_EQ(rig.s.gpr[kRcx], 7u);
  ASSERT_TRUE(succeeds(rig, {0x0f, 0x00, 0xe8}));  // verw ax
  EXPECT_FALSE(rig.s.rflags & flags::kZf);
}

TEST_F(SegmentTest, LtrMarksTheTssBusyAndRefusesABusyOne) {
  rig.protected_mode();
  rig.put_descriptor(kFree, descriptor(kTask, 0x67, kPresent | kTss32Available, 0));
  select(kFree);
  ASSERT_TRUE(succeeds(rig, {0x0f, 0x00, 0xd8}));  // ltr ax
  EXPECT_EQ(rig.s.tr.base, kTask);
  EXPECT_EQ(rig.get_descriptor(kFree) >> 40 & 15, kTss32Busy);
  EXPECT_TRUE(raises(rig, {0x0f, 0x00, 0xd8}, kGeneralProtection, kFree));
}

TEST_F(SegmentTest, SystemDescriptorsInLongModeHave16Bytes) {
  rig.long_mode();
  rig.put_descriptor(kFree, descriptor(kLdtBase, 0xff, kPresent | kLdt, 0));
  rig.put<uint64_t>(kGdt + kFree + 8, 0xffff8000);
  select(kFree);
  ASSERT_TRUE(succeeds(rig, {0x0f, 0x00, 0xd0}));  // lldt ax
  EXPECT_EQ(rig.s.ldtr.base, 0xffff8000'00000000 | kLdtBase);
  rig.put<uint64_t>(kGdt + kFree + 8, 0x00008000);
  EXPECT_TRUE(raises(rig, {0x0f, 0x00, 0xd0}, kGeneralProtection, kFree)) << "not canonical";
  rig.long_mode();
  rig.put<uint64_t>(kGdt + kFree + 8, uint64_t{1} << 40);
  select(kFree);
  EXPECT_TRUE(raises(rig, {0x0f, 0x00, 0xd0}, kGeneralProtection, kFree)) << "the upper type field is not zero";
}

TEST_F(SegmentTest, UmipHidesTheTablesFromUsers) {
  rig.protected_mode(3);
  rig.s.gpr[kRax] = kData;
  EXPECT_TRUE(succeeds(rig, {0x0f, 0x01, 0x00}));  // sgdt [eax]
  EXPECT_EQ(rig.get<uint32_t>(kData + 2), kGdt);
  rig.s.cr4 |= cr4::kUmip;
  EXPECT_TRUE(raises(rig, {0x0f, 0x01, 0x00}, kGeneralProtection));
}

TEST_F(SegmentTest, FarReturnsToARing3CallerDropPrivilegedSegments) {
  rig.protected_mode();
  rig.s.seg[kFs] = rig.s.seg[kDs];
  rig.s.seg[kEs] = make_segment(kData3, {rig.get_descriptor(kData3)});
  const std::array<uint32_t, 4> frame = {0xa000, kCode3, 0x31000, kData3};
  for (unsigned n = 0; n < 4; ++n) rig.put<uint32_t>(kStack + 4 * n, frame[n]);
  ASSERT_TRUE(succeeds(rig, {0xcb}));
  EXPECT_EQ(rig.s.cpl(), 3u);
  EXPECT_EQ(rig.s.rip, 0xa000u);
  EXPECT_EQ(rig.s.gpr[kRsp], 0x31000u);
  EXPECT_TRUE(rig.s.seg[kFs].unusable && rig.s.seg[kDs].unusable);
  EXPECT_EQ(rig.s.seg[kEs].selector, kData3);
}

TEST_F(SegmentTest, ACallGateSwitchesStacksAndCopiesParameters) {
  rig.protected_mode(3);
  rig.put_descriptor(kFree, gate(kCode0, 0xa000, kPresent | kRing3 | kCallGate32, 2));
  rig.put<uint32_t>(kStack, 0x1111);
  rig.put<uint32_t>(kStack + 4, 0x2222);
  ASSERT_TRUE(succeeds(rig, {0x9a, 0, 0, 0, 0, kFree | 3, 0}));
  EXPECT_EQ(rig.s.rip, 0xa000u);
  EXPECT_EQ(rig.s.cpl(), 0u);
  EXPECT_EQ(rig.s.gpr[kRsp], kStack0 - 24);
  const std::array<uint32_t, 6> expected = {kCode + 7, kCode3, 0x1111, 0x2222, kStack, kData3};
  for (unsigned n = 0; n < 6; ++n) EXPECT_EQ(rig.get<uint32_t>(kStack0 - 24 + 4 * n), expected[n]) << n;
}

TEST_F(SegmentTest, A16BitStackKeepsTheUpperHalfOfEsp) {
  rig.protected_mode();
  rig.put_descriptor(kFree, descriptor(0, 0xfffff, kPresent | kNonSystem | kRing3 | 3, 0x8));
  const std::array<uint32_t, 5> frame = {0xa000, kCode3, 2, 0x12345678, kFree | 3};
  for (unsigned n = 0; n < 5; ++n) rig.put<uint32_t>(kStack + 4 * n, frame[n]);
  ASSERT_TRUE(succeeds(rig, {0xcf}));
  EXPECT_EQ(rig.s.gpr[kRsp], (kStack & 0xffff0000) | 0x5678u);
}

}  // namespace
}  // namespace skerry::x86
