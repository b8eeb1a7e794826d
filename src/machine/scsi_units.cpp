#include "machine/scsi_units.hpp"

#include <utility>

#include "devices/ata/cdrom.hpp"
#include "devices/scsi/disk.hpp"
#include "machine/packet_unit.hpp"

namespace skerry::machine {

std::unique_ptr<devices::scsi::Unit> make_scsi_unit(std::string name, const config::Disk& description,
                                                    Backends::Disk& backend, std::string serial, bool queueing) {
  if (description.cdrom) {
    devices::ata::Cdrom::Options options{.serial = std::move(serial)};
    return std::make_unique<PacketUnit>(
        std::make_unique<devices::ata::Cdrom>(std::move(name), backend.node.get(), std::move(options)));
  }
  devices::scsi::Disk::Options options{.serial = std::move(serial), .queueing = queueing};
  return std::make_unique<devices::scsi::Disk>(std::move(name), *backend.node, std::move(options));
}

}  // namespace skerry::machine
