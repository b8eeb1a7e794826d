#include "devices/usb/xhci_slots.hpp"

namespace skerry::devices::usb::xhci {

std::optional<Context> read_context(const memory::GuestMemory& memory, memory::Gpa at) {
  Context context;
  if (!memory.read(at, std::as_writable_bytes(std::span(context)))) return std::nullopt;
  return context;
}

bool write_context(memory::GuestMemory& memory, memory::Gpa at, const Context& context) {
  return memory.write(at, std::as_bytes(std::span(context)));
}

void Slots::set_state(Slot& slot, unsigned endpoint, EndpointState state) {
  slot.endpoints[endpoint].state = state;
  show(slot, endpoint);
}

// A context that is no memory shows nothing; the guest has itself to blame.
void Slots::show(const Slot& slot, unsigned endpoint) {
  const Endpoint& from = slot.endpoints[endpoint];
  const memory::Gpa at = context_of(slot, endpoint);
  const auto first = memory_.load<uint32_t>(at);
  if (!first) return;
  memory_.store<uint64_t>(at + 8, from.ring.at | (from.ring.cycle ? endpoint_context::kDequeueCycle : 0));
  memory_.store<uint32_t>(at, (*first & ~endpoint_context::kState) | static_cast<uint32_t>(from.state));
}

void Slots::disable(Slot& slot, unsigned endpoint) {
  if (slot.endpoints[endpoint].state != EndpointState::kDisabled) set_state(slot, endpoint, EndpointState::kDisabled);
  slot.endpoints[endpoint] = {};
}

void Slots::describe(state::Fields& fields) {
  fields.list("slots", kSlots, [&](size_t i) {
    Slot& slot = slots_[i + 1];
    fields.group("slot", [&] {
      fields.field("enabled", slot.enabled);
      fields.field("state", slot.state, state::up_to(static_cast<uint8_t>(SlotState::kConfigured)));
      fields.field("port", slot.port, state::up_to(kPorts));
      fields.field("context", slot.context);
      fields.list("endpoints", kEndpoints, [&](size_t n) {
        Endpoint& endpoint = slot.endpoints[n + 1];
        fields.field("state", endpoint.state, state::up_to(static_cast<uint8_t>(EndpointState::kError)));
        fields.field("type", endpoint.type, state::up_to(static_cast<uint8_t>(EndpointType::kInterruptIn)));
        fields.field("ring", endpoint.ring.at);
        fields.field("cycle", endpoint.ring.cycle);
      });
    });
  });
}

}  // namespace skerry::devices::usb::xhci
