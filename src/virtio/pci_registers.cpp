// The registers of the PCI transport (virtio 1.2, 4.1.4), as vCPU threads access them.

#include "base/log.hpp"
#include "virtio/pci_layout.hpp"
#include "virtio/pci_transport.hpp"

namespace skerry::virtio {

using namespace pci_layout;

// --- the BAR ---------------------------------------------------------------------------------------------------------

uint64_t PciTransport::Registers::io_read(uint64_t offset, unsigned size) {
  const auto within = static_cast<uint32_t>(offset % kWindow);
  switch (offset - within) {
    case kCommon:
      return transport_.read_common(within, size);
    case kIsr:
      return within == 0 ? transport_.clear_isr(0xff) : 0;  // 4.1.4.5: reading clears it
    case kDevice:
      return transport_.read_device_config(within, size);
    default:
      return 0;
  }
}

void PciTransport::Registers::io_write(uint64_t offset, unsigned size, uint64_t wide) {
  const auto within = static_cast<uint32_t>(offset % kWindow);
  const auto value = static_cast<uint32_t>(wide);
  switch (offset - within) {
    case kCommon:
      return transport_.write_common(within, size, value);
    case kDevice:
      return transport_.write_device_config(within, size, value);
    case kNotify:
      if (within % kNotifyMultiplier == 0) transport_.notify(within / kNotifyMultiplier);
      return;
    default:
      return;
  }
}

// --- common configuration: reading -----------------------------------------------------------------------------------

uint32_t PciTransport::read_common(unsigned offset, unsigned size) {
  if (offset + size > kCommonSize) return 0;
  std::lock_guard guard(lock_);
  uint64_t value = common_dword(offset & ~3u);
  if ((offset & 3) + size > 4) value |= uint64_t{common_dword((offset & ~3u) + 4)} << 32;
  value >>= 8 * (offset & 3);
  return static_cast<uint32_t>(value & (~uint64_t{0} >> (64 - 8 * size)));
}

// Nothing here changes by being read. With lock_ held.
uint32_t PciTransport::common_dword(unsigned offset) const {
  const auto pair = [](uint32_t low, uint32_t high) { return low | high << 16; };
  switch (offset) {
    case kDeviceFeatureSelect:
      return device_feature_select_;
    case kDeviceFeature:
      return offered_half();
    case kDriverFeatureSelect:
      return driver_feature_select_;
    case kDriverFeature:
      return agreed_half();
    case kConfigMsixVector:
      return pair(config_vector_.load(), static_cast<uint32_t>(queue_sizes_.size()));
    case kDeviceStatus:
      return pair(status_.load() | config_generation_.load() << 8, queue_select_);
    default:
      break;
  }
  // 4.1.4.3.1: size 0 tells that there is no such queue.
  const QueueRegisters* queue = selected_queue();
  return queue ? queue_dword(offset, *queue) : 0;
}

uint32_t PciTransport::queue_dword(unsigned offset, const QueueRegisters& queue) const {
  const Queue::Setup& setup = queue.setup;
  switch (offset) {
    case kQueueSize:
      return setup.size | uint32_t{queue_vectors_[queue_select_].load()} << 16;
    case kQueueEnable:
      return (setup.enabled ? 1u : 0u) | uint32_t{queue_select_} << 16;  // and queue_notify_off
    case kQueueDesc:
      return static_cast<uint32_t>(setup.descriptors);
    case kQueueDesc + 4:
      return static_cast<uint32_t>(setup.descriptors >> 32);
    case kQueueDriver:
      return static_cast<uint32_t>(setup.driver);
    case kQueueDriver + 4:
      return static_cast<uint32_t>(setup.driver >> 32);
    case kQueueDevice:
      return static_cast<uint32_t>(setup.device);
    case kQueueDevice + 4:
      return static_cast<uint32_t>(setup.device >> 32);
    case kQueueNotifyData:
      return (queue.resetting ? 1u : 0u) << 16;  // queue_reset is its upper half
    default:
      return 0;
  }
}

// --- common configuration: writing -----------------------------------------------------------------------------------

namespace {
// The size of the field that is at `offset`, of those that can be written; 64-bit ones are two (4.1.3.1).
unsigned field_size(unsigned offset) {
  switch (offset) {
    case kDeviceFeatureSelect:
    case kDriverFeatureSelect:
    case kDriverFeature:
    case kQueueDesc:
    case kQueueDesc + 4:
    case kQueueDriver:
    case kQueueDriver + 4:
    case kQueueDevice:
    case kQueueDevice + 4:
      return 4;
    case kConfigMsixVector:
    case kQueueSelect:
    case kQueueSize:
    case kQueueMsixVector:
    case kQueueEnable:
    case kQueueReset:
      return 2;
    case kDeviceStatus:
      return 1;
    default:
      return 0;
  }
}
}  // namespace

uint16_t PciTransport::legal_vector(uint32_t value) {  // 4.1.5.1.2
  return value < msix()->vectors() ? static_cast<uint16_t>(value) : VIRTIO_MSI_NO_VECTOR;
}

void PciTransport::write_common(unsigned offset, unsigned size, uint32_t value) {
  if (field_size(offset) != size) {
    log::debug(log::Category::kDevice, "{}: a write of {} bytes to common configuration {:#x} is dropped", name(), size,
               offset);
    return;
  }
  bool tell_loop = false;
  {
    std::lock_guard guard(lock_);
    if (resetting_) return;
    switch (offset) {
      case kDeviceFeatureSelect:
        device_feature_select_ = value;
        break;
      case kDriverFeatureSelect:
        driver_feature_select_ = value;
        break;
      case kDriverFeature:
        write_driver_feature(value);
        break;
      case kConfigMsixVector:
        config_vector_.store(legal_vector(value));
        break;
      case kDeviceStatus:
        tell_loop = write_status(static_cast<uint8_t>(value));
        break;
      case kQueueSelect:
        queue_select_ = static_cast<uint16_t>(value);
        break;
      default:
        tell_loop = write_queue(offset, value);
        break;
    }
  }
  if (tell_loop) ask_loop();
}

// The fields of the selected queue.
bool PciTransport::write_queue(unsigned offset, uint32_t value) {
  if (!selected_queue()) return false;
  switch (offset) {
    case kQueueSize:
      write_queue_size(value);
      return false;
    case kQueueMsixVector:
      queue_vectors_[queue_select_].store(legal_vector(value));
      return false;
    case kQueueEnable:
      return value == 1 && enable_queue();
    case kQueueReset:
      return value == 1 && reset_queue();
    default:
      break;
  }
  const unsigned field = offset & ~7u;
  write_queue_address(field == kQueueDesc     ? &Queue::Setup::descriptors
                      : field == kQueueDriver ? &Queue::Setup::driver
                                              : &Queue::Setup::device,
                      offset & 4, value);
  return false;
}

// --- access by the configuration space (4.1.4.9) ---------------------------------------------------------------------

bool PciTransport::in_config_window(unsigned offset, unsigned size) const {
  if (offset < config_window_ + kCapData || offset + size > config_window_ + kCapData + 4) return false;
  const uint32_t at = config<uint32_t>(config_window_ + kCapOffset);
  const uint32_t length = config<uint32_t>(config_window_ + kCapLength);
  if (config<uint8_t>(config_window_ + kCapBar) != kBar) return false;
  return (length == 1 || length == 2 || length == 4) && at % length == 0 && at < kBarSize;
}

uint32_t PciTransport::config_read(unsigned offset, unsigned size) {
  if (in_config_window(offset, size))
    set_config<uint32_t>(config_window_ + kCapData,
                         static_cast<uint32_t>(registers_.io_read(config<uint32_t>(config_window_ + kCapOffset),
                                                                  config<uint32_t>(config_window_ + kCapLength))));
  return PciFunction::config_read(offset, size);
}

void PciTransport::config_write(unsigned offset, unsigned size, uint32_t value) {
  PciFunction::config_write(offset, size, value);
  if (in_config_window(offset, size))
    registers_.io_write(config<uint32_t>(config_window_ + kCapOffset), config<uint32_t>(config_window_ + kCapLength),
                        config<uint32_t>(config_window_ + kCapData));
}

}  // namespace skerry::virtio
