#include "doctor/run_program.hpp"

#include <gtest/gtest.h>
#include <signal.h>

#include <chrono>
#include <cstdlib>

namespace skerry::doctor {
namespace {

using Clock = std::chrono::steady_clock;

TEST(RunProgram, OutputErrorsAndStatus) {
  const auto done = run_program({"/bin/sh", "-c", "echo out; echo err >&2; exit 3"}, 20'000);
  ASSERT_TRUE(done) << done.error().message();
  EXPECT_EQ(done->output, "out\n");
  EXPECT_EQ(done->errors, "err\n");
  EXPECT_EQ(done->exit_status, 3);
  EXPECT_FALSE(done->cut);
}

TEST(RunProgram, HasNothingOfThisProgramsEnvironmentAndInput) {
  ::setenv("LD_SECRET", "1", 1);
  const auto done = run_program({"/bin/sh", "-c", "/usr/bin/env; cat"}, 20'000);
  ASSERT_TRUE(done) << done.error().message();
  EXPECT_EQ(done->output.find("LD_SECRET"), std::string::npos);
  EXPECT_NE(done->output.find("PATH=/usr/sbin:/usr/bin:/sbin:/bin\n"), std::string::npos);
  ::unsetenv("LD_SECRET");
}

TEST(RunProgram, WhereSigchldIsIgnored) {
  ::signal(SIGCHLD, SIG_IGN);
  const auto done = run_program({"/bin/sh", "-c", "exit 7"}, 20'000);
  EXPECT_EQ(::signal(SIGCHLD, SIG_DFL), SIG_IGN);
  ASSERT_TRUE(done) << done.error().message();
  EXPECT_EQ(done->exit_status, 7);
}

TEST(RunProgram, OneThatCannotBeStartedIsAFailure) {
  const auto done = run_program({"/nowhere/tool"}, 20'000);
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().message(), "cannot run '/nowhere/tool': No such file or directory");
}

TEST(RunProgram, OneThatDoesNotEndIsEnded) {
  const auto start = Clock::now();
  for (const char* script : {"exec sleep 600", "exec >&- 2>&-; exec sleep 600"}) {
    const auto done = run_program({"/bin/sh", "-c", script}, 200);
    ASSERT_FALSE(done) << script;
    EXPECT_EQ(done.error().message(), "'/bin/sh' did not end within 200 ms and was ended");
  }
  EXPECT_LT(Clock::now() - start, std::chrono::seconds(60));
}

TEST(RunProgram, WhoKeepsTheOutputOfOneThatHasEndedIsNotWaitedFor) {
  const auto start = Clock::now();
  const auto done = run_program({"/bin/sh", "-c", "sleep 60 & echo $!; exit 0"}, 2000);
  EXPECT_LT(Clock::now() - start, std::chrono::seconds(50));
  ASSERT_TRUE(done) << done.error().message();
  ::kill(std::stoi(done->output), SIGKILL);
}

TEST(RunProgram, OneThatPrintsWithoutEndIsCut) {
  const auto done = run_program({"/bin/sh", "-c", "exec cat /dev/zero"}, 60'000);
  ASSERT_TRUE(done) << done.error().message();
  EXPECT_TRUE(done->cut);
  EXPECT_EQ(done->output.size(), kMaxProgramOutput);
}

TEST(RunProgram, OneThatIsEndedByASignalIsAFailure) {
  const auto done = run_program({"/bin/sh", "-c", "kill -SEGV $$"}, 20'000);
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().message(), "'/bin/sh' was ended by SIGSEGV");
}

}  // namespace
}  // namespace skerry::doctor
