// The network cards of a board that are no virtio devices.
//
// Made and destroyed by the main thread, while the I/O thread's loop is not driven; they work in that loop.
#pragma once

#include <memory>
#include <vector>

#include "base/io_thread.hpp"
#include "config/vm_config.hpp"
#include "devices/e1000e/e1000e.hpp"
#include "machine/backends.hpp"
#include "machine/pci_board.hpp"
#include "machine/workers.hpp"
#include "memory/guest_memory.hpp"

namespace skerry::machine {

class NetworkCards {
 public:
  // The backends, loop, memory and board outlive this.
  static Result<std::unique_ptr<NetworkCards>> create(const config::VmConfig& config, Backends& backends, IoThread& io,
                                                      memory::GuestMemory& memory, PciBoard& board);

  void join(Workers& workers);

 private:
  std::vector<std::unique_ptr<devices::e1000e::E1000e>> cards_;
};

}  // namespace skerry::machine
