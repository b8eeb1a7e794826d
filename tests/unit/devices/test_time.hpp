// Time that moves only when a test says so, for devices with timers.
#pragma once

#include "base/clock.hpp"
#include "base/event_loop.hpp"

namespace skerry::test {

// A stopped VmClock and its event loop. now() is exactly what advance() has made of it.
class TestTime {
 public:
  TestTime();
  EventLoop& loop() { return *loop_; }
  VmClock& clock() { return clock_; }
  int64_t now() const { return clock_.now(); }
  // Lets `ns` pass at once, then runs the timers that have become due, at that one instant.
  void advance(int64_t ns) { set(clock_.now() + ns); }
  void set(int64_t now);

 private:
  VmClock clock_;
  std::unique_ptr<EventLoop> loop_;
};

}  // namespace skerry::test
