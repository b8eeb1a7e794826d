// The virtio devices of a VM, each with its transport: made from the description, brought to rest and set going as one.
//
// Called by the main thread. Disks, networks and the like work on the I/O thread; the console, whose characters come and
// go on the main loop, there.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/io_thread.hpp"
#include "config/vm_config.hpp"
#include "machine/backends.hpp"
#include "machine/virtio_home.hpp"
#include "machine/virtio_input.hpp"
#include "machine/workers.hpp"
#include "memory/guest_memory.hpp"
#include "virtio/balloon.hpp"
#include "virtio/device.hpp"
#include "virtio/gpu.hpp"

namespace skerry::machine {

class VirtioDevices {
 public:
  // The backends, loops, memory and home outlive this.
  static Result<std::unique_ptr<VirtioDevices>> create(const config::VmConfig& config, Backends& backends, EventLoop& main,
                                                       IoThread& io, memory::GuestMemory& memory, VirtioHome& home);

  void join(Workers& workers);
  // A state has been loaded.
  void restored();

  virtio::Balloon& balloon() { return *balloon_; }
  // Null, if the description has none here.
  VirtioInput* input() { return input_.get(); }
  // Called on the I/O thread, or one that has borrowed its turn, or on the main thread with the VM at rest, with no lock held, when
  // the guest has begun or ceased to use one of the two, or changed the keyboard's lamps. To be given while nothing runs.
  void on_input_change(std::function<void()> changed) { input_changed_ = std::move(changed); }
  // The slots of the disks, by their place among Backends::disks: what firmware may start from.
  const std::map<size_t, unsigned>& disk_slots() const { return disk_slots_; }
  // Likewise of those at the SCSI controller.
  struct ScsiPlace {
    unsigned slot, target;
  };
  const std::map<size_t, ScsiPlace>& scsi_disks() const { return scsi_disks_; }

 private:
  struct Entry {
    std::unique_ptr<virtio::Device> device;
    std::unique_ptr<virtio::TransportCore> transport;
  };
  VirtioDevices(EventLoop& main, IoThread& io, memory::GuestMemory& memory, VirtioHome& home)
      : main_(main), io_(io), memory_(memory), home_(home) {}
  Result<void> add_all(const config::VmConfig& config, Backends& backends);
  Result<void> add_disks(const config::VmConfig& config, Backends& backends);
  Result<void> add_scsi(const config::VmConfig& config, Backends& backends, uint16_t queues);
  Result<void> add_gpu(display::Screen& screen);
  Result<void> add_input();
  // Gives the slot, which is the next one if none is given.
  Result<unsigned> add(std::unique_ptr<virtio::Device> device, std::optional<unsigned> slot = std::nullopt);

  EventLoop& main_;
  IoThread& io_;
  memory::GuestMemory& memory_;
  VirtioHome& home_;
  std::function<void()> input_changed_;
  std::vector<Entry> entries_;
  std::unique_ptr<VirtioInput> input_;
  virtio::Gpu* gpu_ = nullptr;
  std::map<size_t, unsigned> disk_slots_;
  std::map<size_t, ScsiPlace> scsi_disks_;
  virtio::Balloon* balloon_ = nullptr;
};

}  // namespace skerry::machine
