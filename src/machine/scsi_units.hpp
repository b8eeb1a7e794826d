// The logical units that a description's disks and CD-ROMs are, where they are reached by SCSI commands: USB and
// virtio-scsi.
#pragma once

#include <memory>
#include <string>

#include "config/vm_config.hpp"
#include "devices/scsi/unit.hpp"
#include "machine/backends.hpp"

namespace skerry::machine {

// The backend outlives it. `queueing`: the transport gives several commands at a time.
std::unique_ptr<devices::scsi::Unit> make_scsi_unit(std::string name, const config::Disk& description,
                                                    Backends::Disk& backend, std::string serial, bool queueing);

}  // namespace skerry::machine
