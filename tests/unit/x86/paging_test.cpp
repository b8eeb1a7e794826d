#include "x86/paging.hpp"

#include <gtest/gtest.h>

#include "base/units.hpp"
#include "x86/exception.hpp"

namespace skerry::x86 {
namespace {

constexpr uint64_t kP = 1, kRw = 2, kUs = 4, kA = 0x20, kD = 0x40, kPs = 0x80, kNx = bit(63);
constexpr uint64_t kPml4 = 0x1000, kPdpt = 0x2000, kPd = 0x3000, kPt = 0x4000;

class PagingTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(memory_.add_ram(0, MiB, "ram"));
    state_.cr0 = cr0::kPg | cr0::kPe | cr0::kWp;
    state_.cr4 = cr4::kPae;
    state_.efer = efer::kLme | efer::kLma | efer::kNxe;
    state_.cr3 = kPml4;
    put(kPml4, kPdpt | kP | kRw | kUs);
    put(kPdpt, kPd | kP | kRw | kUs);
    put(kPd, kPt | kP | kRw | kUs);
  }
  void put(uint64_t at, uint64_t value) { ASSERT_TRUE(memory_.store<uint64_t>(at, value)); }
  uint64_t get(uint64_t at) { return *memory_.load<uint64_t>(at); }
  WalkStatus go(uint64_t linear, PageAccess access) {
    return walk(memory_, state_, 40, linear, access, translation_, error_);
  }
  static PageAccess user(bool write = false, bool fetch = false) { return {write, fetch, true, false}; }
  static PageAccess supervisor(bool write = false, bool fetch = false) { return {write, fetch, false, false}; }

  memory::GuestMemory memory_;
  CpuState state_;
  Translation translation_;
  uint32_t error_ = 0;
};

TEST_F(PagingTest, ReadsSetAccessedAndWritesDirty) {
  put(kPt + 8, 0x7000 | kP | kRw | kUs);
  ASSERT_EQ(go(0x1234, user()), WalkStatus::kOk);
  EXPECT_EQ(translation_.gpa, 0x7234u);
  EXPECT_FALSE(translation_.writable) << "a write must walk again to set the dirty flag";
  EXPECT_EQ(get(kPt + 8) & (kA | kD), kA);
  EXPECT_EQ(get(kPml4) & (kA | kD), kA);
  ASSERT_EQ(go(0x1234, user(true)), WalkStatus::kOk);
  EXPECT_TRUE(translation_.writable);
  EXPECT_EQ(get(kPt + 8) & (kA | kD), kA | kD);
}

TEST_F(PagingTest, FaultsLeaveTheFlagsOfTheLeafAlone) {
  put(kPt + 8, 0x7000 | kP | kUs);
  ASSERT_EQ(go(0x1000, user(true)), WalkStatus::kPageFault);
  EXPECT_EQ(error_, pf::kPresent | pf::kWrite | pf::kUser);
  EXPECT_EQ(get(kPt + 8) & (kA | kD), 0u);
}

TEST_F(PagingTest, ErrorCodesSayWhy) {
  ASSERT_EQ(go(0x2000, user()), WalkStatus::kPageFault);
  EXPECT_EQ(error_, pf::kUser);
  put(kPt + 16, 0x7000 | kP | kRw | kUs | kNx);
  ASSERT_EQ(go(0x2000, user(false, true)), WalkStatus::kPageFault);
  EXPECT_EQ(error_, pf::kPresent | pf::kUser | pf::kFetch);
  put(kPt + 24, 0x7000 | kP | kRw);
  ASSERT_EQ(go(0x3000, user()), WalkStatus::kPageFault);
  EXPECT_EQ(error_, pf::kPresent | pf::kUser);
  put(kPt + 32, (bit(45) | 0x7000) | kP);
  ASSERT_EQ(go(0x4000, supervisor()), WalkStatus::kPageFault);
  EXPECT_EQ(error_, pf::kPresent | pf::kReserved);
}

TEST_F(PagingTest, NxIsReservedWithoutNxe) {
  state_.efer &= ~efer::kNxe;
  put(kPt + 8, 0x7000 | kP | kNx);
  ASSERT_EQ(go(0x1000, supervisor()), WalkStatus::kPageFault);
  EXPECT_EQ(error_, pf::kPresent | pf::kReserved);
}

