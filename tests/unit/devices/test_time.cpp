#include "unit/devices/test_time.hpp"

#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <cstdlib>

namespace {
thread_local bool host_clock_stands = false;
}

// Takes the C library's place in this program. While the host clock stands, CLOCK_MONOTONIC is a constant that lies in
// the kernel's past: timer descriptors that are armed from it expire at once, and the event loop then decides by the
// same constant what is due. That makes expiry exact.
extern "C" int clock_gettime(clockid_t id, timespec* out) noexcept {
  if (id == CLOCK_MONOTONIC && host_clock_stands) {
    *out = {1, 0};
    return 0;
  }
  return static_cast<int>(::syscall(SYS_clock_gettime, id, out));
}

namespace skerry::test {

TestTime::TestTime() {
  clock_.stop();
  clock_.restore(1'000'000'000);
  auto created = EventLoop::create(clock_);
  if (!created) std::abort();
  loop_ = std::move(created).value();
}

void TestTime::set(int64_t now) {
  host_clock_stands = true;
  clock_.restore(now);
  clock_.start();
  bool done = false;
  Timer last(*loop_, [&] { done = true; });
  last.set(now);
  loop_->clock_changed();
  for (int i = 0; i < 1000 && !done; ++i) loop_->poll(10);
  clock_.stop();
  clock_.restore(now);
  host_clock_stands = false;
  if (!done) std::abort();
}

}  // namespace skerry::test
