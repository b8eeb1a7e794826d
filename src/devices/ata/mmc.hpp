// What a CD-ROM drive says of itself and of a disc with one track of data: the answers to the commands of SPC-4 and MMC-5, as
// functions of what there is. Whole; who asks cuts them to the allocation length.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "devices/scsi/primary.hpp"

namespace skerry::devices::ata::mmc {

using scsi::Answer, scsi::Sense, scsi::sense_data;
using scsi::kInvalidCommand, scsi::kInvalidField, scsi::kOutOfRange, scsi::kSavingNotSupported;
using scsi::kNoSense, scsi::kReadError, scsi::kReset;
constexpr uint32_t kBlockSize = 2048;
constexpr unsigned kLeadIn = 150;  // frames before block 0

constexpr Sense kTrayClosedNoMedium{0x02, 0x3a, 0x01}, kTrayOpen{0x02, 0x3a, 0x02};
constexpr Sense kRemovalPrevented{0x05, 0x53, 0x02}, kWrongMode{0x05, 0x64, 0x00};
constexpr Sense kMediumMayHaveChanged{0x06, 0x28, 0x00};

// The drive, at the time of the question.
struct Drive {
  std::string_view serial;
  bool serial_ata = true;
  bool tray_open = false, locked = false;
  uint32_t blocks = 0;  // of the disc; 0: none can be read
};

std::optional<Answer> inquiry(const Drive& drive, bool vital, uint8_t page);  // SPC-4, 6.4.2; 7.8. None: no such page
Answer read_capacity(const Drive& drive);                              // MMC-5, 6.24
std::optional<Answer> read_toc(const Drive& drive, unsigned format, bool msf, uint8_t first);  // 6.26
Answer get_configuration(const Drive& drive, unsigned type, uint16_t first_feature);           // 6.6
Answer mechanism_status(const Drive& drive);                           // 6.9
Answer disc_information();                                             // 6.22
// Mode pages (7); none: no such page. `wide` is the ten-byte command.
std::optional<Answer> mode_sense(const Drive& drive, bool wide, uint8_t page, bool changeable);
// 6.7; `event` is of the media class (table 88), `asked` the classes that are asked for.
Answer event_status(const Drive& drive, uint8_t event, uint8_t asked);
constexpr uint8_t kMediaClass = 1 << 4;
constexpr uint8_t kNoEvent = 0, kEjectRequest = 1, kNewMedia = 2, kMediaRemoval = 3;

}  // namespace skerry::devices::ata::mmc
