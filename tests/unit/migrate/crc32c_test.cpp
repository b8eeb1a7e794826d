#include "migrate/crc32c.hpp"

#include <gtest/gtest.h>

#include <random>
#include <string_view>
#include <vector>

namespace skerry::migrate {
namespace {

std::span<const std::byte> bytes_of(std::string_view text) { return std::as_bytes(std::span(text)); }

// RFC 3720, appendix B.4, and the check value of the CRC catalogue.
TEST(Crc32c, HasTheValuesOfItsSpecification) {
  EXPECT_EQ(crc32c(0, bytes_of("123456789")), 0xe3069283u);
  EXPECT_EQ(crc32c(0, bytes_of(std::string(32, '\0'))), 0x8a9136aau);
  EXPECT_EQ(crc32c(0, bytes_of(std::string(32, '\xff'))), 0x62a8ab43u);
  EXPECT_EQ(crc32c(0, {}), 0u);
}

TEST(Crc32c, IsTheSameByInstructionByTableAndInPieces) {
  std::mt19937_64 random(1);
  for (size_t size = 0; size < 200; ++size) {
    std::vector<std::byte> data(size);
    for (std::byte& byte : data) byte = static_cast<std::byte>(random());
    const uint32_t whole = crc32c(0, data);
    EXPECT_EQ(whole, crc32c_portable(0, data)) << size;
    const size_t cut = size ? random() % size : 0;
    EXPECT_EQ(whole, crc32c(crc32c(0, std::span(data).first(cut)), std::span(data).subspan(cut))) << size;
  }
}

TEST(Crc32c, OfZeroesNeedsNone) {
  for (const size_t size : {0, 1, 4095, 4096, 10'000}) {
    const std::vector<std::byte> zeros(size);
    EXPECT_EQ(crc32c_zeros(5, size), crc32c(5, zeros));
  }
}

}  // namespace
}  // namespace skerry::migrate
