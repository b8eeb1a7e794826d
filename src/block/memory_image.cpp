#include "block/memory_image.hpp"

#include <cerrno>
#include <cstring>

namespace skerry::block {

Task<Errno> MemoryImage::read(uint64_t offset, std::span<const iovec> to) {
  if (offset > bytes_.size()) co_return EINVAL;
  uint64_t left = bytes_.size() - offset;
  for (const iovec& part : to) {  // all is checked before anything is copied
    if (part.iov_len > left) co_return EINVAL;
    left -= part.iov_len;
  }
  const uint8_t* from = bytes_.data() + offset;
  for (const iovec& part : to) {
    if (part.iov_len != 0) std::memcpy(part.iov_base, from, part.iov_len);
    from += part.iov_len;
  }
  co_return 0;
}

Task<Errno> MemoryImage::write(uint64_t, std::span<const iovec>, bool) { co_return EPERM; }
Task<Errno> MemoryImage::flush() { co_return 0; }
Task<Errno> MemoryImage::discard(uint64_t, uint64_t) { co_return EPERM; }
Task<Errno> MemoryImage::write_zeroes(uint64_t, uint64_t, bool) { co_return EPERM; }

}  // namespace skerry::block
