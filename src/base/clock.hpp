// Guest time. It stops while the VM is paused, so that no device sees the pause.
#pragma once

#include <atomic>
#include <cstdint>

namespace skerry {

// One per VM. now() is nanoseconds of guest run time since creation: host CLOCK_MONOTONIC less the time spent stopped.
// now() may be called from any thread; stop() and start() only by the thread that pauses the VM, with vCPUs at rest.
class VmClock {
 public:
  VmClock();  // running
  int64_t now() const;
  bool running() const { return running_.load(std::memory_order_acquire); }
  void stop();
  void start();
  // The CLOCK_MONOTONIC instant (ns) at which now() reaches `deadline`, if the clock keeps running.
  int64_t to_host(int64_t deadline) const { return deadline + offset_.load(std::memory_order_relaxed); }
  // Continues from `now` as saved. Only while stopped.
  void restore(int64_t now) { stopped_at_.store(now, std::memory_order_relaxed); }

  static int64_t host_now();  // CLOCK_MONOTONIC, ns

 private:
  std::atomic<int64_t> offset_;        // host time - guest time, while running
  std::atomic<int64_t> stopped_at_{0};  // guest time, while stopped
  std::atomic<bool> running_{true};
};

}  // namespace skerry
