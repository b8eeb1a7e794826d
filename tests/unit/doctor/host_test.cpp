#include "doctor/host.hpp"

#include <sys/stat.h>

#include "unit/doctor/fake_host.hpp"

namespace skerry::doctor {
namespace {

using HostTest = DoctorTest;

TEST_F(HostTest, ReadsNoMoreThanItsLimitOfAHugeFile) {
  put("/proc/huge", std::string(1 << 20, 'x'));
  const auto text = host().text("/proc/huge");
  ASSERT_TRUE(text);
  EXPECT_EQ(text->size(), Host::kMaxText);
  EXPECT_LE(host().line("/proc/huge")->size(), Host::kMaxLine + 3);
}

TEST_F(HostTest, WhatIsNoFileIsNotOpened) {
  folder("/proc/folder");
  EXPECT_FALSE(host().text("/proc/folder"));
  folder("/proc");
  ASSERT_EQ(::mkfifo((root_ + "/proc/pipe").c_str(), 0600), 0);
  EXPECT_EQ(host().text("/proc/pipe").error().message(), "'/proc/pipe' is no file");
}

TEST_F(HostTest, SaysWhyAFileCannotBeRead) {
  EXPECT_EQ(host().text("/proc/none").error().message(), "there is no '/proc/none'");
  EXPECT_EQ(host().text("/proc/meminfo/none").error().message(), "there is no '/proc/meminfo/none'");
  if (::geteuid() == 0) return;
  put("/proc/closed", "secret", 0);
  EXPECT_EQ(host().text("/proc/closed").error().message(), "'/proc/closed' may not be read by this user");
}

TEST_F(HostTest, PresenceTellsClosedFromAbsent) {
  EXPECT_EQ(host().presence("/proc/meminfo"), Presence::kThere);
  EXPECT_EQ(host().presence("/proc/none"), Presence::kAbsent);
  EXPECT_EQ(host().presence("/proc/meminfo/none"), Presence::kAbsent);
  if (::geteuid() == 0) return;
  folder("/closed/inner");
  ::chmod((root_ + "/closed").c_str(), 0);
  EXPECT_EQ(host().presence("/closed/inner"), Presence::kUnknown);
  ::chmod((root_ + "/closed").c_str(), 0700);
}

TEST_F(HostTest, NumbersAreNumbersOrNothing) {
  put("/n", " 42 \nmore\n");
  EXPECT_EQ(host().number("/n"), 42u);
  for (const char* text : {"", "\n", "-1", "4x", "max", "99999999999999999999999999", "\xff\xfe"}) {
    put("/n", text);
    EXPECT_FALSE(host().number("/n")) << text;
  }
}

TEST_F(HostTest, NamesAreSortedAndBounded) {
  for (const char* name : {"c", "a", "b"}) put(std::string("/many/") + name, "");
  EXPECT_EQ(host().names("/many"), (std::vector<std::string>{"a", "b", "c"}));
  EXPECT_TRUE(host().names("/none").empty());
  EXPECT_TRUE(host().names("/many/a").empty());
}

TEST_F(HostTest, ProgramsAreFilesThatMayBeRun) {
  put("/usr/bin/tool", "", 0755);
  EXPECT_EQ(host().program("tool"), "/usr/bin/tool");
  put("/usr/sbin/tool", "", 0644);  // root may not run it either
  EXPECT_EQ(host().program("tool"), "/usr/bin/tool");
  folder("/usr/sbin/other");
  EXPECT_FALSE(host().program("other"));
}

TEST(HostText, OnlyWhatATerminalMayBeSent) {
  EXPECT_EQ(printable("a\033[31mb\xc3\xa9\n"), "a?[31mb???");
  EXPECT_EQ(printable(std::string(500, 'x')).size(), Host::kMaxLine + 3);
  EXPECT_EQ(chosen_of("always [madvise] never"), "madvise");
  for (const char* odd : {"", "[", "]", "][", "none"}) EXPECT_EQ(chosen_of(odd), "") << odd;
  EXPECT_EQ(lines_of("a\n\nb").size(), 2u);
  EXPECT_TRUE(words_of(" \t ").empty());
}

}  // namespace
}  // namespace skerry::doctor
