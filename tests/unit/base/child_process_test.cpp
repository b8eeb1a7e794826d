#include "base/child_process.hpp"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.hpp"

namespace skerry {
namespace {

using testing::HasSubstr;
using testing::MatchesRegex;

struct Pipe {
  UniqueFd out, in;
  Pipe() {
    int fds[2];
    EXPECT_EQ(::pipe2(fds, O_CLOEXEC), 0);
    out = UniqueFd(fds[0]);
    in = UniqueFd(fds[1]);
  }
};

// What a shell says on descriptor 3; it has the end of another pipe, with "given" in it, as 4.
std::string said_by(const std::string& script, ChildRights rights = ChildRights::kOurs) {
  Pipe said, given;
  EXPECT_EQ(::write(given.in.get(), "given\n", 6), 6);
  const auto child = start_child("/bin/sh", {"-c", script}, {said.in.get(), given.out.get()}, rights);
  EXPECT_TRUE(child);
  said.in.reset();
  given.in.reset();
  std::string text;
  for (char byte; ::read(said.out.get(), &byte, 1) == 1;) text += byte;
  EXPECT_EQ(::waitpid(*child, nullptr, 0), *child);
  return text;
}

// The last of those that `ls` sees is the folder that it reads.
TEST(ChildProcess, HasTheDescriptorsThatItIsGivenAndNoOthers) {
  EXPECT_EQ(said_by("cat <&4 >&3; cat; echo said; ls /proc/self/fd | tr '\\n' ' ' >&3"), "given\n0 1 2 3 4 5 ");
}

TEST(ChildProcess, IsInAGroupOfItsOwn) { EXPECT_EQ(said_by("test $(cut -d' ' -f5 /proc/$$/stat) -eq $$ && echo own >&3"), "own\n"); }

TEST(ChildProcess, MayHaveNoRights) {
  const std::string status = said_by("grep -E '^(CapEff|CapPrm|NoNewPrivs)' /proc/self/status >&3", ChildRights::kNone);
  EXPECT_THAT(status, MatchesRegex("CapPrm:\t0+\nCapEff:\t0+\nNoNewPrivs:\t1\n"));
}

TEST(ChildProcess, OneThatCannotBeExecutedEnds) {
  const auto child = start_child("/nonexistent", {}, {});
  ASSERT_TRUE(child);
  int status = 0;
  ASSERT_EQ(::waitpid(*child, &status, 0), *child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 127);
}

TEST(ChildProcess, IsStopped) {
  const auto child = start_child("/bin/sleep", {"1000"}, {});
  ASSERT_TRUE(child);
  stop_child(*child);
  EXPECT_EQ(::kill(*child, 0), -1) << "it is gone, and has been waited for";
}

TEST(ChildProcess, ProgramsAreFoundAsByTheShell) {
  const auto found = find_program("sh");
  ASSERT_TRUE(found);
  EXPECT_THAT(*found, HasSubstr("/sh"));
  EXPECT_FALSE(find_program("no program has this name"));
}

}  // namespace
}  // namespace skerry
