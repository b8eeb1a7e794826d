#include "devices/ata/mmc.hpp"

#include <algorithm>
#include <initializer_list>
#include <span>

namespace skerry::devices::ata::mmc {

namespace {
using scsi::append, scsi::append_text;
constexpr uint8_t kCdRom = 0x05;
constexpr uint8_t kDataTrack = 0x14, kLeadOut = 0xaa;  // ADR 1, control 4; the track number of the lead-out
constexpr unsigned kFramesPerSecond = 75, kFramesPerMinute = 60 * kFramesPerSecond;
constexpr uint32_t kMostCdBlocks = 80 * kFramesPerMinute;  // what has more is a DVD
constexpr uint16_t kProfileCdRom = 0x0008, kProfileDvdRom = 0x0010;
constexpr uint16_t kSpeed = 50 * 176;  // kB/s

void put16(Answer& to, size_t at, size_t value) {
  to[at] = static_cast<uint8_t>(value >> 8);
  to[at + 1] = static_cast<uint8_t>(value);
}
void put32(Answer& to, size_t at, uint32_t value) {
  put16(to, at, value >> 16);
  put16(to, at + 2, value & 0xffff);
}

// A block's address, as number or as minute, second, frame (MMC-5, 4.2.2.7).
void append_address(Answer& to, uint32_t block, bool msf) {
  if (!msf) return append(to, {static_cast<uint8_t>(block >> 24), static_cast<uint8_t>(block >> 16), static_cast<uint8_t>(block >> 8),
                               static_cast<uint8_t>(block)});
  const uint64_t frame = uint64_t{block} + kLeadIn;
  append(to, {0, static_cast<uint8_t>(frame / kFramesPerMinute), static_cast<uint8_t>(frame / kFramesPerSecond % 60),
              static_cast<uint8_t>(frame % kFramesPerSecond)});
}
}  // namespace

std::optional<Answer> inquiry(const Drive& drive, bool vital, uint8_t page) {
  if (!vital) {
    if (page != 0) return std::nullopt;
    return scsi::standard_inquiry({.peripheral = kCdRom, .removable = true, .product = "CD-ROM"});
  }
  if (page == 0x00) return Answer{kCdRom, 0x00, 0, 2, 0x00, 0x80};
  if (page != 0x80) return std::nullopt;
  Answer data{kCdRom, 0x80, 0, static_cast<uint8_t>(drive.serial.size())};
  append_text(data, drive.serial, drive.serial.size());
  return data;
}

Answer read_capacity(const Drive& drive) {
  Answer data(8);
  put32(data, 0, drive.blocks - 1);
  put32(data, 4, kBlockSize);
  return data;
}

std::optional<Answer> read_toc(const Drive& drive, unsigned format, bool msf, uint8_t first) {
  Answer data{0, 0, 1, 1};  // length; first and last track, or session
  const auto descriptor = [&](uint8_t track, uint32_t block) {
    append(data, {0, kDataTrack, track, 0});
    append_address(data, block, msf);
  };
  // A point of the lead-in: always in minutes, seconds and frames; zero stands for what the point has not.
  const auto point = [&](uint8_t number, std::initializer_list<uint8_t> address) {
    append(data, {1, kDataTrack, 0, number, 0, 0, 0, 0});
    append(data, address);
  };
  switch (format) {
    case 0:  // table of contents
      if (first > 1 && first != kLeadOut) return std::nullopt;
      if (first <= 1) descriptor(1, 0);
      descriptor(kLeadOut, drive.blocks);
      break;
    case 1:  // sessions: the first track of the last
      descriptor(1, 0);
      break;
    case 2: {  // as it is in the lead-in
      Answer end, start;
      append_address(end, drive.blocks, true);
      append_address(start, 0, true);
      point(0xa0, {1, 0, 0});
      point(0xa1, {1, 0, 0});
      point(0xa2, {end[1], end[2], end[3]});
      point(1, {start[1], start[2], start[3]});
      break;
    }
    default: return std::nullopt;
  }
  put16(data, 0, data.size() - 2);
  return data;
}

Answer get_configuration(const Drive& drive, unsigned type, uint16_t first_feature) {
  const uint16_t profile = drive.blocks == 0 ? 0 : drive.blocks > kMostCdBlocks ? kProfileDvdRom : kProfileCdRom;
  Answer data(8);
  put16(data, 6, profile);
  const auto feature = [&](uint16_t code, uint8_t version, bool persistent, bool current, const Answer& more) {
    if (code < first_feature || (type == 1 && !current) || (type == 2 && code != first_feature)) return;
    append(data, {static_cast<uint8_t>(code >> 8), static_cast<uint8_t>(code),
                  static_cast<uint8_t>(version << 2 | (persistent ? 2 : 0) | (current ? 1 : 0)), static_cast<uint8_t>(more.size())});
    append(data, more);
  };
  const bool cd = profile == kProfileCdRom, dvd = profile == kProfileDvdRom;
  feature(0x0000, 0, true, true, {0, kProfileDvdRom, static_cast<uint8_t>(dvd), 0, 0, kProfileCdRom, static_cast<uint8_t>(cd), 0});
  const uint8_t interface = drive.serial_ata ? 7 : 2;  // Serial ATA; ATAPI
  feature(0x0001, 1, true, true, {0, 0, 0, interface, 0, 0, 0, 0});  // core
  feature(0x0002, 1, true, true, {2, 0, 0, 0});                      // morphing: events by polling
  feature(0x0003, 0, true, true, {1 << 5 | 1 << 3 | 1, 0, 0, 0});    // removable medium: a tray, ejects, locks
  feature(0x0010, 0, false, cd || dvd, {0, 0, kBlockSize >> 8, 0, 0, 1, 0, 0});  // random readable
  feature(0x001e, 2, false, cd, {0, 0, 0, 0});                       // reads CDs
  feature(0x001f, 0, false, dvd, {});                                // reads DVDs
  put32(data, 0, static_cast<uint32_t>(data.size() - 4));
  return data;
}

Answer mechanism_status(const Drive& drive) {
  Answer data(8);
  data[1] = drive.tray_open ? 1 << 4 : 0;
  return data;
}

Answer disc_information() {
  Answer data(34);
  put16(data, 0, data.size() - 2);
  data[2] = 3 << 2 | 2;                          // the last session and the disc are complete
  data[3] = data[4] = data[5] = data[6] = 1;     // first track, sessions, first and last track of the last session
  data[7] = 1 << 5;                              // unrestricted use
  return data;
}

std::optional<Answer> mode_sense(const Drive& drive, bool wide, uint8_t page, bool changeable) {
  constexpr uint8_t kErrorRecovery = 0x01, kPowerCondition = 0x1a, kCapabilities = 0x2a, kAll = 0x3f;
  Answer pages;
  const auto add = [&](uint8_t code, Answer content) {
    if (page != code && page != kAll) return;
    if (changeable) std::fill(content.begin(), content.end(), uint8_t{0});  // nothing can be
    append(pages, {code, static_cast<uint8_t>(content.size())});
    append(pages, content);
  };
  add(kErrorRecovery, {0, 5, 0, 0, 0, 0, 0, 0, 0, 0});
  add(kPowerCondition, Answer(10));
  Answer capabilities(20);
  capabilities[0] = 1 << 3 | 1 << 1 | 1;  // reads DVD-ROM, CD-RW, CD-R
  capabilities[2] = 1 << 5 | 1 << 4;      // mode 2 in both forms
  capabilities[4] = static_cast<uint8_t>(1 << 5 | 1 << 3 | (drive.locked ? 1 << 1 : 0) | 1);  // a tray, ejects, is locked, locks
  put16(capabilities, 6, kSpeed);
  put16(capabilities, 10, 512);  // kB of buffer
  put16(capabilities, 12, kSpeed);
  add(kCapabilities, capabilities);
  if (pages.empty()) return std::nullopt;
  Answer data(wide ? 8 : 4);
  append(data, pages);
  if (wide)
    put16(data, 0, data.size() - 2);
  else
    data[0] = static_cast<uint8_t>(data.size() - 1);
  return data;
}

Answer event_status(const Drive& drive, uint8_t event, uint8_t asked) {
  constexpr uint8_t kNoneAvailable = 0x80, kMedia = 4;
  if (!(asked & kMediaClass)) return {0, 2, kNoneAvailable, kMediaClass};
  const auto present = static_cast<uint8_t>((drive.tray_open ? 1 : 0) | (drive.blocks ? 2 : 0));
  return {0, 6, kMedia, kMediaClass, event, present, 0, 0};
}

}  // namespace skerry::devices::ata::mmc
