// What firmware does for PCI, on a machine that has none: bus numbers, places of BARs, interrupt lines, decoding on.
#pragma once

#include <cstdint>
#include <functional>

#include "base/result.hpp"
#include "bus/pci.hpp"

namespace skerry::machine {

// Where BARs may be put. Prefetchable BARs of 64 bits go to the high window, all others of memory to the low one.
struct PciWindows {
  struct Window {
    uint64_t base, end;  // one behind the last byte
  };
  Window io, low, high;
};

// At rest. `line` gives what is written into the interrupt line register of a function of the root bus, by device and pin
// (0 to 3). Fails if a window is full.
Result<void> set_up_pci(bus::PciHost& host, const PciWindows& windows,
                        const std::function<uint8_t(unsigned device, unsigned pin)>& line);

}  // namespace skerry::machine
