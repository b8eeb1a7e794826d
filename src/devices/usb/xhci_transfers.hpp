// Transfers: a transfer descriptor (TD) of an endpoint's ring is read once, given to the device as a whole, and told of by
// events (3.2.8 to 3.2.11, 4.10 and 4.11).
//
// Of the controller's loop.
#pragma once

#include <sys/uio.h>

#include <functional>
#include <vector>

#include "base/task.hpp"
#include "devices/usb/device.hpp"
#include "devices/usb/xhci_slots.hpp"

namespace skerry::devices::usb::xhci {

class Transfers {
 public:
  struct Controller {
    memory::GuestMemory& memory;
    Slots& slots;
    std::function<Device*(unsigned port)> device;
    std::function<void(unsigned interrupter, const Trb& event, bool quietly)> put_event;
    std::function<void()> begun;  // a transfer is under way; for each one ended() follows, perhaps before begin() returns
    std::function<void(unsigned slot, unsigned endpoint, bool again)> ended;  // `again`: there may be another in the ring
  };
  explicit Transfers(Controller controller) : controller_(std::move(controller)) {}

  // What a driver may make of one TD. Linux and Windows stay far below.
  static constexpr size_t kMostTrbs = 1024;

  // Takes the next TD of an endpoint that is running and not busy.
  struct Begun {
    size_t trbs;  // that were read
    bool begun;   // false: there is none, or it is not whole yet
  };
  Begun begin(unsigned slot, unsigned endpoint);

 private:
  struct Td {
    unsigned slot, endpoint;
    std::vector<Trb> trbs;
    RingPlace next;           // behind it
    std::vector<iovec> host;  // its data in this process
    uint64_t size = 0;
    bool to_host = false;
    Setup setup;              // of a control transfer
  };
  enum class Read : uint8_t { kWhole, kNotYet, kBad };

  Read read(Td& td, RingPlace& place);
  bool read_control(Td& td) const;
  bool find_data(Td& td);
  Task<void> run(Td td);
  Transfer control(Td& td, Device& device);
  void written(const Td& td);
  void succeed(const Td& td, uint64_t bytes);
  void stall(const Td& td, uint64_t bytes);
  void fail(unsigned slot, unsigned endpoint, RingPlace at, EndpointState state, Code code, uint32_t residue, unsigned interrupter);
  void tell(const Td& td, const Trb& trb, Code code, uint32_t length);

  const Controller controller_;
};

}  // namespace skerry::devices::usb::xhci
