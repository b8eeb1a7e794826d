#include "base/units.hpp"

#include <gtest/gtest.h>

namespace skerry {
namespace {

TEST(Units, SizesAreReadAsPeopleWriteThem) {
  EXPECT_EQ(*parse_size("512M"), 512 * MiB);
  EXPECT_EQ(*parse_size("2G"), 2 * GiB);
  EXPECT_EQ(*parse_size("2GiB"), 2 * GiB);
  EXPECT_EQ(*parse_size("64k"), 64 * KiB);
  EXPECT_EQ(*parse_size("4096"), 4096u);
  EXPECT_EQ(*parse_size("0x1000"), 4096u);
}

TEST(Units, WhatIsNoSizeIsRefused) {
  for (const char* text : {"", "M", "-1", "1.5G", "12Q", "99999999999999999999", "16777216T", "4 G", "0x", "G2"})
    EXPECT_FALSE(parse_size(text)) << text;
}

TEST(Units, SizesAreShownInTheLargestWholeUnit) {
  EXPECT_EQ(format_size(2 * GiB), "2 GiB");
  EXPECT_EQ(format_size(1536 * MiB), "1536 MiB");
  EXPECT_EQ(format_size(4 * KiB), "4 KiB");
  EXPECT_EQ(format_size(1000), "1000 bytes");
}

TEST(Units, BitsAreNumberedAsTheManualsDo) {
  EXPECT_EQ(bits(0xabcd, 15, 8), 0xabu);
  EXPECT_EQ(bits(~uint64_t{0}, 63, 0), ~uint64_t{0});
  EXPECT_EQ(align_up(4097, 4096), 8192u);
  EXPECT_EQ(align_down(4097, 4096), 4096u);
}

}  // namespace
}  // namespace skerry
