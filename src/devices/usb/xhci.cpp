#include "devices/usb/xhci.hpp"

#include <bit>
#include <utility>

#include "base/log.hpp"

namespace skerry::devices::usb {

using namespace xhci;

namespace {
constexpr bus::PciIdentity kIdentity = {
    .vendor = 0x1b36, .device = 0x000d, .subsystem_vendor = 0x1af4, .subsystem = 0x1100, .class_code = 0x0c0330, .revision = 1};
constexpr unsigned kSerialBusRelease = 0x60;  // SBRN (5.2.3)
constexpr uint8_t kUsb3Release = 0x30;
constexpr size_t kMostAtOnce = 32, kMostTrbs = 4096;  // transfers and commands, and their TRBs, of a turn

// The two Supported Protocol capabilities (7.2), by dwords.
uint32_t extended(uint32_t at) {
  constexpr uint32_t kDwords = 4;
  constexpr std::array<uint32_t, 2 * kDwords> kAll = {
      3u << 24 | kDwords << 8 | kSupportedProtocol, kProtocolName, kUsb3Ports << 8 | 1, 0,
      2u << 24 | kSupportedProtocol, kProtocolName, kUsb2Ports << 8 | (kUsb3Ports + 1), 0,
  };
  return at / 4 < kAll.size() ? kAll[at / 4] : 0;
}
uint64_t with_half(uint64_t value, bool high, uint32_t half) {
  return high ? (value & 0xffff'ffff) | uint64_t{half} << 32 : (value & ~uint64_t{0xffff'ffff}) | half;
}
}  // namespace

// --- life ------------------------------------------------------------------------------------------------------------

Xhci::Xhci(std::string name, EventLoop& loop, memory::GuestMemory& memory)
    : PciFunction(std::move(name), kIdentity),
      loop_(loop),
      memory_(memory),
      slots_(memory),
      commands_({.memory = memory,
                 .slots = slots_,
                 .ports = ports_,
                 .port_enabled =
                     [this](unsigned port) {
                       std::lock_guard guard(lock_);
                       return ports_[port - 1].device() && ports_[port - 1].enabled();
                     },
                 .context_array =
                     [this] {
                       std::lock_guard guard(lock_);
                       return contexts_;
                     },
                 .slots_enabled =
                     [this] {
                       std::lock_guard guard(lock_);
                       return config_ & kConfigSlots;
                     },
                 .forget_doorbell =
                     [this](unsigned slot, unsigned endpoint) {
                       rung_[slot].fetch_and(~(1u << endpoint));
                       kicked_[slot].fetch_and(~(1u << endpoint));
                     }}),
      transfers_({.memory = memory,
                  .slots = slots_,
                  .device = [this](unsigned port) { return port == 0 ? nullptr : ports_[port - 1].device(); },
                  .put_event = [this](unsigned number, const Trb& event, bool quietly) { put_event(number, event, quietly); },
                  .begun =
                      [this] {
                        std::lock_guard guard(lock_);
                        ++under_way_;
                      },
                  .ended =
                      [this](unsigned slot, unsigned endpoint, bool again) {
                        if (again) kicked_[slot].fetch_or(1u << endpoint);
                        ended();
                      }}) {
  for (unsigned i = 0; i < kPorts; ++i) ports_[i].be_usb3(i < kUsb3Ports);
  const EventRing::Controller controller{.loop = loop,
                                         .memory = memory,
                                         .lock = lock_,
                                         .interrupt = [this](unsigned number) { interrupt(number); },
                                         .line = [this] { update_line(); },
                                         .broken = [this](const char* why) { broken(why); }};
  for (unsigned i = 0; i < kInterrupters; ++i) interrupters_.push_back(std::make_unique<EventRing>(i, controller));
  set_config<uint8_t>(kSerialBusRelease, kUsb3Release);
  add_bar(kBar, bus::BarKind::kMemory64, kBarSize, *this);
  add_msix(kInterrupters, kMsixBar);
  use_interrupt_pin(1);
}

Xhci::~Xhci() = default;

