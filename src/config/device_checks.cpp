// Of validate(): disks, network cards, shared folders, and what talks to the guest's own services.
#include <arpa/inet.h>

#include <algorithm>
#include <array>

#include "base/units.hpp"
#include "config/checks.hpp"

namespace skerry::config {

namespace {

Result<void> check_serial(std::string_view field, std::string_view serial) {
  if (serial.size() > kMaxSerial)
    return error("{}: '{}' has {} characters; at most {} are possible", field, shown(serial), serial.size(), kMaxSerial);
  if (!std::all_of(serial.begin(), serial.end(), [](unsigned char c) { return c >= ' ' && c < 0x7f; }))
    return error("{}: has a character that is not printable ASCII; use letters, digits and signs", field);
  return ok();
}

Result<void> check_disk(const std::string& field, const Disk& disk) {
  if (auto good = check_path(field + ".path", disk.path); !good) return good;
  if (disk.format == "qcow2")
    return error("{}.format: qcow2 is not there yet; use raw, which 'qemu-img convert -O raw OLD NEW' makes of it", field);
  if (auto good = check_choice(field + ".format", shown(disk.format), {"raw"}); !good) return good;
  if (disk.cdrom && !disk.read_only) return error("{}.read_only: a CD-ROM cannot be written to; use true", field);
  return check_serial(field + ".serial", disk.serial);
}

// Of two disks, the second of which `field` names.
Result<void> check_pair(const std::string& field, const Disk& first, const Disk& second) {
  if (!second.serial.empty() && first.serial == second.serial)
    return error("{}.serial: '{}' is the serial of '{}' too; the guest could not tell the two apart, so use another", field,
                 second.serial, first.path);
  if (first.path == second.path && !(first.read_only && second.read_only))
    return error("{}.path: '{}' is there twice, and writes of one would destroy the other; give it once, or both read-only",
                 field, second.path);
  return ok();
}

// dev_valid_name() of Linux; '%' is where TUNSETIFF would put a number.
Result<void> check_interface(std::string_view field, std::string_view what, std::string_view name) {
  if (name.empty()) return error("{}: is empty; give the name of a {}", field, what);
  if (name.size() > kMaxInterfaceName)
    return error("{}: '{}' has {} characters; the name of a {} has at most {}", field, shown(name), name.size(), what,
                 kMaxInterfaceName);
  const bool good = std::all_of(name.begin(), name.end(), [](unsigned char c) {
    return c > ' ' && c < 0x7f && c != '/' && c != ':' && c != '%';
  });
  if (!good || name == "." || name == "..") return error("{}: '{}' cannot be the name of a {}", field, shown(name), what);
  return ok();
}

Result<void> check_address(std::string_view field, const std::string& address) {
  in_addr ignored;
  if (address.empty() || ::inet_pton(AF_INET, address.c_str(), &ignored) == 1) return ok();
  return error("{}: '{}' is not an IPv4 address; use one such as 127.0.0.1, or leave it empty", field, shown(address));
}

Result<void> check_forward(const std::string& field, const PortForward& forward) {
  if (auto good = check_address(field + ".host_address", forward.host_address); !good) return good;
  if (forward.host_port == 0) return error("{}.host_port: 0 is not a port; use 1 to 65535", field);
  if (auto good = check_address(field + ".guest_address", forward.guest_address); !good) return good;
  if (forward.guest_port == 0) return error("{}.guest_port: 0 is not a port; use 1 to 65535", field);
  return ok();
}

// Whether the host would refuse to open the port of one because of the other's. 0.0.0.0 is all of its addresses.
bool same_port(const PortForward& one, const PortForward& other) {
  const auto address = [](const PortForward& forward) {
    return forward.host_address.empty() ? std::string_view("127.0.0.1") : std::string_view(forward.host_address);
  };
  constexpr std::string_view kAny = "0.0.0.0";
  return one.udp == other.udp && one.host_port == other.host_port &&
         (address(one) == address(other) || address(one) == kAny || address(other) == kAny);
}

Result<void> check_forwards(const VmConfig& config) {
  std::vector<const PortForward*> before;
  for (size_t i = 0; i < config.nics.size(); ++i) {
    const std::vector<PortForward>& forwards = config.nics[i].forwards;
    if (forwards.size() > kMaxForwards)
      return error("nics[{}].forwards: {} are too many; at most {}", i, forwards.size(), kMaxForwards);
    for (size_t j = 0; j < forwards.size(); ++j) {
      const std::string field = fmt::format("nics[{}].forwards[{}]", i, j);
      if (auto good = check_forward(field, forwards[j]); !good) return good;
      for (const PortForward* other : before)
        if (same_port(*other, forwards[j]))
          return error("{}: {} port {} of the host is forwarded already, by '{}'; use another port", field,
                       forwards[j].udp ? "udp" : "tcp", forwards[j].host_port, to_string(*other));
      before.push_back(&forwards[j]);
    }
  }
  return ok();
}

Result<void> check_tap(const std::string& field, const Nic& nic) {
  if (nic.fd < 0) return check_interface(field + ".name", "tap interface", nic.name);
  if (!nic.name.empty()) return error("{}.fd: an open tap has its name already; leave one of name and fd out", field);
  if (nic.fd < kMinFd || nic.fd > kMaxFd)
    return error("{}.fd: {} is not a descriptor for this; use {} to {}", field, nic.fd, kMinFd, kMaxFd);
  return ok();
}

// What only cards of another type have.
Result<void> check_foreign_fields(const std::string& field, const Nic& nic) {
  using Type = Nic::Type;
  const bool has_name = nic.type == Type::kTap || nic.type == Type::kBridge;
  if (!has_name && !nic.name.empty()) return error("{}.name: only tap and bridge have a name; leave it out", field);
  if (nic.type != Type::kTap && nic.fd >= 0) return error("{}.fd: only tap has a descriptor; leave it out", field);
  if (nic.type != Type::kSocket && !nic.path.empty())
    return error("{}.path: only socket has a path; leave it out", field);
  if (nic.type != Type::kSocket && nic.listen) return error("{}.listen: only socket listens; leave it out", field);
  if (nic.type != Type::kUser && nic.restricted)
    return error("{}.restricted: only the user network can be restricted; leave it out", field);
  if (nic.type != Type::kUser && !nic.forwards.empty())
    return error("{}.forwards: only the user network forwards ports; leave them out", field);
  return ok();
}

Result<void> check_queues(const std::string& field, const Nic& nic) {
  if (nic.queues < 1 || nic.queues > kMaxQueuePairs)
    return error("{}.queues: {} is not a number of queue pairs; use 1 to {}", field, nic.queues, kMaxQueuePairs);
  const bool several = nic.type == Nic::Type::kBridge || (nic.type == Nic::Type::kTap && nic.fd < 0);
  if (nic.queues > 1 && nic.model != Nic::Model::kVirtio)
    return error("{}.queues: only a virtio card has more than one pair; use 1", field);
  if (nic.queues > 1 && !several)
    return error("{}.queues: only a tap by name and a bridge have more than one pair; use 1", field);
  return ok();
}

Result<void> check_nic(const std::string& field, const Nic& nic) {
  if (auto good = check_foreign_fields(field, nic); !good) return good;
  if (auto good = check_queues(field, nic); !good) return good;
  if (!nic.mac.empty())
    if (auto mac = parse_mac(nic.mac); !mac) return std::move(mac).error().in(field + ".mac");
  switch (nic.type) {
    case Nic::Type::kUser: return ok();
    case Nic::Type::kTap: return check_tap(field, nic);
    case Nic::Type::kBridge: return check_interface(field + ".name", "bridge", nic.name);
    case Nic::Type::kSocket: break;
  }
  return check_socket(field + ".path", nic.path);
}

// What two cards cannot share.
Result<void> check_pair(const VmConfig& config, size_t first, size_t second) {
  const Nic &one = config.nics[first], &other = config.nics[second];
  const std::string field = fmt::format("nics[{}]", second);
  if (mac_of(config, first) == mac_of(config, second))
    return error("{}.mac: {} is the address of card {} too; use another", field, to_string(mac_of(config, second)), first);
  if (one.type != other.type) return ok();
  if (one.type == Nic::Type::kTap && one.fd >= 0 && one.fd == other.fd)
    return error("{}.fd: descriptor {} is card {}'s already; use another", field, other.fd, first);
  if (one.type == Nic::Type::kTap && one.fd < 0 && one.name == other.name)
    return error("{}.name: '{}' is card {}'s already; use another", field, other.name, first);
  if (one.type == Nic::Type::kSocket && one.path == other.path && one.listen && other.listen)
    return error("{}.path: card {} listens on '{}' already; use another", field, first, other.path);
  return ok();
}

}  // namespace

Result<void> check_disks(const VmConfig& config) {
  if (config.disks.size() > kMaxDisks)
    return error("disks: {} are too many; board {} has room for {}", config.disks.size(), config.board, kMaxDisks);
  constexpr std::pair<Disk::Bus, size_t> kPorts[] = {{Disk::Bus::kSata, kMaxSataDisks}, {Disk::Bus::kIde, kMaxIdeDisks}};
  for (const auto& [bus, ports] : kPorts) {
    const auto count = static_cast<size_t>(std::ranges::count(config.disks, bus, &Disk::bus));
    if (count > ports)
      return error("disks: {} with bus={} are too many; the controller has {} ports", count, kDiskBuses[static_cast<unsigned>(bus)].first, ports);
  }
  for (size_t i = 0; i < config.disks.size(); ++i) {
    const std::string field = fmt::format("disks[{}]", i);
    if (auto good = check_disk(field, config.disks[i]); !good) return good;
    if (config.disks[i].bus == Disk::Bus::kIde && config.board != kPcBoard)
      return error("{}.bus: board {} has no IDE controller; use sata, usb, scsi or virtio, or board {}", field, config.board, kPcBoard);
    for (size_t j = 0; j < i; ++j)
      if (auto good = check_pair(field, config.disks[j], config.disks[i]); !good) return good;
  }
  return ok();
}

Result<void> check_nics(const VmConfig& config) {
  if (config.nics.size() > kMaxNics)
    return error("nics: {} are too many; board {} has room for {}", config.nics.size(), config.board, kMaxNics);
  for (size_t i = 0; i < config.nics.size(); ++i)
    if (auto good = check_nic(fmt::format("nics[{}]", i), config.nics[i]); !good) return good;
  for (size_t i = 0; i < config.nics.size(); ++i)
    for (size_t j = 0; j < i; ++j)
      if (auto good = check_pair(config, j, i); !good) return good;
  return check_forwards(config);
}

namespace {
Result<void> check_vsock(const Vsock& vsock) {
  if (vsock.cid < kMinVsockCid || vsock.cid > kMaxVsockCid)
    return error("vsock.cid: {} cannot be a guest's; use {} to {}", vsock.cid, kMinVsockCid, kMaxVsockCid);
  if (vsock.path.size() > kMaxVsockPath)
    return error("vsock.path: the path is {} bytes long; with a port behind it a unix socket's is at most {}",
                 vsock.path.size(), kMaxVsockPath);
  return check_path("vsock.path", vsock.path);
}

Result<void> check_tag(const std::string& field, const std::string& tag) {
  if (tag.empty()) return error("{}: is empty; give the name that the guest mounts the folder by", field);
  if (tag.size() > kMaxShareTag)
    return error("{}: '{}' has {} bytes; at most {} are possible", field, shown(tag), tag.size(), kMaxShareTag);
  if (std::any_of(tag.begin(), tag.end(), [](unsigned char c) { return c < ' ' || c == 0x7f; }))
    return error("{}: has a character that cannot be typed; use letters, digits and signs", field);
  return check_text(field, tag, kMaxShareTag);
}

Result<void> check_shares(const VmConfig& config) {
  const std::vector<Share>& shares = config.shares;
  if (shares.size() > kMaxShares) return error("shares: {} are too many; at most {}", shares.size(), kMaxShares);
  const size_t taken = config.disks.size() + config.nics.size() + kOtherPciDevices + (config.sound != Sound::kNone ? 1 : 0);
  if (taken > kPciPlaces)
    return error("sound: has no place beside {} disks and {} network cards; leave out one of them", config.disks.size(), config.nics.size());
  if (!shares.empty() && taken + shares.size() > kPciPlaces)
    return error("shares: {} are too many beside {} disks and {} network cards; {} have room", shares.size(), config.disks.size(),
                 config.nics.size(), kPciPlaces - taken);
  for (size_t i = 0; i < shares.size(); ++i) {
    const std::string field = fmt::format("shares[{}]", i);
    if (auto good = check_path(field + ".path", shares[i].path); !good) return good;
    if (auto good = check_tag(field + ".tag", shares[i].tag); !good) return good;
    for (size_t j = 0; j < i; ++j)
      if (shares[j].tag == shares[i].tag)
        return error("{}.tag: '{}' is the tag of '{}' too; use another", field, shares[i].tag, shares[j].path);
  }
  return ok();
}

}  // namespace

Result<void> check_tpm(const VmConfig& config) {
  if (!config.tpm) return ok();
  return config.tpm->type == Tpm::Type::kSocket ? check_socket("tpm.path", config.tpm->path) : check_path("tpm.path", config.tpm->path);
}

Result<void> check_guest_services(const VmConfig& config) {
  if (config.cloud_init) {
    const CloudInit& seed = *config.cloud_init;
    if (auto good = check_text("cloud_init.user_data", seed.user_data, kMaxUserData); !good) return good;
    if (auto good = check_text("cloud_init.meta_data", seed.meta_data, kMaxMetaData); !good) return good;
    if (auto good = check_text("cloud_init.network_config", seed.network_config, kMaxMetaData); !good) return good;
  }
  if (config.vsock)
    if (auto good = check_vsock(*config.vsock); !good) return good;
  if (auto good = check_shares(config); !good) return good;
  return config.guest_agent ? check_socket("guest_agent", *config.guest_agent) : ok();
}

}  // namespace skerry::config
