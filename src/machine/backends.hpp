// What the devices of a VM are connected to on the host: images, networks, sockets. Opened before the sandbox closes.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/event_loop.hpp"
#include "base/result.hpp"
#include "block/aio.hpp"
#include "block/node.hpp"
#include "chardev/chardev.hpp"
#include "config/vm_config.hpp"
#include "devices/tpm/swtpm.hpp"
#include "display/screen.hpp"
#include "net/backend.hpp"
#include "share/server_link.hpp"
#include "sound/outlet.hpp"
#include "virtio/vsock.hpp"

namespace skerry::machine {

struct Backends {
  // One for each of VmConfig::disks, in their order; then the seed for cloud-init, if there is one.
  struct Disk {
    std::unique_ptr<block::Node> node;
    std::string serial;  // empty: none is given
    // For controllers whose disks need one: where none is given, it is the number of the disk.
    std::string serial_of(size_t disk) const;
  };
  std::unique_ptr<block::Aio> aio;  // the nodes use it, so it goes last
  std::vector<Disk> disks;
  std::vector<std::unique_ptr<net::Backend>> nics;
  std::unique_ptr<display::Screen> screen;  // of a VM with video
  std::unique_ptr<sound::Outlet> sound;    // of a VM with a sound card
  std::unique_ptr<chardev::Chardev> guest_agent;
  std::optional<virtio::VsockHost> vsock;
  std::unique_ptr<devices::tpm::Swtpm> tpm;
  std::vector<share::ServerLink> shares;  // one for each of VmConfig::shares

  // After rights are dropped, before the system call filter.
  void start();
};

// `io` is the loop that disks work in. Errors begin with the option's name.
Result<Backends> open_backends(const config::VmConfig& config, EventLoop& io);

}  // namespace skerry::machine
