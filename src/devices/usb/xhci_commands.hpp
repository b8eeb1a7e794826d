// The commands of the command ring that are about slots and endpoints (4.6).
//
// Of the controller's loop.
#pragma once

#include <functional>

#include "devices/usb/xhci_port.hpp"
#include "devices/usb/xhci_slots.hpp"

namespace skerry::devices::usb::xhci {

class Commands {
 public:
  struct Controller {
    memory::GuestMemory& memory;
    Slots& slots;
    std::array<Port, kPorts>& ports;
    std::function<bool(unsigned port)> port_enabled;  // 1 to kPorts, with a device
    std::function<memory::Gpa()> context_array;       // DCBAAP
    std::function<unsigned()> slots_enabled;          // MaxSlotsEn
    std::function<void(unsigned slot, unsigned endpoint)> forget_doorbell;
  };
  explicit Commands(Controller controller) : controller_(std::move(controller)) {}

  struct Done {
    Code code;
    unsigned slot;
  };
  // None: a transfer that is under way has to end first; then again, with the same command.
  std::optional<Done> run(const Trb& command);
  // After reset or restoring: which slot has which port.
  void connect_ports();

 private:
  Slot* enabled(unsigned number);
  Done enable_slot();
  Code disable_slot(Slot& slot);
  Code address_device(const Trb& command, unsigned number, Slot& slot);
  Code configure(const Trb& command, Slot& slot);
  Code deconfigure(Slot& slot);
  Code evaluate(const Trb& command, Slot& slot);
  Code reset_endpoint(Slot& slot, unsigned endpoint);
  Code stop_endpoint(unsigned number, Slot& slot, unsigned endpoint);
  Code set_dequeue(const Trb& command, Slot& slot);
  Code reset_device(Slot& slot);
  bool add_endpoint(Slot& slot, unsigned endpoint, Context context);
  bool show_slot(Slot& slot, Context context);

  const Controller controller_;
};

}  // namespace skerry::devices::usb::xhci
