#include "block/raw_file.hpp"

#include <fcntl.h>
#include <linux/falloc.h>

#include <algorithm>
#include <cerrno>
#include <vector>

#include "base/log.hpp"
#include "block/iovec.hpp"

namespace skerry::block {

namespace {

constexpr size_t kZeroes = 64 * KiB;
constexpr uint64_t kZeroesAtOnce = 4 * MiB;

bool is_direct(Cache cache) { return cache == Cache::kNone || cache == Cache::kDirectsync; }

bool is_unsupported(Errno failure) {
  return failure == EOPNOTSUPP || failure == ENOSYS || failure == ENOTTY || failure == ENODEV;
}

Task<Errno> ended(Errno result) { co_return result; }

}  // namespace

Result<std::unique_ptr<RawFile>> RawFile::open(Aio& aio, const std::string& path, RawFileOptions options) {
  const std::string disk = fmt::format("disk '{}'", path);
  auto image = open_image(path, options.read_only, is_direct(options.cache));
  if (!image) return std::move(image).error().in(disk);
  const Aio::FileKind kind{.alignment = is_direct(options.cache) ? image->alignment.request : 1,
                           .discards = image->device && !options.read_only};
  auto file = aio.add_file(image->fd.get(), kind);
  if (!file) return std::move(file).error().in(disk);
  std::unique_ptr<RawFile> raw(new RawFile(aio, path, options, std::move(*image)));
  raw->file_ = *file;
  if (is_direct(options.cache)) raw->direct_.emplace(aio, *file, raw->image_.alignment);
  return raw;
}

RawFile::RawFile(Aio& aio, std::string path, RawFileOptions options, ImageFile image)
    : aio_(aio),
      path_(std::move(path)),
      options_(options),
      image_(std::move(image)),
      each_write_durable_(options.cache == Cache::kWritethrough || options.cache == Cache::kDirectsync),
      zeroes_(kZeroes, std::max<size_t>(image_.alignment.memory, 4096)) {}

RawFile::~RawFile() { aio_.remove_file(file_); }

Limits RawFile::limits() const {
  Limits limits;
  if (direct_) {
    limits.request_alignment = image_.alignment.request;
    limits.memory_alignment = image_.alignment.memory;
  }
  limits.discard_alignment = image_.device ? image_.logical_block : image_.optimal_io;
  limits.optimal_io = image_.optimal_io;
  return limits;
}

Errno RawFile::check(uint64_t offset, uint64_t length, bool writes) const {
  if (writes && options_.read_only) return EPERM;
  return offset > image_.size || length > image_.size - offset ? EINVAL : 0;
}

Task<Errno> RawFile::read(uint64_t offset, std::span<const iovec> to) {
  if (const Errno wrong = check(offset, length_of(to), false)) return ended(wrong);
  return direct_ ? direct_->read(offset, to) : aio_.read(file_, offset, to);
}

Task<Errno> RawFile::write(uint64_t offset, std::span<const iovec> from, bool fua) {
  if (const Errno wrong = check(offset, length_of(from), true)) return ended(wrong);
  return store(offset, from, each_write_durable_ || (fua && options_.cache != Cache::kUnsafe));
}

Task<Errno> RawFile::store(uint64_t offset, std::span<const iovec> from, bool durable) {
  return direct_ ? direct_->write(offset, from, durable) : aio_.write(file_, offset, from, durable);
}

// When the kernel could not write what the page cache has, it says so once and forgets: a flush after that would
// succeed although data is lost. So a disk that could not be flushed once never can again.
Task<Errno> RawFile::flush() {
  if (options_.read_only || options_.cache == Cache::kUnsafe) co_return 0;
  if (flush_failure_) co_return flush_failure_;
  const Errno failure = co_await aio_.sync(file_);
  if (failure && !flush_failure_) {
    log::failure("disk '{}': {}; what was written since the last flush may be lost, and no flush will succeed any more",
                 path_, errno_error(failure, "cannot write to the host's disk").message());
    flush_failure_ = failure;
  }
  co_return failure;
}

Task<Errno> RawFile::allocate(int mode, uint64_t offset, uint64_t length) {
  mode |= FALLOC_FL_KEEP_SIZE;
  return direct_ ? direct_->allocate(mode, offset, length) : aio_.allocate(file_, mode, offset, length);
}

Task<Errno> RawFile::discard(uint64_t offset, uint64_t length) {
  if (const Errno wrong = check(offset, length, true)) co_return wrong;
  const uint64_t alignment = image_.device ? image_.logical_block : 1;
  const uint64_t begin = align_up(offset, alignment), end = align_down(offset + length, alignment);
  if (begin >= end || no_discard_) co_return 0;
  Errno failure = 0;
  if (!image_.device) {
    failure = co_await allocate(FALLOC_FL_PUNCH_HOLE, begin, end - begin);
  } else if (direct_) {
    failure = co_await direct_->discard(begin, end - begin);
  } else {
    failure = co_await aio_.discard(file_, begin, end - begin);
  }
  if (!is_unsupported(failure)) co_return failure;
  no_discard_ = true;
  co_return 0;
}

Task<Errno> RawFile::write_zeroes(uint64_t offset, uint64_t length, bool may_unmap) {
  if (const Errno wrong = check(offset, length, true)) co_return wrong;
  if (length == 0) co_return 0;
  Errno failure = co_await zero_without_writing(offset, length, may_unmap);
  if (is_unsupported(failure)) {
    failure = co_await write_zero_bytes(offset, length);
  } else if (failure == 0 && each_write_durable_) {
    failure = co_await flush();
  }
  co_return failure;
}

// EOPNOTSUPP: bytes have to be written.
Task<Errno> RawFile::zero_without_writing(uint64_t offset, uint64_t length, bool may_unmap) {
  // Parts of a device's blocks are beyond fallocate().
  if (image_.device && (offset | length) % image_.logical_block != 0) co_return EOPNOTSUPP;
  if (may_unmap && !no_punch_) {
    const Errno failure = co_await allocate(FALLOC_FL_PUNCH_HOLE, offset, length);
    if (!is_unsupported(failure)) co_return failure;
    no_punch_ = true;
  }
  if (no_zero_range_) co_return EOPNOTSUPP;
  const Errno failure = co_await allocate(FALLOC_FL_ZERO_RANGE, offset, length);
  no_zero_range_ = is_unsupported(failure);
  co_return failure;
}

Task<Errno> RawFile::write_zero_bytes(uint64_t offset, uint64_t length) {
  const std::span<uint8_t> zeroes = zeroes_.bytes();
  while (length != 0) {
    const uint64_t now = std::min(length, kZeroesAtOnce);
    std::vector<iovec> buffers;
    for (uint64_t left = now; left != 0; left -= buffers.back().iov_len)
      buffers.push_back({zeroes.data(), std::min<uint64_t>(left, zeroes.size())});
    const Errno failure = co_await store(offset, buffers, each_write_durable_);
    if (failure) co_return failure;
    offset += now;
    length -= now;
  }
  co_return 0;
}

}  // namespace skerry::block
