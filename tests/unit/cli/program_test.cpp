#include "cli/program.hpp"

#include <CLI/CLI.hpp>
#include <gtest/gtest.h>

#include <array>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "cli/completion.hpp"
#include "cli/exit_status.hpp"
#include "cli/version.hpp"
#include "config/vm_config.hpp"

namespace skerry::cli {
namespace {

std::string read(const char* path) {
  const auto root = std::filesystem::path(__FILE__).parent_path().parent_path().parent_path().parent_path();
  std::stringstream text;
  text << std::ifstream(root / path).rdbuf();
  return text.str();
}

int run(std::vector<const char*> arguments) {
  arguments.insert(arguments.begin(), "skerry");
  return run_program(static_cast<int>(arguments.size()), arguments.data());
}

TEST(Program, WithoutArgumentsGreets) {
  ::testing::internal::CaptureStdout();
  EXPECT_EQ(run({}), kExitOk);
  EXPECT_NE(::testing::internal::GetCapturedStdout().find("skerry run"), std::string::npos);
}

TEST(Program, HelpAndVersionGoToStandardOutput) {
  ::testing::internal::CaptureStdout();
  EXPECT_EQ(run({"--version"}), kExitOk);
  EXPECT_EQ(::testing::internal::GetCapturedStdout(), std::string("skerry ") + kVersion + "\n");
  ::testing::internal::CaptureStdout();
  EXPECT_EQ(run({"run", "--help"}), kExitOk);
  const std::string help = ::testing::internal::GetCapturedStdout();
  EXPECT_NE(help.find("Examples:"), std::string::npos);
  for (const auto& [status, meaning] : kStatusMeanings) EXPECT_NE(help.find(meaning), std::string::npos) << status;
}

TEST(Program, WrongOptionsAreOneLineAndStatus2) {
  const std::vector<std::vector<const char*>> wrong = {
      {"run"}, {"fly"}, {"run", "--kernel"}, {"run", "--kernel", "k", "--wings"}, {"--wings"}, {"run", "--kernel", "k", "extra"},
      {"run", "--kernel", "k", "--cpus", "0"}, {"completion", "fish"},
      {"doctor", "--wings"}, {"doctor", "me"}};
  for (const auto& arguments : wrong) {
    ::testing::internal::CaptureStderr();
    EXPECT_EQ(run(arguments), kExitBadInput) << arguments[0];
    const std::string text = ::testing::internal::GetCapturedStderr();
    EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 1) << text;
    EXPECT_TRUE(text.starts_with("skerry: error: ")) << text;
  }
}

TEST(Program, VersionIsTheOneOfTheBuild) {
  EXPECT_NE(read("CMakeLists.txt").find(std::string("VERSION ") + kVersion), std::string::npos);
}

// roff writes '-' as '\-'.
std::string plain(std::string text) {
  for (size_t at; (at = text.find("\\-")) != text.npos;) text.erase(at, 1);
  return text;
}

TEST(ManualPage, HasEveryOptionWithItsValueAndEveryStatus) {
  Action action;
  const auto app = make_app(action);
  const std::string page = plain(read("docs/man/skerry-run.1"));
  for (const CLI::Option* option : app->get_subcommand("run")->get_options()) {
    for (const std::string& name : option->get_lnames()) {
      const std::string value = option->get_items_expected_max() > 0 ? " " + option->get_type_name() : "";
      const std::string heading = "\n.BR --" + name, with_value = "\n.BI --" + name + " \"" + value + "\"";
      EXPECT_TRUE(page.find(value.empty() ? heading : with_value) != page.npos) << "--" << name << value;
    }
  }
  for (const auto& [status, meaning] : kStatusMeanings) {
    EXPECT_NE(page.find("\n.B " + std::string(status) + "\n"), page.npos) << status;
    EXPECT_NE(page.find("\n" + plain(std::string(meaning)) + "\n"), page.npos) << meaning;
  }
  for (const std::string_view model : config::cpu_models()) EXPECT_NE(page.find(model), page.npos) << model;
}

TEST(ManualPage, OfTheDoctorHasItsOptionsStatusesAndExamples) {
  Action action;
  const auto app = make_app(action);
  const std::string page = plain(read("docs/man/skerry-doctor.1"));
  const CLI::App* doctor = app->get_subcommand("doctor");
  for (const CLI::Option* option : doctor->get_options())
    for (const std::string& name : option->get_lnames()) EXPECT_NE(page.find("\n.BR --" + name), page.npos) << name;
  // What the help says of the statuses and as examples stands in the page too.
  std::stringstream help(doctor->get_footer());
  bool told = false;
  for (std::string line; std::getline(help, line);) {
    told |= line == "Examples:";
    if (!told || !line.starts_with("  ")) continue;
    line.erase(0, 2);
    const bool status = line.size() > 5 && line.substr(1, 4) == "    ";
    EXPECT_NE(page.find(status ? "\n.B " + line.substr(0, 1) + "\n" + line.substr(5) + "\n" : "\n" + line + "\n"), page.npos) << line;
  }
  EXPECT_TRUE(told);
}

TEST(Completion, KnowsEveryOption) {
  Action action;
  const auto app = make_app(action);
  const std::string script = bash_completion(*app);
  for (const char* command : {"run", "save", "doctor"})
    for (const CLI::Option* option : app->get_subcommand(command)->get_options())
      for (const std::string& name : option->get_lnames()) EXPECT_NE(script.find("--" + name), script.npos);
}

// What bash offers for the last of these words.
std::string completed(const std::string& words) {
  Action action;
  const std::string path = fmt::format("{}skerry-completion-{}.bash", ::testing::TempDir(), ::getpid());
  std::ofstream(path) << bash_completion(*make_app(action))
                      << "COMP_WORDS=(" << words << "); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _skerry\n"
                      << "printf '%s ' \"${COMPREPLY[@]}\"\n";
  std::unique_ptr<FILE, int (*)(FILE*)> bash(::popen(("bash --norc '" + path + "'").c_str(), "r"), ::pclose);
  std::array<char, 4096> text{};
  return {text.data(), std::fread(text.data(), 1, text.size(), bash.get())};
}

TEST(Completion, CompletesSubcommandsOptionsAndTheirValues) {
  EXPECT_EQ(completed("skerry ru"), "run ");
  EXPECT_EQ(completed("skerry run --mem"), "--memory ");
  EXPECT_EQ(completed("skerry run --cpu x86-64-v2"), "x86-64-v2 ");
  EXPECT_EQ(completed("skerry run --accel int"), "interpreter ");
  EXPECT_EQ(completed("skerry completion ba"), "bash ");
  EXPECT_EQ(completed("skerry doctor --js"), "--json ");
}

}  // namespace
}  // namespace skerry::cli
