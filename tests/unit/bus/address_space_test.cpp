#include "bus/address_space.hpp"

#include <gtest/gtest.h>

namespace skerry::bus {
namespace {

struct Recorder : IoHandler {
  explicit Recorder(unsigned widest = 8) : widest_(widest) {}
  uint64_t io_read(uint64_t offset, unsigned size) override {
    accesses.push_back({offset, size});
    return 0x1122334455667788 >> (8 * offset);
  }
  void io_write(uint64_t offset, unsigned size, uint64_t value) override {
    accesses.push_back({offset, size});
    written = value;
  }
  unsigned widest_access() const override { return widest_; }
  std::vector<std::pair<uint64_t, unsigned>> accesses;
  uint64_t written = 0;
  unsigned widest_;
};

TEST(AddressSpace, AccessesReachTheirDeviceWithItsOffset) {
  AddressSpace space("port");
  Recorder device;
  ASSERT_TRUE(space.add(0x60, 4, device, "device"));
  space.write(0x62, 2, 0xabcd);
  EXPECT_EQ(device.accesses, (std::vector<std::pair<uint64_t, unsigned>>{{2, 2}}));
  EXPECT_EQ(device.written, 0xabcdu);
}

TEST(AddressSpace, WideAccessesAreSplitForNarrowDevices) {
  AddressSpace space("port");
  Recorder device(1);
  ASSERT_TRUE(space.add(0, 8, device, "device"));
  EXPECT_EQ(space.read(0, 4), 0x55667788u);
  EXPECT_EQ(device.accesses.size(), 4u);
}

TEST(AddressSpace, AccessesOverTheEndOfARangeAreSplit) {
  AddressSpace space("memory");
  Recorder first, second;
  ASSERT_TRUE(space.add(0, 2, first, "first"));
  ASSERT_TRUE(space.add(2, 8, second, "second"));
  EXPECT_EQ(space.read(0, 4), 0x77887788u);
}

TEST(AddressSpace, NothingReadsAsOnes) {
  AddressSpace space("port");
  EXPECT_EQ(space.read(0x1234, 4), 0xffffffffu);
  space.write(0x1234, 4, 0);
}

TEST(AddressSpace, OverlapsAreRefused) {
  AddressSpace space("port");
  Recorder device;
  ASSERT_TRUE(space.add(0x100, 8, device, "one"));
  EXPECT_FALSE(space.add(0x107, 2, device, "two"));
  EXPECT_FALSE(space.add(0xff, 2, device, "three"));
  EXPECT_TRUE(space.add(0x108, 2, device, "four"));
}

struct Ringer final : Recorder {
  std::span<const Doorbell> doorbells() const override { return bells; }
  std::vector<Doorbell> bells{{0x10, 2, std::nullopt, 7}, {0x10, 4, 3, 8}};
};

struct Listener final : DoorbellListener {
  void place_doorbells(std::span<const Doorbell> doorbells) override { placed.assign(doorbells.begin(), doorbells.end()); }
  std::vector<Doorbell> placed;
};

TEST(AddressSpace, TellsWhereTheDoorbellsAreWheneverTheyMove) {
  AddressSpace space("memory");
  Ringer ringer;
  Recorder silent;
  Listener listener;
  space.set_doorbell_listener(&listener);
  EXPECT_TRUE(listener.placed.empty());
  space.replace_movable(std::array{AddressSpace::Movable{0x1000, 0x100, &ringer}, AddressSpace::Movable{0x2000, 0x100, &silent}});
  EXPECT_EQ(listener.placed, (std::vector<Doorbell>{{0x1010, 2, std::nullopt, 7}, {0x1010, 4, 3, 8}}));
  space.replace_movable(std::array{AddressSpace::Movable{0x3000, 0x100, &ringer}});
  EXPECT_EQ(listener.placed[0].offset, 0x3010u);
  Listener late;
  space.set_doorbell_listener(&late);
  EXPECT_EQ(late.placed.size(), 2u);
  space.replace_movable({});
  EXPECT_TRUE(late.placed.empty());
}

TEST(AddressSpace, WhatIsNotClaimedIsLookedForInTheOneBehind) {
  AddressSpace behind("memory"), space("memory in SMM", &behind);
  Recorder front, back;
  ASSERT_TRUE(behind.add(0x1000, 0x2000, back, "back"));
  ASSERT_TRUE(space.add(0x1800, 0x100, front, "front"));
  space.write(0x1800, 4, 1);
  EXPECT_EQ(front.accesses.size(), 1u);
  EXPECT_TRUE(back.accesses.empty());
  space.write(0x1000, 4, 2);
  space.write(0x1900, 4, 3);
  EXPECT_EQ(back.accesses.size(), 2u);
  behind.write(0x1800, 4, 4);
  EXPECT_EQ(front.accesses.size(), 1u);
  EXPECT_EQ(back.accesses.size(), 3u);
  EXPECT_EQ(space.read(0x4000, 4), 0xffffffffu);
  front.accesses.clear();
  back.accesses.clear();
  space.write(0x18fe, 4, 0x44332211);  // over the end: the rest goes on behind, by the byte
  EXPECT_EQ(front.accesses, (std::vector<std::pair<uint64_t, unsigned>>{{0xfe, 2}}));
  EXPECT_EQ(back.accesses, (std::vector<std::pair<uint64_t, unsigned>>{{0x900, 1}, {0x901, 1}}));
}

}  // namespace
}  // namespace skerry::bus
