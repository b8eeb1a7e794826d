// What a virtio device is, whatever it is reached by. Virtio 1.2, chapters 2 and 5.
//
// The transport knows nothing of devices and devices nothing of the transport. A device works in its event loop's
// thread; the calls that come from vCPU threads are marked. Every device has the same shape, one file each: constants
// of the specification, state, configuration space, queue work, state description.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/event_loop.hpp"
#include "memory/guest_memory.hpp"
#include "state/fields.hpp"
#include "virtio/queue.hpp"

namespace skerry::virtio {

// Virtio 1.2, chapter 5.
enum class DeviceId : uint16_t {
  kNet = 1, kBlock = 2, kConsole = 3, kEntropy = 4, kBalloon = 5, kScsi = 8, kGpu = 16, kInput = 18, kVsock = 19, kFs = 26
};

// Virtio 1.2, chapter 6: features that are not of one kind of device.
namespace feature {
constexpr uint64_t kRingIndirectDesc = uint64_t{1} << 28, kRingEventIdx = uint64_t{1} << 29;
constexpr uint64_t kVersion1 = uint64_t{1} << 32, kAccessPlatform = uint64_t{1} << 33;
constexpr uint64_t kRingPacked = uint64_t{1} << 34, kRingReset = uint64_t{1} << 40;
}  // namespace feature

// What a device asks of its transport. Any thread; takes only interrupt controllers' locks.
class Transport {
 public:
  virtual ~Transport() = default;
  virtual void queue_interrupt(unsigned queue) = 0;  // used buffers are there: queue.needs_interrupt() has said so
  virtual void config_interrupt() = 0;               // the configuration space has changed
  // The device is broken by what the driver did (2.1.2): DEVICE_NEEDS_RESET. Logged once, with `why`.
  virtual void needs_reset(std::string_view why) = 0;
};

class Device {
 public:
  explicit Device(std::string name, EventLoop& loop, memory::GuestMemory& memory)
      : name_(std::move(name)), loop_(loop), memory_(memory) {}
  virtual ~Device() = default;

  const std::string& name() const { return name_; }  // unique on a board: it keys the saved state
  EventLoop& loop() { return loop_; }
  memory::GuestMemory& memory() { return memory_; }
  virtual DeviceId id() const = 0;
  // PCI class code of the function it is in, 24 bits.
  virtual uint32_t pci_class() const = 0;
  // What is offered beyond the ring features, which the transport adds.
  virtual uint64_t features() const = 0;
  // The most entries of each queue; a queue's number is its index here.
  virtual std::vector<uint16_t> queue_sizes() const = 0;

  // The device's configuration space (2.5). On vCPU threads: takes the device's own lock, if it changes at run time. An
  // access lies inside of config_size().
  virtual uint32_t config_size() const { return 0; }
  virtual void read_config(uint32_t offset, std::span<uint8_t> to) = 0;
  virtual void write_config(uint32_t, std::span<const uint8_t>) {}

  // The rest in turns of the loop.

  // DRIVER_OK: `features` are agreed on, `queues` (one per entry of queue_sizes(); some may not be enabled) are set up
  // and stay the transport's. Valid until deactivate(). What describe() has loaded before stays. A queue that is
  // enabled or reset later starts and stops by itself; a device at rest has no chains of it.
  virtual void activate(uint64_t features, std::span<Queue> queues, Transport& transport) = 0;
  // The driver says that queue `index` has buffers. Also called, spuriously, after activate() and resume().
  virtual void notified(unsigned index) = 0;
  // Whether notified() is likely to be short work in a borrowed turn of the loop: then it is done on the vCPU's thread.
  // Asked before each notification, on any thread.
  virtual bool prompt() { return false; }
  // A reset by the driver or of the machine. What was under way ends unseen: afterwards the device touches neither the
  // queues nor guest memory, and its state is that after power-on. Returns when that is so. Called at rest, so that it
  // need not wait; also instead of activate(), for a loaded state.
  virtual void deactivate() = 0;
  // For save: takes nothing more from the queues, and calls `at_rest` when nothing is under way any more, perhaps at
  // once. Everything of the device is then in describe() and in guest memory.
  virtual void quiesce(std::function<void()> at_rest) = 0;
  virtual void resume() = 0;  // after quiesce(), or after describe() has loaded a state

  // At rest. What the driver agreed on and the queues' places are described by the transport.
  virtual void describe(state::Fields& fields) = 0;

 protected:
  const std::string name_;
  EventLoop& loop_;
  memory::GuestMemory& memory_;
};

}  // namespace skerry::virtio
