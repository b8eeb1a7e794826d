#include "block/aio_driver.hpp"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/vfs.h>

#include <algorithm>
#include <cerrno>

#include "base/clock.hpp"
#include "block/iovec.hpp"

namespace skerry::block {

namespace {

// A write that took longer than this has waited for something, and not just for a processor.
constexpr int64_t kLong = 5'000'000;
constexpr int64_t kShortestPause = 100'000'000, kLongestPause = 10'000'000'000;

// Those whose page cache takes writes by itself. A block device is a node in a tmpfs.
bool is_local(int fd) {
  constexpr long kXfs = 0x58465342;
  struct statfs about{};
  if (::fstatfs(fd, &about) != 0) return false;
  switch (about.f_type) {
    case EXT4_SUPER_MAGIC: case kXfs: case BTRFS_SUPER_MAGIC: case F2FS_SUPER_MAGIC: case TMPFS_MAGIC: case OVERLAYFS_SUPER_MAGIC:
      return true;
    default: return false;
  }
}

}  // namespace

void PageCache::add_file(unsigned slot, int fd) {
  unknown_[slot] = false;
  writes_[slot] = {.local = is_local(fd)};
}

bool PageCache::read(AioRequest& request) {
  if (request.op != AioRequest::Op::kRead || !request.may_complete || unknown_[request.file]) return false;
  const ssize_t got = ::preadv2(request.fd, request.buffers, static_cast<int>(request.count),
                                static_cast<off_t>(request.offset), RWF_NOWAIT);
  if (got < 0) {
    if (errno == EOPNOTSUPP) unknown_[request.file] = true;
    return false;
  }
  request.result = static_cast<int>(got);
  return true;
}

bool PageCache::write(AioRequest& request, bool turn_is_borrowed) {
  if (request.op != AioRequest::Op::kWrite || !request.may_complete || request.durable || slow_[request.file] != 0) return false;
  const uint64_t length = length_of({request.buffers, request.count});
  if (length > (turn_is_borrowed ? kShort : kMostWritten)) return false;
  Writes& writes = writes_[request.file];
  const auto write = [&](int flags) {
    return ::pwritev2(request.fd, request.buffers, static_cast<int>(request.count), static_cast<off_t>(request.offset), flags);
  };
  if (writes.nowait) {
    const ssize_t put = write(RWF_NOWAIT);
    if (put > 0) {
      request.result = static_cast<int>(put);
      return true;
    }
    if (put == 0 || errno != EOPNOTSUPP) return false;
    writes.nowait = false;
  }
  if (!writes.local) return false;
  const int64_t start = VmClock::host_now();
  if (start < writes.not_before) return false;
  const ssize_t put = write(0);
  request.result = put < 0 ? -errno : static_cast<int>(put);
  const int64_t end = VmClock::host_now();
  writes.pause = end - start > kLong ? std::clamp(2 * writes.pause, kShortestPause, kLongestPause) : 0;
  writes.not_before = end + writes.pause;
  return true;
}

}  // namespace skerry::block