unsigned Xhci::plug_in(std::unique_ptr<usb::Device> device) {
  const bool usb3 = device->speed() == Speed::kSuper;
  for (unsigned i = 0; i < kPorts; ++i) {
    if (ports_[i].usb3() != usb3 || ports_[i].device()) continue;
    device->on_ready([this, i](uint8_t endpoint) { device_ready(i, endpoint); });
    ports_[i].plug_in(std::move(device));
    return i + 1;
  }
  return 0;
}

void Xhci::quiesce(std::function<void()> at_rest) {
  loop_.post([this, at_rest = std::move(at_rest)] {
    serve();  // what the driver has asked for before
    held_ = true;
    at_rest_ = at_rest;
    drained();
  });
}

void Xhci::resume() {
  loop_.post([this] {
    held_ = false;
    serve();
  });
}

void Xhci::reset() {
  PciFunction::reset();
  for (Port& port : ports_)
    if (port.device()) port.device()->reset();
  std::lock_guard guard(lock_);
  forget();
}

// As after a reset of the controller (5.4.1.1). With lock_ held.
void Xhci::forget() {
  for (auto& interrupter : interrupters_) interrupter->reset();
  for (Port& port : ports_) port.power_on();
  slots_.reset();
  for (auto& rung : rung_) rung = 0;
  for (auto& kicked : kicked_) kicked = 0;
  command_ = status_ = notification_ = config_ = 0;
  command_ring_ = {};
  contexts_ = 0;
  resetting_ = commands_run_ = commands_stop_ = false;
  update_line();
}

void Xhci::describe(state::Fields& fields) {
  PciFunction::describe(fields);
  fields.field("command", command_, state::in_mask(usbcmd::kKept));
  fields.field("status", status_, state::in_mask(usbsts::kKept));
  fields.field("notification", notification_, state::up_to(0xffff));
  fields.field("config", config_, state::in_mask(kConfigKept));
  fields.field("resetting", resetting_);
  fields.field("command_ring", command_ring_.at);
  fields.field("command_cycle", command_ring_.cycle);
  fields.field("commands_run", commands_run_);
  fields.field("commands_stop", commands_stop_);
  fields.field("contexts", contexts_);
  fields.list("interrupters", interrupters_.size(),
              [&](size_t i) { fields.group("interrupter", [&] { interrupters_[i]->describe(fields); }); });
  fields.list("ports", ports_.size(), [&](size_t i) { fields.group("port", [&] { ports_[i].describe(fields); }); });
  slots_.describe(fields);
  // Behind the devices: who types meanwhile leaves one that is looked at in vain rather than a key that nobody looks for.
  for (auto* bits : {&rung_, &kicked_})
    fields.list(bits == &rung_ ? "rung" : "kicked", bits->size(), [&](size_t i) {
      const uint32_t before = (*bits)[i];
      uint32_t value = before;
      fields.field("", value);
      if (value != before) (*bits)[i] = value;
    });
}

void Xhci::restored() {
  PciFunction::restored();
  commands_.connect_ports();
  for (Port& port : ports_)
    if (port.device()) port.device()->restored();
  std::lock_guard guard(lock_);
  for (auto& interrupter : interrupters_) interrupter->restored();
  update_line();
}

// --- registers -------------------------------------------------------------------------------------------------------

void Xhci::config_write(unsigned offset, unsigned size, uint32_t value) {
  PciFunction::config_write(offset, size, value);
  if (offset / 4 == bus::pci::kCommand / 4) ask();  // it may have become a bus master
}

uint64_t Xhci::io_read(uint64_t offset, unsigned size) {
  std::lock_guard guard(lock_);
  return (read_register(static_cast<uint32_t>(offset & ~uint64_t{3})) >> (8 * (offset & 3))) & (~0u >> (32 - 8 * size));
}

// Registers are written by dwords (5.1); anything else does nothing.
void Xhci::io_write(uint64_t offset, unsigned size, uint64_t value) {
  if (size != 4 || offset % 4 != 0) return;
  bool for_loop = false;
  {
    std::lock_guard guard(lock_);
    for_loop = write_register(static_cast<uint32_t>(offset), static_cast<uint32_t>(value));
  }
  if (for_loop) ask();
}

