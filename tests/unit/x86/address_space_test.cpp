// What is cached of an address space while another one is in use. SDM vol. 3, 4.10.
#include <gtest/gtest.h>

#include <functional>
#include <random>

#include "unit/x86/system_rig.hpp"

namespace skerry::x86 {
namespace {

using test::Rig;

constexpr unsigned kCount = 20;  // more than are kept
static_assert(kCount > Interpreter::kSpaces);
constexpr uint64_t kAddress = GiB, kTables = 0x80000, kPages = 0x100000;

// Address spaces in each of which a user page at kAddress has another number in it.
class AddressSpaceTest : public ::testing::Test {
 protected:
  void SetUp() override {
    rig.long_mode(3);
    rig.s.cr4 |= cr4::kPcide;
    for (unsigned n = 0; n < kCount; ++n) {
      rig.put<uint64_t>(root(n), (root(n) + 0x1000) | 7);
      rig.put<uint64_t>(root(n) + 0x1000, 0x87);
      rig.put<uint64_t>(root(n) + 0x1008, (root(n) + 0x2000) | 7);
      rig.put<uint64_t>(root(n) + 0x2000, (root(n) + 0x3000) | 7);
      rig.put<uint64_t>(page(n), n);
      map(n, n);
    }
    rig.s.cr3 = root(0);
    rig.cpu.state_changed();
  }
  static uint64_t root(unsigned n) { return kTables + 0x4000 * n; }
  static uint64_t page(unsigned n) { return kPages + 0x1000 * n; }
  void map(unsigned n, unsigned to) { rig.put<uint64_t>(root(n) + 0x3000, page(to) | 7); }
  void go(unsigned n, uint16_t pcid, bool keep) {
    rig.s.cr3 = root(n) | pcid;
    rig.cpu.switch_address_space(keep);
  }
  uint64_t seen() {
    uint64_t value = ~uint64_t{0};
    EXPECT_TRUE(rig.cpu.load_linear(kAddress, value));
    return value;
  }
  // What space 0, left with its page cached, shows after its mapping was changed and `tell` was called in space 1.
  uint64_t seen_after(const std::function<void()>& tell, bool keep = true) {
    map(0, 0);
    go(0, 7, false);
    EXPECT_EQ(seen(), 0u);
    go(1, 8, false);
    EXPECT_EQ(seen(), 1u);
    map(0, 5);
    tell();
    go(0, 7, keep);
    return seen();
  }
  Rig rig;
};

TEST_F(AddressSpaceTest, EachPcidSeesItsOwn) {
  std::minstd_rand random(1);
  for (unsigned round = 0; round < 2000; ++round) {
    const unsigned n = random() % kCount;
    go(n, static_cast<uint16_t>(n + 1), random() % 4 != 0);
    ASSERT_EQ(seen(), n) << "round " << round;
  }
}

TEST_F(AddressSpaceTest, WhatWasCachedIsThereAgain) {
  EXPECT_EQ(seen_after([] {}), 0u) << "the old mapping: nobody was told of the change";
}

TEST_F(AddressSpaceTest, ASwitchThatDoesNotKeepForgets) {
  EXPECT_EQ(seen_after([] {}, false), 5u);
}

TEST_F(AddressSpaceTest, EachWayToForgetForgets) {
  EXPECT_EQ(seen_after([&] { rig.cpu.flush_pcid(7); }), 5u);
  EXPECT_EQ(seen_after([&] { rig.cpu.flush_pcid(8); }), 0u) << "another one";
  EXPECT_EQ(seen_after([&] { rig.cpu.flush_page(kAddress); }), 5u);
  EXPECT_EQ(seen_after([&] { rig.cpu.flush_page(kAddress + 0x1000); }), 0u) << "another page";
  EXPECT_EQ(seen_after([&] { rig.cpu.flush_address_spaces(); }), 5u);
  EXPECT_EQ(seen_after([&] { rig.cpu.flush_tlb(); }), 5u);
  EXPECT_EQ(seen_after([&] { rig.cpu.flush_address_space(); }), 0u) << "only the present one";
}

TEST_F(AddressSpaceTest, SwitchingPcidsOffAndOnForgets) {
  EXPECT_EQ(seen_after([&] {
              rig.s.cr3 = root(1);
              rig.s.cr4 &= ~cr4::kPcide;
              rig.cpu.mode_changed();
              rig.s.cr4 |= cr4::kPcide;
              rig.cpu.mode_changed();
            }),
            5u);
}

TEST_F(AddressSpaceTest, ARightToWriteIsTakenFromAllOfThem) {
  go(0, 7, false);
  ASSERT_TRUE(rig.cpu.fill(kAddress, true));
  const std::byte* host = rig.cpu.ready_to_write(kAddress);
  ASSERT_NE(host, nullptr);
  go(1, 8, false);
  go(0, 7, true);
  EXPECT_EQ(rig.cpu.ready_to_write(kAddress), host);
  go(1, 8, true);
  rig.cpu.revoke_writes(host);
  go(0, 7, true);
  EXPECT_EQ(rig.cpu.ready_to_write(kAddress), nullptr);
  EXPECT_EQ(rig.cpu.ready_to_read(kAddress), host);
}

}  // namespace
}  // namespace skerry::x86
