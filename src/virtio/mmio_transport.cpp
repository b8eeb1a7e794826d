#include "virtio/mmio_transport.hpp"

#include <chrono>

#include "base/log.hpp"

namespace skerry::virtio {

using namespace mmio_layout;

namespace {
// How often who waits for a reset looks whether it still may.
constexpr std::chrono::milliseconds kLookAround{1};
}  // namespace

// --- making ----------------------------------------------------------------------------------------------------------

Result<std::unique_ptr<MmioTransport>> MmioTransport::create(virtio::Device& device, Options options) {
  auto descriptors = open(device, kWindow - kConfig);
  if (!descriptors) return std::move(descriptors).error();
  std::unique_ptr<MmioTransport> transport(new MmioTransport(device, std::move(options), std::move(*descriptors)));
  if (auto added = transport->attach_to_loop(); !added) return std::move(added).error();
  return transport;
}

MmioTransport::MmioTransport(virtio::Device& device, Options options, Descriptors descriptors)
    : TransportCore(device, options.loop, true, std::move(descriptors)),
      irq_(options.irq),
      may_wait_(std::move(options.may_wait)) {
  reset_registers();
}

MmioTransport::~MmioTransport() { detach(); }

Result<void> MmioTransport::attach(bus::AddressSpace& mmio, uint64_t base) {
  return mmio.add(base, kSize, *this, device_.name());
}

// --- reading ---------------------------------------------------------------------------------------------------------

uint64_t MmioTransport::io_read(uint64_t offset, unsigned size) {
  const auto at = static_cast<uint32_t>(offset);
  if (at >= kConfig) return read_device_config(at - kConfig, size);
  if (size == sizeof(uint32_t) && at % sizeof(uint32_t) == 0) return read_register(at);
  log::debug(log::Category::kDevice, "{}: a read of {} bytes of register {:#x} gives 0", name(), size, at);
  return 0;
}

uint32_t MmioTransport::read_register(uint32_t offset) {
  switch (offset) {
    case kMagicValue:
      return kMagic;
    case kVersion:
      return kModern;
    case kDeviceId:
      return static_cast<uint32_t>(device_.id());
    case kVendorId:
      return kVendor;
    case kInterruptStatus:
      return isr();
    case kStatus:
      return status_.load();
    case kConfigGeneration:
      return config_generation_.load();
    // There is no shared memory, which a length of all ones says (2.10, 4.2.2).
    case kShmLenLow:
    case kShmLenHigh:
    case kShmBaseLow:
    case kShmBaseHigh:
      return ~uint32_t{0};
    default:
      break;
  }
  std::lock_guard guard(lock_);
  return offset == kDeviceFeatures ? offered_half() : read_queue_register(offset);
}

// With lock_ held. What can only be written reads as 0.
uint32_t MmioTransport::read_queue_register(uint32_t offset) const {
  const QueueRegisters* queue = selected_queue();
  if (!queue) return 0;  // and a QueueSizeMax of 0 says that there is none
  switch (offset) {
    case kQueueSizeMax:
      return selected_queues_most();
    case kQueueReady:
      return queue->setup.enabled ? 1 : 0;
    case kQueueReset:
      return queue->resetting ? 1 : 0;
    default:
      return 0;
  }
}

// --- writing ---------------------------------------------------------------------------------------------------------

void MmioTransport::io_write(uint64_t offset, unsigned size, uint64_t wide) {
  const auto at = static_cast<uint32_t>(offset);
  const auto value = static_cast<uint32_t>(wide);
  if (at >= kConfig) return write_device_config(at - kConfig, size, value);
  if (size == sizeof(uint32_t) && at % sizeof(uint32_t) == 0) return write_register(at, value);
  log::debug(log::Category::kDevice, "{}: a write of {} bytes to register {:#x} is dropped", name(), size, at);
}

void MmioTransport::write_register(uint32_t offset, uint32_t value) {
  if (offset == kQueueNotify) return notify(value);
  if (offset == kInterruptAck) {
    clear_isr(static_cast<uint8_t>(value));
    return;
  }
  bool tell_loop = false;
  {
    std::lock_guard guard(lock_);
    if (!resetting_) tell_loop = write_locked(offset, value);
  }
  if (!tell_loop) return;
  ask_loop();
  wait_for_reset();
}

// True if the loop has something to do.
bool MmioTransport::write_locked(uint32_t offset, uint32_t value) {
  switch (offset) {
    case kDeviceFeaturesSel:
      device_feature_select_ = value;
      return false;
    case kDriverFeaturesSel:
      driver_feature_select_ = value;
      return false;
    case kDriverFeatures:
      write_driver_feature(value);
      return false;
    case kStatus:
      return write_status(static_cast<uint8_t>(value));
    case kQueueSel:
      queue_select_ = static_cast<uint16_t>(std::min<uint32_t>(value, UINT16_MAX));
      return false;
    case kQueueSize:
      write_queue_size(value);
      return false;
    case kQueueReady:
      return write_queue_ready(value);
    case kQueueReset:
      return value == 1 && reset_queue();
    case kQueueDescLow:
    case kQueueDescHigh:
      write_queue_address(&Queue::Setup::descriptors, offset == kQueueDescHigh, value);
      return false;
    case kQueueDriverLow:
    case kQueueDriverHigh:
      write_queue_address(&Queue::Setup::driver, offset == kQueueDriverHigh, value);
      return false;
    case kQueueDeviceLow:
    case kQueueDeviceHigh:
      write_queue_address(&Queue::Setup::device, offset == kQueueDeviceHigh, value);
      return false;
    default:
      return false;
  }
}

// 0 takes the queue from the device (4.2.3.2), which needs no feature.
bool MmioTransport::write_queue_ready(uint32_t value) {
  if (value == 1) return enable_queue();
  const QueueRegisters* queue = selected_queue();
  return value == 0 && queue && queue->setup.enabled && stop_queue();
}

void MmioTransport::wait_for_reset() {
  std::unique_lock guard(lock_);
  while (reset_under_way() && may_wait_()) served_.wait_for(guard, kLookAround);
}

// --- life and state --------------------------------------------------------------------------------------------------

void MmioTransport::reset() { reset_device(); }

void MmioTransport::describe(state::Fields& fields) { describe_device(fields); }

void MmioTransport::restored() {
  irq_.set(isr() != 0);
  restore_device();
}

}  // namespace skerry::virtio
