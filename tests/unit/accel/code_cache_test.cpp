#include "accel/bt/code_cache.hpp"

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <cstring>
#include <vector>

namespace skerry::accel::bt::test {
namespace {

constexpr size_t kPage = 4096, kPages = 64;

size_t resident(const CodeCache& cache) {
  std::vector<unsigned char> pages(kPages);
  EXPECT_EQ(::mincore(cache.writable(), kPages * kPage, pages.data()), 0);
  size_t count = 0;
  for (const unsigned char page : pages) count += page & 1;
  return count;
}

TEST(CodeCache, IsSeenAtBothOfItsPlaces) {
  const auto cache = *CodeCache::create(kPages * kPage);
  std::strcpy(reinterpret_cast<char*>(cache->writable() + 5000), "code");
  EXPECT_STREQ(reinterpret_cast<const char*>(cache->executable(cache->writable() + 5000)), "code");
  EXPECT_TRUE(cache->contains(cache->executable(cache->writable())));
  EXPECT_FALSE(cache->contains(cache->writable()));
}

TEST(CodeCache, GivesBackWholePagesOfARange) {
  const auto cache = *CodeCache::create(kPages * kPage);
  std::memset(cache->writable(), 0xcc, kPages * kPage);
  EXPECT_EQ(resident(*cache), kPages);
  cache->give_back(3 * kPage + 1, kPages * kPage);
  EXPECT_EQ(resident(*cache), 4u);
  EXPECT_EQ(*cache->executable(cache->writable() + 4 * kPage - 1), 0xcc);
  EXPECT_EQ(*cache->executable(cache->writable() + 4 * kPage), 0);
  cache->writable()[9 * kPage] = 0x90;  // it can be used again
  EXPECT_EQ(*cache->executable(cache->writable() + 9 * kPage), 0x90);
  cache->give_back(kPages * kPage, kPages * kPage);
  cache->give_back(9 * kPage + 1, 11 * kPage);
  cache->give_back(8 * kPage, 10 * kPage - 1);
  EXPECT_EQ(*cache->executable(cache->writable() + 9 * kPage), 0x90) << "part of a page is in use";
}

}  // namespace
}  // namespace skerry::accel::bt::test
