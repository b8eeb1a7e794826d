#include "devices/ata/disk.hpp"

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <optional>

#include "base/log.hpp"
#include "block/iovec.hpp"
#include "devices/ata/disk_identity.hpp"

namespace skerry::devices::ata {

namespace {
// ACS-3, table A.1 of commands; those of ATA/ATAPI-7 that hosts of its time still give.
enum Code : uint8_t {
  DATA_SET_MANAGEMENT = 0x06,
  RECALIBRATE = 0x10,
  READ_SECTORS = 0x20,
  READ_SECTORS_NO_RETRY = 0x21,
  READ_SECTORS_EXT = 0x24,
  READ_DMA_EXT = 0x25,
  READ_NATIVE_MAX_ADDRESS_EXT = 0x27,
  READ_MULTIPLE_EXT = 0x29,
  READ_LOG_EXT = 0x2f,
  WRITE_SECTORS = 0x30,
  WRITE_SECTORS_NO_RETRY = 0x31,
  WRITE_SECTORS_EXT = 0x34,
  WRITE_DMA_EXT = 0x35,
  WRITE_MULTIPLE_EXT = 0x39,
  WRITE_DMA_FUA_EXT = 0x3d,
  READ_VERIFY_SECTORS = 0x40,
  READ_VERIFY_SECTORS_NO_RETRY = 0x41,
  READ_VERIFY_SECTORS_EXT = 0x42,
  READ_FPDMA_QUEUED = 0x60,
  WRITE_FPDMA_QUEUED = 0x61,
  SEEK = 0x70,
  EXECUTE_DEVICE_DIAGNOSTIC = 0x90,
  INITIALIZE_DEVICE_PARAMETERS = 0x91,
  STANDBY_IMMEDIATE_OLD = 0x94,
  IDLE_IMMEDIATE_OLD = 0x95,
  STANDBY_OLD = 0x96,
  IDLE_OLD = 0x97,
  CHECK_POWER_MODE_OLD = 0x98,
  SLEEP_OLD = 0x99,
  READ_MULTIPLE = 0xc4,
  WRITE_MULTIPLE = 0xc5,
  SET_MULTIPLE_MODE = 0xc6,
  READ_DMA = 0xc8,
  READ_DMA_NO_RETRY = 0xc9,
  WRITE_DMA = 0xca,
  WRITE_DMA_NO_RETRY = 0xcb,
  WRITE_MULTIPLE_FUA_EXT = 0xce,
  STANDBY_IMMEDIATE = 0xe0,
  IDLE_IMMEDIATE = 0xe1,
  STANDBY = 0xe2,
  IDLE = 0xe3,
  CHECK_POWER_MODE = 0xe5,
  SLEEP = 0xe6,
  FLUSH_CACHE = 0xe7,
  FLUSH_CACHE_EXT = 0xea,
  IDENTIFY_DEVICE = 0xec,
  SET_FEATURES = 0xef,
  READ_NATIVE_MAX_ADDRESS = 0xf8,
};
// Subcommands of SET FEATURES (7.45).
enum Feature : uint8_t {
  kEnableWriteCache = 0x02,
  kSetTransferMode = 0x03,
  kDisableLookAhead = 0x55,
  kDisableReverting = 0x66,
  kDisableWriteCache = 0x82,
  kEnableLookAhead = 0xaa,
  kEnableReverting = 0xcc,
};
constexpr uint16_t kTrim = 1 << 0;                // feature of DATA SET MANAGEMENT (7.5)
constexpr uint8_t kLogDirectory = 0x00, kQueueErrorLog = 0x10;

constexpr uint8_t kMaxMultiple = 16;
constexpr uint16_t kMaxTrimBlocks = 8;
constexpr unsigned kTrimEntry = 8;                // bytes: 48 bits of LBA, 16 of length
constexpr unsigned kQueueDepth = 32, kUltraModes = 6;
constexpr uint16_t kMaxCylinders = 16383;
constexpr uint8_t kHeads = 16, kTrackSectors = 63;
constexpr uint64_t kMostSectors = uint64_t{1} << 48;
constexpr uint64_t kMost28 = uint64_t{1} << 28;

bool is_extended(uint8_t code) {
  switch (code) {
    case READ_SECTORS_EXT: case READ_DMA_EXT: case READ_MULTIPLE_EXT: case WRITE_SECTORS_EXT: case WRITE_DMA_EXT:
    case WRITE_MULTIPLE_EXT: case WRITE_DMA_FUA_EXT: case WRITE_MULTIPLE_FUA_EXT: case READ_VERIFY_SECTORS_EXT:
      return true;
    default:
      return false;
  }
}
bool is_dma(uint8_t code) {
  switch (code) {
    case READ_DMA: case READ_DMA_NO_RETRY: case WRITE_DMA: case WRITE_DMA_NO_RETRY: case READ_DMA_EXT:
    case WRITE_DMA_EXT: case WRITE_DMA_FUA_EXT:
      return true;
    default:
      return false;
  }
}
bool is_multiple(uint8_t code) {
  return code == READ_MULTIPLE || code == WRITE_MULTIPLE || code == READ_MULTIPLE_EXT || code == WRITE_MULTIPLE_EXT ||
         code == WRITE_MULTIPLE_FUA_EXT;
}
// A count of 0 is the most that the register can say.
uint32_t sector_count(const TaskFile& task, bool extended) {
  if (extended) return task.count ? task.count : 65536;
  return (task.count & 0xff) ? task.count & 0xff : 256;
}
}  // namespace

// --- life ------------------------------------------------------------------------------------------------------------

Disk::Disk(std::string name, block::Node& node, Options options)
    : name_(std::move(name)),
      node_(node),
      options_(std::move(options)),
      read_only_(options_.read_only || node.read_only()),
      sectors_(std::min(node.size() / kSectorSize, kMostSectors)),
      default_geometry_{static_cast<uint16_t>(std::min<uint64_t>(sectors_ / (kHeads * kTrackSectors), kMaxCylinders)), kHeads,
                        kTrackSectors} {
  reset(Reset::kPowerOn);
}

TaskFile Disk::signature() const {
  return {.status = status::DRDY | status::DSC, .error = error::kPassed, .count = 1, .lba = 1};
}

void Disk::reset(Reset kind) {
  queue_error_ = queue_error_is_queued_ = false;
  queue_error_tag_ = 0;
  queue_error_task_ = {};
  power_ = PowerMode::kActive;
  if (kind == Reset::kSoftware && keeps_settings_) return;
  geometry_ = default_geometry_;
  multiple_ = 0;
  write_cache_ = look_ahead_ = true;
  if (kind == Reset::kSoftware) return;  // the transfer mode outlives it (ACS-3, 7.45.3)
  keeps_settings_ = false;
  dma_mode_ = options_.serial_ata ? kUltraDma + kUltraModes - 1 : 0;
}

void Disk::describe(state::Fields& fields) {
  fields.field("cylinders", geometry_.cylinders);
  fields.field("heads", geometry_.heads, state::up_to(kHeads));
  fields.field("track_sectors", geometry_.sectors);
  fields.field("multiple", multiple_, state::up_to(kMaxMultiple));
  fields.field("write_cache", write_cache_);
  fields.field("look_ahead", look_ahead_);
  fields.field("keeps_settings", keeps_settings_);
  fields.field("dma_mode", dma_mode_, state::up_to(kUltraDma + kUltraModes - 1));
  bool active = power_ == PowerMode::kActive;
  fields.field("active", active);
  power_ = active ? PowerMode::kActive : PowerMode::kStandby;
  fields.field("queue_error", queue_error_);
  fields.field("queue_error_is_queued", queue_error_is_queued_);
  fields.field("queue_error_tag", queue_error_tag_, state::up_to(kQueueDepth - 1));
  fields.group("queue_error_task", [&] { queue_error_task_.describe(fields); });
}

// --- commands --------------------------------------------------------------------------------------------------------

Command Disk::begin(TaskFile& task) {
  // After the error of a queued command only its log is given (ACS-3, 4.15.7).
  if (queue_error_ && !(task.command == READ_LOG_EXT && (task.lba & 0xff) == kQueueErrorLog)) {
    task.fail(error::ABRT);
    return {};
  }
  const uint8_t code = task.command;
  task.succeed();
  Command command;
  switch (code) {
    case READ_SECTORS: case READ_SECTORS_NO_RETRY: case READ_SECTORS_EXT: case READ_MULTIPLE: case READ_MULTIPLE_EXT:
    case READ_DMA: case READ_DMA_NO_RETRY: case READ_DMA_EXT:
      command = begin_media(task, Command::Work::kRead);
      break;
    case WRITE_SECTORS: case WRITE_SECTORS_NO_RETRY: case WRITE_SECTORS_EXT: case WRITE_MULTIPLE:
    case WRITE_MULTIPLE_EXT: case WRITE_MULTIPLE_FUA_EXT: case WRITE_DMA: case WRITE_DMA_NO_RETRY: case WRITE_DMA_EXT:
    case WRITE_DMA_FUA_EXT:
      command = begin_media(task, Command::Work::kWrite);
      break;
    case READ_FPDMA_QUEUED: case WRITE_FPDMA_QUEUED:
      command = begin_queued(task);
      break;
    case READ_VERIFY_SECTORS: case READ_VERIFY_SECTORS_NO_RETRY: case READ_VERIFY_SECTORS_EXT:
      command = begin_verify(task);
      break;
    case DATA_SET_MANAGEMENT:
      command = begin_trim(task);
      break;
    case READ_LOG_EXT:
      command = begin_log(task);
      break;
    case IDENTIFY_DEVICE:
      command = give(identity());
      break;
    case FLUSH_CACHE: case FLUSH_CACHE_EXT:
      command.work = Command::Work::kFlush;
      break;
    default:
      command = begin_simple(task);
      break;
  }
  command.code = code;
  return command;
}

// What needs neither the medium nor data.
Command Disk::begin_simple(TaskFile& task) {
  switch (task.command) {
    case SEEK:
      break;
    case EXECUTE_DEVICE_DIAGNOSTIC:
      task = signature();
      break;
    case INITIALIZE_DEVICE_PARAMETERS:
      set_geometry(task);
      break;
    case SET_MULTIPLE_MODE:
      set_multiple(task);
      break;
    case SET_FEATURES:
      set_features(task);
      break;
    case READ_NATIVE_MAX_ADDRESS:
      native_max(task, false);
      break;
    case READ_NATIVE_MAX_ADDRESS_EXT:
      native_max(task, true);
      break;
    case STANDBY_IMMEDIATE: case STANDBY: case SLEEP: case STANDBY_IMMEDIATE_OLD: case STANDBY_OLD: case SLEEP_OLD:
      power_ = PowerMode::kStandby;
      break;
    case IDLE_IMMEDIATE: case IDLE: case IDLE_IMMEDIATE_OLD: case IDLE_OLD:
      power_ = PowerMode::kActive;
      break;
    case CHECK_POWER_MODE: case CHECK_POWER_MODE_OLD:
      task.count = static_cast<uint8_t>(power_);
      break;
    default:
      if ((task.command & 0xf0) != RECALIBRATE) task.fail(error::ABRT);
  }
  return {};
}

Command Disk::give(std::vector<uint8_t> data) {
  Command command{.work = Command::Work::kGive};
  command.size = static_cast<uint32_t>(data.size());
  command.block = kSectorSize;
  command.data = std::move(data);
  return command;
}

// By LBA, or by cylinder, head and sector of the geometry that is set (ATA-4, 6.2).
std::optional<uint64_t> Disk::first_sector(const TaskFile& task, bool extended) const {
  if (extended) return task.lba;
  if (task.device & device::LBA) return (task.lba & 0xff'ffff) | uint64_t{task.device & 0x0fu} << 24;
  const uint64_t sector = task.lba & 0xff, cylinder = task.lba >> 8 & 0xffff, head = task.device & 0x0f;
  if (sector == 0 || sector > geometry_.sectors || head >= geometry_.heads) return std::nullopt;
  return (cylinder * geometry_.heads + head) * geometry_.sectors + sector - 1;
}

Command Disk::begin_media(TaskFile& task, Command::Work work) {
  const bool extended = is_extended(task.command);
  const auto first = first_sector(task, extended);
  const uint32_t count = sector_count(task, extended);
  if (work == Command::Work::kWrite && read_only_) return task.fail(error::ABRT), Command{};
  if (is_multiple(task.command) && multiple_ == 0) return task.fail(error::ABRT), Command{};
  if (!first || !in_range(*first, count)) return task.fail(error::IDNF), Command{};
  power_ = PowerMode::kActive;
  Command command{.work = work, .dma = is_dma(task.command)};
  command.durable = !write_cache_ || task.command == WRITE_DMA_FUA_EXT || task.command == WRITE_MULTIPLE_FUA_EXT;
  command.offset = *first * kSectorSize;
  command.size = count * kSectorSize;
  command.block = is_multiple(task.command) ? multiple_ * kSectorSize : kSectorSize;
  return command;
}

// 7.22 and 7.66: the count is in the feature register, the tag in the count.
Command Disk::begin_queued(TaskFile& task) {
  const uint32_t count = task.feature ? task.feature : 65536;
  Command command{.work = task.command == READ_FPDMA_QUEUED ? Command::Work::kRead : Command::Work::kWrite, .dma = true,
                  .queued = true};
  command.tag = static_cast<uint8_t>(task.count >> 3 & (kQueueDepth - 1));
  command.durable = !write_cache_ || (task.device & device::FUA);
  command.offset = task.lba * kSectorSize;
  command.size = count * kSectorSize;
  if (!options_.serial_ata || (command.work == Command::Work::kWrite && read_only_))
    task.fail(error::ABRT);
  else if (!in_range(task.lba, count))
    task.fail(error::IDNF);
  if (task.failed()) {
    if (options_.serial_ata) note_queue_error(command, task);
    command.work = Command::Work::kNone;
  }
  power_ = PowerMode::kActive;
  return command;
}

Command Disk::begin_verify(TaskFile& task) {
  const bool extended = is_extended(task.command);
  const auto first = first_sector(task, extended);
  if (!first || !in_range(*first, sector_count(task, extended))) task.fail(error::IDNF);
  return {};
}

Command Disk::begin_trim(TaskFile& task) {
  if (read_only_ || task.feature != kTrim || task.count == 0 || task.count > kMaxTrimBlocks)
    return task.fail(error::ABRT), Command{};
  Command command{.work = Command::Work::kTake, .dma = true};
  command.size = task.count * kSectorSize;
  command.block = kSectorSize;
  return command;
}

// 7.23. Bits 7:0 of the LBA are the log, bits 39:32 and 15:8 the first page; each log here has one.
Command Disk::begin_log(TaskFile& task) {
  const uint8_t log = task.lba & 0xff;
  const uint64_t page = (task.lba >> 8 & 0xff) | (task.lba >> 24 & 0xff00);
  if (task.count != 1 || page != 0) return task.fail(error::ABRT), Command{};
  if (log == kLogDirectory) return give(log_directory());
  if (log != kQueueErrorLog || !options_.serial_ata) return task.fail(error::ABRT), Command{};
  auto command = give(queue_error_log(queue_error_is_queued_, queue_error_tag_, queue_error_task_));
  queue_error_ = queue_error_is_queued_ = false;
  queue_error_tag_ = 0;
  queue_error_task_ = {};
  return command;
}

void Disk::set_features(TaskFile& task) {
  switch (task.feature & 0xff) {
    case kEnableWriteCache: write_cache_ = true; break;
    case kDisableWriteCache: write_cache_ = false; break;
    case kEnableLookAhead: look_ahead_ = true; break;
    case kDisableLookAhead: look_ahead_ = false; break;
    case kDisableReverting: keeps_settings_ = true; break;
    case kEnableReverting: keeps_settings_ = false; break;
    case kSetTransferMode: set_transfer_mode(task); break;
    default: task.fail(error::ABRT);
  }
}

// 7.45.3: bits 7:3 are the kind, bits 2:0 the mode.
void Disk::set_transfer_mode(TaskFile& task) {
  const auto value = static_cast<uint8_t>(task.count);
  const uint8_t mode = value & 7;
  if (value >> 3 == 0 && mode <= 1) return;  // PIO, as it is usual
  if (value >> 3 == 1 && mode <= 4) return;  // PIO with flow control
  if ((value >> 3 == kMultiwordDma >> 3 && mode < kMultiwordModes) || (value >> 3 == kUltraDma >> 3 && mode < kUltraModes))
    dma_mode_ = value;
  else
    task.fail(error::ABRT);
}

void Disk::set_multiple(TaskFile& task) {
  const auto count = static_cast<uint8_t>(task.count);
  if (count > kMaxMultiple || (count != 0 && !std::has_single_bit(count))) return task.fail(error::ABRT);
  multiple_ = count;
}

// ATA-4, 8.16.
void Disk::set_geometry(TaskFile& task) {
  const auto heads = static_cast<uint8_t>((task.device & 0x0f) + 1);
  const auto sectors = static_cast<uint8_t>(task.count);
  if (sectors == 0) return task.fail(error::ABRT);
  geometry_ = {static_cast<uint16_t>(std::min<uint64_t>(sectors_ / (uint64_t{heads} * sectors), kMaxCylinders)), heads, sectors};
}

void Disk::native_max(TaskFile& task, bool extended) {
  const uint64_t last = sectors_ == 0 ? 0 : sectors_ - 1;
  task.lba = extended ? last : std::min(last, kMost28 - 1);
  if (extended) return;
  task.device = static_cast<uint8_t>((task.device & 0xf0) | task.lba >> 24);
  task.lba &= 0xff'ffff;
}

std::vector<uint8_t> Disk::identity() const {
  const block::Limits limits = node_.limits();
  const uint32_t physical = std::clamp<uint32_t>(std::max(limits.optimal_io, limits.request_alignment), kSectorSize, 4096);
  return identify_disk({.serial = options_.serial,
                        .sectors = sectors_,
                        .default_cylinders = default_geometry_.cylinders,
                        .cylinders = geometry_.cylinders,
                        .heads = geometry_.heads,
                        .sectors_per_track = geometry_.sectors,
                        .default_heads = default_geometry_.heads,
                        .default_sectors_per_track = default_geometry_.sectors,
                        .physical_exponent = static_cast<unsigned>(std::countr_zero(std::bit_floor(physical / kSectorSize))),
                        .max_multiple = kMaxMultiple,
                        .multiple = multiple_,
                        .dma_mode = dma_mode_,
                        .ultra_modes = kUltraModes,
                        .queue_depth = options_.serial_ata ? kQueueDepth : 0,
                        .serial_ata = options_.serial_ata,
                        .write_cache = write_cache_,
                        .look_ahead = look_ahead_,
                        .trim = !read_only_,
                        .max_trim_blocks = kMaxTrimBlocks});
}

// --- data ------------------------------------------------------------------------------------------------------------

Task<void> Disk::move(Command& command, uint64_t done, std::span<const iovec> host, TaskFile& task) {
  if (command.work == Command::Work::kGive || command.work == Command::Work::kTake) {
    move_data(command, done, host);
    co_return;
  }
  const uint64_t length = block::length_of(host), offset = command.offset + done, end = sectors_ * kSectorSize;
  if (offset > end || length > end - offset || (command.work == Command::Work::kWrite && read_only_)) {
    check(EINVAL, "access", command, task);  // only of a state that was made by hand
    co_return;
  }
  if (length == 0) co_return;
  if (command.work == Command::Work::kRead)
    check(co_await node_.read(offset, host), "read", command, task);
  else
    check(co_await node_.write(offset, host, command.durable), "write", command, task);
}

Task<void> Disk::finish(Command& command, TaskFile& task) {
  if (command.work == Command::Work::kFlush)
    check(co_await node_.flush(), "flush", command, task);
  else if (command.work == Command::Work::kTake && command.code == DATA_SET_MANAGEMENT)
    co_await trim(command, task);
}

// Which sector it was, the host of the image does not say: the first (ACS-3, 6.8).
void Disk::check(block::Errno result, const char* doing, const Command& command, TaskFile& task) {
  if (result == 0) return;
  log::debug(log::Category::kDevice, "{}: {}: {}", name_, doing, std::strerror(result));
  task.fail(command.work == Command::Work::kRead ? error::UNC : error::ABRT);
  if (command.work == Command::Work::kRead || command.work == Command::Work::kWrite) {
    const uint64_t first = command.offset / kSectorSize;
    task.lba = command.queued || is_extended(command.code) ? first : first & 0xff'ffff;
  }
  if (command.queued) note_queue_error(command, task);
}

void Disk::note_queue_error(const Command& command, const TaskFile& task) {
  if (queue_error_) return;  // the first is told
  queue_error_ = true;
  queue_error_is_queued_ = command.queued;
  queue_error_tag_ = command.tag;
  queue_error_task_ = task;
}

Task<void> Disk::trim(const Command& command, TaskFile& task) {
  if (read_only_) co_return task.fail(error::ABRT);
  for (size_t at = 0; at + kTrimEntry <= command.data.size(); at += kTrimEntry) {
    uint64_t entry = 0;
    std::memcpy(&entry, command.data.data() + at, sizeof entry);
    const uint64_t first = entry & (kMostSectors - 1), count = entry >> 48;
    if (count == 0) continue;
    if (!in_range(first, count)) co_return task.fail(error::IDNF);
    check(co_await node_.discard(first * kSectorSize, count * kSectorSize), "discard", command, task);
    if (task.failed()) co_return;
  }
}

}  // namespace skerry::devices::ata
