#include "machine/acpi/tables.hpp"

#include <algorithm>
#include <cassert>
#include <cstddef>
#include <cstring>
#include <iterator>
#include <span>
#include <string_view>

#include "base/units.hpp"
#include "devices/acpi_ged.hpp"
#include "devices/acpi_pm.hpp"
#include "devices/hpet.hpp"
#include "devices/tpm/crb.hpp"
#include "irqchip/ioapic.hpp"
#include "irqchip/irq_router.hpp"
#include "irqchip/lapic.hpp"
#include "machine/acpi/definitions.hpp"

namespace skerry::machine::acpi {

namespace {

using devices::AcpiGed;
using devices::AcpiPm;
using devices::Hpet;

#pragma pack(push, 1)

// 5.2.3.2
struct GenericAddress {
  uint8_t address_space_id = 0;  // 0 memory, 1 I/O ports
  uint8_t register_bit_width = 0, register_bit_offset = 0, access_size = 0;
  uint64_t address = 0;
};

// 5.2.6
struct Header {
  char signature[4];
  uint32_t length;
  uint8_t revision, checksum;
  char oem_id[6], oem_table_id[8];
  uint32_t oem_revision;
  char creator_id[4];
  uint32_t creator_revision;
};
static_assert(sizeof(Header) == 36);

// 5.2.5.3
struct Rsdp {
  char signature[8] = {'R', 'S', 'D', ' ', 'P', 'T', 'R', ' '};
  uint8_t checksum = 0;  // of the first 20 bytes
  char oem_id[6] = {'S', 'K', 'E', 'R', 'R', 'Y'};
  uint8_t revision = 2;
  uint32_t rsdt_address = 0, length = 36;
  uint64_t xsdt_address = 0;
  uint8_t extended_checksum = 0, reserved[3] = {};
};
static_assert(sizeof(Rsdp) == 36);

// 5.2.9, what follows the header.
struct Fadt {
  uint32_t firmware_ctrl = 0, dsdt = 0;
  uint8_t reserved = 0, preferred_pm_profile = 0;
  uint16_t sci_int = 0;
  uint32_t smi_cmd = 0;
  uint8_t acpi_enable = 0, acpi_disable = 0, s4bios_req = 0, pstate_cnt = 0;
  uint32_t pm1a_evt_blk = 0, pm1b_evt_blk = 0, pm1a_cnt_blk = 0, pm1b_cnt_blk = 0, pm2_cnt_blk = 0, pm_tmr_blk = 0;
  uint32_t gpe0_blk = 0, gpe1_blk = 0;
  uint8_t pm1_evt_len = 0, pm1_cnt_len = 0, pm2_cnt_len = 0, pm_tmr_len = 0, gpe0_blk_len = 0, gpe1_blk_len = 0;
  uint8_t gpe1_base = 0, cst_cnt = 0;
  uint16_t p_lvl2_lat = 0, p_lvl3_lat = 0, flush_size = 0, flush_stride = 0;
  uint8_t duty_offset = 0, duty_width = 0, day_alrm = 0, mon_alrm = 0, century = 0;
  uint16_t iapc_boot_arch = 0;
  uint8_t reserved2 = 0;
  uint32_t flags = 0;
  GenericAddress reset_reg;
  uint8_t reset_value = 0;
  uint16_t arm_boot_arch = 0;
  uint8_t fadt_minor_version = 0;
  uint64_t x_firmware_ctrl = 0, x_dsdt = 0;
  GenericAddress x_pm1a_evt_blk, x_pm1b_evt_blk, x_pm1a_cnt_blk, x_pm1b_cnt_blk, x_pm2_cnt_blk, x_pm_tmr_blk;
  GenericAddress x_gpe0_blk, x_gpe1_blk, sleep_control_reg, sleep_status_reg;
  uint64_t hypervisor_vendor_identity = 0;
};
static_assert(sizeof(Header) + sizeof(Fadt) == 276);

// 5.2.10
struct Facs {
  char signature[4] = {'F', 'A', 'C', 'S'};
  uint32_t length = 64, hardware_signature = 0, firmware_waking_vector = 0, global_lock = 0, flags = 0;
  uint64_t x_firmware_waking_vector = 0;
  uint8_t version = 2, reserved[3] = {};
  uint32_t ospm_flags = 0;
  uint8_t reserved2[24] = {};
};
static_assert(sizeof(Facs) == 64);

// 5.2.12 and its structures.
struct Madt {
  uint32_t local_interrupt_controller_address, flags;
};
struct MadtLocalApic {
  uint8_t type = 0, length = 8, acpi_processor_uid, apic_id;
  uint32_t flags = 1;  // enabled
};
struct MadtIoApic {
  uint8_t type = 1, length = 12, io_apic_id = 0, reserved = 0;
  uint32_t io_apic_address = irqchip::IoApic::kBaseAddress, global_system_interrupt_base = 0;
};
struct MadtInterruptSourceOverride {
  uint8_t type = 2, length = 10, bus = 0, source;
  uint32_t global_system_interrupt;
  uint16_t flags;
};
struct MadtLocalApicNmi {
  uint8_t type = 4, length = 6, acpi_processor_uid = 0xff;  // all processors
  uint16_t flags = 0;
  uint8_t local_apic_lint = 1;
};

// PCI Firmware Specification 3.3, table 4-3.
struct Mcfg {
  uint64_t reserved = 0, base_address = 0;
  uint16_t pci_segment_group = 0;
  uint8_t start_bus = 0, end_bus = PciRoot::kBuses - 1;
  uint32_t reserved2 = 0;
};

struct HpetTable {
  uint32_t event_timer_block_id = Hpet::kGeneralCapabilities;
  GenericAddress base_address{0, 64, 0, 0, Hpet::kBase};
  uint8_t hpet_number = 0;
  uint16_t minimum_tick = 100;  // a microsecond, in periods of the main counter
  uint8_t page_protection = 0;
};

// TCG ACPI Specification 1.3, table 7.
struct Tpm2 {
  uint16_t platform_class = 0, reserved = 0;  // a client
  uint64_t control_area = devices::tpm::Crb::kControlArea;
  uint32_t start_method = 7;  // "Command Response Buffer Interface"
  uint8_t start_method_parameters[12] = {};
};
// At its end, where there is a log.
struct Tpm2Log {
  uint32_t log_area_minimum_length;
  uint64_t log_area_start_address;
};

#pragma pack(pop)

// FADT flags, table 5.10.
constexpr uint32_t kWbinvd = 1 << 0, kProcC1 = 1 << 2, kSlpButton = 1 << 5, kFixRtc = 1 << 6, kTmrValExt = 1 << 8;
constexpr uint32_t kPwrButton = 1 << 4, kResetRegSup = 1 << 10, kHwReducedAcpi = 1 << 20;
// IAPC_BOOT_ARCH, table 5.11.
constexpr uint16_t kLegacyDevices = 1 << 0, k8042 = 1 << 1, kVgaNotPresent = 1 << 2, kCmosRtcNotPresent = 1 << 5;
constexpr uint8_t kProfileDesktop = 1;
// "A value > 100 indicates the system does not support a C2 state", "> 1000 ... a C3 state" (5.2.9).
constexpr uint16_t kNoC2 = 0xfff, kNoC3 = 0xfff;
constexpr uint8_t kCenturyInCmos = 0x32;
constexpr uint8_t kIoSpace = 1;
constexpr uint32_t kPcatCompat = 1;  // MADT: there are 8259s too
// MPS INTI flags, table 5.26: active high, level-triggered.
constexpr uint16_t kActiveHighLevel = 0b1101;

template <typename T>
void append(Bytes& to, const T& structure) {
  const size_t offset = to.size();
  to.resize(offset + sizeof structure);
  std::memcpy(&to[offset], &structure, sizeof structure);
}

// OEM Table ID, by which guests know the board.
constexpr std::string_view kPlainBoard = "PLAIN-1 ", kQ35Board = "Q35-1   ", kPcBoard = "PC-1    ", kMicrovmBoard = "MICROVM1", kVmGenIdTable = "VMGENID ";
std::string_view oem_table_id(const Board& board) {
  if (board.microvm) return kMicrovmBoard;
  if (!board.pci) return kPlainBoard;
  return board.pci->chipset == PciRoot::Chipset::kQ35 ? kQ35Board : kPcBoard;
}

Bytes table(std::string_view signature, uint8_t revision, std::string_view id, const Bytes& body) {
  Header header{{},
                static_cast<uint32_t>(sizeof(Header) + body.size()),
                revision,
                0,
                {'S', 'K', 'E', 'R', 'R', 'Y'},
                {},
                1,
                {'S', 'K', 'R', 'Y'},
                1};
  std::memcpy(header.signature, signature.data(), sizeof header.signature);
  std::memcpy(header.oem_table_id, id.data(), sizeof header.oem_table_id);
  Bytes bytes;
  append(bytes, header);
  std::copy(body.begin(), body.end(), std::back_inserter(bytes));
  bytes[offsetof(Header, checksum)] = checksum(bytes);
  return bytes;
}

GenericAddress port(uint16_t address, uint8_t bytes, uint8_t access_size) {
  return {kIoSpace, static_cast<uint8_t>(bytes * 8), 0, access_size, address};
}

// What the FADT of a PC has.
void describe_pm(Fadt& fadt) {
  fadt.preferred_pm_profile = kProfileDesktop;
  fadt.sci_int = AcpiPm::kSciIrq;
  fadt.pm1a_evt_blk = AcpiPm::kPm1aEventBlock;
  fadt.pm1a_cnt_blk = AcpiPm::kPm1aControlBlock;
  fadt.pm_tmr_blk = AcpiPm::kPmTimerBlock;
  fadt.gpe0_blk = AcpiPm::kGpe0Block;
  fadt.pm1_evt_len = AcpiPm::kPm1EventLength;
  fadt.pm1_cnt_len = AcpiPm::kPm1ControlLength;
  fadt.pm_tmr_len = AcpiPm::kPmTimerLength;
  fadt.gpe0_blk_len = AcpiPm::kGpe0Length;
  fadt.p_lvl2_lat = kNoC2;
  fadt.p_lvl3_lat = kNoC3;
  fadt.century = kCenturyInCmos;
  fadt.iapc_boot_arch = kLegacyDevices | k8042 | kVgaNotPresent;
  // PWR_BUTTON is clear: the power button is the fixed one. SLP_BUTTON and FIX_RTC are set: those are not there.
  fadt.flags = kWbinvd | kProcC1 | kSlpButton | kFixRtc | kResetRegSup | (AcpiPm::kPmTimerIs32Bit ? kTmrValExt : 0);
  fadt.reset_reg = port(AcpiPm::kResetRegister, 1, 1);
  fadt.reset_value = AcpiPm::kResetValue;
  fadt.x_pm1a_evt_blk = port(AcpiPm::kPm1aEventBlock, AcpiPm::kPm1EventLength, 2);
  fadt.x_pm1a_cnt_blk = port(AcpiPm::kPm1aControlBlock, AcpiPm::kPm1ControlLength, 2);
  fadt.x_pm_tmr_blk = port(AcpiPm::kPmTimerBlock, AcpiPm::kPmTimerLength, 3);
  fadt.x_gpe0_blk = port(AcpiPm::kGpe0Block, AcpiPm::kGpe0Length, 1);
}

// That of hardware-reduced ACPI (4.1): none of the PC's registers, and buttons are devices.
void describe_ged(Fadt& fadt) {
  fadt.iapc_boot_arch = kVgaNotPresent | kCmosRtcNotPresent;
  fadt.flags = kWbinvd | kProcC1 | kPwrButton | kSlpButton | kResetRegSup | kHwReducedAcpi;
  fadt.reset_reg = port(AcpiGed::kResetPort, 1, 1);
  fadt.reset_value = AcpiGed::kResetValue;
  fadt.sleep_control_reg = port(AcpiGed::kSleepControlPort, 1, 1);
  fadt.sleep_status_reg = port(AcpiGed::kSleepStatusPort, 1, 1);
}

Bytes fadt(const Board& board, uint64_t facs, uint64_t dsdt) {
  Fadt fadt;
  fadt.firmware_ctrl = static_cast<uint32_t>(facs);
  fadt.dsdt = static_cast<uint32_t>(dsdt);
  fadt.x_dsdt = dsdt;  // X_FIRMWARE_CTRL stays 0: only one of the two may be given
  fadt.fadt_minor_version = 3;
  if (board.microvm)
    describe_ged(fadt);
  else
    describe_pm(fadt);
  Bytes body;
  append(body, fadt);
  return table("FACP", 6, oem_table_id(board), body);
}

void append_isa_overrides(Bytes& body, const Board& board) {
  append(body, MadtInterruptSourceOverride{.source = irqchip::IrqRouter::kTimerIrq,
                                           .global_system_interrupt = irqchip::IrqRouter::kTimerPin,
                                           .flags = 0});
  append(body, MadtInterruptSourceOverride{
                   .source = AcpiPm::kSciIrq, .global_system_interrupt = AcpiPm::kSciIrq, .flags = kActiveHighLevel});
  // Where PCI interrupts have no inputs of their own, they are those of the ISA bus.
  if (!board.pci || board.pci->chipset != PciRoot::Chipset::kI440fx) return;
  for (const uint8_t irq : PciRoot::kIsaInterrupts)
    append(body, MadtInterruptSourceOverride{.source = irq, .global_system_interrupt = irq, .flags = kActiveHighLevel});
}

Bytes madt(const Board& board) {
  assert(board.vcpus < 256);  // more would need x2APIC structures
  Bytes body;
  append(body, Madt{irqchip::Lapic::kBaseAddress, board.microvm ? 0 : kPcatCompat});
  for (unsigned i = 0; i < board.vcpus; ++i) {
    MadtLocalApic lapic;
    lapic.acpi_processor_uid = lapic.apic_id = static_cast<uint8_t>(i);
    append(body, lapic);
  }
  append(body, MadtIoApic{});
  if (!board.microvm) append_isa_overrides(body, board);
  append(body, MadtLocalApicNmi{});
  return table("APIC", 5, oem_table_id(board), body);
}

Bytes hpet(const Board& board) {
  Bytes body;
  append(body, HpetTable{});
  return table("HPET", 1, oem_table_id(board), body);
}

Bytes mcfg(const Board& board) {
  Bytes body;
  append(body, Mcfg{.base_address = *ecam_base(board)});
  return table("MCFG", 1, oem_table_id(board), body);
}

// Collects tables one behind the other and gives their addresses.
class Region {
 public:
  explicit Region(uint64_t base) : base_(base) { tables_.content.resize(kFacsSize); }
  uint64_t add(const Bytes& bytes) {
    const size_t offset = align_up(tables_.content.size(), 16);
    put(offset, bytes);
    return base_ + offset;
  }
  uint64_t add_facs(const Bytes& bytes) {
    put(0, bytes);
    return base_;
  }
  // That there is an address in a table that was added: where in it, and of how many bytes.
  void note_pointer(uint64_t table, size_t offset, unsigned size, Tables::Pointer::To to = Tables::Pointer::To::kTables) {
    tables_.pointers.push_back({table - base_ + offset, size, to});
  }
  Tables finish() {
    tables_.content.resize(align_up(tables_.content.size(), 4096));
    return std::move(tables_);
  }

