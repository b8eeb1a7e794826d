// A lock that keeps an image from being used twice: by two VMs of ours, or by one and a program of QEMU's.
//
// Locks on single bytes of the file (open file description locks, fcntl(2)), where QEMU has its own
// (block/file-posix.c): from RAW_LOCK_PERM_BASE on those of what a user does, from RAW_LOCK_SHARED_BASE on those of
// what it does not let others do. One that writes wants to be alone; several that read may share.
#pragma once

#include "base/fd.hpp"
#include "base/result.hpp"

namespace skerry::block {

class ImageLock {
 public:
  // Of the open file `fd`. Who has it is given a second to go. The error says who it is, as far as that can be found out,
  // and does not name the file. On file systems without locks there is a warning and no lock. Needs /proc; before the
  // sandbox closes.
  static Result<ImageLock> take(int fd, bool writes);

 private:
  explicit ImageLock(UniqueFd fd) : fd_(std::move(fd)) {}
  // An open file description of its own, which io_uring does not know: a ring lets go of its files some time after its
  // process has ended, and the lock should go with the process.
  UniqueFd fd_;
};

}  // namespace skerry::block
