#include "chardev/host_fd.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <limits.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace skerry::chardev {

namespace {
bool ready(int fd, int16_t events, int timeout_ms) {
  pollfd wait{fd, events, 0};
  return ::poll(&wait, 1, timeout_ms) > 0;
}
}  // namespace

HostFd HostFd::owned(UniqueFd fd) {
  HostFd result;
  struct stat about {};
  result.socket_ = ::fstat(fd.get(), &about) == 0 && S_ISSOCK(about.st_mode);
  result.owned_ = std::move(fd);
  return result;
}

HostFd HostFd::inherited(int fd, int access) {
  HostFd result;
  struct stat about {};
  if (::fstat(fd, &about) != 0) return result;
  result.shared_ = fd;
  result.socket_ = S_ISSOCK(about.st_mode);
  if (result.socket_ || S_ISREG(about.st_mode)) return result;

  result.owned_ =
      UniqueFd(::open(fmt::format("/proc/self/fd/{}", fd).c_str(), access | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
  // A pipe that poll() calls writable has a free page. A terminal may have room for one character only.
  if (!result.owned_) result.most_after_poll_ = S_ISFIFO(about.st_mode) ? PIPE_BUF : 1;
  return result;
}

void HostFd::close() {
  owned_.reset();
  shared_ = -1;
}

ssize_t HostFd::read(std::span<uint8_t> to) const {
  if (most_after_poll_ != 0 && !ready(get(), POLLIN, 0)) return -EAGAIN;
  for (;;) {
    const ssize_t got =
        socket_ ? ::recv(get(), to.data(), to.size(), MSG_DONTWAIT) : ::read(get(), to.data(), to.size());
    if (got >= 0) return got;
    if (errno != EINTR) return -errno;
  }
}

ssize_t HostFd::write(std::span<const uint8_t> from) const {
  if (most_after_poll_ != 0) {
    if (!ready(get(), POLLOUT, 0)) return -EAGAIN;
    from = from.first(std::min(from.size(), most_after_poll_));
  }
  for (;;) {
    const ssize_t put = socket_ ? ::send(get(), from.data(), from.size(), MSG_DONTWAIT | MSG_NOSIGNAL)
                                : ::write(get(), from.data(), from.size());
    if (put >= 0) return put;
    if (errno != EINTR) return -errno;
  }
}

bool HostFd::wait_writable(int timeout_ms) const { return ready(get(), POLLOUT, timeout_ms); }

}  // namespace skerry::chardev
