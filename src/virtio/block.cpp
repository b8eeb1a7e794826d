#include "virtio/block.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cassert>
#include <cerrno>
#include <cstring>
#include <utility>

#include "base/log.hpp"
#include "virtio/buffer_ranges.hpp"

namespace skerry::virtio {

namespace {
// 5.2.3
constexpr uint64_t VIRTIO_BLK_F_SEG_MAX = 1 << 2, VIRTIO_BLK_F_RO = 1 << 5, VIRTIO_BLK_F_BLK_SIZE = 1 << 6;
constexpr uint64_t VIRTIO_BLK_F_FLUSH = 1 << 9, VIRTIO_BLK_F_TOPOLOGY = 1 << 10, VIRTIO_BLK_F_CONFIG_WCE = 1 << 11;
constexpr uint64_t VIRTIO_BLK_F_MQ = 1 << 12, VIRTIO_BLK_F_DISCARD = 1 << 13, VIRTIO_BLK_F_WRITE_ZEROES = 1 << 14;

// 5.2.6
constexpr uint32_t VIRTIO_BLK_T_IN = 0, VIRTIO_BLK_T_OUT = 1, VIRTIO_BLK_T_FLUSH = 4, VIRTIO_BLK_T_GET_ID = 8;
constexpr uint32_t VIRTIO_BLK_T_DISCARD = 11, VIRTIO_BLK_T_WRITE_ZEROES = 13;
constexpr uint8_t VIRTIO_BLK_S_OK = 0, VIRTIO_BLK_S_IOERR = 1, VIRTIO_BLK_S_UNSUPP = 2;
constexpr uint32_t kFlagUnmap = 1;  // of struct virtio_blk_discard_write_zeroes

constexpr unsigned kSector = 512, kHeaderSize = 16, kSegmentSize = 16, kIdSize = 20;
constexpr unsigned kBorrowedRequests = 8;          // are taken by a vCPU's thread, before the loop goes on
constexpr uint64_t kBytesPerTurn = 256 * 1024;     // then the guest is told what is there, and goes on beside the next ones
constexpr uint64_t kMostBorrowed = 64 * 1024;      // bytes of a request
constexpr unsigned kNotBorrowed = 16;              // notifications, after one that the loop had to go on with
constexpr unsigned kBorrowedInRow = 256;           // notifications; then the loop has kTried of them,
constexpr unsigned kTried = 8;
constexpr unsigned kDeep = 64;                     // and so many after one that had several requests
constexpr uint32_t kMaxSegments = 16;              // of discard and write zeroes
constexpr uint32_t kMaxSegmentSectors = 0x400000;  // 2 GiB

// struct virtio_blk_config (5.2.4).
struct Config {
  uint64_t capacity;
  uint32_t size_max, seg_max;
  uint16_t cylinders;
  uint8_t heads, sectors;
  uint32_t blk_size;
  uint8_t physical_block_exp, alignment_offset;
  uint16_t min_io_size;
  uint32_t opt_io_size;
  uint8_t writeback, unused0;
  uint16_t num_queues;
  uint32_t max_discard_sectors, max_discard_seg, discard_sector_alignment;
  uint32_t max_write_zeroes_sectors, max_write_zeroes_seg;
  uint8_t write_zeroes_may_unmap, unused1[3];
};
constexpr uint32_t kConfigSize = 60;  // without what follows unused1, and the padding
static_assert(offsetof(Config, writeback) == 32 && offsetof(Config, max_discard_sectors) == 36 &&
              offsetof(Config, write_zeroes_may_unmap) == 56 && offsetof(Config, unused1) + 3 == kConfigSize);

uint32_t get32(std::span<const uint8_t> from, size_t at) {
  return from[at] | uint32_t{from[at + 1]} << 8 | uint32_t{from[at + 2]} << 16 | uint32_t{from[at + 3]} << 24;
}
uint64_t get64(std::span<const uint8_t> from, size_t at) {
  return get32(from, at) | uint64_t{get32(from, at + 4)} << 32;
}
}  // namespace

// --- life ------------------------------------------------------------------------------------------------------------

Block::Block(std::string name, EventLoop& loop, memory::GuestMemory& memory, block::Node& node, Options options)
    : Device(std::move(name), loop, memory),
      node_(node),
      options_(std::move(options)),
      capacity_(node.size() / kSector * kSector),
      limits_(node.limits()),
      read_only_(options_.read_only || node.read_only()),
      requests_(loop, [this](unsigned queue) { notified(queue); }) {
  assert(options_.queues >= 1 && options_.queues <= 64 && options_.queue_size >= 4);
}

uint64_t Block::features() const {
  uint64_t features = VIRTIO_BLK_F_SEG_MAX | VIRTIO_BLK_F_BLK_SIZE | VIRTIO_BLK_F_FLUSH | VIRTIO_BLK_F_TOPOLOGY |
                      VIRTIO_BLK_F_CONFIG_WCE;
  features |= read_only_ ? VIRTIO_BLK_F_RO : VIRTIO_BLK_F_DISCARD | VIRTIO_BLK_F_WRITE_ZEROES;
  if (options_.queues > 1) features |= VIRTIO_BLK_F_MQ;
  return features;
}

std::vector<uint16_t> Block::queue_sizes() const { return std::vector(options_.queues, options_.queue_size); }

void Block::activate(uint64_t features, std::span<Queue> queues, Transport& transport) {
  features_ = features;
  requests_.begin(queues, transport);
}

void Block::deactivate() {
  requests_.end();
  features_ = 0;
  write_cache_.store(1);
}

void Block::describe(state::Fields& fields) {
  uint8_t write_cache = write_cache_.load();
  fields.field("write_cache", write_cache, state::up_to(1));
  write_cache_.store(write_cache);
}

// --- configuration space ---------------------------------------------------------------------------------------------

uint32_t Block::config_size() const { return kConfigSize; }

void Block::read_config(uint32_t offset, std::span<uint8_t> to) {
  Config config{};
  const uint32_t block = std::max<uint32_t>(limits_.request_alignment, kSector);
  const uint32_t optimal = std::max(limits_.optimal_io, block);
  config.capacity = capacity_ / kSector;
  config.seg_max = options_.queue_size - 2u;  // header and status take two
  config.blk_size = block;
  config.physical_block_exp = static_cast<uint8_t>(std::countr_zero(std::bit_floor(std::min(optimal, 4096u) / block)));
  config.min_io_size = static_cast<uint16_t>(std::min(optimal / block, 0xffffu));
  config.opt_io_size = optimal / block;
  config.writeback = write_cache_.load();
  config.num_queues = options_.queues;
  if (!read_only_) {
    config.max_discard_sectors = config.max_write_zeroes_sectors = kMaxSegmentSectors;
    config.max_discard_seg = config.max_write_zeroes_seg = kMaxSegments;
    config.discard_sector_alignment = std::max(limits_.discard_alignment, block) / kSector;
    config.write_zeroes_may_unmap = 1;
  }
  std::memcpy(to.data(), reinterpret_cast<const uint8_t*>(&config) + offset, to.size());
}

// Only the write cache can be set (5.2.5).
void Block::write_config(uint32_t offset, std::span<const uint8_t> from) {
  if (offset == offsetof(Config, writeback) && from.size() == 1) write_cache_.store(from[0] & 1);
}

// 5.2.6.2: a driver that knows no flush gets each write on stable storage.
bool Block::writeback() const {
  return (features_ & VIRTIO_BLK_F_FLUSH) && (!(features_ & VIRTIO_BLK_F_CONFIG_WCE) || write_cache_.load() == 1);
}

// --- queue work ------------------------------------------------------------------------------------------------------

// Large requests, and what has to come from the disk, are the loop's in the end: then it may as well begin with them. And who waits for
// none but has many under way is better served by a loop that goes on beside the guest: it finds several at a time, and interrupts
// once for them. That is seen there only, so the loop is tried now and then. Guests do much of one kind after each other.
bool Block::prompt() {
  const unsigned left = not_borrowed_.load(std::memory_order_relaxed);
  if (left != 0) {
    not_borrowed_.store(left - 1, std::memory_order_relaxed);
    return false;
  }
  const unsigned in_row = borrowed_in_row_.load(std::memory_order_relaxed) + 1;
  borrowed_in_row_.store(in_row % kBorrowedInRow, std::memory_order_relaxed);
  if (in_row == kBorrowedInRow) not_borrowed_.store(kTried, std::memory_order_relaxed);
  return true;
}

void Block::do_not_borrow(unsigned notifications) {
  not_borrowed_.store(std::max(not_borrowed_.load(std::memory_order_relaxed), notifications), std::memory_order_relaxed);
}

void Block::notified(unsigned index) {
  if (!requests_.working(index)) return;
  take(index);
  if (loop_.turn_is_borrowed() && requests_.under_way() > 0) do_not_borrow(kNotBorrowed);
}

void Block::take(unsigned index) {
  // A driver that refills the ring as fast as it is emptied does not keep the loop for itself.
  const bool borrowed = loop_.turn_is_borrowed();
  const unsigned size = requests_.size(index), most = borrowed ? std::min(kBorrowedRequests, size) : size;
  uint64_t bytes = 0;
  for (unsigned taken = 0; taken < most && bytes < kBytesPerTurn; ++taken) {
    auto chain = requests_.take(index);
    if (!chain) return;
    const uint64_t bytes_of_it = chain->readable_size + chain->writable_size;
    if (borrowed && bytes_of_it > kMostBorrowed + kHeaderSize + 1) {  // the loop is to begin with it
      requests_.put_back(index, *std::move(chain));
      do_not_borrow(kNotBorrowed);
      break;
    }
    if (!borrowed && taken == 1) do_not_borrow(kDeep);
    bytes += bytes_of_it;
    Request request{.queue = index, .chain = std::move(*chain)};
    spawn(serve(std::move(request)));
  }
  requests_.look_again(index);
}

Task<void> Block::serve(Request request) {
  const uint8_t status = co_await execute(request);
  complete(request, status);
}

void Block::complete(Request& request, uint8_t status) {
  const Chain& chain = request.chain;
  uint32_t written = 0;
  if (chain.writable_size > 0 && !requests_.discarding()) {
    const uint64_t data = chain.writable_size - 1;
    chain.write(memory_, data, {&status, 1});
    // Of what is not all written, nothing is promised (2.7.8.2).
    if (status == VIRTIO_BLK_S_OK || data == 0) written = static_cast<uint32_t>(std::min<uint64_t>(data + 1, ~0u));
  }
  requests_.answer(request.queue, std::move(request.chain), written);
}

// --- requests --------------------------------------------------------------------------------------------------------

// The header's layout may be cut as the driver likes (2.7.4); the status is the last byte it can be written to.
Task<uint8_t> Block::execute(Request& request) {
  std::array<uint8_t, kHeaderSize> header;
  const Chain& chain = request.chain;
  if (chain.writable_size == 0 || chain.read(memory_, 0, header) != kHeaderSize) co_return VIRTIO_BLK_S_IOERR;
  const uint32_t type = get32(header, 0);
  const uint64_t sector = get64(header, 8);
  // Beyond the end in any case, and no overflow further on.
  request.offset = sector < capacity_ / kSector ? sector * kSector : capacity_;
  switch (type) {
    case VIRTIO_BLK_T_IN:
      co_return co_await read(request);
    case VIRTIO_BLK_T_OUT:
      co_return co_await write(request);
    case VIRTIO_BLK_T_FLUSH:
      co_return status_of(co_await node_.flush(), "flush");
    case VIRTIO_BLK_T_GET_ID:
      co_return give_id(request);
    case VIRTIO_BLK_T_DISCARD:
    case VIRTIO_BLK_T_WRITE_ZEROES:
      co_return co_await discard_or_zero(request, type);
    default:
      co_return VIRTIO_BLK_S_UNSUPP;
  }
}

uint8_t Block::status_of(block::Errno result, const char* doing) const {
  if (result == 0) return VIRTIO_BLK_S_OK;
  log::debug(log::Category::kDevice, "{}: {}: {}", name_, doing, std::strerror(result));
  return result == ENOTSUP ? VIRTIO_BLK_S_UNSUPP : VIRTIO_BLK_S_IOERR;
}

bool Block::aligned(uint64_t offset, uint64_t length) const {
  const uint32_t block = std::max<uint32_t>(limits_.request_alignment, kSector);
  return offset % block == 0 && length % block == 0;
}

bool Block::in_range(const Request& request) const {
  return aligned(request.offset, request.data_size) && request.data_size <= capacity_ - request.offset;
}

Task<uint8_t> Block::read(Request& request) {
  request.data_size = request.chain.writable_size - 1;
  if (!in_range(request)) co_return VIRTIO_BLK_S_IOERR;
  if (request.data_size == 0) co_return VIRTIO_BLK_S_OK;
  const auto& buffers = request.chain.writable;
  if (!data_ranges(memory_, buffers, 0, request.data_size, true, request.ranges)) co_return VIRTIO_BLK_S_IOERR;
  const block::Errno result = co_await node_.read(request.offset, request.ranges);
  // Even of a request that failed or is not wanted any more a part may be there.
  data_written(memory_, buffers, 0, request.data_size);
  co_return status_of(result, "read");
}

Task<uint8_t> Block::write(Request& request) {
  request.data_size = request.chain.readable_size - kHeaderSize;
  if (read_only_ || !in_range(request)) co_return VIRTIO_BLK_S_IOERR;
  if (request.data_size == 0) co_return VIRTIO_BLK_S_OK;
  if (!data_ranges(memory_, request.chain.readable, kHeaderSize, request.data_size, false, request.ranges)) co_return VIRTIO_BLK_S_IOERR;
  co_return status_of(co_await node_.write(request.offset, request.ranges, !writeback()), "write");
}

uint8_t Block::give_id(Request& request) {
  std::array<uint8_t, kIdSize> id{};
  std::copy_n(options_.serial.begin(), std::min(options_.serial.size(), id.size()), id.begin());
  const uint64_t room = request.chain.writable_size - 1;
  if (room < kIdSize) return VIRTIO_BLK_S_IOERR;  // the driver has to give 20 bytes
  request.chain.write(memory_, 0, id);
  return VIRTIO_BLK_S_OK;
}

// 5.2.6.2: what of the flags is not known makes the whole request unsupported.
uint8_t Block::parse_segments(const Request& request, uint32_t type, std::vector<Segment>& segments) const {
  const uint64_t size = request.chain.readable_size - kHeaderSize;
  if (size == 0 || size % kSegmentSize != 0 || size / kSegmentSize > kMaxSegments) return VIRTIO_BLK_S_IOERR;
  std::array<uint8_t, kMaxSegments * kSegmentSize> raw;
  request.chain.read(memory_, kHeaderSize, std::span(raw).first(size));
  for (size_t at = 0; at < size; at += kSegmentSize) {
    const uint64_t sector = get64(raw, at);
    const uint32_t sectors = get32(raw, at + 8), flags = get32(raw, at + 12);
    if ((flags & ~kFlagUnmap) != 0 || (type == VIRTIO_BLK_T_DISCARD && flags != 0)) return VIRTIO_BLK_S_UNSUPP;
    if (sector > capacity_ / kSector || sectors > capacity_ / kSector - sector || sectors > kMaxSegmentSectors)
      return VIRTIO_BLK_S_IOERR;
    const Segment segment{sector * kSector, uint64_t{sectors} * kSector, (flags & kFlagUnmap) != 0};
    if (!aligned(segment.offset, segment.length)) return VIRTIO_BLK_S_IOERR;
    segments.push_back(segment);
  }
  return VIRTIO_BLK_S_OK;
}

Task<uint8_t> Block::discard_or_zero(Request& request, uint32_t type) {
  if (read_only_) co_return VIRTIO_BLK_S_IOERR;
  std::vector<Segment> segments;
  if (const uint8_t status = parse_segments(request, type, segments); status != VIRTIO_BLK_S_OK) co_return status;
  for (const Segment& segment : segments) {
    if (segment.length == 0) continue;
    if (type == VIRTIO_BLK_T_DISCARD) {
      const block::Errno result = co_await node_.discard(segment.offset, segment.length);
      if (result != 0) co_return status_of(result, "discard");
      continue;
    }
    const block::Errno result = co_await node_.write_zeroes(segment.offset, segment.length, segment.unmap);
    if (result != 0) co_return status_of(result, "write zeroes");
  }
  // Zeroes are data: without a write cache they are stable when the driver is told (5.2.6.2).
  if (type == VIRTIO_BLK_T_WRITE_ZEROES && !writeback()) co_return status_of(co_await node_.flush(), "flush");
  co_return VIRTIO_BLK_S_OK;
}

}  // namespace skerry::virtio
