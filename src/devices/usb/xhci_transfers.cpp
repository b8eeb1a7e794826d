#include "devices/usb/xhci_transfers.hpp"

#include <algorithm>
#include <utility>

#include "block/iovec.hpp"

namespace skerry::devices::usb::xhci {

namespace {
constexpr unsigned kControlEndpoint = 1;
constexpr uint32_t kImmediate = 8;  // bytes in a TRB itself

bool is_control(unsigned endpoint) { return endpoint == kControlEndpoint; }
bool has_data(const Trb& trb) { return trb.type() == Type::kNormal || trb.type() == Type::kData; }

bool belongs(Type type, unsigned endpoint) {
  switch (type) {
    case Type::kNormal: case Type::kEventData: case Type::kNoOp: return true;
    case Type::kSetup: case Type::kData: case Type::kStatus: return is_control(endpoint);
    default: return false;
  }
}
uint8_t address_of(unsigned endpoint) { return static_cast<uint8_t>(endpoint / 2 | (endpoint & 1 ? kIn : 0)); }
}  // namespace

// --- reading ---------------------------------------------------------------------------------------------------------

Transfers::Begun Transfers::begin(unsigned slot, unsigned endpoint) {
  Slot& of = controller_.slots[slot];
  Td td{.slot = slot, .endpoint = endpoint};
  RingPlace place = of.endpoints[endpoint].ring;
  const Read got = read(td, place);
  if (got == Read::kNotYet) return {td.trbs.size(), false};
  if (got == Read::kBad || !find_data(td)) {
    const unsigned interrupter = td.trbs.empty() ? 0 : td.trbs.back().interrupter();
    fail(slot, endpoint, td.trbs.empty() ? place : RingPlace{td.trbs.front().at, td.trbs.front().has(trb::C)}, EndpointState::kError,
         Code::kTrbError, 0, interrupter);
    return {td.trbs.size(), true};
  }
  const size_t count = td.trbs.size();
  of.endpoints[endpoint].busy = true;
  controller_.begun();
  spawn(run(std::move(td)));
  return {count, true};
}

// A TD ends with the TRB that is not chained to another. A control transfer is the TDs of all its stages (4.11.2.2).
Transfers::Read Transfers::read(Td& td, RingPlace& place) {
  RingReader reader(controller_.memory, place);
  bool whole = false, has_status = false;
  while (!whole) {
    const auto trb = reader.next();
    if (!trb) return reader.failure() == RingReader::Failure::kEmpty ? Read::kNotYet : Read::kBad;
    td.trbs.push_back(*trb);
    if (!belongs(trb->type(), td.endpoint) || td.trbs.size() > kMostTrbs) return Read::kBad;
    has_status = has_status || trb->type() == Type::kStatus;
    const bool stages_to_come = td.trbs.front().type() == Type::kSetup && !has_status;
    whole = !trb->has(trb::CH) && !stages_to_come;
  }
  td.next = reader.place();
  td.to_host = td.endpoint & 1;
  return !is_control(td.endpoint) || read_control(td) ? Read::kWhole : Read::kBad;
}

bool Transfers::read_control(Td& td) const {
  const Trb& first = td.trbs.front();
  if (first.type() != Type::kSetup)
    return std::none_of(td.trbs.begin(), td.trbs.end(), [](const Trb& trb) { return has_data(trb) || trb.type() == Type::kStatus; });
  if (!first.has(trb::IDT) || first.length() != kImmediate) return false;
  const uint64_t setup = first.parameter;
  td.setup = {static_cast<uint8_t>(setup), static_cast<uint8_t>(setup >> 8), static_cast<uint16_t>(setup >> 16),
              static_cast<uint16_t>(setup >> 32), static_cast<uint16_t>(setup >> 48)};
  td.to_host = td.setup.to_host();
  return std::count_if(td.trbs.begin(), td.trbs.end(), [](const Trb& trb) { return trb.type() == Type::kSetup; }) == 1;
}

// False: some of it is no memory.
bool Transfers::find_data(Td& td) {
  for (Trb& trb : td.trbs) {
    const uint32_t length = trb.length();
    if (!has_data(trb) || length == 0) continue;
    td.size += length;
    if (!trb.has(trb::IDT)) {
      if (!controller_.memory.host_ranges(trb.parameter, length, td.to_host, td.host)) return false;
    } else if (td.to_host || length > kImmediate) {
      return false;
    } else {
      td.host.push_back({&trb.parameter, length});  // it stays where it is when the TD moves
    }
  }
  return true;
}

// --- doing -----------------------------------------------------------------------------------------------------------

Task<void> Transfers::run(Td td) {
  Slot& slot = controller_.slots[td.slot];
  Transfer done;
  const bool asks = std::any_of(td.trbs.begin(), td.trbs.end(), [](const Trb& trb) { return has_data(trb) || trb.type() == Type::kSetup; });
  Device* device = controller_.device(slot.port);
  if (asks && !device)
    done.result = Transfer::Result::kStall;
  else if (asks && is_control(td.endpoint))
    done = control(td, *device);
  else if (asks)
    done = co_await device->transfer(address_of(td.endpoint), td.host);
  if (td.to_host && done.result != Transfer::Result::kNotReady) written(td);
  Endpoint& endpoint = slot.endpoints[td.endpoint];
  if (done.result == Transfer::Result::kDone) {
    succeed(td, done.bytes);
    endpoint.ring = td.next;
  } else if (done.result == Transfer::Result::kStall) {
    stall(td, done.bytes);
  }
  endpoint.busy = false;
  controller_.ended(td.slot, td.endpoint, done.result == Transfer::Result::kDone);
}

Transfer Transfers::control(Td& td, Device& device) {
  Device::Bytes data;
  if (!td.to_host) {
    data.resize(std::min<uint64_t>(td.size, td.setup.length));
    block::copy_from(td.host, 0, data);
  }
  if (!device.control(td.setup, data)) return {Transfer::Result::kStall};
  if (!td.to_host) return {.bytes = td.size};
  data.resize(std::min<uint64_t>(data.size(), td.size));
  block::copy_to(td.host, 0, data);
  return {.bytes = data.size()};
}

void Transfers::written(const Td& td) {
  for (const Trb& trb : td.trbs)
    if (has_data(trb) && trb.length() > 0) controller_.memory.written(trb.parameter, trb.length());
}

// --- telling (4.10.1 and 4.11.5.2) -----------------------------------------------------------------------------------

// A short packet is told once, by the TRB in which it happened if that asks for it, or by the next that asks for an event;
// event data TRBs tell of all that has moved since the one before.
void Transfers::succeed(const Td& td, uint64_t bytes) {
  uint32_t since = 0;
  bool is_short = false, told = false;
  for (const Trb& trb : td.trbs) {
    if (has_data(trb)) {
      const auto moved = static_cast<uint32_t>(std::min<uint64_t>(bytes, trb.length()));
      bytes -= moved;
      since += moved;
      is_short = is_short || moved < trb.length();
      if (told || !(trb.has(trb::IOC) || (is_short && trb.has(trb::ISP)))) continue;
      told = is_short;
      tell(td, trb, is_short ? Code::kShortPacket : Code::kSuccess, trb.length() - moved);
    } else if (trb.type() == Type::kEventData) {
      if (!trb.has(trb::IOC)) continue;
      const uint32_t moved = std::exchange(since, 0);
      tell(td, trb, is_short ? Code::kShortPacket : Code::kSuccess, moved & trb::kEventLength);
    } else if (trb.has(trb::IOC)) {
      tell(td, trb, Code::kSuccess, 0);
    }
    if (trb.type() == Type::kStatus) is_short = false;
  }
}

// Where the transfer stopped: in its data, or else in the stage that has none.
void Transfers::stall(const Td& td, uint64_t bytes) {
  const Trb* at = &td.trbs.back();
  uint32_t residue = 0;
  for (const Trb& trb : td.trbs) {
    if (!has_data(trb) && trb.type() != Type::kStatus) continue;
    at = &trb;
    if (trb.type() == Type::kStatus) break;
    const uint64_t moved = std::min<uint64_t>(bytes, trb.length());
    bytes -= moved;
    residue = static_cast<uint32_t>(trb.length() - moved);
    if (residue > 0) break;
  }
  fail(td.slot, td.endpoint, {at->at, at->has(trb::C)}, EndpointState::kHalted, Code::kStall, residue, at->interrupter());
}

// The endpoint stands still, at what has failed, until the driver acts.
void Transfers::fail(unsigned slot, unsigned endpoint, RingPlace at, EndpointState state, Code code, uint32_t residue,
                     unsigned interrupter) {
  controller_.slots[slot].endpoints[endpoint].ring = at;
  controller_.slots.set_state(controller_.slots[slot], endpoint, state);
  const Trb event{.parameter = at.at,
                  .status = residue | static_cast<uint32_t>(code) << trb::kCodeShift,
                  .control = static_cast<uint32_t>(Type::kTransferEvent) << trb::kTypeShift |
                             endpoint << trb::kEndpointShift | slot << trb::kSlotShift};
  controller_.put_event(interrupter, event, false);
}

void Transfers::tell(const Td& td, const Trb& trb, Code code, uint32_t length) {
  const bool by_data = trb.type() == Type::kEventData;
  const Trb event{.parameter = by_data ? trb.parameter : trb.at,
                  .status = length | static_cast<uint32_t>(code) << trb::kCodeShift,
                  .control = static_cast<uint32_t>(Type::kTransferEvent) << trb::kTypeShift | td.endpoint << trb::kEndpointShift |
                             td.slot << trb::kSlotShift | (by_data ? trb::ED : 0)};
  controller_.put_event(trb.interrupter(), event, trb.has(trb::BEI));
}

}  // namespace skerry::devices::usb::xhci
