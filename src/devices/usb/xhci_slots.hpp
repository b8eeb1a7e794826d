// Device slots and their endpoints (4.5 and 4.8), and their contexts in guest memory (6.2), which show what is here.
//
// Everything belongs to the controller's loop; describe() and reset() at rest.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "devices/usb/xhci_ring.hpp"
#include "state/fields.hpp"

namespace skerry::devices::usb::xhci {

struct Endpoint {
  EndpointState state = EndpointState::kDisabled;
  EndpointType type = EndpointType::kNone;
  RingPlace ring;
  bool busy = false;  // a transfer is under way; never at rest
};

struct Slot {
  bool enabled = false;
  SlotState state = SlotState::kDisabledOrEnabled;
  uint8_t port = 0;           // 1 to kPorts; 0: none yet
  memory::Gpa context = 0;    // the output device context
  std::array<Endpoint, kEndpoints + 1> endpoints;  // by device context index, from 1

  bool busy() const {
    for (const Endpoint& endpoint : endpoints)
      if (endpoint.busy) return true;
    return false;
  }
};

using Context = std::array<uint32_t, kContextSize / 4>;
std::optional<Context> read_context(const memory::GuestMemory& memory, memory::Gpa at);
bool write_context(memory::GuestMemory& memory, memory::Gpa at, const Context& context);

class Slots {
 public:
  explicit Slots(memory::GuestMemory& memory) : memory_(memory) {}

  // 1 to kSlots.
  Slot& operator[](unsigned slot) { return slots_[slot]; }
  static memory::Gpa context_of(const Slot& slot, unsigned endpoint) { return slot.context + uint64_t{endpoint} * kContextSize; }
  // Changes the endpoint's state, and shows it with the place in its ring.
  void set_state(Slot& slot, unsigned endpoint, EndpointState state);
  void show(const Slot& slot, unsigned endpoint);
  void disable(Slot& slot, unsigned endpoint);

  void reset() { slots_ = {}; }
  void describe(state::Fields& fields);

 private:
  memory::GuestMemory& memory_;
  std::array<Slot, kSlots + 1> slots_;
};

}  // namespace skerry::devices::usb::xhci
