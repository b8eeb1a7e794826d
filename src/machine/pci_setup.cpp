#include "machine/pci_setup.hpp"

#include <algorithm>

#include "base/units.hpp"

namespace skerry::machine {

namespace {

using namespace bus::pci;

constexpr unsigned kBarIo = 1, kBarTypeMask = 6, kBar64 = 4, kBarPrefetchable = 8;
constexpr unsigned kBridgeMemoryBase = 0x20, kBridgePrefetchableBase = 0x24, kBridgeIoBase = 0x1c;
constexpr uint64_t kBridgeGrain = 1 * MiB;

class Setup {
 public:
  Setup(bus::PciHost& host, const PciWindows& windows, const std::function<uint8_t(unsigned, unsigned)>& line)
      : host_(host), windows_(windows), line_(line) {}

  // `root_device` is the device of the root bus that `bus` is behind, none for the root bus itself.
  Result<void> bus(unsigned number, int root_device) {
    for (unsigned devfn = 0; devfn < 256; ++devfn) {
      if (host_.config_read(number, devfn, kVendorId, 2) == 0xffff) continue;
      if (auto good = function(number, devfn, root_device < 0 ? devfn >> 3 : static_cast<unsigned>(root_device)); !good) return good;
    }
    return ok();
  }

 private:
  Result<void> function(unsigned number, unsigned devfn, unsigned root_device) {
    const bool bridge = (host_.config_read(number, devfn, kHeaderType, 1) & 0x7f) == kHeaderBridge;
    for (unsigned bar = 0; bar < (bridge ? 2u : 6u);) {
      auto used = place_bar(number, devfn, bar);
      if (!used) return std::move(used).error();
      bar += *used;
    }
    if (const uint32_t pin = host_.config_read(number, devfn, kInterruptPin, 1))
      host_.config_write(number, devfn, kInterruptLine, 1, line_(root_device, (pin - 1 + (number ? devfn >> 3 : 0)) & 3));
    if (bridge)
      if (auto good = behind_bridge(number, devfn, root_device); !good) return good;
    const uint32_t command = host_.config_read(number, devfn, kCommand, 2);
    host_.config_write(number, devfn, kCommand, 2, command | kCommandIo | kCommandMemory);
    return ok();
  }

  Result<unsigned> place_bar(unsigned number, unsigned devfn, unsigned bar) {
    const unsigned at = kBar0 + 4 * bar;
    const uint32_t flags = host_.config_read(number, devfn, at, 4);
    host_.config_write(number, devfn, at, 4, ~0u);
    const uint32_t sized = host_.config_read(number, devfn, at, 4);
    if (sized == 0) return 1u;
    const bool io = flags & kBarIo, wide = !io && (flags & kBarTypeMask) == kBar64;
    uint64_t mask = sized & (io ? ~3u : ~15u);
    if (wide) {
      host_.config_write(number, devfn, at + 4, 4, ~0u);
      mask |= uint64_t{host_.config_read(number, devfn, at + 4, 4)} << 32;
    } else {
      mask |= 0xffff'ffff'0000'0000;
    }
    const uint64_t size = ~mask + 1;
    PciWindows::Window& window = io ? windows_.io : wide && (flags & kBarPrefetchable) && number == 0 ? windows_.high : windows_.low;
    const uint64_t base = align_up(window.base, size);
    if (base + size > window.end)
      return error("PCI: no room for a register window of {} of device {:02x}:{:02x}.{}", format_size(size), number, devfn >> 3, devfn & 7);
    window.base = base + size;
    host_.config_write(number, devfn, at, 4, static_cast<uint32_t>(base));
    if (wide) host_.config_write(number, devfn, at + 4, 4, static_cast<uint32_t>(base >> 32));
    return wide ? 2u : 1u;
  }

  Result<void> behind_bridge(unsigned number, unsigned devfn, unsigned root_device) {
    const unsigned secondary = ++last_bus_;
    if (secondary > 0xff) return error("PCI: more than 256 buses");
    host_.config_write(number, devfn, kPrimaryBus, 1, number);
    host_.config_write(number, devfn, kSecondaryBus, 1, secondary);
    host_.config_write(number, devfn, kSubordinateBus, 1, 0xff);
    const uint64_t base = windows_.low.base = align_up(windows_.low.base, kBridgeGrain);
    if (auto good = bus(secondary, static_cast<int>(root_device)); !good) return good;
    const uint64_t end = windows_.low.base = align_up(windows_.low.base, kBridgeGrain);
    host_.config_write(number, devfn, kSubordinateBus, 1, last_bus_);
    // A window whose limit is below its base is closed (PCI-to-PCI Bridge 3.2.5.8).
    const uint64_t memory = end > base ? (base >> 16 & 0xfff0) | ((end - 1) & 0xfff0'0000) : 0x0000'fff0;
    host_.config_write(number, devfn, kBridgeMemoryBase, 4, static_cast<uint32_t>(memory));
    host_.config_write(number, devfn, kBridgePrefetchableBase, 4, 0x0000'fff0);
    host_.config_write(number, devfn, kBridgeIoBase, 2, 0x00f0);
    return ok();
  }

  bus::PciHost& host_;
  PciWindows windows_;
  const std::function<uint8_t(unsigned, unsigned)>& line_;
  unsigned last_bus_ = 0;
};

}  // namespace

Result<void> set_up_pci(bus::PciHost& host, const PciWindows& windows,
                        const std::function<uint8_t(unsigned device, unsigned pin)>& line) {
  return Setup(host, windows, line).bus(0, -1);
}

}  // namespace skerry::machine
