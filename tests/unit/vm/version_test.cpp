#include "vm/version.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <sstream>

namespace skerry::vm {
namespace {

TEST(Version, IsTheOneOfTheBuild) {
  const auto root = std::filesystem::path(__FILE__).parent_path().parent_path().parent_path().parent_path();
  std::stringstream text;
  text << std::ifstream(root / "CMakeLists.txt").rdbuf();
  EXPECT_NE(text.str().find(fmt::format("VERSION {}.{}.{}", kVersionMajor, kVersionMinor, kVersionMicro)),
            std::string::npos);
}

}  // namespace
}  // namespace skerry::vm
