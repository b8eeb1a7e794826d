#include "machine/ata_devices.hpp"

#include <algorithm>

#include "devices/ata/cdrom.hpp"
#include "devices/ata/disk.hpp"
#include "machine/firmware_files.hpp"
#include "machine/pc_board.hpp"

namespace skerry::machine {

using devices::ata::Ahci;
using devices::ata::Cdrom;
using devices::ata::PiixIde;

namespace {

std::unique_ptr<devices::ata::Device> make_device(std::string name, size_t disk, const config::Disk& description, Backends::Disk& backend,
                                                  bool serial_ata) {
  const std::string serial = backend.serial_of(disk);
  if (description.cdrom)
    return std::make_unique<Cdrom>(std::move(name), backend.node.get(), Cdrom::Options{.serial = serial, .serial_ata = serial_ata});
  return std::make_unique<devices::ata::Disk>(std::move(name), *backend.node,
                                              devices::ata::Disk::Options{.serial = serial, .serial_ata = serial_ata});
}

}  // namespace

Result<std::unique_ptr<AtaDevices>> AtaDevices::create(const config::VmConfig& config, Backends& backends, IoThread& io,
                                                       memory::GuestMemory& memory, Place place) {
  using Bus = config::Disk::Bus;
  auto& [pio, board] = place;
  std::unique_ptr<AtaDevices> devices(new AtaDevices(board.ahci_function()));
  if (std::ranges::any_of(config.disks, [](const config::Disk& disk) { return disk.bus == Bus::kSata; }))
    devices->ahci_.emplace("ahci", io.loop(), memory);
  if (config.board == PcBoard::kName)
    devices->ide_.emplace("ide", io.loop(), memory, board.isa_line(PiixIde::kIrqs[0]), board.isa_line(PiixIde::kIrqs[1]));
  if (!devices->ahci_ && !devices->ide_) return std::unique_ptr<AtaDevices>();
  for (size_t i = 0; i < config.disks.size(); ++i) {
    if (config.disks[i].bus == Bus::kSata) devices->plug_in(i, config.disks[i], backends.disks[i]);
    if (config.disks[i].bus == Bus::kIde) devices->plug_into_ide(i, config.disks[i], backends.disks[i]);
  }
  if (devices->ahci_)
    if (auto good = board.add_at(*devices->ahci_, Ahci::kSlot, board.ahci_function()); !good) return std::move(good).error();
  if (devices->ide_) {
    if (auto good = board.add_at(*devices->ide_, PiixIde::kSlot, PiixIde::kFunction); !good) return std::move(good).error();
    if (auto good = devices->ide_->attach(pio); !good) return std::move(good).error();
  }
  return devices;
}

void AtaDevices::plug_in(size_t disk, const config::Disk& description, Backends::Disk& backend) {
  const unsigned port = ahci_ports_used_++;
  ahci_->plug_in(port, make_device(fmt::format("ahci: port {}", port), disk, description, backend, true));
  boot_paths_[disk] = boot_path_of_sata(ahci_function_, port);
}

// In the order in which guests number them: the first channel's two, then the second's.
void AtaDevices::plug_into_ide(size_t disk, const config::Disk& description, Backends::Disk& backend) {
  constexpr unsigned kDrives = 2;
  const unsigned channel = ide_drives_used_ / kDrives, drive = ide_drives_used_ % kDrives;
  ++ide_drives_used_;
  ide_->plug_in(channel, drive, make_device(fmt::format("ide: channel {} drive {}", channel, drive), disk, description, backend, false));
  boot_paths_[disk] = boot_path_of_ide(channel, drive);
}

void AtaDevices::set_up() {
  if (ide_) ide_->set_up();
}

void AtaDevices::join(Workers& workers) {
  if (ahci_) workers.add(*ahci_);
  if (ide_) workers.add(*ide_);
}

}  // namespace skerry::machine
