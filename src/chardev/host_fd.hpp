// One host file descriptor, read and written so that it never blocks the event loop.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <span>

#include "base/fd.hpp"

namespace skerry::chardev {

// Standard input and output are shared with the shell and with other programs, and O_NONBLOCK belongs to the open file
// description that they share: setting it would break the shell's terminal. So a pipe or terminal is opened a second
// time, through /proc/self/fd, and that description is non-blocking; a socket is sent to with MSG_DONTWAIT; a regular
// file is used as it is (it has a position to keep, and never blocks for long). Where the second opening is refused
// (a terminal of another user, no /proc), each access asks poll() first and writes no more than surely fits.
class HostFd {
 public:
  HostFd() = default;  // closed
  // Takes over a descriptor that is non-blocking already, or a regular file.
  static HostFd owned(UniqueFd fd);
  // Standard input (O_RDONLY) or output (O_WRONLY), as this process got it; closed if it got none.
  static HostFd inherited(int fd, int access);

  explicit operator bool() const { return get() >= 0; }
  int get() const { return owned_ ? owned_.get() : shared_; }
  void close();

  // What read(2) and write(2) give, or -errno. -EAGAIN: not now.
  ssize_t read(std::span<uint8_t> to) const;
  ssize_t write(std::span<const uint8_t> from) const;
  // Waits until it can be written, at most `timeout_ms`.
  bool wait_writable(int timeout_ms) const;

 private:
  UniqueFd owned_;
  int shared_ = -1;  // an inherited descriptor, not ours to close
  bool socket_ = false;
  size_t most_after_poll_ = 0;  // not 0: blocking; how many bytes surely fit where poll() says writable
};

}  // namespace skerry::chardev
