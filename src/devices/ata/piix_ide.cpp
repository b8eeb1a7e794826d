#include "devices/ata/piix_ide.hpp"

#include <algorithm>
#include <utility>

namespace skerry::devices::ata {

namespace {
constexpr bus::PciIdentity kIdentity = {.vendor = 0x8086, .device = 0x7010, .class_code = 0x010180};
constexpr unsigned kBusMasterBar = 4, kBusMasterSize = 16;
constexpr unsigned kTiming = 0x40, kSlaveTiming = 0x44;  // IDETIM, a word a channel (2.3.9); SIDETIM
constexpr uint16_t kDecodeEnable = 1 << 15;
constexpr std::array<uint16_t, PiixIde::kChannels> kBlocks = {0x1f0, 0x170}, kControls = {0x3f6, 0x376};
constexpr uint64_t kNothing = ~uint64_t{0};
}  // namespace

// --- life ------------------------------------------------------------------------------------------------------------

PiixIde::PiixIde(std::string name, EventLoop& loop, memory::GuestMemory& memory, bus::IrqLine primary, bus::IrqLine secondary)
    : PciFunction(std::move(name), kIdentity),
      bus_master_(
          4, [this](uint64_t offset, unsigned size) { return read_bus_master(offset, size); },
          [this](uint64_t offset, unsigned size, uint64_t value) { write_bus_master(offset, size, value); }),
      loop_side_(
          loop,
          [this] {
            for (auto& channel : channels_) channel->serve();
          },
          [this] { return idle(); }) {
  const IdeChannel::Controller controller{.loop = loop,
                                          .memory = memory,
                                          .lock = lock_,
                                          .may_begin = [this] { return !loop_side_.held(); },
                                          .may_master = [this] { return bus_master(); },
                                          .drained = [this] { loop_side_.drained(); }};
  for (unsigned i = 0; i < kChannels; ++i) {
    channels_[i] = std::make_unique<IdeChannel>(fmt::format("{}: channel {}", this->name(), i), controller, i ? secondary : primary);
    blocks_[i] = std::make_unique<IoWindow>(
        4, [this, i](uint64_t offset, unsigned size) { return read_block(i, offset, size); },
        [this, i](uint64_t offset, unsigned size, uint64_t value) { write_block(i, offset, size, value); });
    controls_[i] = std::make_unique<IoWindow>(
        1, [this, i](uint64_t, unsigned) { return read_control(i); },
        [this, i](uint64_t, unsigned, uint64_t value) { write_control(i, static_cast<uint8_t>(value)); });
    set_writable<uint16_t>(kTiming + 2 * i, 0xffff);
  }
  set_writable<uint8_t>(kSlaveTiming, 0xff);
  add_bar(kBusMasterBar, bus::BarKind::kIo, kBusMasterSize, bus_master_);
}

Result<void> PiixIde::attach(bus::AddressSpace& pio) {
  for (unsigned i = 0; i < kChannels; ++i) {
    if (auto good = pio.add(kBlocks[i], IdeChannel::kPorts, *blocks_[i], "ide"); !good) return good;
    if (auto good = pio.add(kControls[i], 1, *controls_[i], "ide"); !good) return good;
  }
  return ok();
}

void PiixIde::plug_in(unsigned channel, unsigned drive, std::unique_ptr<ata::Device> device) {
  channels_[channel]->plug_in(drive, std::move(device));
}

void PiixIde::set_up() {
  for (unsigned i = 0; i < kChannels; ++i) PciFunction::config_write(kTiming + 2 * i, 2, kDecodeEnable);
  PciFunction::config_write(bus::pci::kCommand, 2, config<uint16_t>(bus::pci::kCommand) | bus::pci::kCommandIo);
  update_decoded();
}

void PiixIde::reset() {
  PciFunction::reset();
  update_decoded();
  std::lock_guard guard(lock_);
  for (auto& channel : channels_) channel->reset();
}

void PiixIde::describe(state::Fields& fields) {
  PciFunction::describe(fields);
  fields.list("channels", channels_.size(), [&](size_t i) { fields.group("channel", [&] { channels_[i]->describe(fields); }); });
}

void PiixIde::restored() {
  PciFunction::restored();
  update_decoded();
  std::lock_guard guard(lock_);
  for (auto& channel : channels_) channel->restored();
}

// --- registers -------------------------------------------------------------------------------------------------------

void PiixIde::config_write(unsigned offset, unsigned size, uint32_t value) {
  PciFunction::config_write(offset, size, value);
  update_decoded();
  if (offset / 4 == bus::pci::kCommand / 4) loop_side_.ask();  // it may have become a bus master
}

void PiixIde::update_decoded() {
  unsigned decoded = 0;
  for (unsigned i = 0; i < kChannels; ++i)
    if ((config<uint16_t>(kTiming + 2 * i) & kDecodeEnable) && (config<uint16_t>(bus::pci::kCommand) & bus::pci::kCommandIo))
      decoded |= 1u << i;
  decoded_.store(decoded, std::memory_order_release);
}

// The data port has 16 bits, of which an access of 32 takes two; all others have 8.
uint64_t PiixIde::read_block(unsigned channel, uint64_t offset, unsigned size) {
  if (!decodes(channel)) return kNothing;
  uint64_t value = 0;
  bool for_loop = false;
  {
    std::lock_guard guard(lock_);
    IdeChannel& at = *channels_[channel];
    if (offset == 0 && size >= 2) {
      for (unsigned i = 0; i < size; i += 2) value |= uint64_t{at.read_data(for_loop)} << (8 * i);
    } else {
      for (unsigned i = 0; i < size && offset + i < IdeChannel::kPorts; ++i)
        value |= uint64_t{at.read(static_cast<unsigned>(offset) + i, for_loop)} << (8 * i);
    }
  }
  if (for_loop) loop_side_.ask();
  return value;
}

void PiixIde::write_block(unsigned channel, uint64_t offset, unsigned size, uint64_t value) {
  if (!decodes(channel)) return;
  bool for_loop = false;
  {
    std::lock_guard guard(lock_);
    IdeChannel& at = *channels_[channel];
    if (offset == 0) {
      for (unsigned i = 0; i < size; i += 2) for_loop |= at.write_data(static_cast<uint16_t>(value >> (8 * i)));
    } else {
      for (unsigned i = 0; i < size && offset + i < IdeChannel::kPorts; ++i)
        for_loop |= at.write(static_cast<unsigned>(offset) + i, static_cast<uint8_t>(value >> (8 * i)));
    }
  }
  if (for_loop) loop_side_.ask();
}

uint64_t PiixIde::read_control(unsigned channel) {
  if (!decodes(channel)) return kNothing;
  std::lock_guard guard(lock_);
  return channels_[channel]->read_alternate_status();
}

void PiixIde::write_control(unsigned channel, uint8_t value) {
  if (!decodes(channel)) return;
  bool for_loop = false;
  {
    std::lock_guard guard(lock_);
    for_loop = channels_[channel]->write_control(value);
  }
  if (for_loop) loop_side_.ask();
}

uint64_t PiixIde::read_bus_master(uint64_t offset, unsigned size) {
  std::lock_guard guard(lock_);
  uint64_t value = 0;
  for (unsigned i = 0; i < size; ++i) {
    const auto at = static_cast<unsigned>(offset) + i;
    value |= uint64_t{channels_[at / BusMaster::kSize % kChannels]->read_bus_master(at % BusMaster::kSize)} << (8 * i);
  }
  return value;
}

void PiixIde::write_bus_master(uint64_t offset, unsigned size, uint64_t value) {
  bool for_loop = false;
  {
    std::lock_guard guard(lock_);
    for (unsigned i = 0; i < size; ++i) {
      const auto at = static_cast<unsigned>(offset) + i;
      for_loop |= channels_[at / BusMaster::kSize % kChannels]->write_bus_master(at % BusMaster::kSize, static_cast<uint8_t>(value >> (8 * i)));
    }
  }
  if (for_loop) loop_side_.ask();
}

// --- the loop --------------------------------------------------------------------------------------------------------

bool PiixIde::idle() {
  std::lock_guard guard(lock_);
  return std::ranges::all_of(channels_, [](const auto& channel) { return channel->idle(); });
}

}  // namespace skerry::devices::ata
