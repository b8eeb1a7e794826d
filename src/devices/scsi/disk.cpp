#include "devices/scsi/disk.hpp"

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <utility>

#include "base/log.hpp"
#include "block/iovec.hpp"

namespace skerry::devices::scsi {

namespace {
// SPC-4, annex D.
enum Operation : uint8_t {
  TEST_UNIT_READY = 0x00,
  REQUEST_SENSE = 0x03,
  READ_6 = 0x08,
  WRITE_6 = 0x0a,
  INQUIRY = 0x12,
  MODE_SENSE_6 = 0x1a,
  START_STOP_UNIT = 0x1b,
  PREVENT_ALLOW_MEDIUM_REMOVAL = 0x1e,
  READ_CAPACITY_10 = 0x25,
  READ_10 = 0x28,
  WRITE_10 = 0x2a,
  VERIFY_10 = 0x2f,
  SYNCHRONIZE_CACHE_10 = 0x35,
  WRITE_SAME_10 = 0x41,
  UNMAP = 0x42,
  MODE_SENSE_10 = 0x5a,
  READ_16 = 0x88,
  WRITE_16 = 0x8a,
  VERIFY_16 = 0x8f,
  SYNCHRONIZE_CACHE_16 = 0x91,
  WRITE_SAME_16 = 0x93,
  SERVICE_ACTION_IN_16 = 0x9e,
  REPORT_LUNS = 0xa0,
  READ_12 = 0xa8,
  WRITE_12 = 0xaa,
};
constexpr uint8_t kReadCapacity16 = 0x10;  // of SERVICE ACTION IN (16)
constexpr uint8_t kFua = 1 << 3, kByteCheck = 3 << 1;  // byte 1 of reads and writes; of VERIFY
constexpr uint32_t kMostBlocks = 16384;  // of a transfer: 8 MiB
constexpr unsigned kMostRanges = 256, kUnmapHeader = 8, kUnmapRange = 16;

constexpr uint32_t kMostRepeats = 0x20000;              // blocks of a WRITE SAME: 64 MiB
constexpr uint32_t kRepeatedAtOnce = 128;               // blocks: 64 KiB

constexpr Sense kWriteFault{0x03, 0x03, 0x00}, kListLength{0x05, 0x1a, 0x00}, kWriteProtected{0x07, 0x27, 0x00};
constexpr Sense kNoRoom{0x07, 0x27, 0x07};  // space allocation failed write protect (SBC-3, 4.7.3.6)

uint64_t get(std::span<const uint8_t> from, size_t at, unsigned bytes) {
  uint64_t value = 0;
  for (unsigned i = 0; i < bytes; ++i) value = value << 8 | from[at + i];
  return value;
}

bool ignores_attention(uint8_t operation) {
  return operation == INQUIRY || operation == REQUEST_SENSE || operation == REPORT_LUNS;
}
}  // namespace

// --- life ------------------------------------------------------------------------------------------------------------

Disk::Disk(std::string name, block::Node& node, Options options)
    : name_(std::move(name)),
      node_(node),
      options_(std::move(options)),
      read_only_(options_.read_only || node.read_only()),
      blocks_(node.size() / kBlockSize) {
  reset();
}

void Disk::reset() {
  sense_ = kNoSense;
  attention_ = kReset;
  knows_cache_ = false;
}

void Disk::describe(state::Fields& fields) {
  describe_sense(fields, "sense", sense_);
  describe_sense(fields, "attention", attention_);
  fields.field("knows_cache", knows_cache_);
}

// --- commands --------------------------------------------------------------------------------------------------------

Command Disk::begin(const Cdb& cdb) {
  Command command;
  if (attention_ != kNoSense && !ignores_attention(cdb[0])) {
    command = fail(std::exchange(attention_, kNoSense));
  } else {
    if (cdb[0] != REQUEST_SENSE) sense_ = kNoSense;
    command = dispatch(cdb);
  }
  command.code = cdb[0];
  return command;
}

Command Disk::dispatch(const Cdb& cdb) {
  using Work = Command::Work;
  const uint64_t lba32 = get(cdb, 2, 4), count16 = get(cdb, 7, 2);
  switch (cdb[0]) {
    case TEST_UNIT_READY: case START_STOP_UNIT: case PREVENT_ALLOW_MEDIUM_REMOVAL: return {};
    case REQUEST_SENSE: return request_sense(cdb);
    case INQUIRY: return answer(inquiry(facts(), cdb[1] & 1, cdb[2]), get(cdb, 3, 2));
    case MODE_SENSE_6: case MODE_SENSE_10: return about_modes(cdb);
    case READ_CAPACITY_10: return answer(read_capacity_10(facts()), 8);
    case SERVICE_ACTION_IN_16:
      if ((cdb[1] & 0x1f) != kReadCapacity16) return fail(kInvalidField);
      return answer(read_capacity_16(facts()), get(cdb, 10, 4));
    case REPORT_LUNS: return answer(report_luns(cdb[2]), get(cdb, 6, 4));
    case READ_6: case WRITE_6:
      return media(cdb, cdb[0] == READ_6 ? Work::kRead : Work::kWrite, get(cdb, 1, 3) & 0x1f'ffff, cdb[4] ? cdb[4] : 256);
    case READ_10: return media(cdb, Work::kRead, lba32, count16);
    case WRITE_10: return media(cdb, Work::kWrite, lba32, count16);
    case READ_12: return media(cdb, Work::kRead, lba32, get(cdb, 6, 4));
    case WRITE_12: return media(cdb, Work::kWrite, lba32, get(cdb, 6, 4));
    case READ_16: return media(cdb, Work::kRead, get(cdb, 2, 8), get(cdb, 10, 4));
    case WRITE_16: return media(cdb, Work::kWrite, get(cdb, 2, 8), get(cdb, 10, 4));
    case VERIFY_10: return verify(cdb, lba32, count16);
    case VERIFY_16: return verify(cdb, get(cdb, 2, 8), get(cdb, 10, 4));
    case SYNCHRONIZE_CACHE_10: case SYNCHRONIZE_CACHE_16: return synchronize();
    case UNMAP: return begin_unmap(cdb);
    case WRITE_SAME_10: return begin_write_same(cdb, lba32, count16);
    case WRITE_SAME_16: return begin_write_same(cdb, get(cdb, 2, 8), get(cdb, 10, 4));
    default: return fail(kInvalidCommand);
  }
}

Command Disk::fail(Sense sense) {
  sense_ = sense;
  return {.failed = true};
}

Command Disk::answer(std::optional<Answer> data, uint64_t room) {
  if (!data) return fail(kInvalidField);
  data->resize(std::min<uint64_t>(data->size(), room));
  if (data->empty()) return {};
  Command command{.work = Command::Work::kGive};
  command.size = static_cast<uint32_t>(data->size());
  command.data = *std::move(data);
  return command;
}

Command Disk::request_sense(const Cdb& cdb) {
  if (sense_ == kNoSense) sense_ = std::exchange(attention_, kNoSense);
  return answer(sense_data(std::exchange(sense_, kNoSense)), cdb[4]);
}

Command Disk::about_modes(const Cdb& cdb) {
  constexpr uint8_t kPageControl = 0xc0, kChangeable = 0x40, kSaved = 0xc0, kNoBlock = 1 << 3, kCaching = 0x08;
  const bool wide = cdb[0] == MODE_SENSE_10;
  const uint8_t page = cdb[2] & 0x3f;
  if ((cdb[2] & kPageControl) == kSaved) return fail(kSavingNotSupported);
  if (page == kCaching) knows_cache_ = true;
  return answer(mode_sense(facts(), wide, !(cdb[1] & kNoBlock), page, (cdb[2] & kPageControl) == kChangeable),
                wide ? get(cdb, 7, 2) : cdb[4]);
}

Command Disk::media(const Cdb& cdb, Command::Work work, uint64_t first, uint64_t count) {
  if (!in_range(first, count)) return fail(kOutOfRange);
  if (count > kMostBlocks) return fail(kInvalidField);
  if (work == Command::Work::kWrite && read_only_) return fail(kWriteProtected);
  if (count == 0) return {};
  Command command{.work = work};
  command.durable = !knows_cache_ || (cdb[0] != WRITE_6 && (cdb[1] & kFua));
  command.offset = first * kBlockSize;
  command.size = static_cast<uint32_t>(count) * kBlockSize;
  return command;
}

// Comparing with bytes of the host is not there.
Command Disk::verify(const Cdb& cdb, uint64_t first, uint64_t count) {
  if (cdb[1] & kByteCheck) return fail(kInvalidField);
  return in_range(first, count) ? Command{} : fail(kOutOfRange);
}

Command Disk::synchronize() {
  knows_cache_ = true;
  return {.work = Command::Work::kFlush};
}

Command Disk::begin_unmap(const Cdb& cdb) {
  const uint64_t length = get(cdb, 7, 2);
  if (read_only_) return fail(kWriteProtected);
  if (length == 0) return {};
  if (length < kUnmapHeader || length > kUnmapHeader + kMostRanges * kUnmapRange) return fail(kListLength);
  Command command{.work = Command::Work::kTake};
  command.size = static_cast<uint32_t>(length);
  command.data.resize(length);
  return command;
}

// SBC-3, 5.43 and 5.44: the host gives one block, or none and means zeroes.
Command Disk::begin_write_same(const Cdb& cdb, uint64_t first, uint64_t count) {
  constexpr uint8_t kProtect = 7 << 5, kAnchor = 1 << 4, kUnmap = 1 << 3, kNoData = 1 << 0;
  const bool no_data = cdb[0] == WRITE_SAME_16 && (cdb[1] & kNoData);
  if (read_only_) return fail(kWriteProtected);
  if ((cdb[1] & (kProtect | kAnchor)) || count == 0 || count > kMostRepeats) return fail(kInvalidField);
  if (!in_range(first, count)) return fail(kOutOfRange);
  Command command{.work = Command::Work::kTake};
  command.durable = !knows_cache_;
  command.unmap = cdb[1] & kUnmap;
  command.offset = first * kBlockSize;
  command.repeats = static_cast<uint32_t>(count);
  command.size = no_data ? 0 : kBlockSize;
  command.data.resize(command.size);
  return command;
}

DiskFacts Disk::facts() const {
  const block::Limits limits = node_.limits();
  const uint32_t physical = std::clamp<uint32_t>(std::max(limits.optimal_io, limits.request_alignment), kBlockSize, 4096);
  return {.serial = options_.serial,
          .blocks = blocks_,
          .read_only = read_only_,
          .write_cache = true,
          .physical_exponent = static_cast<unsigned>(std::countr_zero(std::bit_floor(physical / kBlockSize))),
          .discard_blocks = std::max<uint32_t>(limits.discard_alignment / kBlockSize, 1),
          .most_blocks = kMostBlocks,
          .most_unmap_ranges = kMostRanges,
          .most_repeats = kMostRepeats,
          .queueing = options_.queueing};
}

// --- data ------------------------------------------------------------------------------------------------------------

Task<void> Disk::move(Command& command, uint64_t done, std::span<const iovec> host) {
  using Work = Command::Work;
  const uint64_t length = block::length_of(host);
  if (length == 0) co_return;
  if (command.work == Work::kGive) {
    block::copy_to(host, 0, std::span(command.data).subspan(done, length));
  } else if (command.work == Work::kTake) {
    block::copy_from(host, 0, std::span(command.data).subspan(done, length));
  } else if (command.work == Work::kRead || command.work == Work::kWrite) {
    const uint64_t offset = command.offset + done, end = blocks_ * kBlockSize;
    const bool writes = command.work == Work::kWrite;
    if (offset > end || length > end - offset || (writes && read_only_))
      check(EINVAL, "access", command);  // only of a state that was made by hand
    else if (writes)
      check(co_await node_.write(offset, host, command.durable), "write", command);
    else
      check(co_await node_.read(offset, host), "read", command);
  }
}

Task<void> Disk::finish(Command& command) {
  if (command.work == Command::Work::kFlush)
    check(co_await node_.flush(), "flush", command);
  else if (command.work == Command::Work::kTake && command.code == UNMAP)
    co_await unmap(command);
  else if (command.work == Command::Work::kTake)
    co_await write_same(command);
}

void Disk::check(block::Errno result, const char* doing, Command& command) {
  if (result == 0) return;
  log::debug(log::Category::kDevice, "{}: {}: {}", name_, doing, std::strerror(result));
  command.failed = true;
  if (command.work == Command::Work::kRead)
    sense_ = kReadError;
  else
    sense_ = result == ENOSPC || result == EDQUOT ? kNoRoom : kWriteFault;
}

// SBC-3, 5.28.
Task<void> Disk::unmap(Command& command) {
  const std::span<const uint8_t> list = command.data;
  const auto bad = [&](Sense sense) {
    command.failed = true;
    sense_ = sense;
  };
  if (read_only_) co_return bad(kWriteProtected);
  if (list.size() < kUnmapHeader) co_return bad(kListLength);
  const uint64_t ranges = std::min<uint64_t>(get(list, 2, 2), list.size() - kUnmapHeader) / kUnmapRange;
  for (uint64_t i = 0; i < ranges; ++i) {
    const size_t at = kUnmapHeader + i * kUnmapRange;
    const uint64_t first = get(list, at, 8), count = get(list, at + 8, 4);
    if (!in_range(first, count)) co_return bad(kOutOfRange);
    if (count == 0) continue;
    check(co_await node_.discard(first * kBlockSize, count * kBlockSize), "discard", command);
    if (command.failed) co_return;
  }
}

Task<void> Disk::write_same(Command& command) {
  const uint64_t first = command.offset / kBlockSize;
  const bool one_block = command.data.empty() || command.data.size() == kBlockSize;
  const bool some = command.repeats > 0 && command.repeats <= kMostRepeats;
  if (read_only_ || !one_block || !some || !in_range(first, command.repeats)) {  // only of a state that was made by hand
    check(EINVAL, "access", command);
    co_return;
  }
  if (std::all_of(command.data.begin(), command.data.end(), [](uint8_t byte) { return byte == 0; }))
    check(co_await node_.write_zeroes(first * kBlockSize, uint64_t{command.repeats} * kBlockSize, command.unmap), "zero", command);
  else
    co_await repeat(first, command);
  if (!command.failed && command.durable) check(co_await node_.flush(), "flush", command);
}

Task<void> Disk::repeat(uint64_t first, Command& command) {
  std::vector<iovec> blocks(std::min(command.repeats, kRepeatedAtOnce), iovec{command.data.data(), kBlockSize});
  for (uint32_t done = 0; done < command.repeats && !command.failed; done += static_cast<uint32_t>(blocks.size())) {
    blocks.resize(std::min<size_t>(blocks.size(), command.repeats - done));
    check(co_await node_.write((first + done) * kBlockSize, blocks, false), "write", command);
  }
}

}  // namespace skerry::devices::scsi
