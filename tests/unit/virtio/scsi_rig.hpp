// A guest's driver of a SCSI host device with two disks, for tests: puts commands and functions into its queues.
#pragma once

#include <cstring>

#include "devices/scsi/disk.hpp"
#include "unit/virtio/memory_node.hpp"
#include "unit/virtio/pci_driver.hpp"
#include "virtio/scsi.hpp"

namespace skerry::virtio::test {

inline uint8_t block_byte(uint64_t block) { return static_cast<uint8_t>(block * 7 + 1); }

struct ScsiDisks {
  static constexpr size_t kSize = 256 * 1024;
  ScsiDisks() {
    for (size_t i = 0; i < kSize; ++i) first.content[i] = block_byte(i / 512);
  }
  Scsi::Units units() {
    Scsi::Units units;
    for (MemoryNode* node : {&first, &second})
      units.push_back(std::make_unique<devices::scsi::Disk>("disk", *node, devices::scsi::Disk::Options{.serial = "serial-0", .queueing = true}));
    return units;
  }
  MemoryNode first{kSize}, second{kSize, true};
};

using Lun = std::array<uint8_t, 8>;
inline Lun lun_of(unsigned target, unsigned lun = 0) {
  return {1, static_cast<uint8_t>(target), static_cast<uint8_t>(0x40 | lun >> 8), static_cast<uint8_t>(lun), 0, 0, 0, 0};
}

// The device-readable part of a command, with a CDB of the size that is usual.
inline Bytes command_bytes(const Lun& lun, uint64_t id, uint8_t attribute, const Bytes& cdb) {
  Bytes bytes(lun.begin(), lun.end());
  for (int i = 0; i < 8; ++i) bytes.push_back(static_cast<uint8_t>(id >> (8 * i)));
  bytes.insert(bytes.end(), {attribute, 0, 0});
  bytes.insert(bytes.end(), cdb.begin(), cdb.end());
  bytes.resize(19 + 32);
  return bytes;
}
inline Bytes function_bytes(uint32_t subtype, const Lun& lun, uint64_t id) {
  Bytes bytes(8);
  bytes[4] = static_cast<uint8_t>(subtype);
  bytes.insert(bytes.end(), lun.begin(), lun.end());
  for (int i = 0; i < 8; ++i) bytes.push_back(static_cast<uint8_t>(id >> (8 * i)));
  return bytes;
}

// CDBs. Big endian, as all of SCSI.
inline Bytes cdb_10(uint8_t operation, uint32_t first, uint16_t count, uint8_t flags = 0) {
  return {operation, flags, static_cast<uint8_t>(first >> 24), static_cast<uint8_t>(first >> 16), static_cast<uint8_t>(first >> 8),
          static_cast<uint8_t>(first), 0, static_cast<uint8_t>(count >> 8), static_cast<uint8_t>(count), 0};
}
inline Bytes read_10(uint32_t first, uint16_t count) { return cdb_10(0x28, first, count); }
inline Bytes write_10(uint32_t first, uint16_t count, uint8_t flags = 0) { return cdb_10(0x2a, first, count, flags); }

}  // namespace skerry::virtio::test
