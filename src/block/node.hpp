// What a disk reads and writes: one node of the storage graph, a format over a file or the file itself.
//
// All members are called on the thread of the node's event loop, and their tasks run there. Several requests may be under
// way at once and may end in any order; a node puts no order between them. Who needs one waits (flush()).
#pragma once

#include <sys/uio.h>

#include <cstdint>
#include <span>

#include "base/task.hpp"

namespace skerry::block {

// 0, or the errno that says what went wrong: EIO, ENOSPC, EPERM (read-only), EINVAL (out of range or not aligned), ...
using Errno = int;

// What requests have to keep to. Powers of two, in bytes.
struct Limits {
  uint32_t request_alignment = 1;  // of offsets and lengths; 1 where the host's page cache stands between
  uint32_t memory_alignment = 1;   // of buffers
  uint32_t discard_alignment = 512;  // what is discarded in smaller pieces stays
  uint32_t optimal_io = 4096;
};

class Node {
 public:
  virtual ~Node() = default;

  virtual uint64_t size() const = 0;  // in bytes
  virtual bool read_only() const = 0;
  virtual Limits limits() const { return {}; }

  // The whole of [offset, offset + length of the buffers), which lies inside of size(). The buffers stay valid until
  // the task ends. A node copes with buffers that are not aligned as limits() wishes, by copying.
  virtual Task<Errno> read(uint64_t offset, std::span<const iovec> to) = 0;
  // Done means: a later read gives it. It survives a crash of the host only after a flush() that began later, or when
  // `fua` (force unit access) is set.
  virtual Task<Errno> write(uint64_t offset, std::span<const iovec> from, bool fua) = 0;
  virtual Task<Errno> flush() = 0;
  // The content becomes unspecified, the space may be given back. A hint: what cannot do it says 0 and does nothing.
  virtual Task<Errno> discard(uint64_t offset, uint64_t length) = 0;
  // The content becomes zero; `may_unmap` allows giving the space back.
  virtual Task<Errno> write_zeroes(uint64_t offset, uint64_t length, bool may_unmap) = 0;
};

}  // namespace skerry::block
