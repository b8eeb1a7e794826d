#include "block/direct_io.hpp"

#include <algorithm>

#include "block/iovec.hpp"

namespace skerry::block {

// What one buffer holds of a request: blocks from `start` on, of which `length` bytes from `skip` on are the request's.
struct DirectIo::Step {
  uint64_t start, cover;
  uint64_t skip, length;
};

DirectIo::Step DirectIo::step(uint64_t offset, uint64_t left) const {
  const uint64_t start = align_down(offset, alignment_.request);
  const uint64_t skip = offset - start;
  const uint64_t length = std::min<uint64_t>(left, BouncePool::kBufferSize - skip);
  return {start, align_up(skip + length, alignment_.request), skip, length};
}

// Older kernels want every buffer's length aligned as the request's is.
bool DirectIo::memory_fits(std::span<const iovec> buffers) const {
  return std::all_of(buffers.begin(), buffers.end(), [this](const iovec& buffer) {
    return reinterpret_cast<uintptr_t>(buffer.iov_base) % alignment_.memory == 0 &&
           buffer.iov_len % alignment_.request == 0;
  });
}

RangeLock::Acquire DirectIo::order(uint64_t offset, uint64_t length, bool whole) {
  return ranges_.acquire(align_down(offset, alignment_.request), align_up(offset + length, alignment_.request), !whole);
}

Task<Errno> DirectIo::read(uint64_t offset, std::span<const iovec> to) {
  if (is_whole(offset, length_of(to)) && memory_fits(to)) return aio_.read(file_, offset, to);
  return read_bounced(offset, to);
}

Task<Errno> DirectIo::read_bounced(uint64_t offset, std::span<const iovec> to) {
  const uint64_t length = length_of(to);
  for (uint64_t done = 0; done < length;) {
    const Step now = step(offset + done, length - done);
    BouncePool::Lease buffer = co_await pool_.take();
    const iovec whole{buffer.bytes().data(), now.cover};
    const Errno failure = co_await aio_.read(file_, now.start, std::span(&whole, 1));
    if (failure) co_return failure;
    copy_to(to, done, buffer.bytes().subspan(now.skip, now.length));
    done += now.length;
  }
  co_return 0;
}

Task<Errno> DirectIo::write(uint64_t offset, std::span<const iovec> from, bool durable) {
  const uint64_t length = length_of(from);
  const bool whole = is_whole(offset, length);
  const RangeLock::Guard held = co_await order(offset, length, whole);
  Errno failure = 0;
  if (whole && memory_fits(from)) {
    failure = co_await aio_.write(file_, offset, from, durable);
  } else {
    failure = co_await write_bounced(offset, from, durable);
  }
  co_return failure;
}

Task<Errno> DirectIo::write_bounced(uint64_t offset, std::span<const iovec> from, bool durable) {
  const uint64_t length = length_of(from);
  for (uint64_t done = 0; done < length;) {
    const Step now = step(offset + done, length - done);
    BouncePool::Lease buffer = co_await pool_.take();
    const iovec whole{buffer.bytes().data(), now.cover};
    if (now.length != now.cover) {
      const Errno failure = co_await aio_.read(file_, now.start, std::span(&whole, 1));
      if (failure) co_return failure;
    }
    copy_from(from, done, buffer.bytes().subspan(now.skip, now.length));
    const Errno failure = co_await aio_.write(file_, now.start, std::span(&whole, 1), durable);
    if (failure) co_return failure;
    done += now.length;
  }
  co_return 0;
}

Task<Errno> DirectIo::allocate(int mode, uint64_t offset, uint64_t length) {
  const RangeLock::Guard held = co_await order(offset, length, true);
  const Errno failure = co_await aio_.allocate(file_, mode, offset, length);
  co_return failure;
}

Task<Errno> DirectIo::discard(uint64_t offset, uint64_t length) {
  const RangeLock::Guard held = co_await order(offset, length, true);
  const Errno failure = co_await aio_.discard(file_, offset, length);
  co_return failure;
}

}  // namespace skerry::block
