// What the transports have in common: a device's life, and what its driver has set, whatever the registers look like.
//
// Registers are accessed on vCPU threads, under the transport's one lock. The device is called only in turns of its
// loop and never with that lock held. What the driver asks for is noted and the loop is told by an eventfd; a
// notification is one atomic bit, and if it was the first, a turn that is borrowed of the loop for it, or a write to
// the eventfd. Until a reset that the driver asked for is done, its status reads as before and its other writes are
// dropped (virtio 1.2, 4.1.4.3.1).
//
// Before a reset the device is brought to rest by quiesce(), so that Device::deactivate() has nothing to wait for.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "base/fd.hpp"
#include "virtio/device.hpp"

namespace skerry::virtio {

// Who drives the loop that the device works in, seen from the thread which calls reset() and restored().
enum class LoopThread : uint8_t {
  kOther,   // a thread in EventLoop::run(): that thread does it, the caller waits
  kCaller,  // the caller itself: it does it, and polls the loop while something is still under way
};

class TransportCore : private Transport {
 public:
  static constexpr unsigned kMaxQueues = 64;

  virtual ~TransportCore() = default;

  // For save. Any thread, or with kCaller the loop's, which then does it at once; the rest happens on the loop's
  // thread, `at_rest` as well. From then on the device does nothing until resume(), even if the driver writes
  // registers. Once at a time.
  void quiesce(std::function<void()> at_rest);
  // After quiesce(), and after a state was loaded: nothing of a restored device moves before it.
  void resume();

 protected:
  // By which the loop is told of notifications and of all else.
  struct Descriptors {
    UniqueFd kick;
    // One a queue, which an accelerator may signal in place of a notification.
    std::vector<UniqueFd> bells;
  };
  // Fails if the device has more queues than there may be, more configuration than there is `room` for, or the host has
  // no descriptor left.
  static Result<Descriptors> open(Device& device, uint32_t room);

  // `device` outlives it. A transport calls reset_registers() and attach_to_loop() when it is made, and detach() before
  // anything of it is gone: on the loop's thread, or when the loop does not run any more.
  TransportCore(Device& device, LoopThread loop, bool packed_rings, Descriptors descriptors);
  Result<void> attach_to_loop();
  void detach();

  // What is a transport's own.
  virtual void set_line(bool level) = 0;  // of its interrupt; with isr_lock_ held
  virtual void
  signal_config() = 0;  // tells the driver that the configuration has changed, or that the device is broken
  virtual void reset_interrupts() {}  // with lock_ held, as are the next ones
  virtual void reset_queue_interrupt(unsigned) {}
  virtual void describe_config_interrupt(state::Fields&) {}
  virtual void describe_queue_interrupt(state::Fields&, unsigned) {}
  virtual void driver_served() {
  }  // a reset of the device or of a queue is done; on the loop's thread, with no lock held

  // For bus::Device's functions of these names.
  void reset_device();
  void describe_device(state::Fields& fields);
  void restore_device();

  // What the driver has set of a queue; under lock_.
  struct QueueRegisters {
    Queue::Setup setup;
    bool resetting = false;  // its reset was asked for; the loop has not done it yet
    bool starting = false;   // enabled while the device works
  };

  // vCPU threads, with lock_ held. True: the loop has something to do, so ask_loop() when the lock is released.
  uint32_t offered_half() const { return half(offered_, device_feature_select_); }
  uint32_t agreed_half() const { return half(driver_features_, driver_feature_select_); }
  void write_driver_feature(uint32_t value);
  bool write_status(uint8_t value);
  // Null: there is no such queue.
  QueueRegisters* selected_queue() {
    return queue_select_ < queue_registers_.size() ? &queue_registers_[queue_select_] : nullptr;
  }
  const QueueRegisters* selected_queue() const { return const_cast<TransportCore*>(this)->selected_queue(); }
  uint16_t selected_queues_most() const { return queue_sizes_[queue_select_]; }
  void write_queue_size(uint32_t value);
  void write_queue_address(uint64_t Queue::Setup::*address, bool high, uint32_t value);
  bool enable_queue();
  bool reset_queue();            // as the driver may if that was agreed on (2.6.1)
  bool stop_queue();             // whatever was agreed on
  void reset_registers();        // or alone; the device is at rest and inactive
  bool reset_under_way() const;  // of the device or of a queue

  // vCPU threads, without it.
  void ask_loop();
  void notify(unsigned queue);
  uint32_t read_device_config(uint32_t offset, unsigned size);
  void write_device_config(uint32_t offset, unsigned size, uint32_t value);

  // The interrupt status and its line. Any thread.
  void raise_isr(uint8_t bits);
  uint8_t isr();
  uint8_t clear_isr(uint8_t bits);  // gives what it was

  Device& device_;
  const Descriptors descriptors_;
  const std::vector<uint16_t> queue_sizes_;

  std::mutex lock_;
  uint32_t device_feature_select_ = 0, driver_feature_select_ = 0;
  uint16_t queue_select_ = 0;
  bool resetting_ = false;  // 0 was written to the status; the loop has not done it yet
  std::atomic<uint8_t> status_{0}, config_generation_{0};

 private:
  static uint32_t half(uint64_t features, uint32_t select) {
    return select < 2 ? static_cast<uint32_t>(features >> (32 * select)) : 0;
  }
  void kick();
  void reset_queue_registers(unsigned queue);

  // The loop's thread.
  void run_on_loop(std::function<void()> work);
  void run_and_wait(std::function<void(std::function<void()> done)> work);
  void serve();
  void serve_driver();
  void serve_notifications();
  void serve_doorbell(unsigned queue);
  void bring_to_rest(std::function<void()> then);
  void rested();
  void activate();
  void finish_reset();
  void stop_reset_queues();
  void start_enabled_queues();
  void go_on();
  void deliver(unsigned queue);
  void deliver_all();

  // Transport; queue_interrupt() is each transport's own.
  void config_interrupt() final;
  void needs_reset(std::string_view why) final;

  void describe_queue(state::Fields& fields, unsigned index);

  const LoopThread loop_thread_;
  const uint64_t offered_;

  // Under lock_.
  uint64_t driver_features_ = 0;
  bool refused_features_ = false;  // the driver wants what was not offered
  std::vector<QueueRegisters> queue_registers_;
  bool activating_ = false;  // DRIVER_OK was written; the loop has not done it yet
  bool queues_changed_ = false;
  bool engaged_ = false;                     // the loop has something of the device, or will have
  std::vector<std::function<void()>> work_;  // for the loop

  std::atomic<uint64_t> notified_{0};  // a bit a queue
  std::atomic<bool> asked_{false};     // there is more for the loop than notifications
  std::atomic<bool> warned_{false};
  std::mutex isr_lock_;  // the ISR and its line are one; after lock_
  uint8_t isr_ = 0;

  // The loop's thread; or any, while the device is not engaged.
  std::vector<Queue> queues_;
  bool active_ = false;     // between Device::activate() and deactivate()
  bool loaded_ = false;     // restored, to be activated by resume()
  bool held_ = false;       // between quiesce() and resume()
  bool settling_ = false;   // Device::quiesce() was called, and what waits for it has not run yet
  bool quiescing_ = false;  // inside of Device::quiesce()
  bool resting_ = false;    // Device::quiesce() is done, and not yet Device::resume()
  std::vector<std::function<void()>> at_rest_;
};

}  // namespace skerry::virtio
