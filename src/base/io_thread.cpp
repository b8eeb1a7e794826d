#include "base/io_thread.hpp"

#include <pthread.h>

#include <condition_variable>
#include <mutex>

namespace skerry {

namespace {

constexpr size_t kShownName = 15;

}  // namespace

Result<std::unique_ptr<IoThread>> IoThread::create(VmClock& clock, std::string name) {
  auto loop = EventLoop::create(clock);
  if (!loop) return std::move(loop).error().in(fmt::format("thread '{}'", name));
  return std::unique_ptr<IoThread>(new IoThread(std::move(*loop), std::move(name)));
}

IoThread::~IoThread() { stop(); }

void IoThread::start() {
  thread_ = std::thread([this] { loop_->run(); });
  ::pthread_setname_np(thread_.native_handle(), name_.substr(0, kShownName).c_str());
}

void IoThread::stop() {
  if (!thread_.joinable()) return;
  loop_->quit();
  thread_.join();
}

void IoThread::call(const std::function<void()>& work) {
  if (!thread_.joinable() || is_current()) {
    work();
    return;
  }
  std::mutex lock;
  std::condition_variable changed;
  bool done = false;
  loop_->post([&] {
    work();
    std::lock_guard guard(lock);
    done = true;
    changed.notify_one();  // under the lock: afterwards the variables may be gone
  });
  std::unique_lock guard(lock);
  changed.wait(guard, [&] { return done; });
}

}  // namespace skerry
