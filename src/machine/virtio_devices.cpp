#include "machine/virtio_devices.hpp"

#include <algorithm>

#include "machine/pci_board.hpp"
#include "machine/scsi_units.hpp"
#include "virtio/block.hpp"
#include "virtio/console.hpp"
#include "virtio/entropy.hpp"
#include "virtio/fs.hpp"
#include "virtio/net.hpp"
#include "virtio/scsi.hpp"
#include "virtio/vsock.hpp"

namespace skerry::machine {

namespace {

constexpr unsigned kMostDiskQueues = 4;  // one thread serves them all
constexpr const char* kGuestAgentPort = "org.qemu.guest_agent.0";

}  // namespace

Result<std::unique_ptr<VirtioDevices>> VirtioDevices::create(const config::VmConfig& config, Backends& backends,
                                                             EventLoop& main, IoThread& io, memory::GuestMemory& memory,
                                                             VirtioHome& home) {
  std::unique_ptr<VirtioDevices> devices(new VirtioDevices(main, io, memory, home));
  if (auto good = devices->add_all(config, backends); !good) return std::move(good).error();
  return devices;
}

Result<unsigned> VirtioDevices::add(std::unique_ptr<virtio::Device> device, std::optional<unsigned> slot) {
  const auto loop = &device->loop() == &main_ ? virtio::LoopThread::kCaller : virtio::LoopThread::kOther;
  auto place = home_.connect(*device, loop, slot);
  if (!place) return std::move(place).error().in(device->name());
  entries_.push_back({std::move(device), std::move(place->transport)});
  return place->slot;
}

Result<void> VirtioDevices::add_disks(const config::VmConfig& config, Backends& backends) {
  const auto queues = static_cast<uint16_t>(std::min(config.vcpus, kMostDiskQueues));
  for (size_t i = 0; i < backends.disks.size(); ++i) {
    if (i < config.disks.size() && config.disks[i].bus != config::Disk::Bus::kVirtio) continue;
    auto slot = add(std::make_unique<virtio::Block>(
        fmt::format("disk{}", i), io_.loop(), memory_, *backends.disks[i].node,
        virtio::Block::Options{.serial = backends.disks[i].serial, .queues = queues}));
    if (!slot) return std::move(slot).error();
    disk_slots_[i] = *slot;
  }
  return add_scsi(config, backends, queues);
}

// One controller has them all: targets in the order of the description.
Result<void> VirtioDevices::add_scsi(const config::VmConfig& config, Backends& backends, uint16_t queues) {
  virtio::Scsi::Units units;
  for (size_t i = 0; i < config.disks.size(); ++i) {
    if (config.disks[i].bus != config::Disk::Bus::kScsi) continue;
    scsi_disks_[i].target = static_cast<unsigned>(units.size());
    units.push_back(make_scsi_unit(fmt::format("scsi disk {}", i), config.disks[i], backends.disks[i],
                                   backends.disks[i].serial_of(i), true));
  }
  if (units.empty()) return ok();
  auto slot = add(std::make_unique<virtio::Scsi>("scsi0", io_.loop(), memory_, std::move(units),
                                                 virtio::Scsi::Options{.queues = queues}));
  if (!slot) return std::move(slot).error();
  for (auto& [disk, place] : scsi_disks_) place.slot = *slot;
  return ok();
}

Result<void> VirtioDevices::add_gpu(display::Screen& screen) {
  auto gpu = virtio::Gpu::create("gpu0", io_.loop(), memory_, screen);
  if (!gpu) return std::move(gpu).error().in("--video");
  gpu_ = gpu->get();
  if (auto slot = add(std::move(*gpu), PciBoard::kVideoSlot); !slot) return std::move(slot).error();
  return ok();
}

Result<void> VirtioDevices::add_input() {
  const auto options = [this](std::string name) {
    return virtio::Input::Options{std::move(name), io_.loop(), memory_, [this] {
                                    if (input_changed_) input_changed_();
                                  }};
  };
  auto keyboard = std::make_unique<virtio::Keyboard>(options("keyboard0"));
  auto tablet = std::make_unique<virtio::Tablet>(options("tablet0"));
  input_ = std::make_unique<VirtioInput>(*keyboard, *tablet);
  if (auto slot = add(std::move(keyboard)); !slot) return std::move(slot).error();
  if (auto slot = add(std::move(tablet)); !slot) return std::move(slot).error();
  return ok();
}

Result<void> VirtioDevices::add_all(const config::VmConfig& config, Backends& backends) {
  EventLoop& io = io_.loop();
  for (size_t i = 0; i < backends.nics.size(); ++i) {
    const config::Nic& nic = config.nics[i];
    if (nic.model != config::Nic::Model::kVirtio) continue;
    auto slot = add(std::make_unique<virtio::Net>(fmt::format("net{}", i), io, memory_, *backends.nics[i],
                                                  virtio::Net::Options{config::mac_of(config, i), nic.queues}));
    if (!slot) return std::move(slot).error();
  }
  if (auto good = add_disks(config, backends); !good) return good;
  if (auto slot = add(std::make_unique<virtio::Entropy>("rng0", io, memory_)); !slot) return std::move(slot).error();
  auto balloon = std::make_unique<virtio::Balloon>("balloon0", io, memory_);
  balloon_ = balloon.get();
  if (auto slot = add(std::move(balloon)); !slot) return std::move(slot).error();
  if (backends.guest_agent) {
    auto slot = add(std::make_unique<virtio::Console>(
        "console0", main_, memory_, nullptr,
        std::vector<virtio::Console::Port>{{kGuestAgentPort, backends.guest_agent.get()}}));
    if (!slot) return std::move(slot).error();
  }
  if (backends.vsock) {
    auto slot = add(std::make_unique<virtio::Vsock>("vsock0", main_, memory_, config.vsock->cid,
                                                    std::move(*backends.vsock)));
    if (!slot) return std::move(slot).error();
  }
  for (size_t i = 0; i < backends.shares.size(); ++i) {
    auto slot = add(std::make_unique<virtio::Fs>(fmt::format("fs{}", i), io, memory_, config.shares[i].tag,
                                                 std::move(backends.shares[i])));
    if (!slot) return std::move(slot).error();
  }
  if (config.video == config::Video::kVirtio)
    if (auto good = add_gpu(*backends.screen); !good) return good;
  return config.input == config::Input::kVirtio ? add_input() : ok();
}

void VirtioDevices::join(Workers& workers) {
  for (Entry& entry : entries_) workers.add(*entry.transport);
}

void VirtioDevices::restored() {
  if (gpu_) gpu_->show();
}

}  // namespace skerry::machine
