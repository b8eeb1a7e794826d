// How the kernel is asked for input and output: through io_uring, or by threads that wait in its calls. Known to Aio
// only.
//
// Everything but create and start() in turns of the event loop.
#pragma once

#include <sys/uio.h>

#include <array>
#include <coroutine>
#include <cstdint>
#include <memory>

#include "base/event_loop.hpp"

namespace skerry::block {

constexpr unsigned kMaxFiles = 64;

// One system call. Lives in the frame of the coroutine that waits for it, until it has been resumed.
struct AioRequest {
  enum class Op : uint8_t { kRead, kWrite, kSync, kAllocate, kDiscard };
  Op op = Op::kSync;
  bool durable = false;      // of kWrite: RWF_DSYNC, preadv2(2)
  bool may_complete = true;  // at once, in begin(): what the page cache has
  unsigned file = 0;         // its slot
  int fd = -1;
  int mode = 0;  // of kAllocate: fallocate(2)
  unsigned count = 0;
  const iovec* buffers = nullptr;
  uint64_t offset = 0, length = 0;
  int result = 0;  // bytes, or -errno
  std::coroutine_handle<> waiter;
  AioRequest* next = nullptr;
};

// In the order of arrival; owns nothing.
class AioRequestList {
 public:
  bool empty() const { return first_ == nullptr; }
  AioRequest* front() { return first_; }
  void push(AioRequest& request) {
    request.next = nullptr;
    *end_ = &request;
    end_ = &request.next;
  }
  AioRequest* pop() {
    AioRequest* request = first_;
    if (request) first_ = request->next;
    if (!first_) end_ = &first_;
    return request;
  }
  AioRequestList() = default;
  AioRequestList(const AioRequestList&) = delete;
  AioRequestList& operator=(const AioRequestList&) = delete;

 private:
  AioRequest* first_ = nullptr;
  AioRequest** end_ = &first_;
};

// What is done at once, without a hand-over to another thread, as it is between memory and the page cache only. For AioDriver::begin().
class PageCache {
 public:
  // What is copied in a borrowed turn. The loop's thread may as well copy more while the borrower goes on,
  static constexpr uint64_t kShort = 64 << 10;
  static constexpr uint64_t kMostWritten = 2 << 20;  // up to here: it would cost a hand-over each to have it done by another
  void add_file(unsigned slot, int fd);
  // False: nothing was done.
  bool read(AioRequest& request);
  // Most file systems have no way to say "do not wait", and few writes have to. So it is tried, where nothing is under way that it would
  // wait for; and not again for a while where one took long (too many dirty pages, a slow disk).
  bool write(AioRequest& request, bool turn_is_borrowed);
  // Around what is not done here.
  void began(const AioRequest& request) { slow_[request.file] += is_slow(request); }
  void ended(const AioRequest& request) { slow_[request.file] -= is_slow(request); }

 private:
  struct Writes {
    bool nowait = true;   // RWF_NOWAIT may be known
    bool local = false;   // of a file system that waits for nobody else's server
    int64_t not_before = 0, pause = 0;  // ns of the host's clock
  };
  // It waits for the disk, with locks of the file that writers need.
  static bool is_slow(const AioRequest& request) {
    return request.op != AioRequest::Op::kRead && (request.op != AioRequest::Op::kWrite || request.durable);
  }
  std::array<bool, kMaxFiles> unknown_{};  // RWF_NOWAIT is, there
  std::array<Writes, kMaxFiles> writes_{};
  std::array<unsigned, kMaxFiles> slow_{};  // requests, that are under way
};

class AioDriver {
 public:
  virtual ~AioDriver() = default;
  virtual const char* name() const = 0;
  virtual void start() {}  // its threads, after rights are dropped and before the sandbox closes
  virtual Result<void> add_file(unsigned slot, int fd) = 0;
  virtual void remove_file(unsigned slot) = 0;
  // True: has ended, see request.result. False: the waiter is resumed when it has.
  virtual bool begin(AioRequest& request) = 0;
};

// Fails where the kernel has no io_uring, forbids it, or cannot restrict it.
Result<std::unique_ptr<AioDriver>> make_uring_driver(EventLoop& loop, unsigned workers);
std::unique_ptr<AioDriver> make_thread_driver(EventLoop& loop, unsigned threads);

}  // namespace skerry::block