TEST_F(PagingTest, WpDecidesSupervisorWrites) {
  put(kPt + 8, 0x7000 | kP);
  EXPECT_EQ(go(0x1000, supervisor(true)), WalkStatus::kPageFault);
  state_.cr0 &= ~cr0::kWp;
  EXPECT_EQ(go(0x1000, supervisor(true)), WalkStatus::kOk);
}

TEST_F(PagingTest, SmepAndSmapKeepTheSupervisorOffUserPages) {
  put(kPt + 8, 0x7000 | kP | kUs | kRw);
  EXPECT_EQ(go(0x1000, supervisor(false, true)), WalkStatus::kOk);
  state_.cr4 |= cr4::kSmep;
  EXPECT_EQ(go(0x1000, supervisor(false, true)), WalkStatus::kPageFault);
  PageAccess smap = supervisor();
  smap.smap = true;
  EXPECT_EQ(go(0x1000, smap), WalkStatus::kPageFault);
  EXPECT_EQ(error_, pf::kPresent);
}

TEST_F(PagingTest, LargePagesOfAllSizes) {
  put(kPd + 8, 0x00000000 | kP | kRw | kPs);  // 2 MiB at 2 MiB
  ASSERT_EQ(go(2 * MiB + 0x12345, supervisor()), WalkStatus::kOk);
  EXPECT_EQ(translation_.gpa, 0x12345u);
  put(kPd + 16, 0x00002000 | kP | kRw | kPs);  // bit 13 is reserved
  EXPECT_EQ(go(4 * MiB, supervisor()), WalkStatus::kPageFault);
  put(kPdpt + 8, 0x40000000 | kP | kRw | kPs);  // 1 GiB at 1 GiB
  ASSERT_EQ(go(GiB + 0x1234567, supervisor()), WalkStatus::kOk);
  EXPECT_EQ(translation_.gpa, GiB + 0x1234567);
}

TEST_F(PagingTest, ThirtyTwoBitPagingWithFourMegabytePages) {
  state_.efer = 0;
  state_.cr4 = cr4::kPse;
  state_.cr3 = 0x10000;
  // 4 MiB at 4 MiB; bit 13 of the entry is address bit 32 (PSE-36).
  ASSERT_TRUE(memory_.store<uint32_t>(0x10004, static_cast<uint32_t>(0x00800000 | bit(13) | kP | kRw | kPs)));
  ASSERT_EQ(go(4 * MiB + 0x321, supervisor(true)), WalkStatus::kOk);
  EXPECT_EQ(translation_.gpa, bit(32) + 0x00800321);
  // A table of 4 KiB pages.
  ASSERT_TRUE(memory_.store<uint32_t>(0x10000, 0x11000 | kP | kRw | kUs));
  ASSERT_TRUE(memory_.store<uint32_t>(0x11004, 0x9000 | kP | kUs));
  ASSERT_EQ(go(0x1abc, user()), WalkStatus::kOk);
  EXPECT_EQ(translation_.gpa, 0x9abcu);
}

TEST_F(PagingTest, PaePagingUsesTheLoadedPdptes) {
  state_.efer = efer::kNxe;
  state_.cr3 = 0x10000;
  put(0x10008, kPd | kP);
  ASSERT_TRUE(load_pdptes(memory_, memory::View::kOrdinary, state_.cr3, 40, state_.pdpte));
  put(kPt + 8, 0x7000 | kP | kRw);
  ASSERT_EQ(go(GiB + 0x1000, supervisor()), WalkStatus::kOk);
  EXPECT_EQ(translation_.gpa, 0x7000u);
  put(0x10008, kPd | kP | kRw);  // reserved in a PDPTE
  EXPECT_FALSE(load_pdptes(memory_, memory::View::kOrdinary, state_.cr3, 40, state_.pdpte));
}

TEST_F(PagingTest, ProbeSeesTheSameAndTouchesNothing) {
  put(kPt + 8, 0x7000 | kP | kRw);
  uint64_t gpa = 0;
  ASSERT_TRUE(probe(memory_, state_, 0x1234, gpa));
  EXPECT_EQ(gpa, 0x7234u);
  EXPECT_EQ(get(kPt + 8) & kA, 0u);
  EXPECT_FALSE(probe(memory_, state_, 0x2000, gpa));
}

TEST_F(PagingTest, TablesOutsideOfMemoryAreNotPresent) {
  state_.cr3 = bit(36);
  EXPECT_EQ(go(0, supervisor()), WalkStatus::kPageFault);
}

}  // namespace
}  // namespace skerry::x86
