// The virtio devices of a VM, each with its transport: made from the description, brought to rest and set going as one.
//
// Called by the main thread. Disks, networks and the like work on the I/O thread; the console, whose characters come and
// go on the main loop, there.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/io_thread.hpp"
#include "config/vm_config.hpp"
#include "machine/backends.hpp"
#include "machine/virtio_home.hpp"
#include "memory/guest_memory.hpp"
#include "virtio/balloon.hpp"
#include "virtio/device.hpp"

namespace skerry::machine {

class VirtioDevices {
 public:
  // The backends, loops, memory and home outlive this.
  static Result<std::unique_ptr<VirtioDevices>> create(const config::VmConfig& config, Backends& backends, EventLoop& main,
                                                       IoThread& io, memory::GuestMemory& memory, VirtioHome& home);

  // With every vCPU at rest. After quiesce() no device touches guest memory, and none's state changes, until resume().
  void quiesce();
  void resume();
  // A state has been loaded: they are at rest until resume().
  void restored() { quiet_ = true; }

  virtio::Balloon& balloon() { return *balloon_; }
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
  // Gives the slot.
  Result<unsigned> add(std::unique_ptr<virtio::Device> device);

  EventLoop& main_;
  IoThread& io_;
  memory::GuestMemory& memory_;
  VirtioHome& home_;
  std::vector<Entry> entries_;
  std::map<size_t, unsigned> disk_slots_;
  std::map<size_t, ScsiPlace> scsi_disks_;
  virtio::Balloon* balloon_ = nullptr;
  bool quiet_ = false;
};

}  // namespace skerry::machine
