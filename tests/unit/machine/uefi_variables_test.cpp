#include "machine/uefi_variables.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>

#include "base/units.hpp"

namespace skerry::machine {
namespace {

using ::testing::HasSubstr;

class UefiVariablesTest : public ::testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/skerry-variables-XXXXXX";
    ASSERT_NE(::mkdtemp(name), nullptr);
    folder_ = name;
    first_ = make("first.fd", 8 * KiB, 'a');
    path_ = folder_ / "vm.fd";
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  std::string make(const std::string& name, size_t size, char filled_with) {
    const auto path = folder_ / name;
    std::ofstream(path, std::ios::binary) << std::string(size, filled_with);
    return path;
  }
  static std::string text(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  std::filesystem::path folder_;
  std::string first_, path_;
};

constexpr std::array<std::byte, 3> kBytes = {std::byte{'x'}, std::byte{'y'}, std::byte{'z'}};

TEST_F(UefiVariablesTest, AreMadeAndKept) {
  {
    auto variables = UefiVariables::open(path_, first_);
    ASSERT_TRUE(variables) << variables.error().message();
    EXPECT_EQ(variables->content().size(), 8 * KiB);
    EXPECT_EQ(text(path_), text(first_));
    EXPECT_EQ(std::filesystem::status(path_).permissions(), std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
    EXPECT_TRUE(variables->store(5000, kBytes));
  }
  const auto again = UefiVariables::open(path_, first_);
  ASSERT_TRUE(again) << again.error().message();
  EXPECT_EQ(again->content()[4999], 'a');
  EXPECT_EQ(again->content()[5000], 'x');
  EXPECT_EQ(again->content()[5002], 'z');
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder_), {}), 2) << "nothing else is left in the folder";
}

TEST_F(UefiVariablesTest, WithoutAFileAreKeptNowhere) {
  auto variables = UefiVariables::open("", first_);
  ASSERT_TRUE(variables);
  EXPECT_TRUE(variables->store(0, kBytes));
  EXPECT_EQ(text(first_), std::string(8 * KiB, 'a'));
}

TEST_F(UefiVariablesTest, OfOneVmAreNoOthers) {
  const auto one = UefiVariables::open(path_, first_);
  ASSERT_TRUE(one);
  const auto other = UefiVariables::open(path_, first_);
  ASSERT_FALSE(other);
  EXPECT_THAT(other.error().message(), HasSubstr("vm.fd"));
}

TEST_F(UefiVariablesTest, WhatIsNoneIsRefusedAndLeftAlone) {
  const auto refused = [&](size_t size) {
    const std::string path = make("odd.fd", size, 'q');
    const auto variables = UefiVariables::open(path, first_);
    EXPECT_EQ(text(path), std::string(size, 'q'));
    return variables ? "" : variables.error().message();
  };
  EXPECT_THAT(refused(4 * KiB), HasSubstr("another firmware"));
  EXPECT_THAT(refused(4 * KiB + 1), HasSubstr("multiple of"));
  EXPECT_THAT(refused(8 * MiB), HasSubstr("multiple of"));
  EXPECT_THAT(refused(0), HasSubstr("is empty"));
}

TEST_F(UefiVariablesTest, APipeIsRefusedAndNotWaitedFor) {
  ASSERT_EQ(::mkfifo(path_.c_str(), 0600), 0);
  const auto variables = UefiVariables::open(path_, first_);
  ASSERT_FALSE(variables);
  EXPECT_THAT(variables.error().message(), HasSubstr("vm.fd': is not a regular file"));
}

TEST_F(UefiVariablesTest, OfAnotherFirmwareHaveToBeThere) {
  const auto variables = UefiVariables::open(path_, "");
  ASSERT_FALSE(variables);
  EXPECT_THAT(variables.error().message(), HasSubstr("copy the file that came with the firmware"));
  EXPECT_FALSE(std::filesystem::exists(path_));
}

}  // namespace
}  // namespace skerry::machine
