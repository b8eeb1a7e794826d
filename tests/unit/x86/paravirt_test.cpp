#include <gtest/gtest.h>

#include "unit/x86/system_rig.hpp"

namespace skerry::x86 {
namespace {

using namespace test;

const std::vector<uint8_t> kVmcall = {0x0f, 0x01, 0xc1}, kVmmcall = {0x0f, 0x01, 0xd9}, kWrmsr = {0x0f, 0x30};
constexpr uint64_t kSendIpi = 10, kArea = 0xc000, kVersion = kArea + 8, kPreempted = kArea + 16;
constexpr uint32_t kStealTime = 0x4b564d03, kPvEoi = 0x4b564d04;
using Ipis = std::vector<std::pair<uint32_t, uint32_t>>;

class ParavirtTest : public ::testing::Test {
 protected:
  uint64_t call(uint64_t number, const std::vector<uint8_t>& instruction = kVmcall) {
    rig.s.gpr[kRax] = number;
    EXPECT_TRUE(succeeds(rig, instruction));
    return rig.s.gpr[kRax];
  }
  uint64_t send(uint64_t low, uint64_t high, uint64_t first, uint64_t icr) {
    rig.s.gpr[kRbx] = low;
    rig.s.gpr[kRcx] = high;
    rig.s.gpr[kRdx] = first;
    rig.s.gpr[kRsi] = icr;
    return call(kSendIpi);
  }
  bool write(uint32_t index, uint64_t value) {
    rig.s.gpr[kRcx] = index;
    rig.s.gpr[kRax] = value & 0xffffffff;
    rig.s.gpr[kRdx] = value >> 32;
    return static_cast<bool>(succeeds(rig, kWrmsr));
  }
  Rig rig{"x86-64-v1"};
};

TEST_F(ParavirtTest, WhatThereIsNotIsAnsweredSo) {
  rig.long_mode();
  for (const uint64_t number : {0ull, 5ull, 9ull, 11ull, 12ull, 999ull, 0x1'0000'000aull}) {
    EXPECT_EQ(call(number), static_cast<uint64_t>(-1000)) << number;
    EXPECT_EQ(call(number, kVmmcall), static_cast<uint64_t>(-1000)) << number;
  }
  EXPECT_EQ(call(1), 0u);
}

TEST_F(ParavirtTest, ProgramsMayNotCall) {
  rig.long_mode(3);
  EXPECT_EQ(send(1, 0, 0, 0x50), static_cast<uint64_t>(-1));
  rig.v86_mode();
  EXPECT_EQ(call(kSendIpi), 0xffffffffu);
  EXPECT_TRUE(rig.env.ipis.empty());
}

TEST_F(ParavirtTest, SendsToEachBitsProcessorAndCountsThem) {
  rig.long_mode();
  EXPECT_EQ(send(0b101, 0, 0, 0x50), 1u) << "there is no number 2";
  EXPECT_EQ(rig.env.ipis, (Ipis{{0, 0x50}, {2, 0x50}}));
  rig.env.ipis.clear();
  EXPECT_EQ(send(uint64_t{1} << 63, 1, 1, 0x4400), 0u);
  EXPECT_EQ(rig.env.ipis, (Ipis{{64, 0x4400}, {65, 0x4400}}));
  rig.env.ipis.clear();
  EXPECT_EQ(send(0b11, 1, 0xffffffff, 0x50), 0u);
  EXPECT_EQ(rig.env.ipis, (Ipis{{0xffffffff, 0x50}})) << "and round to no low number";
  rig.env.ipis.clear();
  EXPECT_EQ(send(~uint64_t{0}, ~uint64_t{0}, uint64_t{7} << 32, 0x50), 2u);
  EXPECT_EQ(rig.env.ipis.size(), 128u);
}

TEST_F(ParavirtTest, ALogicalDestinationOrAShorthandIsRefused) {
  rig.long_mode();
  for (const uint64_t icr : {0x850ull, 0x40050ull, 0xc0050ull}) EXPECT_EQ(send(1, 0, 0, icr), static_cast<uint64_t>(-22));
  EXPECT_TRUE(rig.env.ipis.empty());
}

TEST_F(ParavirtTest, OutsideOf64BitModeRegistersAreOf32) {
  rig.protected_mode();
  EXPECT_EQ(send(1, 1, 0, 0x50), 1u) << "the second map begins at 32";
  EXPECT_EQ(rig.env.ipis, (Ipis{{0, 0x50}, {32, 0x50}}));
  EXPECT_EQ(call(999), 0xfffffc18u);
  rig.real_mode();
  rig.env.ipis.clear();
  EXPECT_EQ(send(2, 0, 0, 0x50), 1u);
}

TEST_F(ParavirtTest, TheStealTimeIsValidFromTheBeginning) {
  rig.long_mode();
  rig.put<uint64_t>(kArea, 123);
  rig.put<uint32_t>(kVersion, 7);
  rig.put<uint8_t>(kPreempted, 3);
  ASSERT_TRUE(write(kStealTime, kArea | 1));
  EXPECT_EQ(rig.get<uint64_t>(kArea), 123u) << "it must not go back";
  EXPECT_EQ(rig.get<uint32_t>(kVersion), 8u);
  EXPECT_EQ(rig.get<uint8_t>(kPreempted), 0);
  uint64_t value = 0;
  ASSERT_TRUE(rig.cpu.read_msr(kStealTime, value));
  EXPECT_EQ(value, kArea | 1);
}

TEST_F(ParavirtTest, WhoGoesOnElsewhereIsNoLongerSaidToBePreempted) {
  rig.long_mode();
  rig.s.kvm_steal_time = kArea | 1;
  rig.put<uint8_t>(kPreempted, 3);
  rig.cpu.state_changed();
  EXPECT_EQ(rig.get<uint8_t>(kPreempted), 0);
  rig.s.kvm_steal_time = kArea;
  rig.put<uint8_t>(kPreempted, 1);
  rig.cpu.state_changed();
  EXPECT_EQ(rig.get<uint8_t>(kPreempted), 1) << "it is switched off";
}

TEST_F(ParavirtTest, ReservedBitsFaultAndStructuresMayBeNowhere) {
  for (const auto& [index, value] : {std::pair{kStealTime, kArea | 3}, {kStealTime, kArea | 0x21}, {kPvEoi, kArea | 3}}) {
    rig.long_mode();
    rig.s.gpr[kRcx] = index;
    rig.s.gpr[kRax] = value;
    rig.s.gpr[kRdx] = 0;
    EXPECT_TRUE(raises(rig, kWrmsr, kGeneralProtection)) << std::hex << index;
  }
  rig.long_mode();
  EXPECT_TRUE(write(kStealTime, uint64_t{1} << 50 | 1));
  EXPECT_TRUE(write(kPvEoi, uint64_t{1} << 50 | 5));
  EXPECT_EQ(rig.s.kvm_pv_eoi, uint64_t{1} << 50 | 5);
  rig.cpu.state_changed();
  rig.s.reset(0, true);
  EXPECT_EQ(rig.s.kvm_steal_time | rig.s.kvm_pv_eoi, 0u) << "INIT switches them off";
}

}  // namespace
}  // namespace skerry::x86
