#include "base/program_pages.hpp"

#include <gtest/gtest.h>

#include <fstream>
#include <string>

namespace skerry {
namespace {

// KiB of this process's memory that come from files.
size_t from_files() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    if (line.starts_with("RssFile:")) return std::stoul(line.substr(8));
  return 0;
}

int written = 1;  // in a segment that can be written

TEST(ProgramPages, AreGivenBackAndComeBack) {
  written = 2;
  const size_t before = from_files();
  ASSERT_NE(before, 0u);
  give_back_program_pages();
  EXPECT_LT(from_files(), before);
  EXPECT_EQ(written, 2);
}

}  // namespace
}  // namespace skerry
