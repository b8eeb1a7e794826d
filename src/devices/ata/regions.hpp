// Guest memory that a command's data is in.
#pragma once

#include <sys/uio.h>

#include <cstdint>
#include <vector>

#include "memory/guest_memory.hpp"

namespace skerry::devices::ata {

struct Regions {
  struct Region {
    memory::Gpa address;
    uint64_t size;
  };
  std::vector<Region> regions;
  std::vector<iovec> host;  // where that is in this process
  uint64_t size = 0;
  bool interrupts = false;  // one of them asks for an interrupt when it is done

  // False: a byte of it is no memory, or, `for_write`, no RAM.
  bool add(const memory::GuestMemory& memory, memory::Gpa address, uint64_t length, bool for_write) {
    if (!memory.host_ranges(address, length, for_write, host)) return false;
    regions.push_back({address, length});
    size += length;
    return true;
  }
  // The host has written there.
  void written(memory::GuestMemory& memory) const {
    for (const Region& region : regions) memory.written(region.address, region.size);
  }
};

}  // namespace skerry::devices::ata
