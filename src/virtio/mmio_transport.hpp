// A virtio device behind a window of memory-mapped registers and one interrupt line (virtio 1.2, 4.2), without the
// legacy interface.
//
// There, unlike on PCI, drivers take a reset for done when they have asked for it: Linux's does not read the status
// again before it takes the queues' memory back. So the write that asks for it waits, on the vCPU's thread and with no
// lock held. It gives up when it may not wait any more, because who is to do the work wants the vCPU to come to rest
// first; then the reset is done before anything is saved, and before the vCPU goes on.
#pragma once

#include <condition_variable>
#include <functional>
#include <memory>

#include "bus/address_space.hpp"
#include "bus/device.hpp"
#include "bus/interrupt.hpp"
#include "virtio/mmio_layout.hpp"
#include "virtio/transport_core.hpp"

namespace skerry::virtio {

class MmioTransport final : public bus::Device, public TransportCore, private bus::IoHandler {
 public:
  static constexpr uint64_t kSize = mmio_layout::kWindow;

  struct Options {
    LoopThread loop = LoopThread::kOther;
    bus::IrqLine irq;  // level-triggered
    // Whether the thread that calls may wait for the device's loop. Called on vCPU threads with the transport's lock
    // held.
    std::function<bool()> may_wait = [] { return false; };
  };
  // `device` outlives it. Fails if the device has more queues or configuration than there may be, or the host has no
  // descriptor left.
  static Result<std::unique_ptr<MmioTransport>> create(virtio::Device& device, Options options);
  // On the loop's thread, or when the loop does not run any more.
  ~MmioTransport() override;

  // Where its registers are. The transport outlives the address space's use.
  Result<void> attach(bus::AddressSpace& mmio, uint64_t base);

  std::string_view name() const override { return device_.name(); }
  // With the VM at rest and the loop alive. What is under way ends first: quiesce() before saves kCaller the polling.
  void reset() override;
  // The device is at rest. A state is loaded only into a device that is fresh or was reset.
  void describe(state::Fields& fields) override;
  void restored() override;

 private:
  MmioTransport(virtio::Device& device, Options options, Descriptors descriptors);

  // vCPU threads. Control registers are 32 bits wide and aligned (4.2.2.2); other accesses to them read 0 and are
  // dropped.
  uint64_t io_read(uint64_t offset, unsigned size) override;
  void io_write(uint64_t offset, unsigned size, uint64_t value) override;
  unsigned widest_access() const override { return 4; }
  uint32_t read_register(uint32_t offset);
  uint32_t read_queue_register(uint32_t offset) const;
  void write_register(uint32_t offset, uint32_t value);
  bool write_locked(uint32_t offset, uint32_t value);
  bool write_queue_ready(uint32_t value);
  void wait_for_reset();

  // Transport and TransportCore.
  void queue_interrupt(unsigned) override { raise_isr(device_status::kIsrQueue); }
  void signal_config() override { raise_isr(device_status::kIsrConfig); }
  void set_line(bool level) override { irq_.set(level); }
  void driver_served() override { served_.notify_all(); }

  const bus::IrqLine irq_;
  const std::function<bool()> may_wait_;
  std::condition_variable served_;  // with lock_: a reset may be done
};

}  // namespace skerry::virtio
