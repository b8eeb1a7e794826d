// Types at the guest's keyboard, as a monitor asks for it.
#pragma once

#include <cstdint>
#include <deque>
#include <vector>

#include "base/event_loop.hpp"
#include "base/result.hpp"
#include "display/input.hpp"

namespace skerry::vm {

// The loop's thread only.
class KeySender {
 public:
  static constexpr size_t kMaxKeys = 32;      // at a time
  static constexpr size_t kMaxWaiting = 256;  // presses

  // Both outlive it. Times are those of the loop's clock: nothing is typed while the VM rests.
  KeySender(EventLoop& loop, display::Input& input) : input_(input), timer_(loop, [this] { next(); }) {}

  // Fails if that are too many, now or with those that wait.
  Result<void> send(std::vector<display::KeyCode> keys, int64_t milliseconds);
  // The guest begins anew: what waits is forgotten.
  void forget();

 private:
  struct Press {
    std::vector<display::KeyCode> keys;
    int64_t hold;  // ns
  };
  void next();

  // Between two presses, so that a guest that polls sees the first end.
  static constexpr int64_t kPause = 10'000'000;  // ns
  display::Input& input_;
  Timer timer_;
  std::deque<Press> waiting_;  // the first is under way, if `down_` or the timer is set
  bool down_ = false;
  bool busy_ = false;  // the timer is set
};

}  // namespace skerry::vm
