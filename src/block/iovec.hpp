// Arithmetic on lists of buffers, as readv(2) takes them.
#pragma once

#include <sys/uio.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

namespace skerry::block {

inline uint64_t length_of(std::span<const iovec> buffers) {
  uint64_t length = 0;
  for (const iovec& buffer : buffers) length += buffer.iov_len;
  return length;
}

// Calls `each` with the pieces of memory that hold [offset, offset + length) of the buffers, in order. The range lies
// inside.
template <typename Each>
void for_each_piece(std::span<const iovec> buffers, uint64_t offset, uint64_t length, Each each) {
  for (const iovec& buffer : buffers) {
    if (length == 0) return;
    if (offset >= buffer.iov_len) {
      offset -= buffer.iov_len;
      continue;
    }
    const uint64_t piece = std::min<uint64_t>(buffer.iov_len - offset, length);
    each(std::span(static_cast<uint8_t*>(buffer.iov_base) + offset, piece));
    offset = 0;
    length -= piece;
  }
}

inline std::vector<iovec> slice(std::span<const iovec> buffers, uint64_t offset, uint64_t length) {
  std::vector<iovec> pieces;
  for_each_piece(buffers, offset, length, [&](std::span<uint8_t> piece) {
    pieces.push_back({piece.data(), piece.size()});
  });
  return pieces;
}

inline void fill_zeroes(std::span<const iovec> buffers, uint64_t offset, uint64_t length) {
  for_each_piece(buffers, offset, length, [](std::span<uint8_t> piece) { std::memset(piece.data(), 0, piece.size()); });
}

inline void copy_to(std::span<const iovec> buffers, uint64_t offset, std::span<const uint8_t> from) {
  for_each_piece(buffers, offset, from.size(), [&](std::span<uint8_t> piece) {
    std::memcpy(piece.data(), from.data(), piece.size());
    from = from.subspan(piece.size());
  });
}

inline void copy_from(std::span<const iovec> buffers, uint64_t offset, std::span<uint8_t> to) {
  for_each_piece(buffers, offset, to.size(), [&](std::span<uint8_t> piece) {
    std::memcpy(to.data(), piece.data(), piece.size());
    to = to.subspan(piece.size());
  });
}

}  // namespace skerry::block
