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

}  // namespace
}  // namespace skerry::bus
