// Definitions that take the place of the C library's in this program, so that system calls can be made to fail.
#include <sys/syscall.h>
#include <sys/uio.h>

#include "unit/block/support.hpp"

namespace skerry::block::faults {

void none() {
  most_bytes = 0;
  interruptions = sync_error = allocate_error = 0;
  durable_writes = syncs = 0;
}

namespace {

bool interrupted() {
  int left = interruptions;
  while (left > 0)
    if (interruptions.compare_exchange_weak(left, left - 1)) return true;
  return false;
}

ssize_t transfer(long call, int fd, const iovec* buffers, int count, off_t offset, int flags) {
  if (interrupted()) {
    errno = EINTR;
    return -1;
  }
  std::vector<iovec> some;
  uint64_t left = most_bytes ? most_bytes.load() : UINT64_MAX;
  for (int i = 0; i < count && left != 0; ++i) {
    some.push_back({buffers[i].iov_base, std::min<uint64_t>(buffers[i].iov_len, left)});
    left -= some.back().iov_len;
  }
  return ::syscall(call, fd, some.data(), some.size(), offset, 0, flags);
}

}  // namespace
}  // namespace skerry::block::faults

namespace faults = skerry::block::faults;

extern "C" {

ssize_t preadv2(int fd, const iovec* buffers, int count, off_t offset, int flags) {
  return faults::transfer(SYS_preadv2, fd, buffers, count, offset, flags);
}

ssize_t pwritev2(int fd, const iovec* buffers, int count, off_t offset, int flags) {
  if (flags & RWF_DSYNC) ++faults::durable_writes;
  return faults::transfer(SYS_pwritev2, fd, buffers, count, offset, flags);
}

int fdatasync(int fd) {
  ++faults::syncs;
  if (faults::sync_error) {
    errno = faults::sync_error;
    return -1;
  }
  return static_cast<int>(::syscall(SYS_fdatasync, fd));
}

int fallocate(int fd, int mode, off_t offset, off_t length) {
  if (faults::allocate_error) {
    errno = faults::allocate_error;
    return -1;
  }
  return static_cast<int>(::syscall(SYS_fallocate, fd, mode, offset, length));
}

}  // extern "C"
