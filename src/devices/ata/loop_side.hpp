// What a controller does in the loop of its devices' nodes: serves when it is asked to, and comes to rest.
#pragma once

#include <atomic>
#include <functional>
#include <utility>

#include "base/event_loop.hpp"

namespace skerry::devices::ata {

class LoopSide {
 public:
  // Both are called in turns of `loop`: `serve` begins what the registers ask for, `idle` says whether nothing is under
  // way.
  LoopSide(EventLoop& loop, std::function<void()> serve, std::function<bool()> idle)
      : loop_(loop), serve_(std::move(serve)), idle_(std::move(idle)) {}

  // Any thread, with no lock held. Short work is done at once, on the calling thread.
  void ask() {
    if (asked_.exchange(true)) return;
    if (!loop_.borrow_turn([this] { serve(); })) loop_.post([this] { serve(); });
  }

  // For save, with every vCPU at rest: serves no more, and calls `at_rest` in a turn of the loop when nothing is under
  // way. Then nothing changes until resume(). Any thread but the loop's, or the loop's where nobody else drives it.
  void quiesce(std::function<void()> at_rest) {
    loop_.post([this, at_rest = std::move(at_rest)] {
      serve();  // what the driver has asked for before
      held_ = true;
      at_rest_ = at_rest;
      drained();
    });
  }
  void resume() {
    loop_.post([this] {
      held_ = false;
      serve();
    });
  }

  // In turns of the loop: whether it is to begin nothing; and that something has ended.
  bool held() const { return held_; }
  void drained() {
    if (at_rest_ && idle_()) std::exchange(at_rest_, nullptr)();
  }

 private:
  void serve() {
    asked_.store(false);
    if (!held_) serve_();
  }

  EventLoop& loop_;
  const std::function<void()> serve_;
  const std::function<bool()> idle_;
  std::atomic<bool> asked_{false};
  // The loop's.
  bool held_ = false;
  std::function<void()> at_rest_;
};

}  // namespace skerry::devices::ata
