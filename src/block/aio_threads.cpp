// Input and output by threads that wait in system calls, for where there is no io_uring.
#include <fcntl.h>
#include <linux/fs.h>
#include <pthread.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

#include "block/aio_driver.hpp"

namespace skerry::block {

namespace {

// What the threads and the loop share; lives until the last of them has let it go.
struct Shared {
  explicit Shared(EventLoop& event_loop) : loop(event_loop) {}
  EventLoop& loop;
  std::mutex lock;
  std::condition_variable work;
  AioRequestList wanted, ended;
  bool quit = false;
  PageCache page_cache;  // on the loop's thread
};

ssize_t execute(const AioRequest& request) {
  const auto offset = static_cast<off_t>(request.offset), length = static_cast<off_t>(request.length);
  const int count = static_cast<int>(request.count);
  switch (request.op) {
    case AioRequest::Op::kRead:
      return ::preadv2(request.fd, request.buffers, count, offset, 0);
    case AioRequest::Op::kWrite:
      return ::pwritev2(request.fd, request.buffers, count, offset, request.durable ? RWF_DSYNC : 0);
    case AioRequest::Op::kSync:
      return ::fdatasync(request.fd);
    case AioRequest::Op::kAllocate:
      return ::fallocate(request.fd, request.mode, offset, length);
    case AioRequest::Op::kDiscard: {
      uint64_t range[2] = {request.offset, request.length};
      return ::ioctl(request.fd, BLKDISCARD, range);
    }
  }
  return 0;
}

int result_of(ssize_t returned) { return returned < 0 ? -errno : static_cast<int>(returned); }

void resume_ended(Shared& shared) {
  std::vector<AioRequest*> ended;
  {
    std::lock_guard guard(shared.lock);
    while (AioRequest* request = shared.ended.pop()) ended.push_back(request);
  }
  for (const AioRequest* request : ended) shared.page_cache.ended(*request);
  for (AioRequest* request : ended) request->waiter.resume();
}

void work_for(const std::shared_ptr<Shared>& shared) {
  std::unique_lock guard(shared->lock);
  for (;;) {
    shared->work.wait(guard, [&] { return shared->quit || !shared->wanted.empty(); });
    AioRequest* request = shared->wanted.pop();
    if (!request) return;
    guard.unlock();
    request->result = result_of(execute(*request));
    guard.lock();
    const bool first = shared->ended.empty();
    shared->ended.push(*request);
    if (!first) continue;  // the loop has been told, and has not come yet
    guard.unlock();
    shared->loop.post([shared] { resume_ended(*shared); });
    guard.lock();
  }
}

class ThreadDriver final : public AioDriver {
 public:
  ThreadDriver(EventLoop& loop, unsigned threads) : shared_(std::make_shared<Shared>(loop)), wanted_(threads) {}
  ~ThreadDriver() override;
  const char* name() const override { return "threads"; }
  void start() override;
  Result<void> add_file(unsigned slot, int fd) override {
    shared_->page_cache.add_file(slot, fd);
    return ok();
  }
  void remove_file(unsigned) override {}
  bool begin(AioRequest& request) override;

 private:
  const std::shared_ptr<Shared> shared_;
  const unsigned wanted_;
  std::vector<std::thread> threads_;
};

ThreadDriver::~ThreadDriver() {
  {
    std::lock_guard guard(shared_->lock);
    shared_->quit = true;
  }
  shared_->work.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void ThreadDriver::start() {
  while (threads_.size() < wanted_) {
    threads_.emplace_back([shared = shared_] { work_for(shared); });
    ::pthread_setname_np(threads_.back().native_handle(), fmt::format("disk {}", threads_.size() - 1).c_str());
  }
}

bool ThreadDriver::begin(AioRequest& request) {
  if (shared_->page_cache.read(request) || shared_->page_cache.write(request, shared_->loop.turn_is_borrowed())) return true;
  shared_->page_cache.began(request);
  {
    std::lock_guard guard(shared_->lock);
    shared_->wanted.push(request);
  }
  shared_->work.notify_one();
  return false;
}

}  // namespace

std::unique_ptr<AioDriver> make_thread_driver(EventLoop& loop, unsigned threads) {
  return std::make_unique<ThreadDriver>(loop, std::max(threads, 1U));
}

}  // namespace skerry::block
