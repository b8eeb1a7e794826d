// The ACPI tables that describe a board to its guest. ACPI 6.4; IA-PC HPET Specification 1.0a, 3.2.4.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace skerry::machine::acpi {

using Bytes = std::vector<uint8_t>;

// What differs from VM to VM; the rest is the devices' own constants.
struct Board {
  unsigned vcpus = 1;  // APIC IDs 0 to vcpus-1, below 255
  bool mouse = true;   // the i8042 has its second port
};

struct Tables {
  Bytes rsdp;  // to be put where a guest scans for it: at a multiple of 16 from 0xe0000 on
  // From `base` on: kFacsSize bytes for E820Type::kNvs, then the other tables, for kAcpi. Whole pages.
  Bytes content;
  // Each table by its signature, for tests and `dump`: its place in `content`.
  struct Part {
    std::string signature;
    size_t offset, size;
  };
  std::vector<Part> parts;
};

// The guest writes to the FACS; it has a page of its own.
constexpr uint64_t kFacsSize = 4096;

// The tables with their addresses for `base`, a multiple of 4 KiB below 4 GiB. Their size does not depend on `base`.
Tables build(const Board& board, uint64_t base);

// The definition block of the DSDT, without its header (dsdt.cpp).
Bytes dsdt_definition(const Board& board);

}  // namespace skerry::machine::acpi
