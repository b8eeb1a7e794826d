#include "x86/smm.hpp"

#include <gtest/gtest.h>

#include <cstring>
#include <random>

#include "state/stream.hpp"
#include "unit/x86/system_rig.hpp"

namespace skerry::x86 {
namespace {

using namespace test;

const std::vector<uint8_t> kRsm = {0x0f, 0xaa}, kNop = {0x90}, kIret = {0xcf};
constexpr uint64_t kArea = CpuState::kResetSmbase + SmmStateSaveArea::kOffset, kEntry = CpuState::kResetSmbase + 0x8000;

class SmmTest : public ::testing::Test {
 protected:
  // Takes an SMI, in front of the instruction at kCode.
  void enter() {
    rig.code(kNop);
    rig.cpu.state_changed();
    rig.cpu.set_request(request::kSmi);
    event();
    ASSERT_TRUE(rig.s.in_smm);
  }
  void put_rsm() { ASSERT_TRUE(rig.memory.write(kEntry, std::as_bytes(std::span(kRsm)))); }
  void step() { (void)rig.cpu.step(); }
  void event() { (void)rig.cpu.boundary(); }  // SMM begins at the RIP at which the rig's code is: step() would take it for the same
  SmmStateSaveArea area() { return rig.get<SmmStateSaveArea>(kArea); }
  Rig rig{"x86-64-v2"};
};

TEST_F(SmmTest, BeginsInRealModeWithAllMemoryInReach) {
  rig.long_mode();
  rig.s.dr7 = 0x401;
  enter();
  EXPECT_EQ(rig.s.rip, 0x8000u);
  EXPECT_EQ(rig.s.rflags, flags::kFixed1);
  EXPECT_EQ(rig.s.cr0, cr0::kEt | cr0::kNe | cr0::kWp);
  EXPECT_EQ(rig.s.cr4 | rig.s.efer, 0u);
  EXPECT_EQ(rig.s.dr7, 0x400u);
  EXPECT_EQ(rig.s.seg[kCs].selector, 0x3000);
  EXPECT_EQ(rig.s.seg[kCs].base, 0x30000u);
  for (const Segment& segment : rig.s.seg) EXPECT_EQ(segment.limit, 0xffffffffu);
  EXPECT_EQ(rig.s.seg[kDs].selector | rig.s.seg[kDs].base, 0u);
  EXPECT_TRUE(rig.s.nmi_blocked);
  EXPECT_EQ(area().rip, uint64_t{kCode});
  EXPECT_EQ(area().revision, 0x20064u);
  EXPECT_EQ(area().smbase, 0x30000u);
  EXPECT_EQ(area().efer, efer::kLme | efer::kLma | efer::kNxe | efer::kSce);
  EXPECT_EQ(area().cr3, uint64_t{kPml4});
  EXPECT_EQ(area().segments[kCs].attributes, 0xa09b);
}

// Every state that a processor may be in comes back, but for what says that it was away.
TEST_F(SmmTest, RsmGoesBackToWhatItWas) {
  for (unsigned mode = 0; mode < 6; ++mode) {
    switch (mode) {
      case 0: rig.real_mode(); break;
      case 1: rig.protected_mode(0); break;
      case 2: rig.protected_mode(3); break;
      case 3: rig.v86_mode(); break;
      case 4: rig.long_mode(0); break;
      case 5: rig.long_mode(3); break;
    }
    put_rsm();
    for (unsigned n = 0; n < 16; ++n)
      if (n != kRsp) rig.s.gpr[n] = 0x0123456789abcdef * (n + 1);
    rig.s.seg[kFs] = make_null_segment(0, 0);
    rig.s.seg[kGs].base = mode >= 4 ? 0xffff800000001000 : 0x1000;
    rig.s.dr7 = 0x401;
    rig.s.smbase = 0x30000;
    rig.code(kNop);
    const CpuState before = rig.s;
    enter();
    step();
    EXPECT_FALSE(rig.s.in_smm) << mode;
    CpuState saved = before, now = rig.s;
    state::Saver first, second;
    saved.describe(first);
    now.describe(second);
    EXPECT_EQ(first.data(), second.data()) << "mode " << mode;
    EXPECT_EQ(rig.cpu.step(), StopReason::kKicked) << "an INIT may have waited";
    step();
    EXPECT_EQ(rig.s.rip, before.rip + 1) << "the NOP that it was interrupted before";
  }
}

TEST_F(SmmTest, RsmIsNoInstructionElsewhere) {
  rig.protected_mode();
  EXPECT_TRUE(raises(rig, kRsm, kInvalidOpcode));
  rig.long_mode();
  EXPECT_TRUE(raises(rig, kRsm, kInvalidOpcode));
}

TEST_F(SmmTest, SmbaseIsTheOneThatRsmFinds) {
  rig.protected_mode();
  put_rsm();
  enter();
  auto changed = area();
  changed.smbase = 0x50000;
  rig.put(kArea, changed);
  step();
  EXPECT_EQ(rig.s.smbase, 0x50000u);
  rig.cpu.set_request(request::kSmi);
  event();  // the kick
  event();
  EXPECT_EQ(rig.s.seg[kCs].base, 0x50000u);
  EXPECT_EQ(rig.get<uint32_t>(0x50000 + SmmStateSaveArea::kOffset + 0x100), 0x50000u);
  CpuState after = rig.s;
  after.reset(0, true);
  EXPECT_EQ(after.smbase, 0x50000u) << "INIT keeps it";
  after.reset(0, false);
  EXPECT_EQ(after.smbase, 0x30000u);
}

TEST_F(SmmTest, HaltIsGoneBackIntoUnlessTheHandlerWantsOtherwise) {
  for (const bool stay : {true, false}) {
    rig.protected_mode();
    put_rsm();
    rig.s.activity = Activity::kHalted;
    rig.code(kNop);
    rig.cpu.state_changed();
    rig.cpu.set_request(request::kSmi);
    event();
    ASSERT_TRUE(rig.s.in_smm);
    EXPECT_EQ(rig.s.activity, Activity::kRunning);
    EXPECT_EQ(area().auto_halt_restart, 1);
    if (!stay) rig.put<uint8_t>(kArea + 0xc9, 0);
    step();
    EXPECT_EQ(rig.s.activity, stay ? Activity::kHalted : Activity::kRunning);
    event();  // the kick
  }
}

TEST_F(SmmTest, NmisAndSmisWait) {
  rig.protected_mode();
  put_rsm();
  enter();
  rig.cpu.set_request(request::kNmi | request::kSmi);
  EXPECT_FALSE(rig.cpu.event_waiting());
  ASSERT_TRUE(rig.memory.write(kEntry, std::as_bytes(std::span(kNop))));
  step();
  EXPECT_EQ(rig.s.rip, 0x8001u);
  ASSERT_TRUE(rig.memory.write(kEntry + 1, std::as_bytes(std::span(kRsm))));
  step();
  EXPECT_FALSE(rig.s.in_smm);
  EXPECT_FALSE(rig.s.nmi_blocked);
  event();  // the kick
  event();
  EXPECT_TRUE(rig.s.in_smm) << "the SMI comes first";
  EXPECT_EQ(area().rip, uint64_t{kCode});
  put_rsm();
  step();
  event();
  event();
  EXPECT_TRUE(rig.s.nmi_blocked) << "then the NMI";
  EXPECT_EQ(rig.s.rip, rig.handler(kNmi));
}

TEST_F(SmmTest, AnNmiThatWasHandledStillIs) {
  rig.protected_mode();
  put_rsm();
  rig.s.nmi_blocked = true;
  enter();
  step();
  EXPECT_TRUE(rig.s.nmi_blocked);
}

TEST_F(SmmTest, SmisWaitForTheShadowOfStiAndMovSs) {
  rig.protected_mode();
  for (bool CpuState::*const shadow : {&CpuState::sti_shadow, &CpuState::mov_ss_shadow}) {
    rig.s.*shadow = true;
    rig.code(kNop);
    rig.cpu.state_changed();
    rig.cpu.set_request(request::kSmi);
    step();
    EXPECT_FALSE(rig.s.in_smm);
    EXPECT_EQ(rig.s.rip, kCode + 1u);
    rig.cpu.clear_request(request::kSmi);
  }
}

TEST_F(SmmTest, MemoryOfSmmIsSeenInIt) {
  rig.long_mode();
  rig.memory.set_smm_only(std::array{memory::GuestMemory::Range{0x30000, 0x40000}});
  const auto mov = std::vector<uint8_t>{0x8b, 0x04, 0x25, 0x00, 0xfe, 0x03, 0x00};  // mov eax, [0x3fe00]
  EXPECT_FALSE(rig.run(mov)) << "no fault";
  EXPECT_EQ(rig.s.gpr[kRax], 0xffffffffu);
  enter();
  SmmStateSaveArea saved{};
  ASSERT_TRUE(rig.memory.read(kArea, std::as_writable_bytes(std::span(&saved, 1)), memory::View::kSmm));
  EXPECT_EQ(saved.rip, uint64_t{kCode});
  ASSERT_TRUE(rig.memory.write(kEntry, std::as_bytes(std::span(kRsm)), memory::View::kSmm));
  step();
  EXPECT_FALSE(rig.s.in_smm);
}

TEST_F(SmmTest, WhatCannotBeShutsDown) {
  const std::vector<void (*)(SmmStateSaveArea&)> breakers = {
      [](SmmStateSaveArea& a) { a.cr0 &= ~cr0::kPe; },
      [](SmmStateSaveArea& a) { a.cr0 |= uint64_t{1} << 32; },
      [](SmmStateSaveArea& a) { a.cr0 = (a.cr0 | cr0::kNw) & ~cr0::kCd; },
      [](SmmStateSaveArea& a) { a.cr4 &= ~cr4::kPae; },
      [](SmmStateSaveArea& a) { a.cr4 |= cr4::kVmxe; },
      [](SmmStateSaveArea& a) { a.efer &= ~efer::kLma; },
      [](SmmStateSaveArea& a) { a.efer &= ~efer::kLme; },
      [](SmmStateSaveArea& a) { a.efer |= 1 << 12; },
      [](SmmStateSaveArea& a) { a.cr3 |= uint64_t{1} << 60; },
      [](SmmStateSaveArea& a) { a.rflags |= flags::kVm; },
      [](SmmStateSaveArea& a) { a.segments[kCs].attributes |= 1 << 14; },
  };
  for (size_t n = 0; n < breakers.size(); ++n) {
    rig.long_mode();
    put_rsm();
    enter();
    auto broken = area();
    breakers[n](broken);
    rig.put(kArea, broken);
    step();
    EXPECT_EQ(rig.s.activity, Activity::kShutdown) << n;
  }
}

// The area is the guest's: whatever is in it, the processor shuts down or goes on by what it has got.
TEST_F(SmmTest, AnyAreaIsSurvived) {
  std::mt19937_64 random(1);
  unsigned alive = 0;
  for (unsigned round = 0; round < 3000; ++round) {
    if (round % 3 == 0) rig.real_mode();
    else if (round % 3 == 1) rig.protected_mode(round % 2 ? 3 : 0);
    else rig.long_mode(round % 2 ? 3 : 0);
    put_rsm();
    enter();
    auto changed = area();
    std::array<uint8_t, sizeof changed> bytes;
    std::memcpy(bytes.data(), &changed, sizeof changed);
    for (unsigned n = random() % 24 + 1; n > 0; --n) bytes[random() % bytes.size()] = static_cast<uint8_t>(random());
    rig.put(kArea, bytes);
    step();
    for (unsigned n = 0; n < 8; ++n) step();
    alive += rig.s.activity != Activity::kShutdown;
    rig.cpu.clear_request(~0u);
  }
  EXPECT_GT(alive, 100u);
}

}  // namespace
}  // namespace skerry::x86
