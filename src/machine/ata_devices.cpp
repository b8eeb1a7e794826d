#include "machine/ata_devices.hpp"

#include <future>

#include "devices/ata/cdrom.hpp"
#include "devices/ata/disk.hpp"

namespace skerry::machine {

using devices::ata::Ahci;
using devices::ata::Cdrom;

Result<std::unique_ptr<AtaDevices>> AtaDevices::create(const config::VmConfig& config, Backends& backends, IoThread& io,
                                                       memory::GuestMemory& memory, Q35Board& board) {
  std::unique_ptr<AtaDevices> devices(new AtaDevices(io, memory));
  for (size_t i = 0; i < config.disks.size(); ++i)
    if (config.disks[i].bus == config::Disk::Bus::kSata) devices->plug_in(i, config.disks[i], backends.disks[i]);
  if (devices->disk_ports_.empty()) return std::unique_ptr<AtaDevices>();
  if (auto good = board.add_at(devices->ahci_, Ahci::kSlot, Ahci::kFunction); !good) return std::move(good).error();
  return devices;
}

// Guests want a serial of each: where none is given, it is the disk's number.
void AtaDevices::plug_in(size_t disk, const config::Disk& description, Backends::Disk& backend) {
  const auto port = static_cast<unsigned>(disk_ports_.size());
  const std::string name = fmt::format("ahci: port {}", port);
  const std::string serial = backend.serial.empty() ? fmt::format("SK{:05}", disk) : backend.serial;
  if (description.cdrom)
    ahci_.plug_in(port, std::make_unique<Cdrom>(name, backend.node.get(), Cdrom::Options{.serial = serial}));
  else
    ahci_.plug_in(port, std::make_unique<devices::ata::Disk>(name, *backend.node, devices::ata::Disk::Options{.serial = serial}));
  disk_ports_[disk] = port;
}

void AtaDevices::quiesce() {
  if (quiet_) return;
  quiet_ = true;
  const auto rested = std::make_shared<std::promise<void>>();
  ahci_.quiesce([rested] { rested->set_value(); });
  rested->get_future().wait();
}

void AtaDevices::resume() {
  if (!quiet_) return;
  quiet_ = false;
  ahci_.resume();
}

}  // namespace skerry::machine
