// Bits that are the same whatever a virtio device is reached by.
#pragma once

#include <cstdint>

namespace skerry::virtio::device_status {

// Device status (virtio 1.2, 2.1).
constexpr uint8_t ACKNOWLEDGE = 1, DRIVER = 2, DRIVER_OK = 4, FEATURES_OK = 8, DEVICE_NEEDS_RESET = 64, FAILED = 128;
// ISR status (4.1.4.5), which MMIO calls the interrupt status (4.2.2).
constexpr uint8_t kIsrQueue = 1, kIsrConfig = 2;

}  // namespace skerry::virtio::device_status
