#include <gtest/gtest.h>

#include "unit/x86/system_rig.hpp"
#include "x86/cpu_features.hpp"

namespace skerry::x86 {
namespace {

using namespace test;

const std::vector<uint8_t> kRdmsr = {0x0f, 0x32}, kWrmsr = {0x0f, 0x30};

class MsrTest : public ::testing::Test {
 protected:
  void SetUp() override { rig.long_mode(); }
  ::testing::AssertionResult write(uint32_t index, uint64_t value) {
    rig.s.gpr[kRcx] = index;
    rig.s.gpr[kRax] = value & 0xffffffff;
    rig.s.gpr[kRdx] = value >> 32;
    return succeeds(rig, kWrmsr);
  }
  // An MSR that cannot be read gives its index here, which none of the tests expects.
  uint64_t read(uint32_t index) {
    rig.s.gpr[kRcx] = index;
    if (!succeeds(rig, kRdmsr)) return index;
    return rig.s.gpr[kRdx] << 32 | rig.s.gpr[kRax];
  }
  bool refused(uint32_t index, uint64_t value) {
    rig.long_mode();
    rig.s.gpr[kRcx] = index;
    rig.s.gpr[kRax] = value & 0xffffffff;
    rig.s.gpr[kRdx] = value >> 32;
    const bool fault = static_cast<bool>(raises(rig, kWrmsr, kGeneralProtection));
    rig.long_mode();
    return fault;
  }
  Rig rig{"x86-64-v1"};
};

TEST_F(MsrTest, AddressesMustBeCanonical) {
  for (const uint32_t index : {0x175u, 0x176u, 0xc0000082u, 0xc0000083u, 0xc0000100u, 0xc0000101u, 0xc0000102u}) {
    EXPECT_TRUE(write(index, 0xffff8000'12345678)) << std::hex << index;
    EXPECT_EQ(read(index), 0xffff8000'12345678) << std::hex << index;
    EXPECT_TRUE(refused(index, 0x8000'00000000)) << std::hex << index;
  }
}

TEST_F(MsrTest, TheTscAndItsAdjustmentMoveTogether) {
  rig.env.now = 1000;
  ASSERT_TRUE(write(0x10, 5000));
  EXPECT_EQ(read(0x10), 5000u);
  EXPECT_EQ(read(0x3b), 4000u);
  ASSERT_TRUE(write(0x3b, 100));
  EXPECT_EQ(read(0x10), 1100u);
}

TEST_F(MsrTest, EferKeepsLmaAndRefusesLmeUnderPaging) {
  EXPECT_EQ(read(0xc0000080), efer::kLme | efer::kLma | efer::kNxe | efer::kSce);
  EXPECT_TRUE(write(0xc0000080, efer::kLme | efer::kSce));
  EXPECT_EQ(rig.s.efer, efer::kLme | efer::kLma | efer::kSce);
  EXPECT_TRUE(refused(0xc0000080, efer::kSce));
  EXPECT_TRUE(refused(0xc0000080, efer::kLme | 1 << 12)) << "SVME";
}

TEST_F(MsrTest, MemoryTypesAreChecked) {
  EXPECT_TRUE(write(0x277, 0x0007040600070406));
  EXPECT_TRUE(refused(0x277, 0x02)) << "PAT";
  EXPECT_TRUE(write(0x2ff, 0xc06));
  EXPECT_TRUE(refused(0x2ff, 0xc07)) << "uncached minus is of the PAT only";
  EXPECT_TRUE(write(0x268, 0x0606060606060606));
  EXPECT_TRUE(refused(0x250, 0x0303030303030303));
  EXPECT_TRUE(write(0x200, 0x80000006));
  EXPECT_TRUE(write(0x201, 0xff80000800));
  EXPECT_EQ(read(0x201), 0xff80000800u);
  EXPECT_TRUE(refused(0x201, uint64_t{1} << 50)) << "beyond the physical-address bits";
  EXPECT_TRUE(refused(0xfe, 0)) << "the capabilities cannot be written";
}

TEST_F(MsrTest, WhatTheModelDoesNotOfferFaults) {
  for (const uint32_t index : {0x49u, 0xe7u, 0xe8u, 0xda0u, 0x480u, 0xc0010015u, 0x12345678u}) {
    rig.long_mode();
    rig.s.gpr[kRcx] = index;
    EXPECT_TRUE(raises(rig, kRdmsr, kGeneralProtection)) << std::hex << index;
  }
}

TEST_F(MsrTest, WhatKernelsReadBlindlyIsThere) {
  for (const uint32_t index :
       {0x0u,   0x1u,   0x17u,  0x2au,  0x2cu,  0x3au,  0x8bu,  0xcdu,  0xceu,  0xfeu,  0x10au, 0x11eu,
        0x140u, 0x179u, 0x17au, 0x17bu, 0x198u, 0x1a0u, 0x1d9u, 0x1dbu, 0x1deu, 0x400u, 0x40fu}) {
    rig.s.gpr[kRcx] = index;
    EXPECT_TRUE(succeeds(rig, kRdmsr)) << std::hex << index;
  }
}

// Intel SDM vol. 4, table 2-2: 48H, 49H, 10AH.
TEST_F(MsrTest, KernelsAreToldThatTheyNeedNotDefendTheirBranches) {
  constexpr uint32_t kSpecCtrl = 0x48, kPredCmd = 0x49;
  constexpr uint64_t kIbrsAll = bit(1), kBhiDisable = bit(10);
  EXPECT_TRUE(read(0x10a) & kIbrsAll);
  EXPECT_TRUE(write(kSpecCtrl, 1 | kBhiDisable));
  EXPECT_EQ(read(kSpecCtrl), 1 | kBhiDisable);
  EXPECT_FALSE(write(kSpecCtrl, bit(3)));
  EXPECT_FALSE(write(kSpecCtrl, bit(63)));
  EXPECT_EQ(read(kSpecCtrl), 1 | kBhiDisable);
  EXPECT_TRUE(write(kPredCmd, 1));
  EXPECT_FALSE(write(kPredCmd, 2));
  rig.model.keep([](const Feature& feature) { return feature.provided != Provided::kBySoftware; });
  EXPECT_FALSE(read(0x10a) & kIbrsAll);
  EXPECT_FALSE(write(kSpecCtrl, 1));
  EXPECT_FALSE(write(kPredCmd, 1));
}

TEST_F(MsrTest, AmdProcessorsHaveAmdsRegisters) {
  CpuModelPeer::set_amd(rig.model, true);
  EXPECT_EQ(read(0xc0010015), bit(24)) << "HWCR: the TSC counts at the frequency of P0";
  EXPECT_TRUE(write(0xc0011029, 2));
}

TEST_F(MsrTest, OnlyRing0MayUseThem) {
  rig.long_mode(3);
  rig.s.gpr[kRcx] = 0x10;
  EXPECT_TRUE(raises(rig, kRdmsr, kGeneralProtection));
}

}  // namespace
}  // namespace skerry::x86
