// The disks and CD-ROMs of a board that are reached by its AHCI controller, which is there only if one is, or by its IDE
// controller, which the board "pc-1" has always.
//
// Made and destroyed by the main thread, while the I/O thread's loop is not driven; the controllers work in that loop.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>

#include "base/io_thread.hpp"
#include "config/vm_config.hpp"
#include "devices/ata/ahci.hpp"
#include "devices/ata/piix_ide.hpp"
#include "machine/backends.hpp"
#include "machine/pci_board.hpp"
#include "machine/workers.hpp"
#include "memory/guest_memory.hpp"

namespace skerry::machine {

class AtaDevices {
 public:
  struct Place {
    bus::AddressSpace& pio;
    PciBoard& board;
  };
  // The backends, loop, memory and board outlive this. Null: there is neither controller.
  static Result<std::unique_ptr<AtaDevices>> create(const config::VmConfig& config, Backends& backends, IoThread& io,
                                                    memory::GuestMemory& memory, Place place);

  // After a reset, where there is no firmware: the registers as it would leave them.
  void set_up();

  void join(Workers& workers);

  // The places of the disks as firmware names them, by their number among Backends::disks: what it may start from.
  const std::map<size_t, std::string>& boot_paths() const { return boot_paths_; }

 private:
  explicit AtaDevices(unsigned ahci_function) : ahci_function_(ahci_function) {}
  void plug_in(size_t disk, const config::Disk& description, Backends::Disk& backend);
  void plug_into_ide(size_t disk, const config::Disk& description, Backends::Disk& backend);

  const unsigned ahci_function_;
  std::optional<devices::ata::Ahci> ahci_;
  std::optional<devices::ata::PiixIde> ide_;
  unsigned ahci_ports_used_ = 0, ide_drives_used_ = 0;
  std::map<size_t, std::string> boot_paths_;
};

}  // namespace skerry::machine