 private:
  void put(size_t offset, const Bytes& bytes) {
    if (tables_.content.size() < offset + bytes.size()) tables_.content.resize(offset + bytes.size());
    std::memcpy(&tables_.content[offset], bytes.data(), bytes.size());
    tables_.parts.push_back({std::string(bytes.begin(), bytes.begin() + 4), offset, bytes.size()});
  }
  uint64_t base_;
  Tables tables_;
};

Bytes rsdp(uint64_t rsdt, uint64_t xsdt) {
  Rsdp root;
  root.rsdt_address = static_cast<uint32_t>(rsdt);
  root.xsdt_address = xsdt;
  Bytes bytes;
  append(bytes, root);
  bytes[offsetof(Rsdp, checksum)] = checksum(std::span(bytes).first(20));
  bytes[offsetof(Rsdp, extended_checksum)] = checksum(bytes);
  return bytes;
}

// RSDT and XSDT: the addresses of the others.
uint64_t add_root(Region& region, std::string_view signature, const Board& board, std::span<const uint64_t> tables,
                  unsigned size) {
  Bytes body;
  for (const uint64_t address : tables)
    for (unsigned i = 0; i < size; ++i) body.push_back(static_cast<uint8_t>(address >> (8 * i)));
  const uint64_t root = region.add(table(signature, 1, oem_table_id(board), body));
  for (size_t i = 0; i < tables.size(); ++i) region.note_pointer(root, sizeof(Header) + i * size, size);
  return root;
}

uint64_t add_fadt(Region& region, const Board& board, uint64_t facs, uint64_t dsdt) {
  const uint64_t address = region.add(fadt(board, facs, dsdt));
  region.note_pointer(address, sizeof(Header) + offsetof(Fadt, firmware_ctrl), 4);
  region.note_pointer(address, sizeof(Header) + offsetof(Fadt, dsdt), 4);
  region.note_pointer(address, sizeof(Header) + offsetof(Fadt, x_dsdt), 8);
  return address;
}

uint64_t add_vm_gen_id(Region& region, uint32_t guid) {
  const uint64_t address = region.add(table("SSDT", 2, kVmGenIdTable, vm_gen_id_definition(guid)));
  region.note_pointer(address, sizeof(Header) + kVmGenIdAddressOffset, 4, Tables::Pointer::To::kVmGenId);
  return address;
}

uint64_t add_tpm2(Region& region, const Board& board, const Tpm& tpm) {
  Bytes body;
  append(body, Tpm2{});
  if (tpm.log_size) append(body, Tpm2Log{tpm.log_size, tpm.log_address});
  const uint64_t address = region.add(table("TPM2", 4, oem_table_id(board), body));
  if (tpm.log_size)
    region.note_pointer(address, sizeof(Header) + sizeof(Tpm2) + offsetof(Tpm2Log, log_area_start_address), 8, Tables::Pointer::To::kTpmLog);
  return address;
}

Bytes definition_of(const Board& board) {
  if (board.microvm) return microvm_definition(board);
  return board.pci ? pci_definition(board) : plain_definition(board);
}

}  // namespace

uint8_t checksum(std::span<const uint8_t> bytes) {
  uint8_t sum = 0;
  for (const uint8_t byte : bytes) sum = static_cast<uint8_t>(sum + byte);
  return static_cast<uint8_t>(-sum);
}

Tables build(const Board& board, uint64_t base) {
  Region region(base);
  Bytes facs_bytes;
  append(facs_bytes, Facs{});
  const uint64_t facs = region.add_facs(facs_bytes);
  const Bytes definition = definition_of(board);
  const uint64_t dsdt = region.add(table("DSDT", 2, oem_table_id(board), definition));
  std::vector<uint64_t> roots{add_fadt(region, board, facs, dsdt), region.add(madt(board))};
  if (!board.microvm) roots.push_back(region.add(hpet(board)));
  if (ecam_base(board)) roots.push_back(region.add(mcfg(board)));
  if (board.pci && board.pci->vm_gen_id) roots.push_back(add_vm_gen_id(region, *board.pci->vm_gen_id));
  if (board.pci && board.pci->tpm) roots.push_back(add_tpm2(region, board, *board.pci->tpm));
  const uint64_t rsdt = add_root(region, "RSDT", board, roots, 4);
  const uint64_t xsdt = add_root(region, "XSDT", board, roots, 8);
  Tables tables = region.finish();
  tables.rsdp = rsdp(rsdt, xsdt);
  return tables;
}

}  // namespace skerry::machine::acpi
