// A virtio device as a PCI function (virtio 1.2, 4.1), without the legacy interface.
//
// Registers are accessed on vCPU threads, under the transport's one lock. The device is called only in turns of its loop
// and never with that lock held. What the driver asks for is noted and the loop is told by an eventfd; a notification is
// one atomic bit, and if it was the first, a turn that is borrowed of the loop for it, or a write to the eventfd. Until a reset that the driver asked
// for is done, its status reads as before and its other writes are dropped (4.1.4.3.1).
//
// Before a reset the device is brought to rest by quiesce(), so that Device::deactivate() has nothing to wait for.
#pragma once

#include <array>
#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "base/fd.hpp"
#include "bus/pci.hpp"
#include "virtio/device.hpp"

namespace skerry::virtio {

// Who drives the loop that the device works in, seen from the thread which calls reset() and restored().
enum class LoopThread : uint8_t {
  kOther,   // a thread in EventLoop::run(): that thread does it, the caller waits
  kCaller,  // the caller itself: it does it, and polls the loop while something is still under way
};

class PciTransport final : public bus::PciFunction, private Transport {
 public:
  static constexpr unsigned kMaxQueues = 64;

  struct Options {
    LoopThread loop = LoopThread::kOther;
    bool packed_rings = true;  // whether they are offered
  };
  // `device` outlives it. Fails if the device has more queues than there may be, or the host has no descriptor left.
  static Result<std::unique_ptr<PciTransport>> create(virtio::Device& device, Options options);
  // On the loop's thread, or when the loop does not run any more.
  ~PciTransport() override;

  // For save. Any thread, or with kCaller the loop's, which then does it at once; the rest happens on the loop's thread,
  // `at_rest` as well. From then on the device does
  // nothing until resume(), even if the driver writes registers. Once at a time.
  void quiesce(std::function<void()> at_rest);
  // After quiesce(), and after restored(): nothing of a restored device moves before it.
  void resume();

  // With the VM at rest and the loop alive. What is under way ends first: quiesce() before saves kCaller the polling.
  void reset() override;
  // The device is at rest. A state is loaded only into a device that is fresh or was reset.
  void describe(state::Fields& fields) override;
  void restored() override;

  uint32_t config_read(unsigned offset, unsigned size) override;
  void config_write(unsigned offset, unsigned size, uint32_t value) override;

 private:
  // The memory BAR.
  class Registers final : public bus::IoHandler {
   public:
    explicit Registers(PciTransport& transport) : transport_(transport) {}
    uint64_t io_read(uint64_t offset, unsigned size) override;
    void io_write(uint64_t offset, unsigned size, uint64_t value) override;
    unsigned widest_access() const override { return 4; }
    std::span<const bus::Doorbell> doorbells() const override { return transport_.doorbells_; }

   private:
    PciTransport& transport_;
  };
  // What the driver has set of a queue; under lock_ but for the vector.
  struct QueueRegisters {
    Queue::Setup setup;
    bool resetting = false;  // queue_reset was written; the loop has not done it yet
    bool starting = false;   // enabled while the device works
    std::atomic<uint16_t> vector{0};
  };

  PciTransport(virtio::Device& device, Options options, UniqueFd kick, std::vector<UniqueFd> bells);
  void add_capabilities();
  unsigned add_virtio_capability(uint8_t type, uint32_t offset, uint32_t length, std::span<const uint8_t> more = {},
                                 std::span<const uint8_t> writable = {});

  // vCPU threads.
  uint32_t read_common(unsigned offset, unsigned size);
  uint32_t common_dword(unsigned offset) const;
  uint32_t queue_dword(unsigned offset, const QueueRegisters& queue) const;
  void write_common(unsigned offset, unsigned size, uint32_t value);
  bool write_queue(unsigned offset, uint32_t value);
  bool enable_queue(QueueRegisters& queue);
  bool reset_queue(QueueRegisters& queue);
  void write_driver_feature(uint32_t value);
  bool write_status(uint8_t value);
  uint32_t read_isr();
  uint32_t read_device_config(uint32_t offset, unsigned size);
  void write_device_config(uint32_t offset, unsigned size, uint32_t value);
  void notify(unsigned queue);
  bool in_config_window(unsigned offset, unsigned size) const;
  void kick();
  void ask_loop();
  uint16_t legal_vector(uint32_t value);
  void reset_registers();
  void reset_registers(QueueRegisters& queue, uint16_t size);

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

  // Transport.
  void queue_interrupt(unsigned queue) override;
  void config_interrupt() override;
  void needs_reset(std::string_view why) override;
  void interrupt(uint16_t vector, uint8_t isr);

  void describe_queue(state::Fields& fields, unsigned index);

  virtio::Device& device_;
  const LoopThread loop_thread_;
  const UniqueFd kick_;
  // A descriptor a queue, which an accelerator may signal in place of a notification.
  const std::vector<UniqueFd> bells_;
  std::vector<bus::Doorbell> doorbells_;
  const uint64_t offered_;
  const std::vector<uint16_t> queue_sizes_;
  Registers registers_{*this};
  unsigned config_window_ = 0;  // where VIRTIO_PCI_CAP_PCI_CFG is

  std::mutex lock_;
  uint32_t device_feature_select_ = 0, driver_feature_select_ = 0;
  uint64_t driver_features_ = 0;
  bool refused_features_ = false;  // the driver wants what was not offered
  uint16_t queue_select_ = 0;
  std::vector<QueueRegisters> queue_registers_;
  bool resetting_ = false;   // 0 was written to the status; the loop has not done it yet
  bool activating_ = false;  // likewise DRIVER_OK
  bool queues_changed_ = false;
  bool engaged_ = false;                     // the loop has something of the device, or will have
  std::vector<std::function<void()>> work_;  // for the loop

  std::atomic<uint8_t> status_{0}, config_generation_{0};
  std::atomic<uint16_t> config_vector_{0};
  std::atomic<uint64_t> notified_{0};  // a bit a queue
  std::atomic<bool> asked_{false};     // there is more for the loop than notifications
  std::atomic<bool> warned_{false};
  std::mutex isr_lock_;  // the ISR and its line are one; after lock_
  uint8_t isr_ = 0;

  // The loop's thread; or any, while the device is not engaged.
  std::vector<Queue> queues_;
  bool active_ = false;     // between Device::activate() and deactivate()
  bool loaded_ = false;     // restored(), to be activated by resume()
  bool held_ = false;       // between quiesce() and resume()
  bool settling_ = false;   // Device::quiesce() was called, and what waits for it has not run yet
  bool quiescing_ = false;  // inside of Device::quiesce()
  bool resting_ = false;    // Device::quiesce() is done, and not yet Device::resume()
  std::vector<std::function<void()>> at_rest_;
};

}  // namespace skerry::virtio