uint32_t Xhci::read_register(uint32_t offset) const {
  if (offset >= kDoorbellsAt) return 0;
  if (offset >= kRuntimeAt) {
    const uint32_t at = offset - kInterruptersAt;
    if (offset >= kInterruptersAt && at / kInterrupterStride < kInterrupters)
      return interrupters_[at / kInterrupterStride]->read(at % kInterrupterStride);
    return offset == kRuntimeAt ? static_cast<uint32_t>(loop_.clock().now() / kFrame) & 0x3fff : 0;  // MFINDEX
  }
  if (offset >= kExtendedAt) return extended(static_cast<uint32_t>(offset - kExtendedAt));
  if (offset >= kPortsAt) {
    const auto at = static_cast<uint32_t>(offset - kPortsAt);
    return at / kPortStride < kPorts && at % kPortStride == 0 ? ports_[at / kPortStride].read() : 0;
  }
  if (offset >= kOperationalAt) return read_operational(static_cast<uint32_t>(offset - kOperationalAt));
  switch (offset) {
    case CAPLENGTH: return kVersion << 16 | kOperationalAt;
    case HCSPARAMS1: return kParameters1;
    case HCSPARAMS2: return kParameters2;
    case HCCPARAMS1: return kCapabilityParameters1;
    case DBOFF: return kDoorbellsAt;
    case RTSOFF: return kRuntimeAt;
    default: return 0;
  }
}

bool Xhci::write_register(uint32_t offset, uint32_t value) {
  if (resetting_) return false;
  if (offset >= kDoorbellsAt) return ring_doorbell(static_cast<uint32_t>(offset - kDoorbellsAt) / 4, value);
  if (offset >= kRuntimeAt) {
    const uint32_t at = offset - kInterruptersAt;
    return offset >= kInterruptersAt && at / kInterrupterStride < kInterrupters &&
           interrupters_[at / kInterrupterStride]->write(at % kInterrupterStride, value);
  }
  if (offset >= kExtendedAt) return false;
  if (offset >= kPortsAt) {
    const auto at = static_cast<uint32_t>(offset - kPortsAt);
    return at / kPortStride < kPorts && at % kPortStride == 0 && ports_[at / kPortStride].write(value);
  }
  return offset >= kOperationalAt && write_operational(static_cast<uint32_t>(offset - kOperationalAt), value);
}

// 5.4.
uint32_t Xhci::read_operational(uint32_t offset) const {
  switch (offset) {
    case USBCMD: return command_ | (resetting_ ? usbcmd::HCRST : 0);
    // Until what is under way has ended, memory may still be written to.
    case USBSTS: return status_ | (!(command_ & usbcmd::RS) && under_way_ == 0 ? usbsts::HCH : 0);
    case PAGESIZE: return 1;
    case DNCTRL: return notification_;
    case CRCR: return commands_run_ ? crcr::CRR : 0;
    case DCBAAP: return static_cast<uint32_t>(contexts_);
    case DCBAAP_HIGH: return static_cast<uint32_t>(contexts_ >> 32);
    case CONFIG: return config_;
    default: return 0;
  }
}

bool Xhci::write_operational(uint32_t offset, uint32_t value) {
  switch (offset) {
    case USBCMD: return write_command(value);
    case USBSTS: status_ &= ~(value & usbsts::kCleared); return false;
    case DNCTRL: notification_ = value & 0xffff; return false;
    case CRCR: case CRCR_HIGH: return write_command_ring(offset, value);
    case DCBAAP: contexts_ = with_half(contexts_, false, value & kContextArrayMask); return false;
    case DCBAAP_HIGH: contexts_ = with_half(contexts_, true, value); return false;
    case CONFIG: config_ = value & kConfigKept; return false;
    default: return false;
  }
}

bool Xhci::write_command(uint32_t value) {
  if (value & usbcmd::HCRST) {
    resetting_ = true;
    command_ = 0;
    commands_run_ = false;
    update_line();
    return true;
  }
  const uint32_t before = std::exchange(command_, value & usbcmd::kKept);
  if (!(command_ & usbcmd::RS)) commands_run_ = false;
  for (unsigned i = 0; i < kInterrupters && (command_ & ~before & usbcmd::INTE); ++i)
    if (interrupters_[i]->pending()) interrupt(i);
  update_line();
  return true;
}

