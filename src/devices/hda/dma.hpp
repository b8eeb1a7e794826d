// The card's way to guest memory: open while the guest lets it be a bus master.
#pragma once

#include "bus/pci.hpp"
#include "memory/guest_memory.hpp"

namespace skerry::devices::hda {

struct Dma {
  memory::GuestMemory& memory;
  const bus::PciFunction& function;
  bool allowed() const { return function.bus_master(); }
};

}  // namespace skerry::devices::hda
