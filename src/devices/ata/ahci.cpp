#include "devices/ata/ahci.hpp"

#include <algorithm>
#include <utility>

namespace skerry::devices::ata {

using namespace ahci;

namespace {
constexpr bus::PciIdentity kIdentity = {.vendor = 0x8086, .device = 0x2922, .class_code = 0x010601, .revision = 2};
constexpr unsigned kAddressMap = 0x90;  // MAP (15.1.33)
constexpr uint8_t kAhciMode = 1 << 6;

// Those in which a bit that is written as 0 changes nothing.
bool bits_are_written_alone(uint64_t offset) {
  if (offset < kPortsAt) return offset == IS;
  const uint64_t of_port = (offset - kPortsAt) % kPortStride;
  return of_port == PxIS || of_port == PxSERR || of_port == PxSACT || of_port == PxCI;
}
}  // namespace

// --- life ------------------------------------------------------------------------------------------------------------

Ahci::Ahci(std::string name, EventLoop& loop, memory::GuestMemory& memory)
    : PciFunction(std::move(name), kIdentity), loop_side_(loop, [this] { serve(); }, [this] { return idle(); }) {
  const Port::Controller controller{.loop = loop,
                                    .memory = memory,
                                    .lock = lock_,
                                    .may_begin = [this] { return !loop_side_.held() && !resetting_ && bus_master(); },
                                    .changed = [this] { update(); },
                                    .drained =
                                        [this] {
                                          if (!loop_side_.held()) finish_reset();
                                          loop_side_.drained();
                                        }};
  for (unsigned i = 0; i < kPorts; ++i)
    ports_[i] = std::make_unique<Port>(fmt::format("{}: port {}", this->name(), i), controller);
  set_config<uint8_t>(kAddressMap, kAhciMode);
  add_bar(kBar, bus::BarKind::kMemory32, kBarSize, *this);
  add_msi();
  use_interrupt_pin(1);
}

void Ahci::plug_in(unsigned port, std::unique_ptr<ata::Device> device) { ports_[port]->plug_in(std::move(device)); }

void Ahci::reset() {
  PciFunction::reset();
  std::lock_guard guard(lock_);
  enabled_ = resetting_ = level_ = false;
  interrupts_ = 0;
  for (auto& port : ports_) port->reset();
}

void Ahci::describe(state::Fields& fields) {
  PciFunction::describe(fields);
  fields.field("enabled", enabled_);
  fields.field("resetting", resetting_);
  fields.field("interrupts", interrupts_, state::in_mask(kPortsImplemented));
  fields.list("ports", ports_.size(), [&](size_t i) { fields.group("port", [&] { ports_[i]->describe(fields); }); });
}

void Ahci::restored() {
  PciFunction::restored();
  std::lock_guard guard(lock_);
  level_ = enabled_ && interrupts_ != 0;
  set_intx(level_);
}

// --- registers -------------------------------------------------------------------------------------------------------

void Ahci::config_write(unsigned offset, unsigned size, uint32_t value) {
  PciFunction::config_write(offset, size, value);
  if (offset / 4 == bus::pci::kCommand / 4) loop_side_.ask();  // it may have become a bus master
}

uint64_t Ahci::io_read(uint64_t offset, unsigned size) {
  std::lock_guard guard(lock_);
  return (read_register(static_cast<uint32_t>(offset & ~uint64_t{3})) >> (8 * (offset & 3))) & (~0u >> (32 - 8 * size));
}

void Ahci::io_write(uint64_t offset, unsigned size, uint64_t value) {
  const unsigned shift = 8 * (offset & 3);
  const auto at = static_cast<uint32_t>(offset & ~uint64_t{3});
  const uint32_t mask = (~0u >> (32 - 8 * size)) << shift;
  bool for_loop = false;
  {
    std::lock_guard guard(lock_);
    const uint32_t others = bits_are_written_alone(at) ? 0 : read_register(at) & ~mask;
    for_loop = write_register(at, others | (static_cast<uint32_t>(value) << shift & mask));
  }
  if (for_loop) loop_side_.ask();
}

uint32_t Ahci::read_register(uint32_t offset) const {
  if (offset >= kPortsAt) {
    const uint32_t port = (offset - kPortsAt) / kPortStride;
    return port < kPorts ? ports_[port]->read((offset - kPortsAt) % kPortStride) : 0;
  }
  switch (offset) {
    case CAP: return kCapabilities;
    case GHC: return ghc::AE | (enabled_ ? ghc::IE : 0) | (resetting_ ? ghc::HR : 0);
    case IS: return interrupts_;
    case PI: return kPortsImplemented;
    case VS: return kVersion;
    default: return 0;
  }
}

// True: there may be something for the loop.
bool Ahci::write_register(uint32_t offset, uint32_t value) {
  if (resetting_) return false;
  if (offset >= kPortsAt) {
    const uint32_t port = (offset - kPortsAt) / kPortStride;
    return port < kPorts && ports_[port]->write((offset - kPortsAt) % kPortStride, value);
  }
  if (offset == IS) {
    interrupts_ &= ~value;
    update(true);
  } else if (offset == GHC && (value & ghc::HR)) {
    begin_reset();
    return true;
  } else if (offset == GHC) {
    enabled_ = value & ghc::IE;
    update();
  }
  return false;
}

// 10.4.3. It ends when nothing is under way.
void Ahci::begin_reset() {
  resetting_ = true;
  enabled_ = false;
  for (auto& port : ports_) port->abandon();
  update();
}

// 10.7.2: a port that has something to say sets its bit. By MSI a message goes out for each new one, and when the driver
// has cleared some but not all (`again`).
void Ahci::update(bool again) {
  const uint32_t before = interrupts_;
  for (unsigned i = 0; i < kPorts; ++i)
    if (ports_[i]->pending()) interrupts_ |= 1u << i;
  const bool level = enabled_ && interrupts_ != 0;
  const bool news = level && (!level_ || (interrupts_ & ~before) != 0 || again);
  if (std::exchange(level_, level) != level) set_intx(level);
  if (news) send_msi();
}

// --- the loop --------------------------------------------------------------------------------------------------------

void Ahci::serve() {
  finish_reset();
  for (auto& port : ports_) port->serve();
}

bool Ahci::idle() {
  std::lock_guard guard(lock_);
  return std::ranges::all_of(ports_, [](const auto& port) { return port->idle(); });
}

void Ahci::finish_reset() {
  std::lock_guard guard(lock_);
  if (!resetting_) return;
  for (const auto& port : ports_)
    if (!port->idle()) return;  // drained() comes back
  for (auto& port : ports_) {
    if (port->device()) port->device()->reset(ata::Device::Reset::kHardware);
    port->power_on();
  }
  interrupts_ = 0;
  resetting_ = false;
  update();
}

}  // namespace skerry::devices::ata
