// Where the RAM of a PC-like board is, and what is kept where in it.
#pragma once

#include <cstdint>
#include <vector>

#include "base/result.hpp"
#include "base/units.hpp"
#include "machine/acpi/tables.hpp"
#include "machine/loader/ram_layout.hpp"
#include "memory/guest_memory.hpp"

namespace skerry::machine {

// Below 1 MiB as on every PC; then RAM up to the hole for devices below 4 GiB; the rest from 4 GiB on.
class MemoryLayout {
 public:
  static constexpr uint64_t kConventionalEnd = 0xa0000;
  static constexpr uint64_t kEbda = 0x9fc00;       // the BIOS's own, at the end of conventional memory
  static constexpr uint64_t kShadowRam = 0xc0000;  // where a BIOS would be: RAM too
  static constexpr uint64_t kRsdp = 0xe0000;       // the start of the area that guests search (ACPI 6.4, 5.2.5.1)
  static constexpr uint64_t kHoleStart = 0xc0000000, kHoleEnd = 4 * GiB;

  // Where RAM below 4 GiB ends at the latest.
  static uint64_t hole_start(const acpi::Board& board) { return board.pci ? board.pci->ecam_base : kHoleStart; }

  // `memory` is what the person gave the VM, the legacy hole at 0xa0000 included.
  MemoryLayout(uint64_t memory, const acpi::Board& board);

  uint64_t low_end() const { return low_end_; }      // of RAM below 4 GiB
  uint64_t high_size() const { return high_size_; }  // of RAM above it

  Result<void> add_ram(memory::GuestMemory& memory) const;
  std::vector<E820Entry> e820() const;
  // Writes what firmware leaves in memory: BIOS data area, ACPI tables.
  void write_tables(memory::GuestMemory& memory) const;

 private:
  const bool segmented_;  // what is below 1 MiB has a region for each piece that the chipset can write-protect
  uint64_t low_end_, high_size_;
  acpi::Tables tables_;
  uint64_t tables_base_;
};

}  // namespace skerry::machine
