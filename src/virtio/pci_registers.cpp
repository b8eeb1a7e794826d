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
      return within == 0 ? transport_.read_isr() : 0;
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

// Waits for nobody: one bit, and if it was the first since the loop looked, the loop is woken, or a turn of it borrowed.
void PciTransport::notify(unsigned queue) {
  if (queue >= queue_sizes_.size() || !(status_.load(std::memory_order_acquire) & DRIVER_OK)) return;
  if (notified_.fetch_or(uint64_t{1} << queue, std::memory_order_acq_rel) != 0) return;
  const bool borrows = loop_thread_ == LoopThread::kOther && device_.prompt();
  if (!borrows || !device_.loop().borrow_turn([this] { serve_notifications(); })) kick();
}

uint32_t PciTransport::read_isr() {  // 4.1.4.5: reading clears it
  std::lock_guard guard(isr_lock_);
  const uint8_t value = std::exchange(isr_, uint8_t{0});
  if (value != 0) set_intx(false);
  return value;
}

uint32_t PciTransport::read_device_config(uint32_t offset, unsigned size) {
  const uint32_t end = device_.config_size();
  if (offset >= end) return 0;
  std::array<uint8_t, 4> bytes{};
  device_.read_config(offset, std::span(bytes).first(std::min(size, end - offset)));
  return bytes[0] | uint32_t{bytes[1]} << 8 | uint32_t{bytes[2]} << 16 | uint32_t{bytes[3]} << 24;
}

void PciTransport::write_device_config(uint32_t offset, unsigned size, uint32_t value) {
  const uint32_t end = device_.config_size();
  if (offset >= end) return;
  const std::array<uint8_t, 4> bytes = {static_cast<uint8_t>(value), static_cast<uint8_t>(value >> 8),
                                        static_cast<uint8_t>(value >> 16), static_cast<uint8_t>(value >> 24)};
  device_.write_config(offset, std::span(bytes).first(std::min(size, end - offset)));
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
  const auto half = [](uint64_t features, uint32_t select) {
    return select < 2 ? static_cast<uint32_t>(features >> (32 * select)) : 0;
  };
  const auto pair = [](uint32_t low, uint32_t high) { return low | high << 16; };
  switch (offset) {
    case kDeviceFeatureSelect:
      return device_feature_select_;
    case kDeviceFeature:
      return half(offered_, device_feature_select_);
    case kDriverFeatureSelect:
      return driver_feature_select_;
    case kDriverFeature:
      return half(driver_features_, driver_feature_select_);
    case kConfigMsixVector:
      return pair(config_vector_.load(), static_cast<uint32_t>(queue_sizes_.size()));
    case kDeviceStatus:
      return pair(status_.load() | config_generation_.load() << 8, queue_select_);
    default:
      break;
  }
  // 4.1.4.3.1: size 0 tells that there is no such queue.
  return queue_select_ < queue_registers_.size() ? queue_dword(offset, queue_registers_[queue_select_]) : 0;
}

uint32_t PciTransport::queue_dword(unsigned offset, const QueueRegisters& queue) const {
  const Queue::Setup& setup = queue.setup;
  switch (offset) {
    case kQueueSize:
      return setup.size | uint32_t{queue.vector.load()} << 16;
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

uint64_t with_half(uint64_t before, bool high, uint32_t value) {
  return high ? (before & 0xffff'ffff) | uint64_t{value} << 32 : (before & ~uint64_t{0xffff'ffff}) | value;
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

// Once agreed on, features stay. What was not offered is remembered: FEATURES_OK is then refused.
void PciTransport::write_driver_feature(uint32_t value) {
  if (status_.load() & FEATURES_OK) return;
  const uint32_t select = driver_feature_select_;
  const uint64_t wide = select < 2 ? uint64_t{value} << (32 * select) : 0;
  if ((wide & ~offered_) != 0 || (select >= 2 && value != 0)) refused_features_ = true;
  if (select < 2) driver_features_ = with_half(driver_features_, select == 1, value) & offered_;
}

// 2.1, 3.1. Bits are only added, but for 0, a reset. True if the loop has something to do.
bool PciTransport::write_status(uint8_t value) {
  if (value == 0) {
    if (!engaged_) {
      reset_registers();
      return false;
    }
    resetting_ = true;
    return true;
  }
  unsigned added = value & ~unsigned{status_.load()} & (ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK | FAILED);
  if (refused_features_ || !(driver_features_ & feature::kVersion1)) added &= ~unsigned{FEATURES_OK};
  if (!((status_.load() | added) & FEATURES_OK)) added &= ~unsigned{DRIVER_OK};
  status_.fetch_or(static_cast<uint8_t>(added));
  if (!(added & DRIVER_OK)) return false;
  engaged_ = activating_ = true;
  return true;
}

// The fields of the selected queue.
bool PciTransport::write_queue(unsigned offset, uint32_t value) {
  if (queue_select_ >= queue_registers_.size()) return false;
  QueueRegisters& queue = queue_registers_[queue_select_];
  if (offset == kQueueMsixVector) {
    queue.vector.store(legal_vector(value));
    return false;
  }
  if (offset == kQueueReset) return value == 1 && reset_queue(queue);
  if (queue.setup.enabled) return false;  // what works is not changed (4.1.4.3.2)
  switch (offset) {
    case kQueueSize:
      if (value > 0 && value <= queue_sizes_[queue_select_]) queue.setup.size = static_cast<uint16_t>(value);
      return false;
    case kQueueEnable:
      return value == 1 && enable_queue(queue);
    default:
      break;
  }
  const unsigned field = offset & ~7u;
  uint64_t& address = field == kQueueDesc     ? queue.setup.descriptors
                      : field == kQueueDriver ? queue.setup.driver
                                              : queue.setup.device;
  address = with_half(address, offset & 4, value);
  return false;
}

bool PciTransport::enable_queue(QueueRegisters& queue) {
  queue.setup.enabled = true;
  if (!engaged_) return false;
  queue.starting = queues_changed_ = true;
  return true;
}

bool PciTransport::reset_queue(QueueRegisters& queue) {  // 2.6.1
  if (!(driver_features_ & feature::kRingReset) || !(status_.load() & FEATURES_OK)) return false;
  if (!engaged_) {
    reset_registers(queue, queue_sizes_[queue_select_]);
    return false;
  }
  queue.resetting = queues_changed_ = true;
  return true;
}

// --- reset -----------------------------------------------------------------------------------------------------------

void PciTransport::reset_registers(QueueRegisters& queue, uint16_t size) {
  queue.setup = {.size = size};
  queue.resetting = queue.starting = false;
  queue.vector.store(VIRTIO_MSI_NO_VECTOR);
}

// With lock_ held, or alone; the device is at rest and inactive. 2.4.1, 4.1.4.3.1.
void PciTransport::reset_registers() {
  device_feature_select_ = driver_feature_select_ = 0;
  driver_features_ = 0;
  refused_features_ = false;
  queue_select_ = 0;
  for (size_t i = 0; i < queue_registers_.size(); ++i) reset_registers(queue_registers_[i], queue_sizes_[i]);
  for (Queue& queue : queues_) queue.stop();  // one that has not begun may have a loaded state
  resetting_ = activating_ = queues_changed_ = engaged_ = false;
  config_vector_.store(VIRTIO_MSI_NO_VECTOR);
  {
    std::lock_guard guard(isr_lock_);
    isr_ = 0;
    set_intx(false);
  }
  status_.store(0, std::memory_order_release);
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
