#include "machine/firmware_files.hpp"

#include <cassert>

#include "base/units.hpp"
#include "devices/ata/ahci.hpp"
#include "devices/ata/piix_ide.hpp"
#include "devices/pvpanic.hpp"
#include "devices/vga/standard_vga.hpp"
#include "devices/usb/xhci.hpp"
#include "machine/acpi/table_loader.hpp"
#include "machine/loader/ram_layout.hpp"

namespace skerry::machine {

namespace {

using devices::FwCfg;
using devices::VmGenId;
using Bytes = std::vector<uint8_t>;

void append(Bytes& to, uint64_t value, unsigned size) {
  for (unsigned i = 0; i < size; ++i) to.push_back(static_cast<uint8_t>(value >> (8 * i)));
}

Bytes integer(uint64_t value, unsigned size) {
  Bytes bytes;
  append(bytes, value, size);
  return bytes;
}

// "etc/e820": entries of 20 bytes. Firmware knows by itself what is reserved below 1 MiB, and where its own is.
Bytes memory_map(const smbios::Info& machine) {
  Bytes map;
  const auto entry = [&](uint64_t address, uint64_t size) {
    append(map, address, 8);
    append(map, size, 8);
    append(map, static_cast<uint32_t>(E820Type::kMemory), 4);
  };
  entry(0, machine.low_memory);
  if (machine.high_memory) entry(4 * GiB, machine.high_memory);
  return map;
}

// Lines, and a NUL at the end.
Bytes boot_order(const std::vector<std::string>& paths) {
  Bytes bytes;
  for (const std::string& path : paths) {
    if (!bytes.empty()) bytes.push_back('\n');
    bytes.insert(bytes.end(), path.begin(), path.end());
  }
  bytes.push_back(0);
  return bytes;
}

// Adds one after the other until one fails.
class Adder {
 public:
  explicit Adder(FwCfg& fw_cfg) : fw_cfg_(fw_cfg) {}
  void item(uint16_t key, Bytes content) {
    if (result_) result_ = fw_cfg_.add_item(key, std::move(content));
  }
  void file(std::string_view name, Bytes content) {
    if (result_) result_ = fw_cfg_.add_file(name, std::move(content));
  }
  void writable_file(std::string_view name, Bytes content, FwCfg::Written written) {
    if (result_) result_ = fw_cfg_.add_writable_file(name, std::move(content), std::move(written));
  }
  Result<void> result() && { return std::move(result_); }

 private:
  FwCfg& fw_cfg_;
  Result<void> result_;
};

void add_machine(Adder& add, const FirmwareInputs& inputs) {
  const smbios::Info& machine = inputs.machine;
  add.item(FwCfg::FW_CFG_UUID, Bytes(machine.uuid.begin(), machine.uuid.end()));
  add.item(FwCfg::FW_CFG_RAM_SIZE, integer(machine.low_memory + machine.high_memory, 8));
  add.item(FwCfg::FW_CFG_NB_CPUS, integer(machine.vcpus, 2));
  add.item(FwCfg::FW_CFG_MAX_CPUS, integer(machine.vcpus, 2));
  add.item(FwCfg::FW_CFG_IRQ0_OVERRIDE, integer(1, 1));  // ISA IRQ 0 is pin 2 of the I/O APIC
  add.file("etc/e820", memory_map(machine));
  if (inputs.board.pci->mmio64_first) add.file("etc/reserved-memory-end", integer(inputs.board.pci->mmio64_first, 8));
  // Instead of a ROM of the device. SeaBIOS looks for it by the numbers of the PCI function.
  if (!inputs.video_rom.empty())
    add.file(fmt::format("pci{:04x},{:04x}.rom", devices::vga::StandardVga::kVendor, devices::vga::StandardVga::kDevice), inputs.video_rom);
  add.file("etc/pvpanic-port", integer(devices::PvPanic::kPort, 2));
}

void add_tables(Adder& add, const FirmwareInputs& inputs, VmGenId* vm_gen_id) {
  acpi::Board board = inputs.board;
  if (!vm_gen_id) board.pci->vm_gen_id.reset();
  if (vm_gen_id && !board.pci->vm_gen_id) board.pci->vm_gen_id = 0;
  acpi::LoaderFiles files = acpi::loader_files(board);
  add.file(acpi::kRsdpFile, std::move(files.rsdp));
  add.file(acpi::kTablesFile, std::move(files.tables));
  add.file(acpi::kLoaderFile, std::move(files.script));
  if (vm_gen_id) {
    add.file(VmGenId::kGuidFile, vm_gen_id->page());
    add.writable_file(VmGenId::kAddressFile, Bytes(8),
                      [vm_gen_id](std::span<const uint8_t> content) { vm_gen_id->address_written(content); });
  }
  if (board.pci->tpm) add.file(acpi::kTpmLogFile, Bytes(acpi::kTpmLogSize));
  const Bytes structures = smbios::structures(inputs.machine);
  add.file("etc/smbios/smbios-anchor", smbios::entry_point_2_8(structures, 0));  // the firmware fills in the address
  add.file("etc/smbios/smbios-tables", structures);
}

void add_boot(Adder& add, const FirmwareInputs& inputs) {
  add.file("etc/boot-fail-wait", integer(inputs.boot_fail_wait, 4));
  if (!inputs.boot_order.empty()) add.file("bootorder", boot_order(inputs.boot_order));
  if (inputs.serial_console) add.file("etc/sercon-port", integer(*inputs.serial_console, 2));
}

}  // namespace

std::string boot_path_of_disk(unsigned slot) { return fmt::format("/pci@i0cf8/scsi@{:x}/disk@0,0", slot); }

std::string boot_path_of_scsi(unsigned slot, unsigned target) {
  return fmt::format("/pci@i0cf8/scsi@{:x}/channel@0/disk@{:x},0", slot, target);
}

// UEFI firmware knows the controller by its IDs.
std::string boot_path_of_sata(unsigned function, unsigned port) {
  const std::string place = function ? fmt::format("{:x},{:x}", devices::ata::Ahci::kSlot, function) : fmt::format("{:x}", devices::ata::Ahci::kSlot);
  return fmt::format("/pci@i0cf8/pci8086,2922@{}/drive@{:x}/disk@0", place, port);
}

std::string boot_path_of_ide(unsigned channel, unsigned drive) {
  using devices::ata::PiixIde;
  return fmt::format("/pci@i0cf8/ide@{:x},{:x}/drive@{:x}/disk@{:x}", PiixIde::kSlot, PiixIde::kFunction, channel, drive);
}

// Ports are counted from 1, as the controller does.
std::string boot_path_of_usb(unsigned port) {
  return fmt::format("/pci@i0cf8/usb@{:x}/storage@{:x}/channel@0/disk@0,0", devices::usb::Xhci::kSlot, port);
}

Result<void> add_firmware_files(FwCfg& fw_cfg, const FirmwareInputs& inputs, VmGenId* vm_gen_id) {
  assert(inputs.board.pci);
  Adder add(fw_cfg);
  add_machine(add, inputs);
  add_tables(add, inputs, vm_gen_id);
  add_boot(add, inputs);
  return std::move(add).result();
}

}  // namespace skerry::machine
