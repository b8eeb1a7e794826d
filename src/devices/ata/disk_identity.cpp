#include "devices/ata/disk_identity.hpp"

#include <algorithm>
#include <numeric>

namespace skerry::devices::ata {

namespace {
constexpr uint64_t kMost28 = 0x0fff'ffff;  // words 60 and 61 say no more than this
constexpr uint16_t kValid = 1 << 14;       // of words of features: bit 15 is clear
// Word 80: from ATA/ATAPI-5 to ACS-3.
constexpr uint16_t kMajorVersions = 0x07e0;
// Word 82 and 85.
constexpr uint16_t kPowerManagement = 1 << 3, kWriteCache = 1 << 5, kLookAhead = 1 << 6;
// Word 83 and 86.
constexpr uint16_t k48Bit = 1 << 10, kFlush = 1 << 12, kFlushExt = 1 << 13;
// Word 84 and 87.
constexpr uint16_t kLogs = 1 << 5, kFua = 1 << 6;

void set_checksum(std::vector<uint8_t>& bytes) {
  bytes[511] = static_cast<uint8_t>(-std::accumulate(bytes.begin(), bytes.begin() + 511, 0));
}
}  // namespace

void IdentityWords::text(unsigned first, unsigned words, std::string_view text) {
  for (unsigned i = 0; i < 2 * words; ++i) {
    const auto c = static_cast<uint8_t>(i < text.size() ? text[i] : ' ');
    words_[first + i / 2] |= static_cast<uint16_t>(i % 2 == 0 ? c << 8 : c);
  }
}

void IdentityWords::put32(unsigned first, uint32_t value) {
  words_[first] = static_cast<uint16_t>(value);
  words_[first + 1] = static_cast<uint16_t>(value >> 16);
}

void IdentityWords::put64(unsigned first, uint64_t value) {
  put32(first, static_cast<uint32_t>(value));
  put32(first + 2, static_cast<uint32_t>(value >> 32));
}

std::vector<uint8_t> IdentityWords::bytes(bool with_checksum) const {
  std::vector<uint8_t> bytes(kSectorSize);
  for (unsigned i = 0; i < words_.size(); ++i) {
    bytes[2 * i] = static_cast<uint8_t>(words_[i]);
    bytes[2 * i + 1] = static_cast<uint8_t>(words_[i] >> 8);
  }
  if (!with_checksum) return bytes;
  bytes[510] = 0xa5;  // word 255: there is a checksum
  set_checksum(bytes);
  return bytes;
}

void put_dma_modes(IdentityWords& words, unsigned ultra_modes, uint8_t chosen) {
  words[63] = (1 << kMultiwordModes) - 1;
  words[88] = static_cast<uint16_t>((1u << ultra_modes) - 1);
  if (chosen >= kUltraDma)
    words[88] |= static_cast<uint16_t>(0x100u << (chosen - kUltraDma));
  else if (chosen >= kMultiwordDma)
    words[63] |= static_cast<uint16_t>(0x100u << (chosen - kMultiwordDma));
}

std::vector<uint8_t> identify_disk(const DiskIdentity& disk) {
  IdentityWords words;
  words[0] = 1 << 6;  // fixed
  words[1] = disk.default_cylinders;
  words[3] = disk.default_heads;
  words[6] = disk.default_sectors_per_track;
  words.text(10, 10, disk.serial);
  words.text(23, 4, kFirmwareRevision);
  words.text(27, 20, "Skerry disk");
  words[47] = static_cast<uint16_t>(0x8000 | disk.max_multiple);
  words[49] = 1 << 8 | 1 << 9 | 1 << 11;  // DMA, LBA, IORDY
  words[50] = kValid;
  words[53] = 7;  // words 54 to 58, 64 to 70 and 88 are valid
  words[54] = disk.cylinders;
  words[55] = disk.heads;
  words[56] = disk.sectors_per_track;
  words.put32(57, uint32_t{disk.cylinders} * disk.heads * disk.sectors_per_track);
  if (disk.multiple) words[59] = static_cast<uint16_t>(0x100 | disk.multiple);
  words.put32(60, static_cast<uint32_t>(std::min(disk.sectors, kMost28)));
  put_dma_modes(words, disk.ultra_modes, disk.dma_mode);
  words[64] = 3;                                   // PIO modes 3 and 4
  for (unsigned i = 65; i <= 68; ++i) words[i] = 120;  // ns a cycle
  if (disk.queue_depth) words[75] = static_cast<uint16_t>(disk.queue_depth - 1);
  if (disk.serial_ata) words[76] = static_cast<uint16_t>(7 << 1 | (disk.queue_depth ? 1 << 8 : 0));  // up to 6.0 Gb/s; NCQ
  words[80] = kMajorVersions;
  words[82] = kPowerManagement | kWriteCache | kLookAhead;
  words[83] = kValid | k48Bit | kFlush | kFlushExt;
  words[84] = kValid | kLogs | kFua;
  words[85] = static_cast<uint16_t>(kPowerManagement | (disk.write_cache ? kWriteCache : 0) | (disk.look_ahead ? kLookAhead : 0));
  words[86] = k48Bit | kFlush | kFlushExt;
  words[87] = words[84];
  if (!disk.serial_ata) words[93] = kValid | 1 << 13 | 1;  // an 80-conductor cable; device 0
  words.put64(100, disk.sectors);
  if (disk.trim) {
    words[105] = disk.max_trim_blocks;
    words[169] = 1;
  }
  words[106] = static_cast<uint16_t>(kValid | (disk.physical_exponent ? 1 << 13 | disk.physical_exponent : 0));
  words[119] = words[120] = kValid;
  words[217] = 1;  // does not rotate
  return words.bytes(true);
}

std::vector<uint8_t> log_directory() {
  std::vector<uint8_t> log(kSectorSize);
  log[0] = 1;         // version
  log[2 * 0x10] = 1;  // pages of log 10h
  return log;
}

std::vector<uint8_t> queue_error_log(bool queued, uint8_t tag, const TaskFile& task) {
  std::vector<uint8_t> log(kSectorSize);
  log[0] = queued ? tag : 0x80;  // NQ: it was none of the queue
  log[2] = task.status;
  log[3] = task.error;
  for (unsigned i = 0; i < 3; ++i) {
    log[4 + i] = static_cast<uint8_t>(task.lba >> (8 * i));
    log[8 + i] = static_cast<uint8_t>(task.lba >> (24 + 8 * i));
  }
  log[7] = task.device;
  log[12] = static_cast<uint8_t>(task.count);
  log[13] = static_cast<uint8_t>(task.count >> 8);
  set_checksum(log);
  return log;
}

}  // namespace skerry::devices::ata
