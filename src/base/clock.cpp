#include "base/clock.hpp"

#include <time.h>

#include <algorithm>
#include <limits>

namespace skerry {

namespace {
constexpr int64_t kEarliest = -(int64_t{1} << 62);  // differences to it do not overflow
}  // namespace

int64_t VmClock::host_now() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * int64_t{1'000'000'000} + now.tv_nsec;
}

VmClock::VmClock() : offset_(host_now()) {}

int64_t VmClock::now() const {
  if (!running()) return stopped_at_.load(std::memory_order_relaxed);
  return (host_now() - offset_.load(std::memory_order_relaxed)) / divisor_;
}

// Far deadlines are no nearer for being out of range: whoever waits for them looks again.
int64_t VmClock::to_host(int64_t deadline) const {
  const __int128 host = static_cast<__int128>(deadline) * divisor_ + offset_.load(std::memory_order_relaxed);
  return static_cast<int64_t>(std::min<__int128>(host, std::numeric_limits<int64_t>::max()));
}

void VmClock::stop() {
  if (!running()) return;
  stopped_at_.store(now(), std::memory_order_relaxed);
  running_.store(false, std::memory_order_release);
}

void VmClock::start() {
  if (running()) return;
  const __int128 offset = host_now() - static_cast<__int128>(stopped_at_.load(std::memory_order_relaxed)) * divisor_;
  offset_.store(static_cast<int64_t>(std::max<__int128>(offset, kEarliest)), std::memory_order_relaxed);
  running_.store(true, std::memory_order_release);
}

}  // namespace skerry
