// The ACPI tables that describe a board to its guest. ACPI 6.4; IA-PC HPET Specification 1.0a, 3.2.4; PCI Firmware
// Specification 3.3, 4.1.2 (MCFG).
//
// They reach the guest in one of two ways: written to its memory by the board, complete, or as files that firmware puts
// where it likes (table_loader.hpp).
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace skerry::machine::acpi {

using Bytes = std::vector<uint8_t>;

// What the table TPM2 says of the TPM, which is devices::tpm::Crb.
struct Tpm {
  uint32_t log_size = 0;     // of the memory in which firmware writes down what it has measured; 0: there is none
  uint64_t log_address = 0;
};

// The PCI root of a board, with the devices that only such boards have: the bridge to the ISA bus, fw_cfg, pvpanic.
struct PciRoot {
  // PCI Express with ICH9's LPC bridge at 00:1f.0; PCI with PIIX3 at 00:01.0.
  enum class Chipset : uint8_t { kQ35, kI440fx };
  static constexpr unsigned kLpcDevice = 31, kPiixDevice = 1, kBuses = 256;
  static constexpr uint32_t kEcamSize = kBuses << 20;
  // Of the Q35: INTA to INTD of each slot, turned by the slot's number, are PIRQE to PIRQH: these inputs of the I/O APIC.
  static constexpr unsigned kFirstPciGsi = 20;
  // The interrupts of the ISA bus that PIRQs may be.
  static constexpr uint8_t kIsaInterrupts[] = {5, 10, 11};

  Chipset chipset = Chipset::kQ35;
  uint32_t ecam_base = 0xb0000000;                               // of the Q35: MMCONFIG, for kBuses buses
  uint32_t mmio32_first = 0xc0000000, mmio32_last = 0xfebfffff;  // for BARs
  uint64_t mmio64_first = 0, mmio64_last = 0;                    // likewise, above RAM; both 0: none
  unsigned root_ports = 0;                                       // devices 1 to root_ports of bus 0, at most 30
  std::optional<uint32_t> vm_gen_id;  // the address of the generation ID, of a VM that has one
  std::optional<Tpm> tpm;             // of a VM that has one
};

// A virtio device of the board "microvm-1": its registers, and the input of the I/O APIC that is its interrupt.
struct VirtioMmio {
  uint32_t base, size;
  unsigned gsi;
};

// What differs from VM to VM; the rest is the devices' own constants.
struct Board {
  unsigned vcpus = 1;          // APIC IDs 0 to vcpus-1, below 255
  bool mouse = true;           // the i8042 has its second port
  std::optional<PciRoot> pci;  // of "q35-1" and "pc-1"
  // Of "microvm-1", which has hardware-reduced ACPI; without this and a PCI root it is "plain-1".
  std::optional<std::vector<VirtioMmio>> microvm;
};

// MMCONFIG, of a board that has it.
inline std::optional<uint32_t> ecam_base(const Board& board) {
  if (!board.pci || board.pci->chipset != PciRoot::Chipset::kQ35) return std::nullopt;
  return board.pci->ecam_base;
}

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
  // Each address that is in `content`, for who moves it: its place, its size, and what it is of.
  struct Pointer {
    enum class To : uint8_t { kTables, kVmGenId, kTpmLog };
    size_t offset;
    unsigned size;
    To to = To::kTables;
  };
  std::vector<Pointer> pointers;
};

// The addresses in an RSDP, of the RSDT and of the XSDT; and its checksums: of the first kRsdpV1Size bytes, and of all.
constexpr size_t kRsdpRsdt = 16, kRsdpXsdt = 24, kRsdpChecksum = 8, kRsdpExtendedChecksum = 32, kRsdpV1Size = 20;
// The place of the checksum in the header of every other table but the FACS.
constexpr size_t kTableChecksum = 9;

// The guest writes to the FACS; it has a page of its own.
constexpr uint64_t kFacsSize = 4096;

// The tables with their addresses for `base`, a multiple of 4 KiB below 4 GiB. Their size does not depend on `base`.
Tables build(const Board& board, uint64_t base);

// What has to be added to a byte of `bytes` for their sum to be 0.
uint8_t checksum(std::span<const uint8_t> bytes);

}  // namespace skerry::machine::acpi
