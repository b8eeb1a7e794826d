// Numbers of the PCI transport (virtio 1.2, 4.1), and where this implementation puts its registers.
#pragma once

#include <cstdint>

#include "virtio/device_status.hpp"

namespace skerry::virtio::pci_layout {

using namespace device_status;

// 4.1.2
constexpr uint16_t kVendor = 0x1af4, kDeviceBase = 0x1040, kSubsystem = 0x1100;
constexpr uint8_t kRevision = 1;

// Types of capabilities (4.1.4).
constexpr uint8_t VIRTIO_PCI_CAP_COMMON_CFG = 1, VIRTIO_PCI_CAP_NOTIFY_CFG = 2, VIRTIO_PCI_CAP_ISR_CFG = 3;
constexpr uint8_t VIRTIO_PCI_CAP_DEVICE_CFG = 4, VIRTIO_PCI_CAP_PCI_CFG = 5;
// struct virtio_pci_cap, from its start in the configuration space.
constexpr unsigned kCapType = 3, kCapBar = 4, kCapOffset = 8, kCapLength = 12, kCapSize = 16;
constexpr unsigned kCapNotifyMultiplier = 16;  // of struct virtio_pci_notify_cap
constexpr unsigned kCapData = 16;              // of struct virtio_pci_cfg_cap

// BARs, and the one that has all registers but MSI-X.
constexpr unsigned kMsixBar = 1, kBar = 4;
constexpr uint32_t kBarSize = 0x4000, kWindow = 0x1000;
constexpr uint32_t kCommon = 0, kIsr = 0x1000, kDevice = 0x2000, kNotify = 0x3000;
constexpr uint32_t kNotifyMultiplier = 4;

// struct virtio_pci_common_cfg (4.1.4.3).
enum Common : unsigned {
  kDeviceFeatureSelect = 0,
  kDeviceFeature = 4,
  kDriverFeatureSelect = 8,
  kDriverFeature = 12,
  kConfigMsixVector = 16,
  kNumQueues = 18,
  kDeviceStatus = 20,
  kConfigGeneration = 21,
  kQueueSelect = 22,
  kQueueSize = 24,
  kQueueMsixVector = 26,
  kQueueEnable = 28,
  kQueueNotifyOff = 30,
  kQueueDesc = 32,
  kQueueDriver = 40,
  kQueueDevice = 48,
  kQueueNotifyData = 56,
  kQueueReset = 58,
  kCommonSize = 60,
};
constexpr uint16_t VIRTIO_MSI_NO_VECTOR = 0xffff;

}  // namespace skerry::virtio::pci_layout