// 5.4.5: while the ring runs only the bits that stop it are taken.
bool Xhci::write_command_ring(uint32_t offset, uint32_t value) {
  if (commands_run_) {
    if (offset == CRCR && (value & (crcr::CS | crcr::CA))) commands_stop_ = true;
    return commands_stop_;
  }
  if (offset == CRCR) {
    command_ring_.cycle = value & crcr::RCS;
    command_ring_.at = with_half(command_ring_.at, false, value & crcr::kPointer);
  } else {
    command_ring_.at = with_half(command_ring_.at, true, value);
  }
  return false;
}

bool Xhci::ring_doorbell(uint32_t slot, uint32_t value) {
  const uint32_t target = value & 0xff;
  if (slot > kSlots || !(command_ & usbcmd::RS)) return false;
  if (slot == 0) {
    if (target != 0) return false;
    commands_run_ = true;
    kicked_[0].fetch_or(1);
  } else if (target >= 1 && target <= kEndpoints) {
    rung_[slot].fetch_or(1u << target);
  }
  return true;
}

// --- interrupts ------------------------------------------------------------------------------------------------------

// Of an interrupter that has IP and IE (4.17.2). A message takes IP away.
void Xhci::interrupt(unsigned number) {
  status_ |= usbsts::EINT;
  EventRing& interrupter = *interrupters_[number];
  if (interrupter.pending() && (command_ & usbcmd::INTE) && msix()->enabled()) {
    interrupter.taken();
    msix()->notify(number);
  }
  update_line();
}

void Xhci::update_line() {
  bool level = false;
  for (const auto& interrupter : interrupters_) level = level || interrupter->pending();
  level = level && (command_ & usbcmd::INTE) && !msix()->enabled();
  if (std::exchange(level_, level) != level) set_intx(level);
}

// --- the loop --------------------------------------------------------------------------------------------------------

// With no lock held. Short work is done at once, on the calling thread.
void Xhci::ask() {
  if (asked_.exchange(true)) return;
  if (loop_.in_turn() || !loop_.borrow_turn([this] { serve(); })) loop_.post([this] { serve(); });
}

void Xhci::serve() {
  asked_.store(false);
  if (held_ || serving_) return;  // who serves looks again
  serving_ = true;
  finish_reset();
  reset_ports();
  bool more = may_run();
  size_t work = 0;
  for (size_t count = 0; more && count < kMostAtOnce && work < kMostTrbs; ++count) {
    tell_ports();
    for (auto& interrupter : interrupters_) interrupter->flush();
    more = false;
    if (!backed_up()) {
      more = run_command();
      more = run_endpoints(work) || more;
    }
    more = may_run() && more;
  }
  if (may_run())
    for (auto& interrupter : interrupters_) interrupter->flush();
  serving_ = false;
  if (more) ask();
}

bool Xhci::may_run() {
  std::lock_guard guard(lock_);
  return (command_ & usbcmd::RS) && !resetting_ && !(status_ & usbsts::HCE) && bus_master();
}

void Xhci::finish_reset() {
  {
    std::lock_guard guard(lock_);
    if (!resetting_ || under_way_ > 0) return;  // ended() comes back
  }
  for (Port& port : ports_)
    if (port.device()) port.device()->reset();
  std::lock_guard guard(lock_);
  forget();
}

void Xhci::reset_ports() {
  for (Port& port : ports_) {
    {
      std::lock_guard guard(lock_);
      if (!port.reset_wanted()) continue;
    }
    port.device()->reset();
    std::lock_guard guard(lock_);
    port.finish_reset();
  }
}

void Xhci::tell_ports() {
  for (unsigned i = 0; i < kPorts; ++i) {
    {
      std::lock_guard guard(lock_);
      if (!ports_[i].take_news()) continue;
      status_ |= usbsts::PCD;
    }
    put_event(0, {.parameter = uint64_t{i + 1} << 24,
                  .status = static_cast<uint32_t>(Code::kSuccess) << trb::kCodeShift,
                  .control = static_cast<uint32_t>(Type::kPortStatusChange) << trb::kTypeShift},
              false);
  }
}

bool Xhci::backed_up() const {
  for (const auto& interrupter : interrupters_)
    if (interrupter->backed_up()) return true;
  return false;
}

