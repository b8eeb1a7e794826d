#include "devices/hda/hda.hpp"

#include <algorithm>
#include <utility>

#include "devices/vm_time.hpp"

namespace skerry::devices::hda {

namespace {
constexpr bus::PciIdentity kIdentity = {
    .vendor = 0x8086, .device = 0x293e, .subsystem_vendor = 0x8086, .class_code = 0x040300};
constexpr uint64_t kSize = 0x4000;
// 3.3.2: one input and one output stream, addresses of 64 bits; version 1.0.
constexpr uint32_t kCapabilities = 1 << 12 | 1 << 8 | 1 << 0 | 1u << 24;
constexpr uint32_t kPayloads = 0x1d << 16 | 0x3c;  // 3.3.5, 3.3.6: words of a frame on the link
constexpr uint32_t kGctlWritable = gctl::CRST | gctl::UNSOL;
constexpr unsigned kStatesShift = 16;  // STATESTS is in the upper half of WAKEEN's dword
constexpr uint16_t kCodecs = 1 << Codec::kAddress;
constexpr uint32_t kPositionsOn = 1 << 0;  // of DPLBASE
// 3.3.16: WALCLK counts at 24 MHz.
constexpr uint64_t kWallTicks = 24, kWallNanoseconds = 1000;

// A move is due at the end of a piece of a buffer, which may interrupt, and no later than that.
constexpr uint64_t kShortestTick = 1'000'000, kLongestTick = 10'000'000;  // ns
}  // namespace

// --- life ------------------------------------------------------------------------------------------------------------

// The capability of PCI Express, as the ICH9's, comes first: drivers write to TCSEL, which is at 44h, where it cannot
// be written to.
Hda::Hda(std::string name, EventLoop& loop, memory::GuestMemory& memory, sound::Outlet& outlet)
    : PciFunction(std::move(name), kIdentity),
      timer_(loop,
             [this] {
               std::lock_guard guard(lock_);
               move();
               settle();
             }),
      dma_{memory, *this},
      rings_(dma_, codec_),
      streams_{Stream(dma_, Stream::Direction::kInput), Stream(dma_, Stream::Direction::kOutput)},
      player_(outlet) {
  add_bar(0, bus::BarKind::kMemory32, kSize, *this);
  add_pci_express(bus::pci::kExpressIntegratedEndpoint);
  add_msi();
  use_interrupt_pin(1);
}

void Hda::reset() {
  PciFunction::reset();
  std::lock_guard guard(lock_);
  codec_.power_on();
  wake_ = states_ = 0;
  reset_registers();
  settle();
}

void Hda::describe(state::Fields& fields) {
  PciFunction::describe(fields);
  std::lock_guard guard(lock_);
  fields.field("control", control_, state::in_mask(kGctlWritable));
  fields.field("wake", wake_, state::in_mask(kCodecs));
  fields.field("states", states_, state::in_mask(kCodecs));
  fields.field("flushed", flushed_);
  fields.field("interrupt_control", interrupt_control_,
               state::in_mask(intctl::GIE | intctl::CIE | ((1u << kStreams) - 1)));
  fields.field("sync", sync_, state::in_mask((1u << kStreams) - 1));
  fields.field("positions", positions_, state::in_mask(~uint64_t{0x7f} | kPositionsOn));
  fields.field("wall_from", wall_from_, instant());
  fields.group("codec", [&] { codec_.describe(fields); });
  fields.group("rings", [&] { rings_.describe(fields); });
  fields.list("streams", kStreams, [&](size_t i) { fields.group("", [&] { streams_[i].describe(fields); }); });
}

void Hda::restored() {
  PciFunction::restored();
  std::lock_guard guard(lock_);
  told_ = pending_interrupts();
  set_intx(told_ != 0);
  set_timer();
}

// 3.3.7: all but what tells of codecs that want something.
void Hda::reset_registers() {
  control_ = 0;
  flushed_ = false;
  interrupt_control_ = sync_ = 0;
  positions_ = 0;
  wall_from_ = 0;
  codec_.reset();
  rings_.reset();
  for (Stream& stream : streams_) stream.reset();
}

// --- registers -------------------------------------------------------------------------------------------------------

// Whether the card is a bus master may change.
void Hda::config_write(unsigned offset, unsigned size, uint32_t value) {
  const bool command = offset / 4 == bus::pci::kCommand / 4;
  if (command) {
    std::lock_guard guard(lock_);
    move();
  }
  PciFunction::config_write(offset, size, value);
  if (!command) return;
  std::lock_guard guard(lock_);
  rings_.run();
  settle();
}

uint64_t Hda::io_read(uint64_t offset, unsigned size) {
  std::lock_guard guard(lock_);
  return read_register(static_cast<uint32_t>(offset & ~uint64_t{3})) >> (8 * (offset & 3)) & (~0u >> (32 - 8 * size));
}

void Hda::io_write(uint64_t offset, unsigned size, uint64_t value) {
  std::lock_guard guard(lock_);
  const unsigned shift = 8 * (offset & 3);
  move();
  write_register(static_cast<uint32_t>(offset & ~uint64_t{3}), static_cast<uint32_t>(value) << shift,
                 (~0u >> (32 - 8 * size)) << shift);
  settle();
}

uint32_t Hda::read_register(uint32_t offset) {
  if (offset >= kAliases) return read_alias(offset - kAliases);
  if (offset >= CORBLBASE && offset < DPLBASE) return rings_.read(offset);
  if (offset >= SD0) {
    const uint32_t stream = (offset - SD0) / kDescriptorSize, at = offset % kDescriptorSize;
    if (stream >= kStreams) return 0;
    return at == SDLPIB ? position_of(stream) : streams_[stream].read(at);
  }
  switch (offset) {
    case GCAP:
      return kCapabilities;
    case OUTPAY:
      return kPayloads;
    case GCTL:
      return control_;
    case WAKEEN:
      return wake_ | uint32_t{states_} << kStatesShift;
    case GSTS:
      return flushed_ ? gsts::FSTS : 0;
    case INTCTL:
      return interrupt_control_;
    case INTSTS:
      return causes() | (causes() & interrupt_control_ ? intctl::GIE : 0);
    case WALCLK:
      return wall_clock();
    case ICH9_SSYNC:
    case SSYNC:
      return sync_;
    case DPLBASE:
      return static_cast<uint32_t>(positions_);
    case DPUBASE:
      return static_cast<uint32_t>(positions_ >> 32);
    default:
      return 0;
  }
}

uint32_t Hda::read_alias(uint32_t offset) {
  if (offset == WALCLK) return wall_clock();
  if (offset < SD0 || offset % kDescriptorSize != SDLPIB) return 0;
  const uint32_t stream = (offset - SD0) / kDescriptorSize;
  return stream < kStreams ? position_of(stream) : 0;
}

void Hda::write_register(uint32_t offset, uint32_t value, uint32_t mask) {
  if (offset == GCTL) return write_control(value, mask);
  if (offset == WAKEEN) {
    wake_ = static_cast<uint16_t>(merged(wake_, value, mask, kCodecs));
    states_ &= static_cast<uint16_t>(~((value & mask) >> kStatesShift));
    return;
  }
  if (in_reset()) return;
  if (offset >= CORBLBASE && offset < DPLBASE) return rings_.write(offset, value, mask);
  if (offset >= SD0) {
    const uint32_t stream = (offset - SD0) / kDescriptorSize;
    if (stream < kStreams) streams_[stream].write(offset % kDescriptorSize, value, mask, timer_.now());
    return;
  }
  switch (offset) {
    case GSTS:
      flushed_ = flushed_ && !(value & mask & gsts::FSTS);
      break;
    case INTCTL:
      interrupt_control_ = merged(interrupt_control_, value, mask, intctl::GIE | intctl::CIE | ((1u << kStreams) - 1));
      break;
    case ICH9_SSYNC:
    case SSYNC:
      sync_ = merged(sync_, value, mask, (1u << kStreams) - 1);
      break;
    case DPLBASE:
      positions_ = (positions_ & ~uint64_t{0xffff'ffff}) |
                   merged(static_cast<uint32_t>(positions_), value, mask, kBaseMask | kPositionsOn);
      break;
    case DPUBASE:
      positions_ = (positions_ & 0xffff'ffff) |
                   uint64_t{merged(static_cast<uint32_t>(positions_ >> 32), value, mask, ~0u)} << 32;
      break;
    default:
      break;
  }
}

// 3.3.7 and 4.3: out of reset, the codec tells that it is there. Nothing of a stream is kept back, so a flush is done
// at once.
void Hda::write_control(uint32_t value, uint32_t mask) {
  const bool was_in_reset = in_reset();
  const uint32_t control = merged(control_, value, mask, kGctlWritable);
  if (!(control & gctl::CRST)) return reset_registers();
  control_ = control;
  if (value & mask & gctl::FCNTRL) flushed_ = true;
  if (!was_in_reset) return;
  wall_from_ = timer_.now();
  states_ |= kCodecs;
}

uint32_t Hda::wall_clock() const {
  if (in_reset()) return 0;
  return static_cast<uint32_t>(multiply_divide(elapsed(wall_from_, timer_.now()), kWallTicks, kWallNanoseconds));
}

// --- interrupts ------------------------------------------------------------------------------------------------------

// 3.3.15: CIS and SIS.
uint32_t Hda::causes() const {
  uint32_t causes = rings_.interrupts() || (states_ & wake_) ? intctl::CIE : 0;
  for (unsigned i = 0; i < kStreams; ++i)
    if (streams_[i].interrupts()) causes |= 1u << i;
  return causes;
}

uint32_t Hda::pending_interrupts() const {
  return interrupt_control_ & intctl::GIE ? causes() & interrupt_control_ : 0;
}

// A message tells of each cause that is new.
void Hda::update_interrupt() {
  const uint32_t pending = pending_interrupts();
  if (pending & ~std::exchange(told_, pending)) send_msi();
  set_intx(pending != 0);
}

// --- time ------------------------------------------------------------------------------------------------------------

bool Hda::heard() const {
  return streams_[kOutput].running() && codec_.plays(streams_[kOutput].number(), streams_[kOutput].format());
}

// Everything up to now, as things were until now.
void Hda::move() {
  const int64_t now = timer_.now();
  const bool moved = std::ranges::any_of(streams_, &Stream::running);
  const bool heard_now = heard();
  played_.clear();
  streams_[kInput].move(now, held(kInput), nullptr);
  streams_[kOutput].move(now, held(kOutput), heard_now ? &played_ : nullptr);
  if (heard_now) player_.play(played_, streams_[kOutput].format(), codec_.gains());
  if (moved) write_positions();
}

uint32_t Hda::position_of(unsigned stream) {
  move();
  settle();
  return streams_[stream].position();
}

// 3.6.1: of each stream a dword, and one that is reserved.
void Hda::write_positions() {
  if (!(positions_ & kPositionsOn) || !dma_.allowed()) return;
  const uint64_t base = positions_ & ~uint64_t{kPositionsOn};
  for (unsigned i = 0; i < kStreams; ++i)
    (void)dma_.memory.store<uint32_t>(base + uint64_t{8} * i, streams_[i].position());
}

// After anything has changed.
void Hda::settle() {
  if (!heard()) player_.end();
  update_interrupt();
  set_timer();
}

void Hda::set_timer() {
  uint64_t wait = kLongestTick;
  bool moves = false;
  for (unsigned i = 0; i < kStreams; ++i)
    if (const auto end = streams_[i].piece_ends_in(held(i))) {
      moves = true;
      wait = std::min(wait, *end);
    }
  if (!moves) return timer_.cancel();
  set_after(timer_, timer_.now(), std::max(wait, kShortestTick));
}

}  // namespace skerry::devices::hda
