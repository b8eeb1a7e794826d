#include "machine/memory_layout.hpp"

#include <algorithm>
#include <cassert>
#include <span>

#include "devices/pam.hpp"
#include "devices/q35_mch.hpp"
#include "devices/vmgenid.hpp"

namespace skerry::machine {

namespace {

// BIOS data area. IBM PS/2 and PC BIOS Interface Technical Reference, section 3.
constexpr uint64_t kBdaCom1Port = 0x400, kBdaEbdaSegment = 0x40e, kBdaMemorySize = 0x413;
constexpr uint16_t kCom1Port = 0x3f8;

}  // namespace

acpi::PciRoot pci_root(uint64_t memory, acpi::PciRoot::Chipset chipset, unsigned address_bits) {
  constexpr uint64_t kAlignment = 1 * GiB, kMostSpace = 64 * GiB;
  acpi::PciRoot root{.chipset = chipset};
  const uint64_t hole = MemoryLayout::hole_start({.pci = root});
  const uint64_t high_memory = memory > hole ? memory - hole : 0;
  const uint64_t first = align_up(MemoryLayout::kHoleEnd + high_memory, kAlignment), end = bit(address_bits);
  if (first >= end) return root;
  root.mmio64_first = first;
  root.mmio64_last = first + std::min(kMostSpace, end - first) - 1;
  return root;
}

MemoryLayout::MemoryLayout(uint64_t memory, const acpi::Board& board)
    : pci_(board.pci), low_end_(std::min(memory, hole_start(board))), high_size_(memory - low_end_) {}

Result<void> MemoryLayout::add_ram(memory::GuestMemory& memory, bool smram) const {
  const uint64_t low = pci_ ? 1 * MiB : kShadowRam;
  if (auto good = memory.add_ram(low, low_end_ - low, "ram"); !good) return good;
  for (unsigned i = 0; pci_ && i < devices::pam::kSegments; ++i) {
    const auto [base, size] = devices::pam::segment(i);
    if (auto good = memory.add_ram(base, size, fmt::format("ram-{:x}", base)); !good) return good;
  }
  if (auto good = memory.add_ram(0, kConventionalEnd, "ram-conventional"); !good) return good;
  using devices::Q35Mch;
  if (smram)
    if (auto good = memory.add_ram(Q35Mch::kCompatibleSmram, Q35Mch::kCompatibleSmramSize, "smram"); !good) return good;
  return high_size_ ? memory.add_ram(kHoleEnd, high_size_, "ram-high") : ok();
}

BootTables::BootTables(const MemoryLayout& layout, const acpi::Board& board, std::optional<smbios::Info> smbios)
    : high_size_(layout.high_size()),
      ecam_(acpi::ecam_base(board).value_or(0)),
      tables_(acpi::build(board, 0)),  // to see how large they are
      tables_base_(layout.low_end() - tables_.content.size()) {
  acpi::Board placed = board;
  if (placed.pci && placed.pci->vm_gen_id) {
    vm_gen_id_page_ = tables_base_ - devices::VmGenId::kPageSize;
    placed.pci->vm_gen_id = static_cast<uint32_t>(vm_gen_id_page_ + devices::VmGenId::kGuidOffset);
  }
  tables_ = acpi::build(placed, tables_base_);
  if (!smbios) return;
  smbios->low_memory = layout.low_end();
  smbios->high_memory = layout.high_size();
  smbios_ = smbios::image(*smbios);
  assert(smbios::kAddress + smbios_.size() <= 1 * MiB);
}

std::vector<E820Entry> BootTables::e820() const {
  using L = MemoryLayout;
  std::vector<E820Entry> map = {
      {0, L::kEbda, E820Type::kMemory},
      {L::kEbda, L::kConventionalEnd - L::kEbda, E820Type::kReserved},
      {L::kRsdp, 1 * MiB - L::kRsdp, E820Type::kReserved},
      {1 * MiB, (vm_gen_id_page_ ? vm_gen_id_page_ : tables_base_) - 1 * MiB, E820Type::kMemory},
  };
  // Neither memory nor ACPI's, as its specification wants it.
  if (vm_gen_id_page_) map.push_back({vm_gen_id_page_, devices::VmGenId::kPageSize, E820Type::kReserved});
  map.push_back({tables_base_, acpi::kFacsSize, E820Type::kNvs});
  map.push_back({tables_base_ + acpi::kFacsSize, tables_.content.size() - acpi::kFacsSize, E820Type::kAcpi});
  if (ecam_) map.push_back({ecam_, acpi::PciRoot::kEcamSize, E820Type::kReserved});
  if (high_size_) map.push_back({L::kHoleEnd, high_size_, E820Type::kMemory});
  return map;
}

void BootTables::write(memory::GuestMemory& memory) const {
  constexpr uint64_t kEbda = MemoryLayout::kEbda;
  memory.write(MemoryLayout::kRsdp, std::as_bytes(std::span(tables_.rsdp)));
  memory.write(tables_base_, std::as_bytes(std::span(tables_.content)));
  if (!smbios_.empty()) memory.write(smbios::kAddress, std::as_bytes(std::span(smbios_)));
  memory.store<uint16_t>(kBdaCom1Port, kCom1Port);
  memory.store<uint16_t>(kBdaEbdaSegment, kEbda >> 4);
  const auto conventional_kib = static_cast<uint16_t>(kEbda / KiB);
  memory.write(kBdaMemorySize, std::as_bytes(std::span(&conventional_kib, 1)));
  memory.store<uint8_t>(kEbda, (MemoryLayout::kConventionalEnd - kEbda) / KiB);  // its first byte is its size in KiB
}

}  // namespace skerry::machine
