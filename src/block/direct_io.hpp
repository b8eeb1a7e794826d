// Requests of any alignment on a file that is open with O_DIRECT, open(2).
//
// What is aligned goes to the kernel as it is. The rest goes through buffers of our own; a write of a part of a block
// reads the block, changes it and writes it back, and no overlapping write is under way meanwhile. The file's size is a
// multiple of the alignment. Thread of the event loop.
#pragma once

#include "block/aio.hpp"
#include "block/bounce_pool.hpp"
#include "block/range_lock.hpp"

namespace skerry::block {

class DirectIo {
 public:
  struct Alignment {         // powers of two
    uint32_t request = 512;  // of offsets and lengths
    uint32_t memory = 512;
  };
  // `file`: of `aio`.
  DirectIo(Aio& aio, unsigned file, Alignment alignment)
      : aio_(aio), file_(file), alignment_(alignment), pool_(std::max<size_t>(alignment.memory, 4096)) {}

  Task<Errno> read(uint64_t offset, std::span<const iovec> to);
  Task<Errno> write(uint64_t offset, std::span<const iovec> from, bool durable);
  // fallocate(2) in order with writes of parts of blocks.
  Task<Errno> allocate(int mode, uint64_t offset, uint64_t length);
  Task<Errno> discard(uint64_t offset, uint64_t length);

 private:
  bool is_whole(uint64_t offset, uint64_t length) const { return ((offset | length) & (alignment_.request - 1)) == 0; }
  bool memory_fits(std::span<const iovec> buffers) const;
  RangeLock::Acquire order(uint64_t offset, uint64_t length, bool whole);
  struct Step;
  Step step(uint64_t offset, uint64_t left) const;
  Task<Errno> read_bounced(uint64_t offset, std::span<const iovec> to);
  Task<Errno> write_bounced(uint64_t offset, std::span<const iovec> from, bool durable);

  Aio& aio_;
  const unsigned file_;
  const Alignment alignment_;
  RangeLock ranges_;
  BouncePool pool_;
};

}  // namespace skerry::block
