// Work for a later turn of an event loop: done once, however often it was asked for, and not after its owner has gone.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <utility>

#include "base/event_loop.hpp"

namespace skerry {

// schedule() may be called from any thread. Destroyed on the loop's thread, or while the loop does not run.
class Deferred {
 public:
  Deferred(EventLoop& loop, std::function<void()> work) : loop_(loop), state_(std::make_shared<State>()) {
    state_->work = std::move(work);
  }
  ~Deferred() { state_->work = nullptr; }
  Deferred(const Deferred&) = delete;
  Deferred& operator=(const Deferred&) = delete;

  void schedule() {
    if (state_->scheduled.exchange(true)) return;
    loop_.post([state = state_] {
      state->scheduled.store(false);  // before: what is asked for from here on is done in another turn
      if (state->work) state->work();
    });
  }

 private:
  struct State {
    std::function<void()> work;
    std::atomic<bool> scheduled{false};
  };
  EventLoop& loop_;
  const std::shared_ptr<State> state_;
};

}  // namespace skerry
