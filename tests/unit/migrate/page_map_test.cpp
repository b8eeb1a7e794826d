#include "migrate/page_map.hpp"

#include <gtest/gtest.h>

#include <random>

namespace skerry::migrate {
namespace {

std::vector<SavedRegion> example() {
  memory::GuestMemory memory;
  EXPECT_TRUE(memory.add_ram(0, 640 * KiB, "low"));
  EXPECT_TRUE(memory.add_ram(1 * MiB, 5 * MiB, "ram"));
  EXPECT_TRUE(memory.add_rom(16 * MiB, std::vector<uint8_t>(100), "rom"));
  auto regions = regions_of(memory);
  regions[0].chunks[0] = {true, 0xffffffff};
  regions[1].chunks[2] = {true, 0};
  return regions;
}

TEST(PageMap, ComesBackAsItWas) {
  const auto regions = example();
  const auto decoded = decode(encode(regions), total_size(regions));
  ASSERT_TRUE(decoded) << decoded.error().message();
  ASSERT_EQ(decoded->size(), 3u);
  for (size_t i = 0; i < regions.size(); ++i) {
    EXPECT_EQ((*decoded)[i].base, regions[i].base);
    EXPECT_EQ((*decoded)[i].size, regions[i].size);
    EXPECT_EQ((*decoded)[i].offset, regions[i].offset);
    EXPECT_EQ((*decoded)[i].writable, regions[i].writable);
    EXPECT_EQ((*decoded)[i].name, regions[i].name);
    EXPECT_EQ((*decoded)[i].chunks, regions[i].chunks);
  }
  EXPECT_EQ(regions[1].chunk_size(1), kChunk);
  EXPECT_EQ(regions[1].chunk_size(2), 1 * MiB);
}

TEST(PageMap, CutShortIsRefused) {
  const auto regions = example();
  const auto bytes = encode(regions);
  for (size_t size = 0; size < bytes.size(); ++size)
    EXPECT_FALSE(decode(std::span(bytes).first(size), total_size(regions))) << size;
}

TEST(PageMap, OfAnotherAmountOfMemoryIsRefused) {
  const auto regions = example();
  EXPECT_FALSE(decode(encode(regions), total_size(regions) + 4096));
  EXPECT_FALSE(decode(encode(regions), 0));
}

// What is accepted is what encode() would have written of it, but for names.
TEST(PageMap, ChangedBytesAreRefusedOrMeanWhatTheySay) {
  const auto regions = example();
  const auto original = encode(regions);
  std::mt19937_64 random(7);
  for (int round = 0; round < 20'000; ++round) {
    auto bytes = original;
    for (uint64_t n = random() % 3 + 1; n > 0; --n) bytes[random() % bytes.size()] = static_cast<std::byte>(random());
    const auto decoded = decode(bytes, total_size(regions));
    if (decoded) {
      EXPECT_EQ(encode(*decoded).size(), bytes.size());
    }
  }
}

}  // namespace
}  // namespace skerry::migrate
