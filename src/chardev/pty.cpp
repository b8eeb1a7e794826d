// "pty": a new pseudo-terminal, for `screen /dev/pts/N` and the like.
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <termios.h>

#include <array>
#include <cerrno>

#include "base/log.hpp"
#include "chardev/backends.hpp"
#include "chardev/stream.hpp"

namespace skerry::chardev {

namespace {
constexpr size_t kInputBacklog = 4 * KiB;

// The other end is held open here too: without that, the master is hung up (EIO, and EPOLLHUP for ever) whenever
// nobody has it open. The price is not to know whether somebody reads, hence kDropOldest.
class Pty final : public Stream {
 public:
  Pty(UniqueFd master, UniqueFd held_open)
      : Stream(kInputBacklog, WhenFull::kDropOldest), held_open_(std::move(held_open)) {
    open_both(HostFd::owned(std::move(master)));
  }

 private:
  UniqueFd held_open_;
};
}  // namespace

Result<std::unique_ptr<Chardev>> open_pty() {
  constexpr std::string_view kDoing = "console 'pty': cannot make a pseudo-terminal";
  UniqueFd master(::posix_openpt(O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC));
  if (!master || ::grantpt(master.get()) != 0 || ::unlockpt(master.get()) != 0) return errno_error(errno, kDoing);
  std::array<char, PATH_MAX> path{};
  if (const int failed = ::ptsname_r(master.get(), path.data(), path.size()); failed != 0)
    return errno_error(failed, kDoing);
  UniqueFd other(::open(path.data(), O_RDWR | O_NOCTTY | O_CLOEXEC));
  if (!other) return errno_error(errno, fmt::format("console 'pty': cannot open {}", path.data()));

  termios mode{};
  if (::tcgetattr(other.get(), &mode) != 0) return errno_error(errno, kDoing);
  ::cfmakeraw(&mode);  // no echo: it would come back to the guest as input
  if (::tcsetattr(other.get(), TCSANOW, &mode) != 0) return errno_error(errno, kDoing);
  log::info("console is {}", path.data());
  return std::unique_ptr<Chardev>(std::make_unique<Pty>(std::move(master), std::move(other)));
}

}  // namespace skerry::chardev
