// How long a vCPU with nothing to do looks whether it is woken before its thread sleeps.
//
// To wake a thread on an idle processor takes tens of microseconds, more where the host is a virtual machine itself; and while
// this thread looks, those that work for the guest find the other processors awake. A guest that waits for an answer, or whose
// processors wait for each other, is woken soon again: there it pays. Where a guest sleeps for long it never looks.
//
// Used by one thread.
#pragma once

#include <algorithm>
#include <cstdint>

namespace skerry::accel {

class HaltPoll {
 public:
  // In nanoseconds, as all times here: the first window, and the largest.
  static constexpr int64_t kLeast = 10'000, kMost = 200'000;
  // A processor that was away for as long as this in the midst of looking is wanted by others.
  static constexpr int64_t kTakenAway = 30'000;

  // How long to look; 0: not at all.
  int64_t window() const { return window_; }
  // It was woken `time` after it began to look, or to sleep.
  void woken_after(int64_t time) {
    if (time > kMost)
      window_ = 0;
    else if (time > window_)
      window_ = std::clamp(window_ * 2, kLeast, kMost);
  }
  // The processor was taken away while it looked.
  void taken_away() { window_ = 0; }

 private:
  int64_t window_ = 0;
};

}  // namespace skerry::accel
