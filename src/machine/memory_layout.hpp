// Where the RAM of a PC-like board is, and what is kept where in it.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "base/result.hpp"
#include "base/units.hpp"
#include "machine/acpi/tables.hpp"
#include "machine/loader/ram_layout.hpp"
#include "machine/smbios.hpp"
#include "memory/guest_memory.hpp"

namespace skerry::machine {

// The PCI root of a board with `memory` bytes: its windows are where MemoryLayout leaves room for them. The one above RAM
// is within `address_bits`, and is not there if they do not reach that far.
acpi::PciRoot pci_root(uint64_t memory, acpi::PciRoot::Chipset chipset = acpi::PciRoot::Chipset::kQ35, unsigned address_bits = 40);

// Below 1 MiB as on every PC; then RAM up to the hole for devices below 4 GiB, which with PCI Express begins with its
// configuration space; the rest from 4 GiB on.
class MemoryLayout {
 public:
  static constexpr uint64_t kConventionalEnd = 0xa0000;
  static constexpr uint64_t kEbda = 0x9fc00;       // the BIOS's own, at the end of conventional memory
  static constexpr uint64_t kShadowRam = 0xc0000;  // where a BIOS would be: RAM too
  static constexpr uint64_t kRsdp = 0xe0000;       // the start of the area that guests search (ACPI 6.4, 5.2.5.1)
  static constexpr uint64_t kHoleStart = 0xc0000000, kHoleEnd = 4 * GiB;

  // `memory` is what the person gave the VM, the legacy hole at 0xa0000 included.
  MemoryLayout(uint64_t memory, const acpi::Board& board);

  // Where the hole begins that is kept free of RAM for devices.
  static uint64_t hole_start(const acpi::Board& board) { return acpi::ecam_base(board).value_or(kHoleStart); }

  uint64_t low_end() const { return low_end_; }      // of RAM below 4 GiB
  uint64_t high_size() const { return high_size_; }  // of RAM above it

  // `smram`: behind the devices at 0xa0000 too, for System Management Mode.
  Result<void> add_ram(memory::GuestMemory& memory, bool smram = false) const;

 private:
  bool pci_;
  uint64_t low_end_, high_size_;
};

// What firmware leaves in memory for a kernel, where the kernel is loaded without any.
class BootTables {
 public:
  // If the board has a generation ID (whatever address it says), it gets a page; if there is an `smbios` (whatever memory it
  // says), tables for it.
  BootTables(const MemoryLayout& layout, const acpi::Board& board, std::optional<smbios::Info> smbios = std::nullopt);

  std::vector<E820Entry> e820() const;
  // For devices::VmGenId::place(), after write(). 0: there is none.
  uint64_t vm_gen_id_page() const { return vm_gen_id_page_; }
  // BIOS data area, ACPI and SMBIOS tables.
  void write(memory::GuestMemory& memory) const;

 private:
  uint64_t high_size_, ecam_ = 0;
  acpi::Tables tables_;
  uint64_t tables_base_, vm_gen_id_page_ = 0;
  smbios::Bytes smbios_;
};

}  // namespace skerry::machine
