// Guest time. It stops while the VM is paused, so that no device sees the pause.
#pragma once

#include <atomic>
#include <cstdint>

namespace skerry {

// One per VM. now() is nanoseconds of guest run time since creation: host CLOCK_MONOTONIC less the time spent stopped, or a
// fraction of that.
// now() may be called from any thread; stop() and start() only by the thread that pauses the VM, with vCPUs at rest.
class VmClock {
 public:
  VmClock();  // running
  int64_t now() const;
  bool running() const { return running_.load(std::memory_order_acquire); }
  void stop();
  void start();
  // From now on a second of it is `divisor` seconds of the host's. Only while stopped.
  void slow_down(unsigned divisor) { divisor_ = divisor; }
  // The CLOCK_MONOTONIC instant (ns) at which now() reaches `deadline`, if the clock keeps running.
  int64_t to_host(int64_t deadline) const;
  // Continues from `now` as saved. Only while stopped.
  void restore(int64_t now) { stopped_at_.store(now, std::memory_order_relaxed); }

  static int64_t host_now();  // CLOCK_MONOTONIC, ns

 private:
  int64_t divisor_ = 1;
  std::atomic<int64_t> offset_;         // the host's time when this was 0, while running
  std::atomic<int64_t> stopped_at_{0};  // guest time, while stopped
  std::atomic<bool> running_{true};
};

}  // namespace skerry
