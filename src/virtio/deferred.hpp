// Work for a later turn of an event loop: done once, however often it was asked for, and not after its owner has gone.
#pragma once

#include <functional>
#include <memory>
#include <utility>

#include "base/event_loop.hpp"

namespace skerry::virtio {

// Used and destroyed on the loop's thread, or while the loop does not run.
class Deferred {
 public:
  Deferred(EventLoop& loop, std::function<void()> work) : loop_(loop), state_(std::make_shared<State>()) {
    state_->work = std::move(work);
  }
  ~Deferred() { state_->work = nullptr; }
  Deferred(const Deferred&) = delete;
  Deferred& operator=(const Deferred&) = delete;

  void schedule() {
    if (std::exchange(state_->scheduled, true)) return;
    loop_.post([state = state_] {
      state->scheduled = false;
      if (state->work) state->work();
    });
  }

 private:
  struct State {
    std::function<void()> work;
    bool scheduled = false;
  };
  EventLoop& loop_;
  const std::shared_ptr<State> state_;
};

}  // namespace skerry::virtio
