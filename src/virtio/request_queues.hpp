// Queues of a device whose requests take time and may be answered in any order: how many are under way, when the driver is told of
// answers, and rest. On the device's loop's thread.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>

#include "base/deferred.hpp"
#include "virtio/device.hpp"
#include "virtio/queue.hpp"

namespace skerry::virtio {

class RequestQueues {
 public:
  // `look` takes what is in a queue: it is called for each that look_again() has named, at the end of the loop's turn.
  RequestQueues(EventLoop& loop, std::function<void(unsigned queue)> look);

  void begin(std::span<Queue> queues, Transport& transport);
  // From here to end() what ends is not told to the driver.
  void discard() { discarding_ = true; }
  // Polls the loop until nothing is under way: the host's kernel may be writing into guest memory.
  void end();
  void quiesce(std::function<void()> at_rest);
  void resume() { quiesced_ = false; }

  // Whether `queue` may be worked on.
  bool working(unsigned queue) const { return transport_ && !quiesced_ && queues_[queue].running(); }
  bool discarding() const { return discarding_; }
  unsigned under_way() const { return under_way_; }
  unsigned size(unsigned queue) const { return queues_[queue].size(); }

  // The next request of a queue that may be worked on, which is under way from here on. A broken ring ends the device's work.
  std::optional<Chain> take(unsigned queue);
  // It was the last that was taken, and is not to be begun now.
  void put_back(unsigned queue, Chain chain);
  void look_again(unsigned queue);
  // The answer becomes visible at once; the interrupt, one for all of a queue, comes at the end of the turn.
  void answer(unsigned queue, Chain chain, uint32_t written);

 private:
  void end_of_turn();

  EventLoop& loop_;
  const std::function<void(unsigned)> look_;
  std::span<Queue> queues_;
  Transport* transport_ = nullptr;  // while active
  bool quiesced_ = false, discarding_ = false;
  unsigned under_way_ = 0;
  uint64_t to_look_at_ = 0;  // queues that were left before they were empty; a bit each
  std::function<void()> at_rest_;
  Deferred end_of_turn_;
};

}  // namespace skerry::virtio
