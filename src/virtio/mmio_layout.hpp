// The registers of the MMIO transport (virtio 1.2, 4.2.2).
#pragma once

#include <cstdint>

#include "virtio/device_status.hpp"

namespace skerry::virtio::mmio_layout {

using namespace device_status;

enum Register : uint32_t {
  kMagicValue = 0x000,
  kVersion = 0x004,
  kDeviceId = 0x008,
  kVendorId = 0x00c,
  kDeviceFeatures = 0x010,
  kDeviceFeaturesSel = 0x014,
  kDriverFeatures = 0x020,
  kDriverFeaturesSel = 0x024,
  kQueueSel = 0x030,
  kQueueSizeMax = 0x034,
  kQueueSize = 0x038,
  kQueueReady = 0x044,
  kQueueNotify = 0x050,
  kInterruptStatus = 0x060,
  kInterruptAck = 0x064,
  kStatus = 0x070,
  kQueueDescLow = 0x080,
  kQueueDescHigh = 0x084,
  kQueueDriverLow = 0x090,
  kQueueDriverHigh = 0x094,
  kQueueDeviceLow = 0x0a0,
  kQueueDeviceHigh = 0x0a4,
  kShmLenLow = 0x0b0,
  kShmLenHigh = 0x0b4,
  kShmBaseLow = 0x0b8,
  kShmBaseHigh = 0x0bc,
  kQueueReset = 0x0c0,
  kConfigGeneration = 0x0fc,
  kConfig = 0x100,  // the device's configuration space, to the end of the window
};
constexpr uint32_t kWindow = 0x200;

constexpr uint32_t kMagic = 0x74726976;   // "virt"
constexpr uint32_t kModern = 2;           // 1 is the legacy interface
constexpr uint32_t kVendor = 0x59524b53;  // "SKRY"

}  // namespace skerry::virtio::mmio_layout
