#include "machine/backends.hpp"

#include "block/memory_image.hpp"
#include "block/raw_file.hpp"
#include "devices/tpm/swtpm_process.hpp"
#include "machine/nocloud_seed.hpp"
#include "net/factory.hpp"

namespace skerry::machine {

namespace {

block::Cache cache_of(config::Disk::Cache cache) {
  switch (cache) {
    case config::Disk::Cache::kWriteback: return block::Cache::kWriteback;
    case config::Disk::Cache::kNone: return block::Cache::kNone;
    case config::Disk::Cache::kWritethrough: return block::Cache::kWritethrough;
    case config::Disk::Cache::kDirectsync: return block::Cache::kDirectsync;
    case config::Disk::Cache::kUnsafe: return block::Cache::kUnsafe;
  }
  return block::Cache::kWriteback;
}

net::BackendOptions options_of(const config::Nic& nic) {
  using Type = net::BackendOptions::Type;
  constexpr Type kTypes[] = {Type::kUser, Type::kTap, Type::kBridge, Type::kSocket};  // in the order of Nic::Type
  net::BackendOptions options{.type = kTypes[static_cast<unsigned>(nic.type)],
                              .name = nic.name,
                              .fd = nic.fd,
                              .path = nic.path,
                              .listen = nic.listen,
                              .restricted = nic.restricted};
  for (const config::PortForward& forward : nic.forwards)
    options.forwards.push_back(
        {forward.udp, forward.host_address, forward.host_port, forward.guest_address, forward.guest_port});
  return options;
}

Result<void> open_disks(const config::VmConfig& config, Backends& backends) {
  for (const config::Disk& disk : config.disks) {
    auto node = block::RawFile::open(*backends.aio, disk.path,
                                     {.read_only = disk.read_only || disk.cdrom, .cache = cache_of(disk.cache)});
    if (!node) return std::move(node).error();
    backends.disks.push_back({std::move(*node), disk.serial});
  }
  if (!config.cloud_init) return ok();
  backends.disks.push_back({std::make_unique<block::MemoryImage>(make_nocloud_seed(*config.cloud_init)), "cidata"});
  return ok();
}

}  // namespace

std::string Backends::Disk::serial_of(size_t disk) const { return serial.empty() ? fmt::format("SK{:05}", disk) : serial; }

void Backends::start() {
  if (aio) aio->start();
}

Result<Backends> open_backends(const config::VmConfig& config, EventLoop& io) {
  Backends backends;
  if (!config.disks.empty() || config.cloud_init) {
    auto aio = block::Aio::create(io);
    if (!aio) return std::move(aio).error();
    backends.aio = std::move(*aio);
    if (auto good = open_disks(config, backends); !good) return std::move(good).error();
  }
  for (const config::Nic& nic : config.nics) {
    auto backend = net::open_backend(options_of(nic));
    if (!backend) return std::move(backend).error();
    backends.nics.push_back(std::move(*backend));
  }
  if (config.video != config::Video::kNone) {
    constexpr display::Screen::Size kBeforeTheGuestDraws = {720, 400};  // as text is at first
    auto screen = display::Screen::create(kBeforeTheGuestDraws);
    if (!screen) return std::move(screen).error().in("--video");
    backends.screen = std::move(*screen);
  }
  if (config.sound != config::Sound::kNone) backends.sound = std::make_unique<sound::Outlet>();
  if (config.guest_agent) {
    auto agent = chardev::open_chardev({chardev::Kind::kUnix, *config.guest_agent}, {});
    if (!agent) return std::move(agent).error().in("--guest-agent");
    backends.guest_agent = std::move(*agent);
  }
  if (config.vsock) {
    auto host = virtio::VsockHost::open(config.vsock->path);
    if (!host) return std::move(host).error();
    backends.vsock = std::move(*host);
  }
  if (config.tpm) {
    const bool socket = config.tpm->type == config::Tpm::Type::kSocket;
    std::string label = fmt::format("--tpm '{}{}'", socket ? "unix:" : "", config.tpm->path);
    auto tpm = socket ? devices::tpm::connect_swtpm(config.tpm->path, std::move(label))
                      : devices::tpm::start_swtpm(config.tpm->path, std::move(label));
    if (!tpm) return std::move(tpm).error();
    backends.tpm = std::move(*tpm);
  }
  for (const config::Share& folder : config.shares) {
    auto link = share::ServerLink::start(folder.path, folder.read_only);
    if (!link) return std::move(link).error().in(fmt::format("--share '{}'", folder.path));
    backends.shares.push_back(std::move(*link));
  }
  return backends;
}

}  // namespace skerry::machine
