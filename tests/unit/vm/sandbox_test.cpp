#include "vm/sandbox.hpp"

#include <gtest/gtest.h>
#include <fcntl.h>
#include <malloc.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <thread>

#include "base/log.hpp"
#include "block/raw_file.hpp"
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

// The same, `work` being done by a thread that was there before.
template <typename Work>
[[noreturn]] void in_sandbox_with_thread(Work work) {
  std::atomic<bool> closed{false};
  std::thread thread([&] {
    while (!closed) std::this_thread::yield();
    work();
  });
  in_sandbox([&] {
    closed = true;
    thread.join();
  });
}

TEST(Sandbox, LetsTheVmDoItsWork) {
  EXPECT_EXIT(in_sandbox([] {
                std::vector<char> memory(32 << 20);
                memory[0] = 1;
                log::info("alive");
              }),
              ::testing::ExitedWithCode(0), "alive");
}

// glibc looks at /proc/sys/vm/overcommit_memory then.
TEST(Sandbox, LetsTheHeapOfAThreadShrink) {
  EXPECT_EXIT(in_sandbox_with_thread([] {
                std::vector<std::unique_ptr<char[]>> blocks(256);
                for (auto& block : blocks) block = std::make_unique<char[]>(64 << 10);
                while (!blocks.empty()) blocks.pop_back();
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

Task<void> use_disk(block::Node& disk, std::optional<block::Errno>& result) {
  std::vector<uint8_t> bytes(8192, 1);
  const iovec buffer{bytes.data(), bytes.size()};
  const std::span<const iovec> buffers(&buffer, 1);
  block::Errno failure = co_await disk.write(4096, buffers, true);
  if (!failure) failure = co_await disk.flush();
  if (!failure) failure = co_await disk.discard(4096, 4096);
  if (!failure) failure = co_await disk.write_zeroes(8192, 4096, false);
  if (!failure) failure = co_await disk.read(4096, buffers);
  result = failure;
}

// Opens a disk, closes the sandbox, uses the disk and closes it.
[[noreturn]] void disk_in_sandbox(const std::string& path, block::AioOptions::Driver driver, block::Cache cache) {
  ::mallopt(M_ARENA_MAX, 1);  // as main() does
  VmClock clock;
  auto loop = EventLoop::create(clock);
  auto aio = block::Aio::create(**loop, {.driver = driver});
  auto disk = block::RawFile::open(**aio, path, {.cache = cache});
  if (!disk) log::failure("{}", disk.error().message());
  (*aio)->start();
  in_sandbox([&] {
    std::optional<block::Errno> result;
    spawn(use_disk(**disk, result));
    while (!result) (*loop)->poll(1000);
    disk->reset();
    aio->reset();
    log::info("the disk said {}", *result);
  });
}

TEST(Sandbox, DisksWorkInIt) {
  std::string path = testing::TempDir() + "skerry-sandbox-XXXXXX";
  const UniqueFd fd(::mkstemp(path.data()));
  ASSERT_TRUE(fd);
  ASSERT_EQ(::ftruncate(fd.get(), 1 << 20), 0);
  using Driver = block::AioOptions::Driver;
  for (const Driver driver : {Driver::kAuto, Driver::kThreads})
    for (const block::Cache cache : {block::Cache::kWriteback, block::Cache::kNone})
      EXPECT_EXIT(disk_in_sandbox(path, driver, cache), ::testing::ExitedWithCode(0), "the disk said 0");
  ::unlink(path.c_str());
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
