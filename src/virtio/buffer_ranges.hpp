// The part of a chain's buffers that is data: walked over, and found in this process.
#pragma once

#include <sys/uio.h>

#include <algorithm>
#include <span>
#include <vector>

#include "memory/guest_memory.hpp"
#include "virtio/queue.hpp"

namespace skerry::virtio {

// Calls `visit` for each buffer's part of [skip, skip + size), until it says no. Whether it never did.
template <typename Visit>
bool for_data(std::span<const Buffer> buffers, uint64_t skip, uint64_t size, Visit visit) {
  for (const Buffer& buffer : buffers) {
    if (skip >= buffer.length) {
      skip -= buffer.length;
      continue;
    }
    const uint64_t here = std::min<uint64_t>(size, buffer.length - skip);
    if (here == 0) break;
    if (!visit(buffer.address + skip, here)) return false;
    size -= here;
    skip = 0;
  }
  return true;
}

// Where that is in this process, appended to `ranges`. False: not all of it is memory that may be used so.
inline bool data_ranges(const memory::GuestMemory& memory, std::span<const Buffer> buffers, uint64_t skip,
                        uint64_t size, bool for_write, std::vector<iovec>& ranges) {
  return for_data(buffers, skip, size,
                  [&](memory::Gpa gpa, uint64_t here) { return memory.host_ranges(gpa, here, for_write, ranges); });
}

// Says that it has been written to, wholly or in part.
inline void data_written(memory::GuestMemory& memory, std::span<const Buffer> buffers, uint64_t skip, uint64_t size) {
  for_data(buffers, skip, size, [&](memory::Gpa gpa, uint64_t here) {
    memory.written(gpa, here);
    return true;
  });
}

}  // namespace skerry::virtio
