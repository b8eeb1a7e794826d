#include "vm/sandbox.hpp"

#include <gtest/gtest.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <thread>

#include "base/log.hpp"
#include "vm/exit_status.hpp"

namespace skerry::vm {
namespace {

// In a process of its own: closes the sandbox, does `work`, ends with 0.
template <typename Work>
[[noreturn]] void in_sandbox(Work work) {
  auto closed = drop_rights();
  if (closed) closed = install_syscall_filter();
  if (!closed) {
    log::failure("{}", closed.error().message());
    ::_exit(1);
  }
  work();
  ::_exit(0);
}

TEST(Sandbox, LetsTheVmDoItsWork) {
  EXPECT_EXIT(in_sandbox([] {
                std::vector<char> memory(32 << 20);
                memory[0] = 1;
                log::info("alive");
              }),
              ::testing::ExitedWithCode(0), "alive");
}

TEST(Sandbox, AForbiddenCallEndsTheProcessAndIsNamed) {
  EXPECT_EXIT(in_sandbox([] { (void)::socket(AF_INET, SOCK_STREAM, 0); }), ::testing::ExitedWithCode(kExitInternal),
              "system call 41 is not allowed");
  EXPECT_EXIT(in_sandbox([] { ::execl("/bin/true", "true", nullptr); }), ::testing::ExitedWithCode(kExitInternal),
              "system call 59 is not allowed");
}

TEST(Sandbox, HoldsForThreadsThatWereThereBefore) {
  const auto work = [] {
    std::atomic<bool> closed{false};
    std::thread thread([&] {
      while (!closed) std::this_thread::yield();
      (void)::socket(AF_INET, SOCK_STREAM, 0);
    });
    (void)drop_rights();
    (void)install_syscall_filter();
    closed = true;
    thread.join();
    ::_exit(0);
  };
  EXPECT_EXIT(work(), ::testing::ExitedWithCode(kExitInternal), "is not allowed");
}

#ifndef SKERRY_SANITIZED
TEST(Sandbox, OpensNoFileAndMakesNoMemoryExecutable) {
  EXPECT_EXIT(in_sandbox([] { (void)::open("/etc/passwd", 0); }), ::testing::ExitedWithCode(kExitInternal),
              "is not allowed");
  EXPECT_EXIT(in_sandbox([] {
                (void)::mmap(nullptr, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
              }),
              ::testing::ExitedWithCode(kExitInternal), "system call 9 is not allowed");
}
#endif

}  // namespace
}  // namespace skerry::vm
