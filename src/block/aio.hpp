// Input and output on files, as coroutines of one event loop.
//
// Each call ends when all of it is done, or with an errno: what the kernel does in part is continued, what it
// interrupts is asked again. Requests under way at the same time end in any order. Aio is made, given its files and
// started on any thread before the loop runs; the rest is called on the loop's thread. It is destroyed when nothing is
// under way.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>

#include "base/event_loop.hpp"
#include "base/task.hpp"
#include "block/aio_driver.hpp"
#include "block/node.hpp"

namespace skerry::block {

struct AioOptions {
  enum class Driver : uint8_t { kAuto, kUring, kThreads };
  Driver driver = Driver::kAuto;  // kAuto: io_uring, if there is one that can be restricted
  unsigned threads = 4;           // that wait in the kernel, at the most
};

class Aio {
 public:
  // The choice of the driver is made here, so before the sandbox closes. Fails only with Driver::kUring.
  static Result<std::unique_ptr<Aio>> create(EventLoop& loop, AioOptions options = {});
  ~Aio();

  // Starts the threads there are to be: after rights are dropped, because threads keep those of their maker, and before
  // the system call filter, which allows no new ones. Nothing that waits for a thread ends before.
  void start();
  const char* driver() const { return main_->name(); }  // "io_uring" or "threads"
  EventLoop& loop() { return loop_; }

  struct FileKind {
    // O_DIRECT: nothing is in the page cache, and what ends in the midst of an alignment is the end of the file.
    uint32_t alignment = 1;
    bool discards = false;  // discard() will be called
  };
  // The descriptor stays the caller's, open until after remove_file(). Fails if there are too many.
  Result<unsigned> add_file(int fd, FileKind kind);
  void remove_file(unsigned file);

  // `file`: what add_file() gave. Buffers, and the list of them, stay valid until the task ends.
  // What lies behind the end of the file reads as zeroes: someone has shortened it.
  Task<Errno> read(unsigned file, uint64_t offset, std::span<const iovec> to);
  // `durable`: survives a crash of the host when the task has ended.
  Task<Errno> write(unsigned file, uint64_t offset, std::span<const iovec> from, bool durable);
  Task<Errno> sync(unsigned file);                                                  // fdatasync(2)
  Task<Errno> allocate(unsigned file, int mode, uint64_t offset, uint64_t length);  // fallocate(2)
  Task<Errno> discard(unsigned file, uint64_t offset, uint64_t length);             // BLKDISCARD, of a block device

 private:
  class Once;
  struct File {
    int fd = -1;
    FileKind kind;
  };
  explicit Aio(EventLoop& loop) : loop_(loop) {}
  AioRequest request_for(unsigned file, AioRequest::Op op) const;
  Task<Errno> until_done(AioRequest request);

  EventLoop& loop_;
  std::unique_ptr<AioDriver> main_;
  std::unique_ptr<AioDriver> discards_;  // where main_ cannot: a thread
  std::array<File, kMaxFiles> files_;
};

}  // namespace skerry::block
