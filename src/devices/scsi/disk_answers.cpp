#include "devices/scsi/disk_answers.hpp"

#include <algorithm>
#include <initializer_list>

namespace skerry::devices::scsi {

namespace {
constexpr uint8_t kSupportedPages = 0x00, kSerialPage = 0x80, kIdentification = 0x83, kBlockLimits = 0xb0, kCharacteristics = 0xb1,
                  kProvisioning = 0xb2;

void put(Answer& to, size_t at, unsigned bytes, uint64_t value) {
  for (unsigned i = 0; i < bytes; ++i) to[at + i] = static_cast<uint8_t>(value >> (8 * (bytes - 1 - i)));
}

Answer vital_page(uint8_t page, const Answer& content) {
  Answer data{0, page, 0, static_cast<uint8_t>(content.size())};
  append(data, content);
  return data;
}

// SBC-3, 6.6.3.
Answer block_limits(const DiskFacts& disk) {
  constexpr uint8_t kNoZeroLength = 1;   // WSNZ: a WRITE SAME says how much
  Answer content(60);
  content[0] = kNoZeroLength;
  put(content, 2, 2, 1);                 // optimal transfer length granularity
  put(content, 4, 4, disk.most_blocks);
  if (!disk.read_only) {
    put(content, 16, 4, ~0u);            // blocks of an UNMAP: any number
    put(content, 20, 4, disk.most_unmap_ranges);
    put(content, 24, 4, disk.discard_blocks);
    put(content, 32, 8, disk.most_repeats);
  }
  return content;
}

// SPC-4, 7.8.6.5: a name by the vendor.
Answer identification(const DiskFacts& disk) {
  Answer name;
  append_text(name, kVendor, 8);
  append_text(name, disk.serial, disk.serial.size());
  Answer content{2, 1, 0, static_cast<uint8_t>(name.size())};  // ASCII; T10 vendor ID
  append(content, name);
  return content;
}
}  // namespace

std::optional<Answer> inquiry(const DiskFacts& disk, bool vital, uint8_t page) {
  if (!vital) {
    if (page != 0) return std::nullopt;
    return standard_inquiry({.queueing = disk.queueing, .product = "disk"});
  }
  switch (page) {
    case kSupportedPages:
      return vital_page(page, {kSupportedPages, kSerialPage, kIdentification, kBlockLimits, kCharacteristics, kProvisioning});
    case kSerialPage: return vital_page(page, Answer(disk.serial.begin(), disk.serial.end()));
    case kIdentification: return vital_page(page, identification(disk));
    case kBlockLimits: return vital_page(page, block_limits(disk));
    case kCharacteristics: {
      Answer content(60);
      put(content, 0, 2, 1);  // nothing rotates
      return vital_page(page, content);
    }
    case kProvisioning:  // SBC-3, 6.6.4: LBPU, LBPWS, LBPWS10
      return vital_page(page, {0, static_cast<uint8_t>(disk.read_only ? 0 : 1 << 7 | 1 << 6 | 1 << 5), 0, 0});
    default: return std::nullopt;
  }
}

Answer read_capacity_10(const DiskFacts& disk) {
  Answer data(8);
  put(data, 0, 4, std::min<uint64_t>(disk.blocks - 1, ~0u));
  put(data, 4, 4, kBlockSize);
  return data;
}

Answer read_capacity_16(const DiskFacts& disk) {
  Answer data(32);
  put(data, 0, 8, disk.blocks - 1);
  put(data, 8, 4, kBlockSize);
  data[13] = static_cast<uint8_t>(disk.physical_exponent);
  if (!disk.read_only) data[14] = 1 << 7;  // LBPME: it unmaps
  return data;
}

std::optional<Answer> mode_sense(const DiskFacts& disk, bool wide, bool with_block, uint8_t page, bool changeable) {
  constexpr uint8_t kErrorRecovery = 0x01, kCaching = 0x08, kControl = 0x0a, kAll = 0x3f;
  constexpr uint8_t kUnrestricted = 1 << 4;  // simple tasks in any order
  constexpr uint8_t kWriteCache = 1 << 2, kWriteProtected = 1 << 7, kForcedAccess = 1 << 4;
  Answer pages;
  const auto add = [&](uint8_t code, Answer content) {
    if (page != code && page != kAll) return;
    if (changeable) std::fill(content.begin(), content.end(), uint8_t{0});  // nothing can be
    append(pages, {code, static_cast<uint8_t>(content.size())});
    append(pages, content);
  };
  add(kErrorRecovery, Answer(10));
  Answer caching(18);
  caching[0] = disk.write_cache ? kWriteCache : 0;
  add(kCaching, caching);
  Answer control(10);
  control[1] = disk.queueing ? kUnrestricted : 0;
  add(kControl, control);
  if (pages.empty()) return std::nullopt;

  Answer block;
  if (with_block) {
    block.resize(8);
    put(block, 0, 4, std::min<uint64_t>(disk.blocks, ~0u));
    put(block, 5, 3, kBlockSize);
  }
  const auto parameter = static_cast<uint8_t>((disk.read_only ? kWriteProtected : 0) | kForcedAccess);
  Answer data(wide ? 8 : 4);
  data[wide ? 3 : 2] = parameter;
  data[wide ? 7 : 3] = static_cast<uint8_t>(block.size());
  append(data, block);
  append(data, pages);
  if (wide)
    put(data, 0, 2, data.size() - 2);
  else
    data[0] = static_cast<uint8_t>(data.size() - 1);
  return data;
}

}  // namespace skerry::devices::scsi
