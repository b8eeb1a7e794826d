#include "base/clock.hpp"

#include <time.h>

namespace skerry {

int64_t VmClock::host_now() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * int64_t{1'000'000'000} + now.tv_nsec;
}

VmClock::VmClock() : offset_(host_now()) {}

int64_t VmClock::now() const {
  if (!running()) return stopped_at_.load(std::memory_order_relaxed);
  return host_now() - offset_.load(std::memory_order_relaxed);
}

void VmClock::stop() {
  if (!running()) return;
  stopped_at_.store(now(), std::memory_order_relaxed);
  running_.store(false, std::memory_order_release);
}

void VmClock::start() {
  if (running()) return;
  offset_.store(host_now() - stopped_at_.load(std::memory_order_relaxed), std::memory_order_relaxed);
  running_.store(true, std::memory_order_release);
}

}  // namespace skerry