// True: there may be another.
bool Xhci::run_command() {
  RingPlace place;
  bool stops = false;
  {
    std::lock_guard guard(lock_);
    if (!commands_run_) return false;
    place = command_ring_;
    stops = std::exchange(commands_stop_, false);
    if (stops) commands_run_ = false;
  }
  if (stops) {
    complete(place.at, Code::kCommandRingStopped, 0);
    return false;
  }
  if (!(kicked_[0].exchange(0) & 1)) return false;
  RingReader reader(memory_, place);
  const auto command = reader.next();
  if (!command) {
    if (reader.failure() == RingReader::Failure::kBroken) broken("its command ring is not in memory");
    return false;
  }
  const auto done = commands_.run(*command);
  if (!done) {
    kicked_[0].fetch_or(1);
    return false;  // ended() comes back
  }
  {
    std::lock_guard guard(lock_);
    command_ring_ = reader.place();
  }
  complete(command->at, done->code, done->slot);
  kicked_[0].fetch_or(1);
  return true;
}

void Xhci::complete(memory::Gpa command, Code code, unsigned slot) {
  put_event(0, {.parameter = command,
                .status = static_cast<uint32_t>(code) << trb::kCodeShift,
                .control = static_cast<uint32_t>(Type::kCommandCompletion) << trb::kTypeShift | slot << trb::kSlotShift},
            false);
}

// A transfer of each endpoint that asks for it, the slots in turn. True: there may be more.
bool Xhci::run_endpoints(size_t& work) {
  bool more = false;
  for (unsigned i = 0; i < kSlots; ++i) {
    const unsigned number = last_slot_ = last_slot_ % kSlots + 1;
    Slot& slot = slots_[number];
    answer_doorbells(number);
    for (uint32_t kicked = kicked_[number].load(); kicked != 0; kicked &= kicked - 1) {
      if (work >= kMostTrbs) return true;
      const auto index = static_cast<unsigned>(std::countr_zero(kicked));
      if (index != 0 && slot.endpoints[index].busy) continue;  // ended() comes back
      kicked_[number].fetch_and(~(1u << index));
      if (index == 0 || !slot.enabled || slot.port == 0 || slot.endpoints[index].state != EndpointState::kRunning) continue;
      const auto [trbs, begun] = transfers_.begin(number, index);
      work += trbs;
      more = more || begun;
    }
  }
  return more;
}

// 4.7 and 4.8.3: what is stopped runs again.
void Xhci::answer_doorbells(unsigned number) {
  Slot& slot = slots_[number];
  const uint32_t rung = rung_[number].exchange(0) & ~1u;
  kicked_[number].fetch_or(rung);
  if (!slot.enabled || slot.port == 0) return;
  for (uint32_t bits = rung; bits != 0; bits &= bits - 1) {
    const auto index = static_cast<unsigned>(std::countr_zero(bits));
    if (slot.endpoints[index].state == EndpointState::kStopped) slots_.set_state(slot, index, EndpointState::kRunning);
  }
}

void Xhci::put_event(unsigned interrupter, const Trb& event, bool quietly) {
  interrupters_[interrupter < kInterrupters ? interrupter : 0]->put(event, quietly);
}

// From what the specification leaves undefined only a reset leads out.
void Xhci::broken(const char* why) {
  if (!std::exchange(warned_, true)) log::warn("{}: the controller stops until the guest resets it: {}", name(), why);
  std::lock_guard guard(lock_);
  status_ |= usbsts::HCE;
  commands_run_ = false;
}

// A transfer has: what has waited for it goes on.
void Xhci::ended() {
  {
    std::lock_guard guard(lock_);
    --under_way_;
  }
  if (!serving_) serve();
  drained();
}

void Xhci::drained() {
  if (held_) {
    for (auto& interrupter : interrupters_)
      if (may_run()) interrupter->flush();
  }
  if (!at_rest_) return;
  {
    std::lock_guard guard(lock_);
    if (under_way_ > 0) return;
  }
  std::exchange(at_rest_, nullptr)();
}

// A device has an answer for what waits in the endpoint's ring. Any thread.
void Xhci::device_ready(unsigned port, uint8_t endpoint) {
  const uint8_t slot = ports_[port].slot;
  if (slot == 0) return;
  kicked_[slot].fetch_or(1u << (2u * (endpoint & 15) + (endpoint & kIn ? 1 : 0)));
  ask();
}

}  // namespace skerry::devices::usb
