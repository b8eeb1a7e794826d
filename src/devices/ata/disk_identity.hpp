// What an ATA or ATAPI device says of itself: IDENTIFY DEVICE, IDENTIFY PACKET DEVICE (ACS-3, 7.12 and 7.13), and logs.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

#include "devices/ata/task_file.hpp"

namespace skerry::devices::ata {

// 256 words, which go out little endian; strings have the first character in the high byte.
class IdentityWords {
 public:
  uint16_t& operator[](unsigned word) { return words_[word]; }
  void text(unsigned first, unsigned words, std::string_view text);  // padded with blanks
  void put32(unsigned first, uint32_t value);
  void put64(unsigned first, uint64_t value);
  std::vector<uint8_t> bytes(bool with_checksum) const;

 private:
  std::array<uint16_t, 256> words_{};
};

constexpr std::string_view kFirmwareRevision = "1";
constexpr uint8_t kMultiwordDma = 0x20, kUltraDma = 0x40;  // SET FEATURES, transfer modes (ACS-3, 7.45.3)
constexpr unsigned kMultiwordModes = 3;
// Words 63 and 88: the modes there are, and the one that is chosen.
void put_dma_modes(IdentityWords& words, unsigned ultra_modes, uint8_t chosen);

struct DiskIdentity {
  std::string_view serial;
  uint64_t sectors;
  uint16_t default_cylinders, cylinders;
  uint8_t heads, sectors_per_track, default_heads, default_sectors_per_track;
  unsigned physical_exponent;  // 2^n logical sectors are a physical one
  uint8_t max_multiple, multiple;
  uint8_t dma_mode;
  unsigned ultra_modes;
  unsigned queue_depth;  // 0: no queueing
  bool serial_ata, write_cache, look_ahead, trim;
  uint16_t max_trim_blocks;
};
std::vector<uint8_t> identify_disk(const DiskIdentity& disk);

// Log 00h with the logs that there are (ACS-3, A.2), and log 10h (A.12).
std::vector<uint8_t> log_directory();
std::vector<uint8_t> queue_error_log(bool queued, uint8_t tag, const TaskFile& task);

}  // namespace skerry::devices::ata
