// What of a board is reached by its USB controller: disks and CD-ROMs, and, if the description says so, a tablet, or that
// and a keyboard. The controller is there only if one of them is.
//
// Made and destroyed by the main thread, while the I/O thread's loop is not driven; the controller works in that loop.
#pragma once

#include <map>
#include <memory>

#include "base/io_thread.hpp"
#include "config/vm_config.hpp"
#include "devices/usb/xhci.hpp"
#include "machine/backends.hpp"
#include "machine/pci_board.hpp"
#include "machine/usb_input.hpp"
#include "machine/workers.hpp"
#include "memory/guest_memory.hpp"

namespace skerry::machine {

class UsbDevices {
 public:
  // The backends, loop, memory and board outlive this. Null: nothing is on that bus.
  static Result<std::unique_ptr<UsbDevices>> create(const config::VmConfig& config, Backends& backends, IoThread& io,
                                                    memory::GuestMemory& memory, PciBoard& board);

  void join(Workers& workers) { workers.add(xhci_); }

  // The ports of the disks, by their place among Backends::disks: what firmware may start from.
  const std::map<size_t, unsigned>& disk_ports() const { return disk_ports_; }

  // Null, if the description has neither here.
  UsbInput* input() { return input_.get(); }
  // Called on the I/O thread, or one that has borrowed its turn, or on the main thread with the VM at rest, with no lock held, when
  // the guest has begun or ceased to use one of the two. To be given while nothing runs.
  void on_input_change(std::function<void()> changed) { input_changed_ = std::move(changed); }

 private:
  UsbDevices(IoThread& io, memory::GuestMemory& memory) : xhci_("xhci", io.loop(), memory) {}
  void add_input(EventLoop& loop, bool with_keyboard);
  Result<void> plug_in(size_t disk, const config::Disk& description, Backends::Disk& backend);

  std::function<void()> input_changed_;
  devices::usb::Xhci xhci_;
  std::unique_ptr<UsbInput> input_;
  std::map<size_t, unsigned> disk_ports_;
};

}  // namespace skerry::machine
