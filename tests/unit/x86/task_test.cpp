#include <gtest/gtest.h>

#include "unit/x86/system_rig.hpp"

namespace skerry::x86 {
namespace {

using namespace test;

constexpr uint16_t kNewTask = kFree, kTaskGateSelector = kFree + 8;
const std::vector<uint8_t> kJmpTask = {0xea, 0, 0, 0, 0, kNewTask, 0}, kCallTask = {0x9a, 0, 0, 0, 0, kNewTask, 0};

class TaskTest : public ::testing::Test {
 protected:
  void SetUp() override {
    rig.protected_mode();
    rig.put_descriptor(kNewTask, descriptor(kTask, 0x67, kPresent | kTss32Available, 0));
    put32(0x20, 0xa000);  // EIP
    put32(0x24, flags::kFixed1 | flags::kCf);
    for (unsigned n = 0; n < 8; ++n) put32(0x28 + 4 * n, 0x100 + n);
    put32(0x28 + 4 * kRsp, 0x31000);
    for (unsigned n = 0; n < 6; ++n) put32(0x48 + 4 * n, n == kCs ? kCode0 : kData0);
    put32(0x60, kLdtSelector);
    put32(0x64, 0x680000);
  }
  void put32(uint32_t at, uint64_t value) { rig.put<uint32_t>(kTask + at, static_cast<uint32_t>(value)); }
  unsigned type(uint16_t selector) { return rig.get_descriptor(selector) >> 40 & 15; }
  Rig rig;
};

TEST_F(TaskTest, AJumpSavesOneTaskAndLoadsTheOther) {
  rig.s.gpr[kRax] = 0xabcd;
  ASSERT_TRUE(succeeds(rig, kJmpTask));
  EXPECT_EQ(rig.s.rip, 0xa000u);
  EXPECT_EQ(rig.s.rflags, flags::kFixed1 | flags::kCf);
  EXPECT_EQ(rig.s.gpr[kRdi], 0x107u);
  EXPECT_EQ(rig.s.gpr[kRsp], 0x31000u);
  EXPECT_EQ(rig.s.tr.selector, kNewTask);
  EXPECT_EQ(rig.s.ldtr.base, kLdtBase);
  EXPECT_TRUE(rig.s.cr0 & cr0::kTs);
  EXPECT_EQ(type(kTssSelector), kTss32Available);
  EXPECT_EQ(type(kNewTask), kTss32Busy);
  EXPECT_EQ(rig.get<uint32_t>(kTss + 0x20), kCode + 7) << "EIP of the outgoing task";
  EXPECT_EQ(rig.get<uint32_t>(kTss + 0x28), 0xabcdu);
  EXPECT_EQ(rig.get<uint16_t>(kTss + 0x4c), kCode0);
}

TEST_F(TaskTest, ACallNestsAndIretReturns) {
  ASSERT_TRUE(succeeds(rig, kCallTask));
  EXPECT_TRUE(rig.s.rflags & flags::kNt);
  EXPECT_EQ(rig.get<uint16_t>(kTask), kTssSelector) << "the link";
  EXPECT_EQ(type(kTssSelector), kTss32Busy);
  EXPECT_EQ(type(kNewTask), kTss32Busy);
  rig.put<uint8_t>(0xa000, 0xcf);
  ASSERT_FALSE(rig.step());
  EXPECT_EQ(rig.s.rip, kCode + 7);
  EXPECT_EQ(rig.s.tr.selector, kTssSelector);
  EXPECT_EQ(type(kNewTask), kTss32Available);
  EXPECT_FALSE(rig.get<uint32_t>(kTask + 0x24) & flags::kNt) << "NT is cleared in the image of the task that returns";
}

TEST_F(TaskTest, ABusyTaskIsRefusedBeforeAnythingChanges) {
  rig.put_descriptor(kNewTask, descriptor(kTask, 0x67, kPresent | kTss32Busy, 0));
  EXPECT_TRUE(raises(rig, kJmpTask, kGeneralProtection, kNewTask));
  EXPECT_EQ(rig.s.tr.selector, kTssSelector);
}

TEST_F(TaskTest, AShortTssIsInvalid) {
  rig.put_descriptor(kNewTask, descriptor(kTask, 0x66, kPresent | kTss32Available, 0));
  EXPECT_TRUE(raises(rig, kJmpTask, kInvalidTss, kNewTask));
}

TEST_F(TaskTest, ABadSegmentFaultsInTheNewTask) {
  put32(0x48 + 4 * kFs, 0xf8);  // beyond what the table has: not present
  rig.put_descriptor(0xf8, descriptor(0, 0xfffff, kNonSystem | 3, 0xc));
  const auto fault = rig.run(kJmpTask);
  ASSERT_TRUE(fault);
  EXPECT_EQ(fault->vector, kSegmentNotPresent);
  EXPECT_EQ(fault->error_code, 0xf8u);
  EXPECT_EQ(fault->rip, 0xa000u) << "the first instruction of the new task";
  EXPECT_EQ(rig.s.tr.selector, kNewTask);
}

TEST_F(TaskTest, AFaultThroughATaskGateSavesTheResumeFlagAndPushesItsCode) {
  rig.put<uint64_t>(kIdt + 8 * kGeneralProtection, gate(kNewTask, 0, kPresent | kTaskGate));
  rig.s.seg[kDs] = make_null_segment(0, 0);
  rig.run({0xa0, 0, 0, 0, 0});  // mov al, [0]
  EXPECT_EQ(rig.s.tr.selector, kNewTask);
  EXPECT_EQ(rig.s.rip, 0xa000u);
  EXPECT_EQ(rig.s.gpr[kRsp], 0x31000u - 4);
  EXPECT_EQ(rig.get<uint32_t>(0x31000 - 4), 0u);
  EXPECT_EQ(rig.get<uint32_t>(kTss + 0x20), kCode) << "the instruction that faulted";
  EXPECT_TRUE(rig.get<uint32_t>(kTss + 0x24) & flags::kRf);
}

TEST_F(TaskTest, TaskGatesInTheGdtAreCheckedByTheirOwnLevel) {
  rig.put_descriptor(kTaskGateSelector, gate(kNewTask, 0, kPresent | kTaskGate));
  ASSERT_TRUE(succeeds(rig, {0xea, 0, 0, 0, 0, kTaskGateSelector, 0}));
  EXPECT_EQ(rig.s.tr.selector, kNewTask);
  rig.protected_mode(3);
  EXPECT_TRUE(raises(rig, {0xea, 0, 0, 0, 0, kTaskGateSelector, 0}, kGeneralProtection, kTaskGateSelector));
}

TEST_F(TaskTest, TheTrapBitRaisesDebugInTheNewTask) {
  put32(0x64, 0x680001);
  ASSERT_TRUE(succeeds(rig, kJmpTask));
  const auto trap = [&] {
    for (unsigned n = 0; n < 2; ++n)
      if (rig.cpu.step() == StopReason::kStepped && rig.s.rip == Rig::handler(kDebug)) return true;
    return false;
  }();
  EXPECT_TRUE(trap);
  EXPECT_TRUE(rig.s.dr6 & 1 << 15) << "BT";
}

TEST_F(TaskTest, A16BitTaskHasNeitherFsNorGsNorCr3) {
  rig.put_descriptor(kNewTask, descriptor(kTask, 0x2b, kPresent | kTss16Available, 0));
  rig.put<uint16_t>(kTask + 0x0e, 0xa000);
  rig.put<uint16_t>(kTask + 0x10, flags::kFixed1);
  for (unsigned n = 0; n < 8; ++n) rig.put<uint16_t>(kTask + 0x12 + 2 * n, static_cast<uint16_t>(0x50 + n));
  for (unsigned n = 0; n < 4; ++n) rig.put<uint16_t>(kTask + 0x22 + 2 * n, n == kCs ? kCode0 : kData0);
  rig.put<uint16_t>(kTask + 0x2a, 0);
  ASSERT_TRUE(succeeds(rig, kJmpTask));
  EXPECT_EQ(rig.s.rip, 0xa000u);
  EXPECT_EQ(rig.s.gpr[kRbx] & 0xffff, 0x53u);
  EXPECT_TRUE(rig.s.seg[kFs].unusable && rig.s.seg[kGs].unusable);
  EXPECT_EQ(rig.s.seg[kDs].selector, kData0);
  EXPECT_EQ(type(kNewTask), kTss16Busy);
}

TEST_F(TaskTest, ATaskMayBeAVirtual8086Program) {
  put32(0x24, flags::kFixed1 | flags::kVm);
  put32(0x20, 0x100);
  for (unsigned n = 0; n < 6; ++n) put32(0x48 + 4 * n, 0x1000 + n);
  ASSERT_TRUE(succeeds(rig, kJmpTask));
  EXPECT_TRUE(rig.s.v86_mode());
  EXPECT_EQ(rig.s.cpl(), 3u);
  EXPECT_EQ(rig.s.seg[kCs].base, 0x10010u);
  EXPECT_EQ(rig.s.rip, 0x100u);
}

}  // namespace
}  // namespace skerry::x86
