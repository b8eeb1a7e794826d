// What a device has from its transport between activate() and deactivate(), and the few questions that every device
// asks of it. On the device's loop's thread.
#pragma once

#include <optional>
#include <span>
#include <string_view>
#include <utility>

#include "virtio/device.hpp"
#include "virtio/queue.hpp"

namespace skerry::virtio {

class Activation {
 public:
  // True if a loaded state goes on, rather than a driver beginning: a driver begins only after a reset. (After a save
  // before the driver has begun it is true for that driver too, for whom it makes no difference.)
  bool begin(uint64_t features, std::span<Queue> queues, Transport& transport) {
    const bool loaded = active() || described_;
    features_ = features;
    queues_ = queues;
    transport_ = &transport;
    failed_ = quiesced_ = described_ = false;
    for (const Queue& queue : queues_)
      if (!queue.broken().empty()) fail(queue.broken());
    return loaded;
  }
  void end() { *this = {}; }
  void quiesce() { quiesced_ = true; }
  void resume() { quiesced_ = false; }
  void described() { described_ = !active(); }  // by describe(): perhaps a state was loaded

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
  bool quiesced_ = false, failed_ = false, described_ = false;
};

}  // namespace skerry::virtio
