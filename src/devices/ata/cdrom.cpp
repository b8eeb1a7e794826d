#include "devices/ata/cdrom.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>
#include <utility>

#include "base/log.hpp"
#include "block/iovec.hpp"
#include "devices/ata/disk_identity.hpp"

namespace skerry::devices::ata {

using namespace mmc;

namespace {
// ACS-3: the commands that a packet device has.
enum Code : uint8_t {
  DEVICE_RESET = 0x08,
  EXECUTE_DEVICE_DIAGNOSTIC = 0x90,
  PACKET = 0xa0,
  IDENTIFY_PACKET_DEVICE = 0xa1,
  STANDBY_IMMEDIATE = 0xe0,
  IDLE_IMMEDIATE = 0xe1,
  CHECK_POWER_MODE = 0xe5,
  SLEEP = 0xe6,
  SET_FEATURES = 0xef,
};
constexpr uint8_t kSetTransferMode = 0x03, kActive = 0xff;
constexpr uint16_t kPacketDma = 1 << 0;  // feature of PACKET (7.18)
constexpr unsigned kUltraModes = 6;

// SPC-4 and MMC-5: what may be in a packet.
enum Operation : uint8_t {
  TEST_UNIT_READY = 0x00,
  REQUEST_SENSE = 0x03,
  INQUIRY = 0x12,
  MODE_SENSE_6 = 0x1a,
  START_STOP_UNIT = 0x1b,
  PREVENT_ALLOW_MEDIUM_REMOVAL = 0x1e,
  READ_CAPACITY = 0x25,
  READ_10 = 0x28,
  SEEK_10 = 0x2b,
  VERIFY_10 = 0x2f,
  READ_TOC_PMA_ATIP = 0x43,
  GET_CONFIGURATION = 0x46,
  GET_EVENT_STATUS_NOTIFICATION = 0x4a,
  READ_DISC_INFORMATION = 0x51,
  MODE_SENSE_10 = 0x5a,
  READ_12 = 0xa8,
  SET_CD_SPEED = 0xbb,
  MECHANISM_STATUS = 0xbd,
  READ_CD = 0xbe,
};
constexpr uint32_t kMostBlocks = 8192;  // of a read

uint32_t get16(const Packet& packet, size_t at) { return uint32_t{packet[at]} << 8 | packet[at + 1]; }
uint32_t get32(const Packet& packet, size_t at) { return get16(packet, at) << 16 | get16(packet, at + 2); }

// Those that the host gives to find out why others fail.
bool ignores_attention(uint8_t operation) {
  return operation == INQUIRY || operation == REQUEST_SENSE || operation == GET_CONFIGURATION ||
         operation == GET_EVENT_STATUS_NOTIFICATION;
}
}  // namespace

// --- life ------------------------------------------------------------------------------------------------------------

Cdrom::Cdrom(std::string name, block::Node* medium, Options options)
    : name_(std::move(name)), options_(std::move(options)), medium_(std::make_shared<Medium>(Medium{medium, nullptr})) {
  reset(Reset::kPowerOn);
}

TaskFile Cdrom::signature() const { return {.error = error::kPassed, .count = 1, .lba = 0xeb1401}; }

void Cdrom::reset(Reset kind) {
  sense_ = kNoSense;
  locked_ = false;
  if (kind == Reset::kSoftware) return;
  attention_ = kReset;
  dma_mode_ = options_.serial_ata ? kUltraDma + kUltraModes - 1 : 0;
  if (kind != Reset::kPowerOn) return;
  tray_open_ = false;
  event_ = kNoEvent;
}

void Cdrom::describe(state::Fields& fields) {
  fields.field("tray_open", tray_open_);
  fields.field("locked", locked_);
  scsi::describe_sense(fields, "sense", sense_);
  scsi::describe_sense(fields, "attention", attention_);
  fields.field("event", event_, state::up_to(kMediaRemoval));
  fields.field("dma_mode", dma_mode_, state::up_to(kUltraDma + kUltraModes - 1));
}

void Cdrom::change_medium(block::Node* medium, std::function<void()> old_is_free) {
  medium_->free = std::move(old_is_free);
  medium_ = std::make_shared<Medium>(Medium{medium, nullptr});
  tray_open_ = false;
  event_ = readable() ? kNewMedia : kMediaRemoval;
  attention_ = kMediumMayHaveChanged;
}

uint32_t Cdrom::blocks() const {
  return readable() ? static_cast<uint32_t>(std::min<uint64_t>(medium_->node->size() / kBlockSize, ~0u)) : 0;
}

Drive Cdrom::drive() const {
  return {.serial = options_.serial, .serial_ata = options_.serial_ata, .tray_open = tray_open_, .locked = locked_, .blocks = blocks()};
}

// --- commands --------------------------------------------------------------------------------------------------------

Command Cdrom::begin(TaskFile& task) {
  Command command{.code = task.command};
  task.succeed();
  switch (task.command) {
    case PACKET:
      command.work = Command::Work::kPacket;
      command.packet = true;
      command.dma = task.feature & kPacketDma;
      command.size = kPacketSize;
      task.count = reason::CD;
      break;
    case IDENTIFY_PACKET_DEVICE:
      command.work = Command::Work::kGive;
      command.data = identity();
      command.size = command.block = kSectorSize;
      break;
    case DEVICE_RESET:
      reset(Reset::kSoftware);
      task = signature();
      break;
    case EXECUTE_DEVICE_DIAGNOSTIC:
      task = signature();
      break;
    case SET_FEATURES:
      set_features(task);
      break;
    case CHECK_POWER_MODE:
      task.count = kActive;
      break;
    case STANDBY_IMMEDIATE: case IDLE_IMMEDIATE: case SLEEP:
      break;
    default:  // IDENTIFY DEVICE, READ SECTOR(S): who asks finds out what this is (ACS-3, 7.12.6)
      task = signature();
      task.fail(error::ABRT);
  }
  return command;
}

void Cdrom::set_features(TaskFile& task) {
  const auto mode = static_cast<uint8_t>(task.count);
  if ((task.feature & 0xff) != kSetTransferMode) return task.fail(error::ABRT);
  if (mode <= 1 || (mode >= 8 && mode <= 12)) return;  // PIO
  if ((mode >= kMultiwordDma && mode < kMultiwordDma + kMultiwordModes) || (mode >= kUltraDma && mode < kUltraDma + kUltraModes))
    dma_mode_ = mode;
  else
    task.fail(error::ABRT);
}

std::vector<uint8_t> Cdrom::identity() const {
  IdentityWords words;
  words[0] = 2u << 14 | 5 << 8 | 1 << 7 | 2 << 5;  // ATAPI, a CD-ROM, removable, data in 50 us; packets of 12 bytes
  words.text(10, 10, options_.serial);
  words.text(23, 4, kFirmwareRevision);
  words.text(27, 20, "Skerry CD-ROM");
  words[49] = 1 << 8 | 1 << 9 | 1 << 11;  // DMA, LBA, IORDY
  words[53] = 6;                          // words 64 to 70 and 88 are valid
  put_dma_modes(words, kUltraModes, dma_mode_);
  words[64] = 3;
  for (unsigned i = 65; i <= 68; ++i) words[i] = 120;
  if (options_.serial_ata) words[76] = 7 << 1;
  words[80] = 0x07e0;
  words[82] = words[85] = 1 << 9 | 1 << 4 | 1 << 3;  // DEVICE RESET, packets, power management
  words[83] = words[84] = words[87] = 1 << 14;
  if (!options_.serial_ata) words[93] = 1 << 14 | 1 << 13 | 1;
  return words.bytes(true);
}

// --- packets ---------------------------------------------------------------------------------------------------------

void Cdrom::fail_packet(TaskFile& task, Sense sense) {
  sense_ = sense;
  task.status = status::DRDY | status::CHK;
  task.error = static_cast<uint8_t>(sense.key << 4 | (sense.key == 5 ? error::ABRT : 0));
  task.count = reason::CD | reason::IO;
}

void Cdrom::succeed_packet(TaskFile& task) {
  task.succeed();
  task.count = reason::CD | reason::IO;
}

Command Cdrom::answer(std::optional<Answer> data, uint32_t room, TaskFile& task, Sense otherwise) {
  Command command{.packet = true};
  if (!data) return fail_packet(task, otherwise), command;
  data->resize(std::min<size_t>(data->size(), room));
  if (data->empty()) return command;
  command.work = Command::Work::kGive;
  command.size = command.block = static_cast<uint32_t>(data->size());
  command.data = *std::move(data);
  return command;
}

Command Cdrom::begin_packet(const Packet& packet, TaskFile& task) {
  const bool dma = task.feature & kPacketDma;
  const uint8_t operation = packet[0];
  succeed_packet(task);
  Command command;
  if (attention_ != kNoSense && !ignores_attention(operation)) {
    fail_packet(task, std::exchange(attention_, kNoSense));
  } else if (operation == REQUEST_SENSE) {
    command = request_sense(packet, task);
  } else {
    sense_ = kNoSense;
    command = about_drive(packet, task);
  }
  command.code = PACKET;
  command.packet = true;
  command.dma = dma;
  return command;
}

Command Cdrom::request_sense(const Packet& packet, TaskFile& task) {
  if (sense_ == kNoSense) sense_ = std::exchange(attention_, kNoSense);
  return answer(sense_data(std::exchange(sense_, kNoSense)), packet[4], task);
}

// What a drive answers whether there is a disc in it or not.
Command Cdrom::about_drive(const Packet& packet, TaskFile& task) {
  constexpr uint8_t kPageControl = 0xc0, kChangeable = 0x40, kSaved = 0xc0, kPolled = 1;
  switch (packet[0]) {
    case INQUIRY:
      return answer(inquiry(drive(), packet[1] & 1, packet[2]), get16(packet, 3), task);
    case MODE_SENSE_6: case MODE_SENSE_10: {
      const bool wide = packet[0] == MODE_SENSE_10;
      if ((packet[2] & kPageControl) == kSaved) return fail_packet(task, kSavingNotSupported), Command{};
      return answer(mode_sense(drive(), wide, packet[2] & 0x3f, (packet[2] & kPageControl) == kChangeable),
                    wide ? get16(packet, 7) : packet[4], task);
    }
    case GET_CONFIGURATION:
      if ((packet[1] & 3) == 3) return fail_packet(task, kInvalidField), Command{};
      return answer(get_configuration(drive(), packet[1] & 3, static_cast<uint16_t>(get16(packet, 2))), get16(packet, 7), task);
    case GET_EVENT_STATUS_NOTIFICATION: {
      if (!(packet[1] & kPolled)) return fail_packet(task, kInvalidField), Command{};
      const uint8_t event = packet[4] & kMediaClass ? std::exchange(event_, kNoEvent) : kNoEvent;
      return answer(event_status(drive(), event, packet[4]), get16(packet, 7), task);
    }
    case MECHANISM_STATUS:
      return answer(mechanism_status(drive()), get16(packet, 8), task);
    case PREVENT_ALLOW_MEDIUM_REMOVAL:
      locked_ = packet[4] & 1;
      return {};
    case START_STOP_UNIT:
      start_stop(packet, task);
      return {};
    case SET_CD_SPEED:
      return {};
    case TEST_UNIT_READY: case READ_CAPACITY: case READ_10: case READ_12: case READ_CD: case READ_TOC_PMA_ATIP: case SEEK_10:
    case VERIFY_10: case READ_DISC_INFORMATION:
      if (blocks() != 0) return about_disc(packet, task);
      fail_packet(task, tray_open_ ? kTrayOpen : kTrayClosedNoMedium);
      return {};
    default:
      fail_packet(task, kInvalidCommand);
      return {};
  }
}

Command Cdrom::about_disc(const Packet& packet, TaskFile& task) {
  switch (packet[0]) {
    case READ_CAPACITY: return answer(read_capacity(drive()), 8, task);
    case READ_10: return read(get32(packet, 2), get16(packet, 7), task);
    case READ_12: return read(get32(packet, 2), get32(packet, 6), task);
    case READ_CD: return read_cd(packet, task);
    case READ_TOC_PMA_ATIP: {
      // The format was in the two high bits of byte 9 before it came to byte 2 (SFF-8020i).
      const unsigned format = packet[2] & 0x0f ? packet[2] & 0x0f : packet[9] >> 6;
      return answer(read_toc(drive(), format, packet[1] & 2, packet[6]), get16(packet, 7), task);
    }
    case READ_DISC_INFORMATION:
      if ((packet[1] & 7) != 0) return fail_packet(task, kInvalidField), Command{};
      return answer(disc_information(), get16(packet, 7), task);
    case SEEK_10:
      if (get32(packet, 2) >= blocks()) fail_packet(task, kOutOfRange);
      return {};
    case VERIFY_10:
      if (uint64_t{get32(packet, 2)} + get16(packet, 7) > blocks()) fail_packet(task, kOutOfRange);
      return {};
    default: return {};  // TEST UNIT READY
  }
}

Command Cdrom::read(uint32_t first, uint32_t count, TaskFile& task) {
  if (first > blocks() || count > blocks() - first) return fail_packet(task, kOutOfRange), Command{};
  if (count > kMostBlocks) return fail_packet(task, kInvalidField), Command{};
  if (count == 0) return {};
  Command command{.work = Command::Work::kRead};
  command.offset = uint64_t{first} * kBlockSize;
  command.size = count * kBlockSize;
  command.block = kBlockSize;
  return command;
}

// MMC-5, 6.21: of a sector of data, its user data; there is nothing else in an image.
Command Cdrom::read_cd(const Packet& packet, TaskFile& task) {
  constexpr uint8_t kUserData = 0x10;
  const unsigned type = packet[1] >> 2 & 7;
  const uint32_t count = uint32_t{packet[6]} << 16 | get16(packet, 7);
  if (type != 0 && type != 2) return fail_packet(task, kWrongMode), Command{};
  if ((packet[10] & 7) != 0 || (packet[9] != kUserData && packet[9] != 0)) return fail_packet(task, kInvalidField), Command{};
  return read(get32(packet, 2), packet[9] == 0 ? 0 : count, task);
}

// MMC-5, 6.42.
void Cdrom::start_stop(const Packet& packet, TaskFile& task) {
  const bool load_or_eject = packet[4] & 2, start = packet[4] & 1;
  if (!load_or_eject) return;
  if (start == !tray_open_) return;
  if (!start && locked_) return fail_packet(task, kRemovalPrevented);
  tray_open_ = !start;
  if (!medium_->node) return;
  event_ = start ? kNewMedia : kMediaRemoval;
  if (start) attention_ = kMediumMayHaveChanged;
}

// --- data ------------------------------------------------------------------------------------------------------------

Task<void> Cdrom::move(Command& command, uint64_t done, std::span<const iovec> host, TaskFile& task) {
  if (command.work != Command::Work::kRead) {
    move_data(command, done, host);
    co_return;
  }
  const uint64_t length = block::length_of(host), offset = command.offset + done, end = uint64_t{blocks()} * kBlockSize;
  if (offset > end || length > end - offset) {  // the disc was changed between two pieces
    fail_packet(task, readable() ? kOutOfRange : kTrayClosedNoMedium);
    co_return;
  }
  if (length == 0) co_return;
  const std::shared_ptr<Medium> medium = medium_;
  const block::Errno result = co_await medium->node->read(offset, host);
  if (result == 0) co_return;
  log::debug(log::Category::kDevice, "{}: read: {}", name_, std::strerror(result));
  fail_packet(task, kReadError);
}

Task<void> Cdrom::finish(Command& command, TaskFile& task) {
  if (command.packet) task.count = reason::CD | reason::IO;
  co_return;
}

}  // namespace skerry::devices::ata
