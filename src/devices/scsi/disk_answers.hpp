// What a disk says of itself: the answers to commands of SPC-4 and SBC-3, as functions of what there is. Whole; who asks cuts
// them to the allocation length.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "devices/scsi/primary.hpp"

namespace skerry::devices::scsi {

constexpr uint32_t kBlockSize = 512;

struct DiskFacts {
  std::string_view serial;
  uint64_t blocks = 0;
  bool read_only = false;
  bool write_cache = true;
  unsigned physical_exponent = 0;  // a physical block has 2^n blocks
  uint32_t discard_blocks = 1;     // what is discarded in smaller pieces stays
  uint32_t most_blocks = 0;        // of a transfer
  uint32_t most_unmap_ranges = 0;
  uint32_t most_repeats = 0;       // blocks of a WRITE SAME
  bool queueing = false;           // several commands at a time, in any order
};

std::optional<Answer> inquiry(const DiskFacts& disk, bool vital, uint8_t page);  // SPC-4, 6.6; 7.8. None: no such page
Answer read_capacity_10(const DiskFacts& disk);                               // SBC-3, 5.15
Answer read_capacity_16(const DiskFacts& disk);                               // 5.16
// SPC-4, 7.5; none: no such page. `wide` is the ten-byte command.
std::optional<Answer> mode_sense(const DiskFacts& disk, bool wide, bool with_block, uint8_t page, bool changeable);

}  // namespace skerry::devices::scsi
