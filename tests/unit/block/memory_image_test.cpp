#include "block/memory_image.hpp"

#include <gtest/gtest.h>

#include <array>
#include <cerrno>
#include <numeric>
#include <random>

namespace skerry::block {
namespace {

// The result of a task that ends without waiting.
Errno result_of(Task<Errno> task) {
  Errno result = -1;
  spawn([](Task<Errno> inner, Errno& to) -> Task<void> { to = co_await inner; }(std::move(task), result));
  return result;
}

std::vector<uint8_t> counting(size_t size) {
  std::vector<uint8_t> bytes(size);
  std::iota(bytes.begin(), bytes.end(), uint8_t{0});
  return bytes;
}

TEST(MemoryImage, ReadsIntoScatteredBuffers) {
  MemoryImage image(counting(100));
  std::array<uint8_t, 3> first{};
  std::array<uint8_t, 5> second{};
  const iovec buffers[] = {{first.data(), first.size()}, {nullptr, 0}, {second.data(), second.size()}};
  EXPECT_EQ(result_of(image.read(10, buffers)), 0);
  EXPECT_EQ(first, (std::array<uint8_t, 3>{10, 11, 12}));
  EXPECT_EQ(second, (std::array<uint8_t, 5>{13, 14, 15, 16, 17}));
}

TEST(MemoryImage, ReadsUpToItsEndAndNotBeyondIt) {
  MemoryImage image(counting(100));
  std::array<uint8_t, 8> buffer{};
  const iovec all[] = {{buffer.data(), 8}};
  EXPECT_EQ(result_of(image.read(92, all)), 0);
  EXPECT_EQ(buffer[7], 99);
  buffer.fill(0xee);
  for (const uint64_t offset : {uint64_t{93}, uint64_t{100}, uint64_t{101}, ~uint64_t{0}, ~uint64_t{0} - 7})
    EXPECT_EQ(result_of(image.read(offset, all)), EINVAL) << offset;
  const iovec too_long[] = {{buffer.data(), 8}, {buffer.data(), SIZE_MAX}};
  EXPECT_EQ(result_of(image.read(0, too_long)), EINVAL);
  EXPECT_EQ(buffer[0], 0xee) << "nothing is copied of a request that is refused";
  EXPECT_EQ(result_of(image.read(100, {})), 0);
}

TEST(MemoryImage, CannotBeChanged) {
  MemoryImage image(counting(16));
  std::array<uint8_t, 4> buffer{};
  const iovec one[] = {{buffer.data(), 4}};
  EXPECT_TRUE(image.read_only());
  EXPECT_EQ(image.size(), 16u);
  EXPECT_EQ(result_of(image.write(0, one, false)), EPERM);
  EXPECT_EQ(result_of(image.discard(0, 4)), EPERM);
  EXPECT_EQ(result_of(image.write_zeroes(0, 4, true)), EPERM);
  EXPECT_EQ(result_of(image.flush()), 0);
  EXPECT_EQ(result_of(image.read(0, one)), 0);
  EXPECT_EQ(buffer[3], 3);
}

}  // namespace
}  // namespace skerry::block
