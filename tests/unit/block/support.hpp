// What the tests of this floor share: files, tasks run to their end, and faults.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.hpp"
#include "base/fd.hpp"
#include "base/units.hpp"
#include "block/aio.hpp"

namespace skerry::block {

// What the threads' system calls do wrong; the program's own preadv2() and others are in faults.cpp.
namespace faults {
inline std::atomic<uint64_t> most_bytes{0};      // of a transfer; 0: no limit
inline std::atomic<int> interruptions{0};        // so many calls end with EINTR first
inline std::atomic<int> sync_error{0};           // of fdatasync
inline std::atomic<int> allocate_error{0};       // of fallocate
inline std::atomic<unsigned> durable_writes{0};  // counts RWF_DSYNC
inline std::atomic<unsigned> syncs{0};
void none();
}  // namespace faults

class TempFile {
 public:
  explicit TempFile(uint64_t size) : path_(testing::TempDir() + "skerry-block-XXXXXX") {
    const UniqueFd fd(::mkstemp(path_.data()));
    EXPECT_TRUE(fd);
    EXPECT_EQ(::ftruncate(fd.get(), static_cast<off_t>(size)), 0);
  }
  ~TempFile() { ::unlink(path_.c_str()); }
  const std::string& path() const { return path_; }
  std::vector<uint8_t> content() const {
    const UniqueFd fd(::open(path_.c_str(), O_RDONLY));
    std::vector<uint8_t> bytes(static_cast<size_t>(::lseek(fd.get(), 0, SEEK_END)));
    EXPECT_EQ(::pread(fd.get(), bytes.data(), bytes.size(), 0), static_cast<ssize_t>(bytes.size()));
    return bytes;
  }

 private:
  std::string path_;
};

inline Task<void> keep(Task<Errno> task, std::optional<Errno>& result) { result = co_await task; }

inline Errno wait_for(EventLoop& loop, Task<Errno> task) {
  std::optional<Errno> result;
  spawn(keep(std::move(task), result));
  while (!result) loop.poll(1000);
  return *result;
}

// A loop and its Aio.
struct Bench {
  explicit Bench(AioOptions::Driver driver) {
    loop = std::move(*EventLoop::create(clock));
    auto made = Aio::create(*loop, {.driver = driver});
    if (!made) {
      problem = made.error().message();
      return;
    }
    aio = std::move(*made);
    aio->start();
  }
  VmClock clock;
  std::unique_ptr<EventLoop> loop;
  std::unique_ptr<Aio> aio;  // none where there is no io_uring
  std::string problem;
};

inline std::string driver_name(AioOptions::Driver driver) {
  return driver == AioOptions::Driver::kUring ? "Uring" : "Threads";
}

}  // namespace skerry::block
