#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "cli/doctor_report.hpp"
#include "cli/exit_status.hpp"
#include "cli/program.hpp"

namespace skerry::cli {
namespace {

using doctor::Check;
using nlohmann::json;
using ::testing::HasSubstr;
using ::testing::Not;

const std::vector<Check> kChecks = {
    {"a.one", "First", "one", doctor::fine("all well")},
    {"a.part", "First", "KVM_CAP_PART", doctor::fine("there"), true},
    {"b.two", "Second", "two", doctor::warning("it is slow", "type this")},
    {"b.part", "Second", "KVM_CAP_OTHER", doctor::warning("not there", "newer kernel"), true},
    {"b.three", "Second", "three", doctor::missing("there is none", "apt install it")},
};

TEST(DoctorText, AGroupALineAndWhatToDo) {
  EXPECT_EQ(doctor_text(kChecks, {}), R"(First
  ok       one            all well

Second
  warning  two            it is slow
                          to do: type this
  warning  KVM_CAP_OTHER  not there
                          to do: newer kernel
  missing  three          there is none
                          to do: apt install it

2 ok, 2 warnings, 1 missing: Skerry does not run here as it should
)");
}

TEST(DoctorText, DetailsThatAreOkOnlyWhenAskedFor) {
  EXPECT_THAT(doctor_text(kChecks, {true, false}), HasSubstr("\n  ok       KVM_CAP_PART   there\n"));
  const std::vector<Check> good(kChecks.begin(), kChecks.begin() + 2);
  EXPECT_THAT(doctor_text(good, {}), Not(HasSubstr("PART")));
  EXPECT_THAT(doctor_text(good, {}), HasSubstr("2 ok, 0 warnings, 0 missing: Skerry runs VMs here\n"));
  EXPECT_THAT(doctor_text({}, {}), HasSubstr("0 ok"));
}

TEST(DoctorText, ColoursDoNotMoveAnything) {
  std::string text = doctor_text(kChecks, {true, true});
  EXPECT_THAT(text, HasSubstr("\033[33mwarning\033[0m"));
  for (size_t from; (from = text.find('\033')) != text.npos;) text.erase(from, text.find('m', from) - from + 1);
  EXPECT_EQ(text, doctor_text(kChecks, {true, false}));
}

TEST(DoctorJson, IsWhatItIsSaidToBe) {
  const json all = json::parse(doctor_json(kChecks));
  EXPECT_EQ(all["version"], 1);
  EXPECT_EQ(all["summary"], (json{{"ok", 2}, {"warning", 2}, {"missing", 1}}));
  ASSERT_EQ(all["checks"].size(), kChecks.size());
  EXPECT_EQ(all["checks"][0],
            (json{{"id", "a.one"}, {"group", "First"}, {"title", "one"}, {"status", "ok"}, {"found", "all well"}}));
  EXPECT_EQ(all["checks"][4]["remedy"], "apt install it");
  EXPECT_EQ(all["checks"][4]["status"], "missing");
}

TEST(DoctorJson, WhateverBytesWereFound) {
  const json all = json::parse(doctor_json({{"a", "A", "a", doctor::fine("\xff\"\n\x01")}}));
  EXPECT_TRUE(all["checks"][0]["found"].is_string());
}

// On whatever host this is.
TEST(DoctorCommand, ItsStatusIsThatOfWhatItFound) {
  const char* const arguments[] = {"skerry", "doctor", "--json"};
  ::testing::internal::CaptureStdout();
  const int status = run_program(3, arguments);
  const json all = json::parse(::testing::internal::GetCapturedStdout(), nullptr, false);
  ASSERT_TRUE(all.is_object());
  EXPECT_GT(all["checks"].size(), 30u);
  EXPECT_EQ(status, all["summary"]["missing"] == 0 ? kExitOk : kExitDoctorMissing);
}

}  // namespace
}  // namespace skerry::cli
