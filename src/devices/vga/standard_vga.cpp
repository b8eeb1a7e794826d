#include "devices/vga/standard_vga.hpp"

#include "base/clock.hpp"
#include "display/edid.hpp"

namespace skerry::devices::vga {

namespace {

constexpr bus::PciIdentity kIdentity = {.vendor = StandardVga::kVendor,
                                        .device = StandardVga::kDevice,
                                        .subsystem_vendor = 0x1af4,
                                        .subsystem = 0x1100,
                                        .class_code = 0x030000,
                                        .revision = 2};
constexpr unsigned kFrameBufferBar = 0, kRegisterBar = 2;
constexpr uint64_t kRegisterBarSize = 4096;
// Ports of the extensions: which register, and the register, at 1cfh and, aligned, at 1d0h.
constexpr uint16_t kDispiIndex = 0x1ce, kDispiPorts = 4;
// In the BAR of registers: what the monitor says of itself, ports from 3c0h on, the extensions' registers, two bytes each, and the order of bytes in the frame buffer.
constexpr uint64_t kEdidEnd = display::kEdidSize, kPortsAt = 0x400, kPortsEnd = 0x420, kDispiAt = 0x500, kDispiEnd = 0x516, kMoreAt = 0x600, kMoreEnd = 0x608;
constexpr uint16_t kFirstPortInBar = 0x3c0;
constexpr uint32_t kMoreSize = kMoreEnd - kMoreAt, kLittleEndian = 0x1e1e1e1e;  // the only order; bochs-drm of Linux writes it

constexpr display::Screen::Size kPreferred = {1024, 768};  // as drivers choose that find no EDID

}  // namespace

Result<std::unique_ptr<StandardVga>> StandardVga::create(memory::GuestMemory& memory, std::function<void()> kick_all, display::Screen& screen) {
  if (auto added = memory.add_device_ram(kHome, kVideoMemory, "vga"); !added) return std::move(added).error();
  return std::unique_ptr<StandardVga>(new StandardVga(memory, std::move(kick_all), screen));
}

StandardVga::StandardVga(memory::GuestMemory& memory, std::function<void()> kick_all, display::Screen& screen)
    : PciFunction("vga", kIdentity),
      memory_(memory),
      screen_(screen),
      core_(memory.device_content(kHome)),
      ports_(
          8, [this](uint64_t offset, unsigned size) { return read_ports(static_cast<uint16_t>(VgaCore::kFirstPort + offset), size); },
          [this](uint64_t offset, unsigned size, uint64_t value) {
            write_ports(static_cast<uint16_t>(VgaCore::kFirstPort + offset), size, value);
          }),
      dispi_(
          2, [this](uint64_t offset, unsigned) { return read_dispi(offset); },
          [this](uint64_t offset, unsigned, uint64_t value) { write_dispi(offset, value); }),
      window_(
          8, [this](uint64_t offset, unsigned size) { return core_.read_window(offset, size); },
          [this](uint64_t offset, unsigned size, uint64_t value) { core_.write_window(offset, size, value); }),
      registers_(
          4, [this](uint64_t offset, unsigned size) { return read_registers(offset, size); },
          [this](uint64_t offset, unsigned size, uint64_t value) { write_registers(offset, size, value); }) {
  add_memory_bar(kFrameBufferBar, bus::BarKind::kMemory32Prefetchable, kVideoMemory,
                 [this, kick_all = std::move(kick_all)](std::optional<uint64_t> base) {
                   memory_.place(kHome, base);
                   kick_all();
                 });
  add_bar(kRegisterBar, bus::BarKind::kMemory32, kRegisterBarSize, registers_);
  // SeaBIOS takes it for the VGA only if its ports can be switched on. They are always on, as is its memory below 1 MiB.
  set_writable<uint16_t>(bus::pci::kCommand, bus::pci::kCommandIo | bus::pci::kCommandMemory | bus::pci::kCommandMaster);
  screen_.set_source([this] { core_.draw(screen_, VmClock::host_now()); });
}

StandardVga::~StandardVga() {
  screen_.set_source({});
  (void)memory_.remove(kHome);
}

Result<void> StandardVga::attach(bus::AddressSpace& pio, bus::AddressSpace& mmio) {
  if (auto added = pio.add(VgaCore::kFirstPort, VgaCore::kPorts, ports_, "vga"); !added) return added;
  if (auto added = pio.add(kDispiIndex, kDispiPorts, dispi_, "vga"); !added) return added;
  return mmio.add(kWindow, VgaCore::kWindowSize, window_, "vga");
}

// --- registers -------------------------------------------------------------------------------------------------------

// Two ports are often written at once: a register's number, and its value.
uint64_t StandardVga::read_ports(uint16_t port, unsigned size) {
  uint64_t value = 0;
  for (unsigned i = 0; i < size; ++i) value |= uint64_t{core_.read_port(static_cast<uint16_t>(port + i))} << (8 * i);
  return value;
}

void StandardVga::write_ports(uint16_t port, unsigned size, uint64_t value) {
  for (unsigned i = 0; i < size; ++i) core_.write_port(static_cast<uint16_t>(port + i), static_cast<uint8_t>(value >> (8 * i)));
}

uint64_t StandardVga::read_dispi(uint64_t offset) {
  const uint16_t index = dispi_index_.load(std::memory_order_relaxed);
  return offset == 0 ? index : core_.read_dispi(index);
}

void StandardVga::write_dispi(uint64_t offset, uint64_t value) {
  if (offset == 0)
    dispi_index_.store(static_cast<uint16_t>(value), std::memory_order_relaxed);
  else
    core_.write_dispi(dispi_index_.load(std::memory_order_relaxed), static_cast<uint16_t>(value));
}

uint64_t StandardVga::read_edid(uint64_t offset, unsigned size) {
  static const auto edid = display::make_edid(kPreferred);
  uint64_t value = 0;
  for (unsigned i = 0; i < size; ++i) value |= uint64_t{edid[offset + i]} << (8 * i);
  return value;
}

uint64_t StandardVga::read_registers(uint64_t offset, unsigned size) {
  const uint64_t end = offset + size;
  if (end <= kEdidEnd) return read_edid(offset, size);
  if (offset >= kPortsAt && end <= kPortsEnd) return read_ports(static_cast<uint16_t>(kFirstPortInBar + offset - kPortsAt), size);
  if (offset >= kDispiAt && end <= kDispiEnd && size >= 2 && offset % 2 == 0) {
    const auto index = static_cast<uint16_t>((offset - kDispiAt) / 2);
    return core_.read_dispi(index) | (size == 4 ? uint32_t{core_.read_dispi(static_cast<uint16_t>(index + 1))} << 16 : 0);
  }
  if (offset >= kMoreAt && end <= kMoreEnd && size == 4) return offset == kMoreAt ? kMoreSize : kLittleEndian;
  return 0;
}

void StandardVga::write_registers(uint64_t offset, unsigned size, uint64_t value) {
  const uint64_t end = offset + size;
  if (offset >= kPortsAt && end <= kPortsEnd) return write_ports(static_cast<uint16_t>(kFirstPortInBar + offset - kPortsAt), size, value);
  if (offset >= kDispiAt && end <= kDispiEnd && size >= 2 && offset % 2 == 0)
    for (unsigned i = 0; i < size / 2; ++i)
      core_.write_dispi(static_cast<uint16_t>((offset - kDispiAt) / 2 + i), static_cast<uint16_t>(value >> (16 * i)));
}

// --- state -----------------------------------------------------------------------------------------------------------

void StandardVga::reset() {
  PciFunction::reset();
  core_.reset();
  dispi_index_ = 0;
}

void StandardVga::describe(state::Fields& fields) {
  PciFunction::describe(fields);
  core_.describe(fields);
  uint16_t index = dispi_index_;
  fields.field("dispi_index", index);
  dispi_index_ = index;
}

void StandardVga::restored() {
  PciFunction::restored();
  core_.restored();
}

}  // namespace skerry::devices::vga
