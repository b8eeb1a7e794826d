#include "devices/usb/xhci_commands.hpp"

#include <algorithm>

namespace skerry::devices::usb::xhci {

namespace {
constexpr uint32_t kSlotFlag = 1, kControlFlag = 2;  // A0 and A1 of an input control context (6.2.5.1)
constexpr unsigned kControlEndpoint = 1;

memory::Gpa input_of(const Trb& command) { return command.parameter & ~uint64_t{0xf}; }
memory::Gpa input_context(const Trb& command, unsigned index) { return input_of(command) + uint64_t{index + 1} * kContextSize; }

RingPlace ring_of(const Context& context) {
  const uint64_t place = context[2] | uint64_t{context[3]} << 32;
  return {place & ~uint64_t{0xf}, (place & endpoint_context::kDequeueCycle) != 0};
}
EndpointType type_of(const Context& context) { return static_cast<EndpointType>(context[1] >> endpoint_context::kTypeShift & 7); }

// Which of the types that are there may have this index: those to the host are odd.
bool fits(EndpointType type, unsigned endpoint) {
  if (endpoint == kControlEndpoint) return type == EndpointType::kControl;
  if (endpoint & 1) return type == EndpointType::kBulkIn || type == EndpointType::kInterruptIn;
  return type == EndpointType::kBulkOut || type == EndpointType::kInterruptOut;
}
}  // namespace

std::optional<Commands::Done> Commands::run(const Trb& command) {
  const unsigned number = command.slot(), endpoint = command.endpoint();
  if (command.type() == Type::kNoOpCommand) return Done{Code::kSuccess, 0};
  if (command.type() == Type::kEnableSlot) return enable_slot();
  if (command.type() < Type::kDisableSlot || command.type() > Type::kResetDevice) return Done{Code::kTrbError, 0};
  Slot* slot = enabled(number);
  if (!slot) return Done{Code::kSlotNotEnabled, number};
  const bool of_endpoint = command.type() == Type::kResetEndpoint || command.type() == Type::kStopEndpoint ||
                           command.type() == Type::kSetDequeue;
  if (of_endpoint && endpoint == 0) return Done{Code::kTrbError, number};
  if (of_endpoint ? slot->endpoints[endpoint].busy : slot->busy()) return std::nullopt;
  switch (command.type()) {
    case Type::kDisableSlot: return Done{disable_slot(*slot), number};
    case Type::kAddressDevice: return Done{address_device(command, number, *slot), number};
    case Type::kConfigureEndpoint: return Done{command.has(trb::DC) ? deconfigure(*slot) : configure(command, *slot), number};
    case Type::kEvaluateContext: return Done{evaluate(command, *slot), number};
    case Type::kResetEndpoint: return Done{reset_endpoint(*slot, endpoint), number};
    case Type::kStopEndpoint: return Done{stop_endpoint(number, *slot, endpoint), number};
    case Type::kSetDequeue: return Done{set_dequeue(command, *slot), number};
    case Type::kResetDevice: return Done{reset_device(*slot), number};
    default: return Done{Code::kTrbError, number};
  }
}

void Commands::connect_ports() {
  for (Port& port : controller_.ports) port.slot = 0;
  for (unsigned number = 1; number <= kSlots; ++number) {
    Slot& slot = controller_.slots[number];
    if (!slot.enabled) continue;
    // Two that have one device, or one of which there is none, are only in a state that was made by hand.
    if (slot.port == 0 || controller_.ports[slot.port - 1].slot != 0 || !controller_.ports[slot.port - 1].device())
      slot = {.enabled = true};
    else
      controller_.ports[slot.port - 1].slot = static_cast<uint8_t>(number);
  }
}

Slot* Commands::enabled(unsigned number) {
  if (number == 0 || number > kSlots) return nullptr;
  Slot& slot = controller_.slots[number];
  return slot.enabled ? &slot : nullptr;
}

// 4.6.3.
Commands::Done Commands::enable_slot() {
  for (unsigned number = 1; number <= std::min(kSlots, controller_.slots_enabled()); ++number) {
    Slot& slot = controller_.slots[number];
    if (slot.enabled) continue;
    slot = {.enabled = true};
    return {Code::kSuccess, number};
  }
  return {Code::kNoSlots, 0};
}

// 4.6.4.
Code Commands::disable_slot(Slot& slot) {
  for (unsigned endpoint = kControlEndpoint; endpoint <= kEndpoints; ++endpoint) controller_.slots.disable(slot, endpoint);
  if (slot.port != 0) {
    controller_.ports[slot.port - 1].slot = 0;
    if (auto context = read_context(controller_.memory, slot.context)) {
      slot.state = SlotState::kDisabledOrEnabled;
      show_slot(slot, *context);
    }
  }
  slot = {};
  return Code::kSuccess;
}

// The slot's state and address into its context: dword 3 (6.2.2).
bool Commands::show_slot(Slot& slot, Context context) {
  context[3] = static_cast<uint32_t>(slot.state) << slot_context::kStateShift;
  const bool has_address = slot.state == SlotState::kAddressed || slot.state == SlotState::kConfigured;
  if (has_address) context[3] |= controller_.ports[slot.port - 1].slot;  // a slot's number is its device's address
  return write_context(controller_.memory, slot.context, context);
}

// 4.6.5.
Code Commands::address_device(const Trb& command, unsigned number, Slot& slot) {
  const auto control = read_context(controller_.memory, input_of(command));
  const auto about_slot = read_context(controller_.memory, input_context(command, 0));
  const auto about_endpoint = read_context(controller_.memory, input_context(command, kControlEndpoint));
  const auto context = controller_.memory.load<uint64_t>(controller_.context_array() + uint64_t{number} * 8);
  if (!control || !about_slot || !about_endpoint || !context) return Code::kTrbError;
  const bool only_default = command.has(trb::BSR);
  const bool fresh = slot.state == SlotState::kDisabledOrEnabled;
  if (!fresh && (only_default || slot.state != SlotState::kDefault)) return Code::kContextState;
  if (((*control)[1] & (kSlotFlag | kControlFlag)) != (kSlotFlag | kControlFlag) || !fits(type_of(*about_endpoint), kControlEndpoint))
    return Code::kParameterError;
  const unsigned port = (*about_slot)[1] >> slot_context::kPortShift & 0xff;
  if (port == 0 || port > kPorts) return Code::kParameterError;
  if (((*about_slot)[0] & slot_context::kRoute) != 0 || !controller_.port_enabled(port)) return Code::kTransactionError;
  const uint8_t holder = controller_.ports[port - 1].slot;
  if ((holder != 0 && holder != number) || (slot.port != 0 && slot.port != port)) return Code::kParameterError;

  slot.port = static_cast<uint8_t>(port);
  slot.context = *context & ~uint64_t{0x3f};
  slot.state = only_default ? SlotState::kDefault : SlotState::kAddressed;
  controller_.ports[port - 1].slot = static_cast<uint8_t>(number);
  if (!show_slot(slot, *about_slot) || !add_endpoint(slot, kControlEndpoint, *about_endpoint)) return Code::kTrbError;
  return Code::kSuccess;
}

bool Commands::add_endpoint(Slot& slot, unsigned endpoint, Context context) {
  slot.endpoints[endpoint] = {.state = EndpointState::kRunning, .type = type_of(context), .ring = ring_of(context)};
  context[0] = (context[0] & ~endpoint_context::kState) | static_cast<uint32_t>(EndpointState::kRunning);
  return write_context(controller_.memory, Slots::context_of(slot, endpoint), context);
}

// 4.6.6. All of it is looked at before any of it happens.
Code Commands::configure(const Trb& command, Slot& slot) {
  if (slot.state != SlotState::kAddressed && slot.state != SlotState::kConfigured) return Code::kContextState;
  const auto control = read_context(controller_.memory, input_of(command));
  const auto about_slot = read_context(controller_.memory, input_context(command, 0));
  auto shown = read_context(controller_.memory, slot.context);
  if (!control || !about_slot || !shown) return Code::kTrbError;
  const uint32_t drop = (*control)[0], add = (*control)[1];
  if ((drop & (kSlotFlag | kControlFlag)) || (add & kControlFlag)) return Code::kParameterError;
  std::array<Context, kEndpoints + 1> added{};
  for (unsigned endpoint = 2; endpoint <= kEndpoints; ++endpoint) {
    if (!(add >> endpoint & 1)) continue;
    const auto context = read_context(controller_.memory, input_context(command, endpoint));
    if (!context) return Code::kTrbError;
    if (!fits(type_of(*context), endpoint) || ((*context)[0] & endpoint_context::kStreams)) return Code::kParameterError;
    added[endpoint] = *context;
  }

  bool any = false, good = true;
  for (unsigned endpoint = 2; endpoint <= kEndpoints; ++endpoint) {
    if (drop >> endpoint & 1) controller_.slots.disable(slot, endpoint);
    if (add >> endpoint & 1) good = add_endpoint(slot, endpoint, added[endpoint]) && good;
    any = any || slot.endpoints[endpoint].state != EndpointState::kDisabled;
  }
  slot.state = any ? SlotState::kConfigured : SlotState::kAddressed;
  constexpr uint32_t kEntries = 0x1fu << slot_context::kEntriesShift;
  if (add & kSlotFlag) (*shown)[0] = ((*shown)[0] & ~kEntries) | ((*about_slot)[0] & kEntries);
  return show_slot(slot, *shown) && good ? Code::kSuccess : Code::kTrbError;
}

Code Commands::deconfigure(Slot& slot) {
  if (slot.state != SlotState::kAddressed && slot.state != SlotState::kConfigured) return Code::kContextState;
  for (unsigned endpoint = 2; endpoint <= kEndpoints; ++endpoint) controller_.slots.disable(slot, endpoint);
  slot.state = SlotState::kAddressed;
  const auto shown = read_context(controller_.memory, slot.context);
  return shown && show_slot(slot, *shown) ? Code::kSuccess : Code::kTrbError;
}

// 4.6.7: of the slot its latency and interrupter, of endpoint 0 its packet size.
Code Commands::evaluate(const Trb& command, Slot& slot) {
  if (slot.state == SlotState::kDisabledOrEnabled) return Code::kContextState;
  const auto control = read_context(controller_.memory, input_of(command));
  if (!control) return Code::kTrbError;
  const uint32_t add = (*control)[1];
  const auto copy = [&](unsigned index, unsigned dword, uint32_t mask) {
    const auto input = controller_.memory.load<uint32_t>(input_context(command, index) + 4 * dword);
    const memory::Gpa to = Slots::context_of(slot, index) + 4 * dword;
    const auto before = controller_.memory.load<uint32_t>(to);
    return input && before && controller_.memory.store<uint32_t>(to, (*before & ~mask) | (*input & mask));
  };
  if ((add & kSlotFlag) && !(copy(0, 1, slot_context::kLatency) && copy(0, 2, slot_context::kInterrupter))) return Code::kTrbError;
  if ((add & kControlFlag) && !copy(kControlEndpoint, 1, endpoint_context::kPacket)) return Code::kTrbError;
  return Code::kSuccess;
}

// 4.6.8.
Code Commands::reset_endpoint(Slot& slot, unsigned endpoint) {
  if (slot.endpoints[endpoint].state != EndpointState::kHalted) return Code::kContextState;
  controller_.slots.set_state(slot, endpoint, EndpointState::kStopped);
  return Code::kSuccess;
}

// 4.6.9. No transfer is under way, so the ring stands at one that has not begun, which no event has to tell of. A doorbell from
// before does not start it again.
Code Commands::stop_endpoint(unsigned number, Slot& slot, unsigned endpoint) {
  if (slot.endpoints[endpoint].state != EndpointState::kRunning) return Code::kContextState;
  controller_.forget_doorbell(number, endpoint);
  controller_.slots.set_state(slot, endpoint, EndpointState::kStopped);
  return Code::kSuccess;
}

// 4.6.10.
Code Commands::set_dequeue(const Trb& command, Slot& slot) {
  const unsigned endpoint = command.endpoint();
  const EndpointState state = slot.endpoints[endpoint].state;
  if (state != EndpointState::kStopped && state != EndpointState::kError) return Code::kContextState;
  slot.endpoints[endpoint].ring = {command.parameter & ~uint64_t{0xf}, (command.parameter & 1) != 0};
  controller_.slots.set_state(slot, endpoint, EndpointState::kStopped);
  return Code::kSuccess;
}

// 4.6.11.
Code Commands::reset_device(Slot& slot) {
  if (slot.state != SlotState::kAddressed && slot.state != SlotState::kConfigured) return Code::kContextState;
  for (unsigned endpoint = 2; endpoint <= kEndpoints; ++endpoint) controller_.slots.disable(slot, endpoint);
  slot.state = SlotState::kDefault;
  auto shown = read_context(controller_.memory, slot.context);
  if (!shown) return Code::kTrbError;
  (*shown)[0] = ((*shown)[0] & ~(0x1fu << slot_context::kEntriesShift)) | 1u << slot_context::kEntriesShift;
  return show_slot(slot, *shown) ? Code::kSuccess : Code::kTrbError;
}

}  // namespace skerry::devices::usb::xhci
