// What a device has from its transport between activate() and deactivate(), and the few questions that every device asks
// of it; and work that a device puts off to a later turn of its loop. On the device's loop's thread.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <utility>

#include "base/event_loop.hpp"
#include "virtio/device.hpp"
#include "virtio/queue.hpp"

namespace skerry::virtio {

class Activation {
 public:
  void begin(uint64_t features, std::span<Queue> queues, Transport& transport) {
    features_ = features;
    queues_ = queues;
    transport_ = &transport;
    failed_ = quiesced_ = false;
    for (const Queue& queue : queues_)
      if (!queue.broken().empty()) fail(queue.broken());
  }
  void end() { *this = {}; }
  void quiesce() { quiesced_ = true; }
  // False if there was no quiesce() before: then what goes on is a state that was loaded.
  bool resume() { return std::exchange(quiesced_, false); }

  bool active() const { return transport_ != nullptr; }
  // Whether queues may be worked on.
  bool working() const { return transport_ && !quiesced_ && !failed_; }
  bool has(uint64_t feature) const { return features_ & feature; }
  bool has_queue(unsigned index) const { return index < queues_.size() && queues_[index].running(); }
  Queue& queue(unsigned index) { return queues_[index]; }

  // The next buffer list of a queue that the driver may not have set up. A broken ring ends the device's work.
  std::optional<Chain> pop(unsigned index) {
    if (!working() || !has_queue(index)) return std::nullopt;
    auto chain = queues_[index].pop();
    if (!chain && !queues_[index].broken().empty()) fail(queues_[index].broken());
    return chain;
  }
  // Looks again after asking for notifications: true if there is more to pop.
  bool more_after_enabling(unsigned index) {
    if (!working() || !has_queue(index)) return false;
    if (!queues_[index].enable_notifications()) return false;
    queues_[index].disable_notifications();
    return true;
  }
  void interrupt(unsigned index) {
    if (transport_ && has_queue(index) && queues_[index].needs_interrupt()) transport_->queue_interrupt(index);
  }
  void config_interrupt() {
    if (transport_) transport_->config_interrupt();
  }
  // The driver has broken the device (virtio 1.2, 2.1.2).
  void fail(std::string_view why) {
    if (!transport_ || failed_) return;
    failed_ = true;
    transport_->needs_reset(why);
  }

 private:
  uint64_t features_ = 0;
  std::span<Queue> queues_;
  Transport* transport_ = nullptr;
  bool quiesced_ = false, failed_ = false;
};

// post() may be called from any thread; doing it again before the work has run changes nothing. It does not run once its
// owner is gone, which has to go on the loop's thread or after the loop's end.
class LaterWork {
 public:
  LaterWork(EventLoop& loop, std::function<void()> work) : loop_(loop), state_(std::make_shared<State>(std::move(work))) {}

  void post() {
    if (state_->posted.exchange(true)) return;
    loop_.post([weak = std::weak_ptr(state_)] {
      const auto state = weak.lock();
      if (!state) return;
      state->posted.store(false);  // before: what is asked for from here on is done in another turn
      state->work();
    });
  }

 private:
  struct State {
    explicit State(std::function<void()> doing) : work(std::move(doing)) {}
    std::function<void()> work;
    std::atomic<bool> posted{false};
  };
  EventLoop& loop_;
  std::shared_ptr<State> state_;
};

}  // namespace skerry::virtio
