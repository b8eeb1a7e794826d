// The disks and CD-ROMs of a board that are reached by its AHCI controller. The controller is there only if one is.
//
// Made and destroyed by the main thread, while the I/O thread's loop is not driven; the controller works in that loop.
#pragma once

#include <map>
#include <memory>

#include "base/io_thread.hpp"
#include "config/vm_config.hpp"
#include "devices/ata/ahci.hpp"
#include "machine/backends.hpp"
#include "machine/q35_board.hpp"
#include "memory/guest_memory.hpp"

namespace skerry::machine {

class AtaDevices {
 public:
  // The backends, loop, memory and board outlive this. Null: no disk is on that bus.
  static Result<std::unique_ptr<AtaDevices>> create(const config::VmConfig& config, Backends& backends, IoThread& io,
                                                    memory::GuestMemory& memory, Q35Board& board);

  // With every vCPU at rest. After quiesce() the controller touches no guest memory, and its state does not change, until
  // resume().
  void quiesce();
  void resume();
  // A state has been loaded: at rest until resume().
  void restored() { quiet_ = true; }

  // The ports of the disks, by their place among Backends::disks: what firmware may start from.
  const std::map<size_t, unsigned>& disk_ports() const { return disk_ports_; }

 private:
  AtaDevices(IoThread& io, memory::GuestMemory& memory) : io_(io), ahci_("ahci", io.loop(), memory) {}
  void plug_in(size_t disk, const config::Disk& description, Backends::Disk& backend);

  IoThread& io_;
  devices::ata::Ahci ahci_;
  std::map<size_t, unsigned> disk_ports_;
  bool quiet_ = false;
};

}  // namespace skerry::machine
