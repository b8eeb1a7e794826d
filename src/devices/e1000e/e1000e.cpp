#include "devices/e1000e/e1000e.hpp"

#include <algorithm>
#include <utility>

#include "base/log.hpp"

namespace skerry::devices::e1000e {

namespace {
constexpr bus::PciIdentity kIdentity = {.vendor = 0x8086, .device = 0x10d3, .subsystem_vendor = 0x8086, .class_code = 0x020000};
constexpr unsigned kRegistersBar = 0, kWindowBar = 2, kMsixBar = 3;
constexpr uint64_t kRegistersSize = 0x2'0000, kWindowSize = 32;
constexpr uint32_t kIoData = 4;  // IOADDR is at 0 (10.1.1.2)

constexpr uint32_t kCtrlDefault = ctrl::FD | ctrl::SLU | ctrl::SPEED_1000;
constexpr uint16_t kVetDefault = 0x8100;
// 10.2.2.3: an EEPROM of 64 words is there, has been read, and is whoever's asks for it.
constexpr uint32_t kEecRequest = 1 << 6, kEecGrant = 1 << 7, kEecPresent = 1 << 8, kEecRead = 1 << 9, kEecIsEeprom = 1 << 15;
constexpr uint32_t kMdicInterrupt = 1 << 29;
constexpr uint32_t kExtcnfOwner = 1 << 5;  // MDIO_SW_OWNERSHIP: 10.2.2.11
constexpr uint32_t kSmbi = 1 << 0, kSwsmWritable = 0xf;  // SWSM.SMBI is taken by being read: 10.2.8.12
constexpr uint32_t kConfigurationDone = 1 << 18;         // EEMNGCTL.CFG_DONE
constexpr uint32_t kBufferKiB = 40, kReceiveKiB = 20;    // PBA: for received frames; the rest is for sent ones
constexpr uint32_t kFactps = 0x5b30, kFactpsDefault = 0x2000'0003;
constexpr unsigned kFramesAtOnce = 64, kFramesOfBorrowed = 8;
}  // namespace

// --- life ------------------------------------------------------------------------------------------------------------

E1000e::E1000e(std::string name, EventLoop& loop, memory::GuestMemory& memory, net::Backend& backend, const Options& options)
    : PciFunction(std::move(name), kIdentity),
      nvm_(options.mac),
      interrupts_(loop, lock_, *this),
      card_{loop, memory, backend, lock_, interrupts_, statistics_},
      phy_(backend.link_up()),
      receiver_(card_, options.mac),
      transmitter_(card_),
      window_(4, [this](uint64_t offset, unsigned size) { return read_window(offset, size); },
              [this](uint64_t offset, unsigned size, uint64_t value) { write_window(offset, size, value); }),
      link_timer_(loop, [this] { link_due(); }) {
  add_bar(kRegistersBar, bus::BarKind::kMemory32, kRegistersSize, *this);
  add_bar(kWindowBar, bus::BarKind::kIo, kWindowSize, window_);
  add_msi();
  add_pci_express(bus::pci::kExpressIntegratedEndpoint);
  add_msix(kVectors, kMsixBar);
  use_interrupt_pin(1);
  linked_ = phy_.link();
  reset_mac();
}

E1000e::~E1000e() { stop_backend(); }

void E1000e::quiesce(std::function<void()> at_rest) {
  card_.loop.post([this, at_rest = std::move(at_rest)] {
    serve();  // what the driver has asked for before
    held_ = true;
    stop_backend();
    raise_due();
    at_rest();
  });
}

void E1000e::resume() {
  card_.loop.post([this] {
    held_ = backend_refused_ = false;
    transmitter_.backend_has_room();  // found out again
    serve();
  });
}

void E1000e::reset() {
  PciFunction::reset();
  std::lock_guard guard(lock_);
  card_.master = false;
  reset_mac();
  phy_.reset();
  link_timer_.cancel();
  link_due_ = 0;
  linked_ = phy_.link();
  phy_was_reset_ = false;
  window_at_ = 0;
  waits_for_room_ = false;
  due_ = 0;
}

// 4.6.1, CTRL.RST: everything but the PHY and the bus.
void E1000e::reset_mac() {
  interrupts_.reset();
  statistics_.reset();
  receiver_.reset();
  transmitter_.reset();
  kept_.reset();
  card_.ctrl = kCtrlDefault;
  card_.vlan_type = kVetDefault;
  ctrl_ext_ = eec_ = eerd_ = eewr_ = mdic_ = extcnf_ = swsm_ = 0;
  pba_ = kReceiveKiB;
}

void E1000e::describe(state::Fields& fields) {
  PciFunction::describe(fields);
  std::lock_guard guard(lock_);
  fields.field("ctrl", card_.ctrl);
  fields.field("ctrl_ext", ctrl_ext_);
  fields.field("vet", card_.vlan_type);
  fields.field("eec", eec_, state::in_mask(kEecRequest));
  fields.field("eerd", eerd_);
  fields.field("eewr", eewr_);
  fields.field("mdic", mdic_);
  fields.field("extcnf", extcnf_);
  fields.field("swsm", swsm_, state::in_mask(kSwsmWritable));
  fields.field("pba", pba_, state::up_to(kBufferKiB));
  fields.field("phy_was_reset", phy_was_reset_);
  fields.field("window", window_at_);
  fields.field("linked", linked_);
  const int64_t now = link_timer_.now();
  bool link_due = link_due_ != 0;
  uint64_t left = static_cast<uint64_t>(std::clamp<int64_t>(link_due_ - now, 0, Phy::kNegotiation));
  fields.field("link_due", link_due);
  fields.field("link_due_in", left, state::up_to(Phy::kNegotiation));
  link_due_ = link_due ? std::max<int64_t>(now + static_cast<int64_t>(left), 1) : 0;
  fields.group("interrupts", [&] { interrupts_.describe(fields); });
  fields.group("statistics", [&] { statistics_.describe(fields); });
  fields.group("phy", [&] { phy_.describe(fields); });
  fields.group("receiver", [&] { receiver_.describe(fields); });
  fields.group("transmitter", [&] { transmitter_.describe(fields); });
  fields.group("kept", [&] { kept_.describe(fields); });
}

void E1000e::restored() {
  PciFunction::restored();
  std::lock_guard guard(lock_);
  card_.master = bus_master();
  interrupts_.set_extended_control(ctrl_ext_);
  interrupts_.restored();
  if (phy_.negotiating() && link_due_ == 0) negotiate();
  if (link_due_) link_timer_.set(link_due_);
}

// --- registers -------------------------------------------------------------------------------------------------------

void E1000e::config_write(unsigned offset, unsigned size, uint32_t value) {
  PciFunction::config_write(offset, size, value);
  if (offset / 4 != bus::pci::kCommand / 4) return;
  card_.master = bus_master();
  ask();
}

uint64_t E1000e::io_read(uint64_t offset, unsigned size) {
  std::lock_guard guard(lock_);
  return (read_register(static_cast<uint32_t>(offset & ~uint64_t{3})) >> (8 * (offset & 3))) & (~0u >> (32 - 8 * size));
}

// 10.1: they are written as a whole.
void E1000e::io_write(uint64_t offset, unsigned size, uint64_t value) {
  if (size != 4 || offset % 4 != 0) return;
  bool for_loop = false;
  {
    std::lock_guard guard(lock_);
    for_loop = write_register(static_cast<uint32_t>(offset), static_cast<uint32_t>(value));
  }
  if (for_loop) ask();
}

// 10.1.1.2: the registers by two ports.
uint64_t E1000e::read_window(uint64_t offset, unsigned size) {
  uint32_t at = 0;
  {
    std::lock_guard guard(lock_);
    at = window_at_;
  }
  if (offset < kIoData) return at >> (8 * offset) & (~0u >> (32 - 8 * size));
  return offset == kIoData && size == 4 && at < kRegistersSize ? io_read(at & ~3u, 4) : 0;
}

void E1000e::write_window(uint64_t offset, unsigned size, uint64_t value) {
  if (size != 4) return;
  uint32_t at = 0;
  {
    std::lock_guard guard(lock_);
    if (offset == 0) window_at_ = static_cast<uint32_t>(value);
    at = window_at_;
  }
  if (offset == kIoData && at < kRegistersSize) io_write(at & ~3u, 4, value);
}

uint32_t E1000e::status() const {
  return status::FD | status::SPEED_1000 | status::ASDV_1000 | (phy_.link() ? status::LU : 0) | (phy_was_reset_ ? status::PHYRA : 0) |
         (card_.ctrl & ctrl::GIO_MASTER_DISABLE ? 0 : status::GIO_MASTER_ENABLE);
}

uint32_t E1000e::read_register(uint32_t offset) {
  uint32_t value = 0;
  if (interrupts_.read(offset, value) || receiver_.read(offset, value) || transmitter_.read(offset, value) || kept_.read(offset, value))
    return value;
  if (offset >= CRCERRS && offset < kStatisticsEnd) return statistics_.read(offset);
  switch (offset) {
    case CTRL:
    case CTRL_ALIAS: return card_.ctrl;
    case STATUS: return status();
    case EEC: return eec_ | kEecPresent | kEecRead | kEecIsEeprom | (eec_ & kEecRequest ? kEecGrant : 0);
    case EERD: return eerd_;
    case EEWR: return eewr_;
    case CTRL_EXT: return ctrl_ext_;
    case MDIC: return mdic_;
    case VET: return card_.vlan_type;
    case EXTCNF_CTRL: return extcnf_;
    case PBA: return pba_ | (kBufferKiB - pba_) << 16;
    case EEMNGCTL: return kConfigurationDone;
    case SWSM: return std::exchange(swsm_, swsm_ | kSmbi);
    case kFactps: return kFactpsDefault;
    default: return 0;
  }
}

// True: there may be something for the loop.
bool E1000e::write_register(uint32_t offset, uint32_t value) {
  if (interrupts_.write(offset, value)) return false;
  if (receiver_.write(offset, value)) return waits_for_room_ || offset == RCTL;
  if (transmitter_.write(offset, value)) return offset == TCTL || (offset >= TDBAL && (offset - TDBAL) % kQueueStride == kTail);
  if (kept_.write(offset, value)) return false;
  switch (offset) {
    case CTRL:
    case CTRL_ALIAS: write_ctrl(value); return true;
    case STATUS: phy_was_reset_ = phy_was_reset_ && (value & status::PHYRA); break;
    case EEC: eec_ = value & kEecRequest; break;
    case EERD: eerd_ = nvm_.read_command(value); break;
    case EEWR: eewr_ = Nvm::write_command(value); break;
    case CTRL_EXT:
      ctrl_ext_ = value & ~ctrl_ext::EE_RST;
      interrupts_.set_extended_control(ctrl_ext_);
      break;
    case MDIC: {
      bool changed = false;
      const bool negotiated = !phy_.negotiating();
      mdic_ = phy_.command(value, changed);
      if (changed && negotiated && phy_.negotiating()) negotiate();
      if (changed) update_link();
      if (value & kMdicInterrupt) interrupts_.raise(icr::MDAC);
      break;
    }
    case VET: card_.vlan_type = static_cast<uint16_t>(value); break;
    case EXTCNF_CTRL: extcnf_ = value & kExtcnfOwner; break;
    case PBA: pba_ = std::min(value & 0x3f, kBufferKiB); break;
    case SWSM: swsm_ = value & kSwsmWritable; break;
    default: break;
  }
  return false;
}

void E1000e::write_ctrl(uint32_t value) {
  if (value & ctrl::RST) {
    reset_mac();
    negotiate();
  } else {
    card_.ctrl = value;
  }
  if (value & ctrl::PHY_RST) {
    phy_was_reset_ = true;
    phy_.restart();
    negotiate();
    update_link();
  }
}

// --- the link --------------------------------------------------------------------------------------------------------

// The driver is told of the link when it has had time to get ready for that.
void E1000e::negotiate() {
  link_due_ = std::max<int64_t>(link_timer_.now() + Phy::kNegotiation, 1);
  link_timer_.set(link_due_);
}

void E1000e::link_due() {
  std::lock_guard guard(lock_);
  if (link_due_ == 0) return;
  if (link_timer_.now() < link_due_) return link_timer_.set(link_due_);
  link_due_ = 0;
  phy_.negotiated();
  linked_ = phy_.link();
  interrupts_.raise(icr::LSC);
}

void E1000e::update_link() {
  if (std::exchange(linked_, phy_.link()) != linked_) interrupts_.raise(icr::LSC);
}

void E1000e::link_changed(bool up) {
  std::lock_guard guard(lock_);
  phy_.set_cable(up);
  update_link();
}

// --- the loop --------------------------------------------------------------------------------------------------------

// With no lock held. Short work is done at once, on the calling thread.
void E1000e::ask() {
  if (asked_.exchange(true)) return;
  if (!card_.loop.borrow_turn([this] { serve(); })) card_.loop.post([this] { serve(); });
}

void E1000e::ask_later() {
  if (!asked_.exchange(true)) card_.loop.post([this] { serve(); });
}

void E1000e::serve() {
  asked_.store(false);
  if (held_) return;
  start_backend();
  if (waits_for_room_.exchange(false)) card_.backend.card_has_room();
  if (transmitter_.serve(card_.loop.turn_is_borrowed() ? kFramesOfBorrowed : kFramesAtOnce)) ask_later();
}

// There is a cable as soon as a driver uses the card, as with virtio.
void E1000e::start_backend() {
  if (backend_started_ || backend_refused_) return;
  {
    std::lock_guard guard(lock_);
    if (!receiver_.enabled() && !transmitter_.enabled()) return;
  }
  card_.backend.set_guest_offloads({});
  if (auto started = card_.backend.start(card_.loop, *this); !started) {
    log::warn("{}: {}; the guest sees no cable", name(), started.error().message());
    backend_refused_ = true;
    return link_changed(false);
  }
  backend_started_ = true;
  link_changed(card_.backend.link_up());
}

void E1000e::stop_backend() {
  if (std::exchange(backend_started_, false)) card_.backend.stop();
}

bool E1000e::receive(const net::FrameHeader&, std::span<const uint8_t> frame) {
  const bool first = due_ == 0;
  {
    std::lock_guard guard(lock_);
    if (receiver_.receive(frame, due_) == Receiver::Taken::kNoRoom) {
      waits_for_room_ = true;
      return false;
    }
  }
  if (first && due_ != 0) card_.loop.at_turn_end([this] { raise_due(); });
  return true;
}

void E1000e::raise_due() {
  std::lock_guard guard(lock_);
  if (due_) interrupts_.raise(std::exchange(due_, 0));
}

// It may be in the midst of a send().
void E1000e::backend_has_room() {
  card_.loop.post([this] {
    transmitter_.backend_has_room();
    serve();
  });
}

void E1000e::send_msix(unsigned vector) {
  if (bus_master()) msix()->notify(vector);
}

}  // namespace skerry::devices::e1000e
