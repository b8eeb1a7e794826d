#include "bus/pci.hpp"

#include <cassert>

#include "base/log.hpp"

namespace skerry::bus {

using namespace pci;

namespace {

// The lowest bits of a BAR (PCI 6.2.5.1).
constexpr uint32_t kBarIo = 1, kBar64 = 4, kBarPrefetchable = 8;
constexpr unsigned kBarIoMask = 3, kBarMemoryMask = 15;
// MSI-X capability: Message Control, table and PBA places (PCI 6.8.2.3).
constexpr unsigned kMsixControl = 2;
constexpr uint16_t kMsixWritable = 0xc000;
// MSI capability: Message Control, 64-bit address, data (PCI 6.8.1.3 to 6.8.1.6).
constexpr unsigned kMsiControl = 2, kMsiAddress = 4, kMsiData = 12, kMsiEnd = 14;
constexpr uint16_t kMsiEnable = 1 << 0, kMsi64Bit = 1 << 7;

bool is_wide(BarKind kind) { return kind == BarKind::kMemory64 || kind == BarKind::kMemory64Prefetchable; }

uint32_t bar_flags(BarKind kind) {
  switch (kind) {
    case BarKind::kIo: return kBarIo;
    case BarKind::kMemory32: return 0;
    case BarKind::kMemory32Prefetchable: return kBarPrefetchable;
    case BarKind::kMemory64: return kBar64;
    case BarKind::kMemory64Prefetchable: return kBar64 | kBarPrefetchable;
  }
  return 0;
}

bool overlaps(unsigned offset, unsigned size, unsigned start, unsigned length) {
  return offset < start + length && start < offset + size;
}

}  // namespace

PciFunction::PciFunction(std::string name, const PciIdentity& identity) : name_(std::move(name)) {
  set_config<uint16_t>(kVendorId, identity.vendor);
  set_config<uint16_t>(kDeviceId, identity.device);
  set_config<uint8_t>(kRevision, identity.revision);
  set_config<uint8_t>(kClass, static_cast<uint8_t>(identity.class_code));
  set_config<uint16_t>(kClass + 1, static_cast<uint16_t>(identity.class_code >> 8));
  set_config<uint16_t>(kSubsystemVendorId, identity.subsystem_vendor);
  set_config<uint16_t>(kSubsystemId, identity.subsystem);
  set_writable<uint16_t>(kCommand, kCommandMaster | kCommandParity | kCommandSerr | kCommandIntxDisable);
  set_writable<uint8_t>(kInterruptLine, 0xff);
}

void PciFunction::add_bar(unsigned index, BarKind kind, uint64_t size, IoHandler& handler) {
  describe_bar(index, {kind, size, &handler, {}});
}

void PciFunction::add_memory_bar(unsigned index, BarKind kind, uint64_t size, std::function<void(std::optional<uint64_t>)> place) {
  describe_bar(index, {kind, size, nullptr, std::move(place)});
}

void PciFunction::describe_bar(unsigned index, Bar bar) {
  const BarKind kind = bar.kind;
  const uint64_t size = bar.size;
  assert(index < (is_wide(kind) ? 5u : 6u) && size >= 16 && (size & (size - 1)) == 0 && !bars_[index].size);
  bars_[index] = std::move(bar);
  set_config<uint32_t>(kBar0 + 4 * index, bar_flags(kind));
  set_writable<uint32_t>(kBar0 + 4 * index, static_cast<uint32_t>(~(size - 1)));
  if (is_wide(kind)) set_writable<uint32_t>(kBar0 + 4 * index + 4, static_cast<uint32_t>(~(size - 1) >> 32));
  set_writable<uint16_t>(kCommand, config_written_mask(kCommand) | (kind == BarKind::kIo ? kCommandIo : kCommandMemory));
}

unsigned PciFunction::add_capability(uint8_t id, std::span<const uint8_t> content, std::span<const uint8_t> writable) {
  const unsigned offset = capability_end_;
  assert(offset + 2 + content.size() <= kLegacyConfigSize);
  config_[last_capability_ ? last_capability_ + 1 : kCapabilities] = static_cast<uint8_t>(offset);
  config_[offset] = id;
  std::copy(content.begin(), content.end(), config_.begin() + offset + 2);
  std::copy(writable.begin(), writable.end(), writable_.begin() + offset + 2);
  last_capability_ = offset;
  capability_end_ = (offset + 2 + static_cast<unsigned>(content.size()) + 3) & ~3u;
  set_config<uint16_t>(kStatus, config<uint16_t>(kStatus) | kStatusCapabilities);
  return offset;
}

void PciFunction::add_msix(unsigned vectors, unsigned bar) {
  msix_ = std::make_unique<Msix>(vectors);
  const auto control = static_cast<uint16_t>(vectors - 1);
  const uint32_t pba = msix_->pba_offset() | bar;
  const std::array<uint8_t, 10> content = {
      static_cast<uint8_t>(control),   static_cast<uint8_t>(control >> 8), static_cast<uint8_t>(bar), 0, 0, 0,
      static_cast<uint8_t>(pba),       static_cast<uint8_t>(pba >> 8),     static_cast<uint8_t>(pba >> 16),
      static_cast<uint8_t>(pba >> 24)};
  const std::array<uint8_t, 2> writable = {kMsixWritable & 0xff, kMsixWritable >> 8};
  msix_capability_ = add_capability(kCapMsix, content, writable);
  add_bar(bar, BarKind::kMemory32, msix_->bar_size(), *msix_);
}

void PciFunction::add_msi() {
  std::array<uint8_t, kMsiEnd - 2> content{}, writable{};
  content[kMsiControl - 2] = kMsi64Bit;
  writable[kMsiControl - 2] = kMsiEnable;
  std::fill(writable.begin() + kMsiAddress - 2, writable.end(), uint8_t{0xff});
  writable[kMsiAddress - 2] = 0xfc;
  msi_capability_ = add_capability(kCapMsi, content, writable);
}

// PCIe 7.8: version 2, no link trouble, nothing that can be written.
void PciFunction::add_pci_express(unsigned port_type, unsigned slot) {
  std::array<uint8_t, 58> content{};
  const auto put32 = [&](unsigned offset, uint32_t value) {
    for (unsigned i = 0; i < 4; ++i) content[offset - 2 + i] = static_cast<uint8_t>(value >> (8 * i));
  };
  const bool port = port_type == kExpressRootPort;
  content[0] = static_cast<uint8_t>(2 | port_type << 4);
  content[1] = port ? 1 : 0;            // Slot Implemented
  put32(0x04, 1 << 15);                 // Device Capabilities: role-based error reporting
  put32(0x0c, 0x11 | slot << 24);       // Link Capabilities: 2.5 GT/s, x1, port number
  content[0x12 - 2] = 0x11;             // Link Status: the same
  if (port) put32(0x14, slot << 19);    // Slot Capabilities: its number
  std::array<uint8_t, 58> writable{};
  writable[0x08 - 2] = 0x0f;            // Device Control: error reporting enables
  add_capability(kCapPciExpress, content, writable);
}

void PciFunction::use_interrupt_pin(uint8_t pin) { set_config<uint8_t>(kInterruptPin, pin); }

void PciFunction::reset() {
  for (unsigned i = 0; i < kConfigSize; ++i) config_[i] = initial_[i];
  if (msix_) msix_->reset();
  {
    std::lock_guard guard(intx_lock_);
    intx_ = intx_driven_ = false;
  }
  msi_changed();
  command_changed();
}

void PciFunction::describe(state::Fields& fields) {
  // What cannot be written is as it was made.
  std::array<uint8_t, kConfigSize> loaded = config_;
  fields.bytes("config", loaded);
  for (unsigned i = 0; i < kConfigSize; ++i)
    config_[i] = static_cast<uint8_t>((config_[i] & ~writable_[i]) | (loaded[i] & writable_[i]));
  bool intx = intx_.load(std::memory_order_relaxed);
  fields.field("intx", intx);
  intx_.store(intx, std::memory_order_relaxed);
  if (msix_) fields.group("msix", [&] { msix_->describe(fields); });
}

void PciFunction::restored() {
  if (msix_) msix_->control_.store(config<uint16_t>(msix_capability_ + kMsixControl) & kMsixWritable);
  {
    std::lock_guard guard(intx_lock_);
    intx_driven_ = false;
  }
  msi_changed();
  command_changed();
}

uint32_t PciFunction::config_read(unsigned offset, unsigned size) {
  uint32_t value = 0;
  for (unsigned i = 0; i < size; ++i) value |= uint32_t{config_[offset + i]} << (8 * i);
  if (intx_.load(std::memory_order_relaxed) && overlaps(offset, size, kStatus, 1))
    value |= uint32_t{kStatusInterrupt} << (8 * (kStatus - offset));
  return value;
}

void PciFunction::config_write(unsigned offset, unsigned size, uint32_t value) {
  for (unsigned i = 0; i < size; ++i) {
    const uint8_t mask = writable_[offset + i];
    config_[offset + i] = static_cast<uint8_t>((config_[offset + i] & ~mask) | (value >> (8 * i) & mask));
  }
  if (msix_ && overlaps(offset, size, msix_capability_ + kMsixControl, 2))
    msix_->set_control(config<uint16_t>(msix_capability_ + kMsixControl) & kMsixWritable);
  if (msi_capability_ && overlaps(offset, size, msi_capability_ + kMsiControl, kMsiEnd - kMsiControl)) {
    msi_changed();
    update_intx();
  }
  const bool command = overlaps(offset, size, kCommand, 2);
  if (command) command_changed();
  if (bus_ && bus_->host_ && (command || overlaps(offset, size, kBar0, 24))) bus_->host_->remap();
}

void PciFunction::command_changed() {
  command_.store(config<uint16_t>(kCommand), std::memory_order_release);
  update_intx();
}

void PciFunction::msi_changed() {
  if (!msi_capability_) return;
  std::lock_guard guard(msi_.lock);
  msi_.address = config<uint32_t>(msi_capability_ + kMsiAddress) |
                 uint64_t{config<uint32_t>(msi_capability_ + kMsiAddress + 4)} << 32;
  msi_.data = config<uint16_t>(msi_capability_ + kMsiData);
  msi_.enabled.store(config<uint16_t>(msi_capability_ + kMsiControl) & kMsiEnable, std::memory_order_release);
}

bool PciFunction::send_msi() {
  if (!msi_.enabled.load(std::memory_order_acquire)) return false;
  std::lock_guard guard(msi_.lock);
  if (msi_.sink && bus_master()) msi_.sink->send_msi(msi_.address, msi_.data);
  return true;
}

std::optional<uint64_t> PciFunction::bar_base(unsigned index) const {
  const Bar& bar = bars_[index];
  const uint16_t command = command_.load(std::memory_order_relaxed);
  if (!bar.size || !(command & (bar.kind == BarKind::kIo ? kCommandIo : kCommandMemory))) return std::nullopt;
  uint64_t base = config<uint32_t>(kBar0 + 4 * index) & ~(bar.kind == BarKind::kIo ? kBarIoMask : kBarMemoryMask);
  if (is_wide(bar.kind)) base |= uint64_t{config<uint32_t>(kBar0 + 4 * index + 4)} << 32;
  // Not yet given a place, or being sized.
  if (base == 0 || base + bar.size < base) return std::nullopt;
  if (bar.kind == BarKind::kIo && base + bar.size > 0x10000) return std::nullopt;
  return base;
}

void PciFunction::set_intx(bool level) {
  intx_.store(level, std::memory_order_release);
  update_intx();
}

void PciFunction::update_intx() {
  std::lock_guard guard(intx_lock_);
  const bool level = intx_.load(std::memory_order_acquire) && !(command_.load() & kCommandIntxDisable) &&
                     !(msix_ && msix_->enabled()) && !msi_.enabled.load(std::memory_order_acquire);
  if (level == intx_driven_ || !bus_ || !bus_->host_) return;
  intx_driven_ = level;
  bus_->host_->drive_intx(*this, level);
}

Result<void> PciBus::add(PciFunction& function, unsigned device, unsigned number) {
  assert(device < 32 && number < 8);
  const auto devfn = static_cast<uint8_t>(device << 3 | number);
  if (functions_[devfn])
    return error("PCI device {:02x}.{}: '{}' and '{}' both want the place", device, number, functions_[devfn]->name(),
                 function.name());
  functions_[devfn] = &function;
  function.bus_ = this;
  function.devfn_ = devfn;
  if (number) functions_[device << 3]->set_config<uint8_t>(kHeaderType, functions_[device << 3]->config_[kHeaderType] | kMultiFunction);
  function.initial_ = function.config_;
  if (number) functions_[device << 3]->initial_ = functions_[device << 3]->config_;
  if (host_) connect(*host_);
  return ok();
}

void PciBus::connect(PciHost& host) {
  host_ = &host;
  for (PciFunction* function : functions_) {
    if (!function) continue;
    if (function->msix_) function->msix_->connect(&host.msi_);
    function->msi_.sink = &host.msi_;
    if (PciBus* behind = function->secondary()) behind->connect(host);
  }
}

PciRootPort::PciRootPort(std::string name, unsigned slot)
    : PciFunction(std::move(name), {.vendor = kVendor, .device = kDevice, .class_code = 0x060400}), bus_behind_(this) {
  set_config<uint8_t>(kHeaderType, kHeaderBridge);
  set_config<uint16_t>(kSubsystemVendorId, 0);  // here begin the bridge's windows
  set_config<uint16_t>(kSubsystemId, 0);
  set_writable<uint16_t>(kCommand, kCommandIo | kCommandMemory | kCommandMaster | kCommandParity | kCommandSerr | kCommandIntxDisable);
  set_writable<uint32_t>(kPrimaryBus, 0x00ff'ffff);
  // PCI-to-PCI Bridge 3.2.5: I/O base and limit; memory; prefetchable memory of 64 bits; bridge control.
  set_writable<uint16_t>(0x1c, 0xf0f0);
  set_config<uint16_t>(0x1c, 0x0101);  // 32-bit I/O addressing
  set_writable<uint32_t>(0x20, 0xfff0'fff0);
  set_writable<uint32_t>(0x24, 0xfff0'fff0);
  set_config<uint32_t>(0x24, 0x0001'0001);
  set_writable<uint32_t>(0x28, ~0u);
  set_writable<uint32_t>(0x2c, ~0u);
  set_writable<uint32_t>(0x30, ~0u);
  set_writable<uint16_t>(0x3e, 0x0003);
  use_interrupt_pin(1);
  add_pci_express(kExpressRootPort, slot);
}

// The host.

Result<void> PciHost::attach(IoHandler* port_cf9) {
  port_cf9_ = port_cf9;
  return pio_.add(kConfigAddressPort, 8, ports_, "pci-config");
}

PciFunction* PciHost::find(unsigned bus, unsigned devfn) {
  const PciBus* at = &root_;
  for (unsigned depth = 0; bus != 0 && depth < 8; ++depth) {
    const PciBus* next = nullptr;
    for (PciFunction* function : at->functions_) {
      if (!function || !function->secondary()) continue;
      const unsigned secondary = function->config<uint8_t>(kSecondaryBus);
      if (secondary == 0 || bus < secondary || bus > function->config<uint8_t>(kSubordinateBus)) continue;
      if (bus == secondary) return function->secondary()->at(static_cast<uint8_t>(devfn));
      next = function->secondary();
      break;
    }
    if (!next) return nullptr;
    at = next;
  }
  return bus == 0 ? root_.at(static_cast<uint8_t>(devfn)) : nullptr;
}

uint32_t PciHost::config_read(unsigned bus, unsigned devfn, unsigned offset, unsigned size) {
  std::lock_guard guard(lock_);
  PciFunction* function = find(bus, devfn);
  // Where nothing is, all bits are set.
  return function && offset + size <= kConfigSize ? function->config_read(offset, size) : ~0u >> (32 - 8 * size);
}

void PciHost::config_write(unsigned bus, unsigned devfn, unsigned offset, unsigned size, uint32_t value) {
  std::lock_guard guard(lock_);
  PciFunction* function = find(bus, devfn);
  if (function && offset + size <= kConfigSize) function->config_write(offset, size, value);
}

// Configuration mechanism #1 (PCI 3.2.2.3.2): bit 31 enables, then bus, device and function, dword.
uint64_t PciHost::ConfigPorts::io_read(uint64_t offset, unsigned size) {
  if (offset == 0 && size == 4) {
    std::lock_guard guard(host_.lock_);
    return host_.config_address_;
  }
  if (offset < 4) return offset == 1 && size == 1 && host_.port_cf9_ ? host_.port_cf9_->io_read(0, 1) : ~uint64_t{0};
  const uint32_t address = [&] {
    std::lock_guard guard(host_.lock_);
    return host_.config_address_;
  }();
  if (!(address >> 31)) return ~uint64_t{0};
  return host_.config_read(address >> 16 & 0xff, address >> 8 & 0xff, (address & 0xfc) + (offset & 3), size);
}

void PciHost::ConfigPorts::io_write(uint64_t offset, unsigned size, uint64_t value) {
  if (offset == 0 && size == 4) {
    std::lock_guard guard(host_.lock_);
    host_.config_address_ = static_cast<uint32_t>(value) & 0x80ff'fffc;
    return;
  }
  if (offset < 4) {
    if (offset == 1 && size == 1 && host_.port_cf9_) host_.port_cf9_->io_write(0, 1, value);
    return;
  }
  const uint32_t address = [&] {
    std::lock_guard guard(host_.lock_);
    return host_.config_address_;
  }();
  if (address >> 31)
    host_.config_write(address >> 16 & 0xff, address >> 8 & 0xff, (address & 0xfc) + (offset & 3), size,
                       static_cast<uint32_t>(value));
}

uint64_t PciHost::Ecam::io_read(uint64_t offset, unsigned size) {
  if ((offset & 3) + size > 4) return ~uint64_t{0};
  return host_.config_read(offset >> 20 & 0xff, offset >> 12 & 0xff, offset & 0xfff, size);
}

void PciHost::Ecam::io_write(uint64_t offset, unsigned size, uint64_t value) {
  if ((offset & 3) + size <= 4)
    host_.config_write(offset >> 20 & 0xff, offset >> 12 & 0xff, offset & 0xfff, size, static_cast<uint32_t>(value));
}

void PciHost::set_ecam(uint64_t base, unsigned buses) {
  ecam_base_ = base;
  ecam_buses_ = buses;
  remap();
}

void PciHost::remap() {
  std::vector<AddressSpace::Movable> ports, memory;
  if (ecam_buses_) memory.push_back({ecam_base_, uint64_t{ecam_buses_} << 20, &ecam_});
  const auto collect = [&](const auto& self, const PciBus& bus) -> void {
    for (PciFunction* function : bus.functions_) {
      if (!function) continue;
      for (unsigned i = 0; i < function->bars_.size(); ++i) {
        const PciFunction::Bar& bar = function->bars_[i];
        const auto base = function->bar_base(i);
        if (bar.place)
          bar.place(base);
        else if (base)
          (bar.kind == BarKind::kIo ? ports : memory).push_back({*base, bar.size, bar.handler});
      }
      if (const PciBus* behind = function->secondary()) self(self, *behind);
    }
  };
  collect(collect, root_);
  pio_.replace_movable(ports);
  mmio_.replace_movable(memory);
}

void PciHost::drive_intx(const PciFunction& function, bool level) {
  unsigned pin = function.config<uint8_t>(kInterruptPin);
  if (pin == 0) return;
  --pin;
  const PciFunction* at = &function;
  // A bridge turns the pins of what is behind it by its device number (PCI-to-PCI Bridge 9.1).
  while (at->bus_->bridge_) {
    pin = (pin + (at->devfn_ >> 3)) & 3;
    at = at->bus_->bridge_;
  }
  intx_.set_intx(function, at->devfn_ >> 3, pin, level);
}

void PciHost::reset() {
  config_address_ = 0;
  ecam_buses_ = 0;
  remap();
}

void PciHost::describe(state::Fields& fields) {
  fields.field("config_address", config_address_, state::in_mask(0x80ff'fffc));
}

}  // namespace skerry::bus
