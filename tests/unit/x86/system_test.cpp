#include <gtest/gtest.h>

#include <random>

#include "state/stream.hpp"
#include "unit/x86/system_rig.hpp"

namespace skerry::x86 {
namespace {

using namespace test;

const std::vector<uint8_t> kMovToCr0 = {0x0f, 0x22, 0xc0}, kMovToCr3 = {0x0f, 0x22, 0xd8},
                           kMovToCr4 = {0x0f, 0x22, 0xe0};

class SystemTest : public ::testing::Test {
 protected:
  ::testing::AssertionResult write(const std::vector<uint8_t>& instruction, uint64_t value) {
    rig.s.gpr[kRax] = value;
    return succeeds(rig, instruction);
  }
  ::testing::AssertionResult refused(const std::vector<uint8_t>& instruction, uint64_t value) {
    rig.s.gpr[kRax] = value;
    return raises(rig, instruction, kGeneralProtection);
  }
  Rig rig;
};

TEST_F(SystemTest, PagingUnderLmeActivatesLongMode) {
  rig.long_mode();  // for its page tables
  rig.protected_mode();
  rig.s.cr3 = kPml4;
  rig.s.cr4 = cr4::kPae;
  rig.s.efer = efer::kLme;
  ASSERT_TRUE(write(kMovToCr0, rig.s.cr0 | cr0::kPg));
  EXPECT_TRUE(rig.s.efer & efer::kLma);
  EXPECT_FALSE(rig.cpu.code64()) << "compatibility mode until a far jump";
  ASSERT_FALSE(rig.run({0xea, 0x00, 0xa0, 0, 0, kCode64, 0}));
  EXPECT_TRUE(rig.cpu.code64());
}

TEST_F(SystemTest, LongModeNeedsPae) {
  rig.protected_mode();
  rig.s.efer = efer::kLme;
  EXPECT_TRUE(refused(kMovToCr0, rig.s.cr0 | cr0::kPg));
}

TEST_F(SystemTest, Cr0RefusesWhatContradictsItself) {
  rig.protected_mode();
  EXPECT_TRUE(refused(kMovToCr0, cr0::kPg)) << "paging without protection";
  rig.protected_mode();
  EXPECT_TRUE(refused(kMovToCr0, cr0::kPe | cr0::kNw)) << "NW without CD";
  rig.long_mode();
  EXPECT_TRUE(refused(kMovToCr0, rig.s.cr0 & ~cr0::kPg)) << "paging off in 64-bit mode";
  rig.long_mode();
  EXPECT_TRUE(refused(kMovToCr0, rig.s.cr0 | bit(32)));
  rig.protected_mode();
  EXPECT_TRUE(write(kMovToCr0, rig.s.cr0 | bit(20))) << "reserved bits of the lower half are ignored";
  EXPECT_FALSE(rig.s.cr0 & bit(20));
}

TEST_F(SystemTest, Cr4TakesTheModelsBitsOnly) {
  rig.long_mode();
  EXPECT_TRUE(write(kMovToCr4, cr4::kPae | cr4::kPge | cr4::kSmep));
  for (const uint64_t absent : {cr4::kLa57, cr4::kVmxe, cr4::kSmxe, cr4::kPke, bit(23)}) {
    rig.long_mode();
    EXPECT_TRUE(refused(kMovToCr4, cr4::kPae | absent));
  }
  rig.long_mode();
  EXPECT_TRUE(refused(kMovToCr4, cr4::kPge)) << "PAE off in long mode";
}

TEST_F(SystemTest, ProcessContextIdentifiersNeedLongModeAndAnEmptyCr3) {
  rig.protected_mode();
  EXPECT_TRUE(refused(kMovToCr4, cr4::kPcide));
  rig.long_mode();
  rig.s.cr3 = kPml4 | 8;
  EXPECT_TRUE(refused(kMovToCr4, cr4::kPae | cr4::kPcide));
  rig.long_mode();
  EXPECT_TRUE(refused(kMovToCr3, bit(63) | kPml4)) << "no flush without PCIDE";
  rig.long_mode();
  ASSERT_TRUE(write(kMovToCr4, cr4::kPae | cr4::kPcide));
  EXPECT_TRUE(write(kMovToCr3, bit(63) | kPml4 | 5));
  EXPECT_EQ(rig.s.cr3, kPml4 | 5u);
  EXPECT_TRUE(refused(kMovToCr3, bit(45)));
}

TEST_F(SystemTest, Cr8IsTheTaskPriority) {
  rig.long_mode();
  EXPECT_TRUE(write({0x44, 0x0f, 0x22, 0xc0}, 7));
  EXPECT_EQ(rig.env.tpr, 7);
  EXPECT_TRUE(refused({0x44, 0x0f, 0x22, 0xc0}, 16));
}

TEST_F(SystemTest, DebugRegistersHaveFixedBits) {
  rig.protected_mode();
  ASSERT_TRUE(write({0x0f, 0x23, 0xf8}, 0));
  EXPECT_EQ(rig.s.dr7, 0x400u);
  ASSERT_TRUE(write({0x0f, 0x23, 0xe8}, 0x0f00));  // DR5 is DR7
  EXPECT_EQ(rig.s.dr7, 0x700u);
  ASSERT_TRUE(write({0x0f, 0x23, 0xf0}, 0));
  EXPECT_EQ(rig.s.dr6, 0xffff0ff0u);
  rig.s.cr4 |= cr4::kDe;
  EXPECT_TRUE(raises(rig, {0x0f, 0x23, 0xe8}, kInvalidOpcode));
  rig.long_mode();
  EXPECT_TRUE(refused({0x0f, 0x23, 0xf8}, bit(32)));
}

TEST_F(SystemTest, PrivilegedInstructionsFaultAtRing3) {
  const std::vector<std::vector<uint8_t>> privileged = {
      {0xf4},
      {0x0f, 0x06},
      {0x0f, 0x20, 0xc0},
      {0x0f, 0x22, 0xd8},
      {0x0f, 0x21, 0xc0},
      {0x0f, 0x01, 0x10},
      {0x0f, 0x01, 0xf0},
      {0x0f, 0x00, 0xd8},
      {0x0f, 0x00, 0xd0},
      {0x0f, 0x01, 0x38},
      {0x0f, 0x09},
      {0x0f, 0x08},
      {0x0f, 0x35},
      {0xfa},
      {0xfb},
      {0xec},
  };
  for (const auto& bytes : privileged) {
    rig.protected_mode(3);
    EXPECT_TRUE(raises(rig, bytes, kGeneralProtection)) << std::hex << +bytes[0] << ' ' << +bytes.back();
  }
}

TEST_F(SystemTest, SyscallAndSysretGoTheirWay) {
  rig.long_mode(3);
  rig.s.lstar = 0xa000;
  rig.s.star = uint64_t{0x23 - 8} << 48 | uint64_t{kCode64} << 32;
  rig.s.fmask = flags::kIf | flags::kDf;
  rig.s.rflags |= flags::kIf | flags::kCf;
  ASSERT_FALSE(rig.run({0x0f, 0x05}));
  EXPECT_EQ(rig.s.cpl(), 0u);
  EXPECT_EQ(rig.s.rip, 0xa000u);
  EXPECT_EQ(rig.s.gpr[kRcx], kCode + 2u);
  EXPECT_EQ(rig.s.gpr[kR11], flags::kFixed1 | flags::kIf | flags::kCf);
  EXPECT_EQ(rig.s.rflags, flags::kFixed1 | flags::kCf);
  ASSERT_FALSE(rig.run({0x48, 0x0f, 0x07}));
  EXPECT_EQ(rig.s.cpl(), 3u);
  EXPECT_EQ(rig.s.rip, kCode + 2u);
  EXPECT_TRUE(rig.s.rflags & flags::kIf);
  EXPECT_EQ(rig.s.seg[kSs].selector, kData3);
}

TEST_F(SystemTest, IntelsSysretFaultsInRing0OnABadAddress) {
  CpuModelPeer::set_amd(rig.model, false);
  rig.long_mode();
  rig.s.gpr[kRcx] = 0x8000'00000000;
  EXPECT_TRUE(raises(rig, {0x48, 0x0f, 0x07}, kGeneralProtection));
  rig.protected_mode();
  rig.s.efer = efer::kSce;
  EXPECT_TRUE(raises(rig, {0x0f, 0x05}, kInvalidOpcode)) << "SYSCALL outside of 64-bit mode";
}

TEST_F(SystemTest, AmdHasSyscallInCompatibilityModeAndNoSysenterInLongMode) {
  CpuModelPeer::set_amd(rig.model, true);
  rig.long_mode(3);
  rig.s.seg[kCs] = make_segment(kCode3, {rig.get_descriptor(kCode3)});
  rig.s.cstar = 0xa000;
  rig.s.star = uint64_t{0x23 - 8} << 48 | uint64_t{kCode64} << 32;
  ASSERT_FALSE(rig.run({0x0f, 0x05}));
  EXPECT_EQ(rig.s.rip, 0xa000u);
  EXPECT_TRUE(rig.cpu.code64());
  ASSERT_FALSE(rig.run({0x0f, 0x07})) << "back to 32-bit code";
  EXPECT_EQ(rig.s.rip, kCode + 2u);
  EXPECT_EQ(rig.s.seg[kCs].selector, kCode3);
  EXPECT_FALSE(rig.cpu.code64());
  rig.s.sysenter_cs = kCode0;
  EXPECT_TRUE(raises(rig, {0x0f, 0x34}, kInvalidOpcode));
}

TEST_F(SystemTest, AmdHasSyscallInLegacyModeToo) {
  CpuModelPeer::set_amd(rig.model, true);
  rig.protected_mode(3);
  rig.s.efer = efer::kSce;
  rig.s.rflags |= flags::kIf;
  rig.s.star = uint64_t{kCode3 & ~3u} << 48 | uint64_t{kCode0} << 32 | 0xa000;
  ASSERT_FALSE(rig.run({0x0f, 0x05}));
  EXPECT_EQ(rig.s.rip, 0xa000u);
  EXPECT_EQ(rig.s.cpl(), 0u);
  EXPECT_FALSE(rig.s.rflags & flags::kIf);
  ASSERT_FALSE(rig.run({0x0f, 0x07}));
  EXPECT_EQ(rig.s.rip, kCode + 2u);
  EXPECT_EQ(rig.s.cpl(), 3u);
  EXPECT_TRUE(rig.s.rflags & flags::kIf);
}

TEST_F(SystemTest, SysenterAndSysexitAreFlat) {
  CpuModelPeer::set_amd(rig.model, false);
  rig.protected_mode(3);
  EXPECT_TRUE(raises(rig, {0x0f, 0x34}, kGeneralProtection)) << "no code segment given";
  rig.protected_mode(3);
  rig.s.sysenter_cs = kCode0;
  rig.s.sysenter_eip = 0xa000;
  rig.s.sysenter_esp = kStack0;
  rig.s.rflags |= flags::kIf;
  ASSERT_FALSE(rig.run({0x0f, 0x34}));
  EXPECT_EQ(rig.s.cpl(), 0u);
  EXPECT_EQ(rig.s.rip, 0xa000u);
  EXPECT_FALSE(rig.s.rflags & flags::kIf);
  rig.s.gpr[kRdx] = 0xb000;
  rig.s.gpr[kRcx] = kStack;
  ASSERT_FALSE(rig.run({0x0f, 0x35}));
  EXPECT_EQ(rig.s.cpl(), 3u);
  EXPECT_EQ(rig.s.rip, 0xb000u);
}

TEST_F(SystemTest, ThePortBitmapOfTheTssDecidesAtRing3) {
  rig.protected_mode(3);
  rig.s.tr.limit = 0x67 + 0x2001;
  rig.put<uint8_t>(kTss + 0x68 + 0x60 / 8, 0xfe);  // port 60 is free, 61 is not
  rig.env.ports[0x60] = 0x55;
  ASSERT_TRUE(succeeds(rig, {0xe4, 0x60}));
  EXPECT_EQ(rig.s.gpr[kRax] & 0xff, 0x55u);
  EXPECT_TRUE(raises(rig, {0x66, 0xe5, 0x60}, kGeneralProtection)) << "two ports";
  rig.protected_mode(3);
  rig.s.rflags |= flags::kIopl;
  EXPECT_TRUE(succeeds(rig, {0xe4, 0x61}));
}

TEST_F(SystemTest, InvpcidChecksItsDescriptor) {
  rig.long_mode();
  rig.s.gpr[kRbx] = kData;
  const std::vector<uint8_t> invpcid = {0x66, 0x0f, 0x38, 0x82, 0x03};  // invpcid rax, [rbx]
  rig.put<uint64_t>(kData, 0);
  rig.put<uint64_t>(kData + 8, 0);
  for (uint64_t type = 0; type < 4; ++type) EXPECT_TRUE(write(invpcid, type));
  EXPECT_TRUE(refused(invpcid, 4));
  rig.long_mode();
  rig.put<uint64_t>(kData, 5);
  rig.s.gpr[kRbx] = kData;
  EXPECT_TRUE(refused(invpcid, 1)) << "a PCID without PCIDE";
  rig.long_mode();
  rig.s.gpr[kRbx] = kData;
  EXPECT_TRUE(write(invpcid, 2)) << "the descriptor is not looked at";
}

TEST_F(SystemTest, UnknownHypercallsAreAnsweredLikeKvm) {
  rig.long_mode();
  ASSERT_TRUE(succeeds(rig, {0x0f, 0x01, 0xc1}));
  EXPECT_EQ(static_cast<int64_t>(rig.s.gpr[kRax]), -1000);
}

TEST_F(SystemTest, LmswSetsButNeverClearsProtection) {
  rig.protected_mode();
  rig.s.gpr[kRax] = 0xe;
  ASSERT_TRUE(succeeds(rig, {0x0f, 0x01, 0xf0}));
  EXPECT_EQ(rig.s.cr0 & 0xf, 0xfu);
}

TEST_F(SystemTest, ProtectedModeVirtualInterruptsWorkOnVif) {
  rig.protected_mode(3);
  rig.s.cr4 |= cr4::kPvi;
  rig.s.rflags |= flags::kIf;
  ASSERT_TRUE(succeeds(rig, {0xfb}));
  EXPECT_TRUE(rig.s.rflags & flags::kVif);
  ASSERT_TRUE(succeeds(rig, {0xfa}));
  EXPECT_FALSE(rig.s.rflags & flags::kVif);
  EXPECT_TRUE(rig.s.rflags & flags::kIf);
  rig.s.rflags |= flags::kVip;
  EXPECT_TRUE(raises(rig, {0xfb}, kGeneralProtection));
}

// A state may come from a save file that somebody made up: whatever is in it, the processor goes on or shuts down.
TEST_F(SystemTest, AnyLegalStateCanBeRun) {
  for (uint64_t seed = 1; seed <= 400; ++seed) {
    std::mt19937_64 random(seed);
    state::Randomizer randomizer(seed);
    rig.s.describe(randomizer);
    rig.s.activity = Activity::kRunning;
    if (seed % 2) rig.s.cr0 &= ~cr0::kPg;
    for (Segment& segment : rig.s.seg) segment.base &= 0x1fffff;
    rig.s.seg[kCs].base &= seed % 3 ? 0xffff : ~uint64_t{0};
    rig.s.rip &= 0x7fff;
    if (seed % 8 == 1)  // which takes longer than all the steps
      for (uint32_t at = 0; at < 0x20000; at += 8) rig.put<uint64_t>(at, random());
    rig.cpu.state_changed();
    for (unsigned n = 0; n < 50; ++n) rig.cpu.step();
  }
}

TEST_F(SystemTest, StiHoldsInterruptsOffForOneInstruction) {
  rig.protected_mode();
  rig.env.interrupt = 0x40;
  rig.code({0xfb, 0x90, 0x90});
  rig.cpu.set_request(request::kInterrupt);
  EXPECT_FALSE(rig.step());
  EXPECT_FALSE(rig.step());
  const auto event = rig.step();
  ASSERT_TRUE(event);
  EXPECT_EQ(event->rip, kCode + 2);
}

}  // namespace
}  // namespace skerry::x86
