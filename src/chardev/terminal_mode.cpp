#include "chardev/terminal_mode.hpp"

#include <unistd.h>

#include <cerrno>

namespace skerry::chardev {

Result<void> TerminalMode::make_raw() {
  if (raw_ || !::isatty(fd_)) return ok();
  if (::tcgetattr(fd_, &saved_) != 0) return errno_error(errno, "cannot read the terminal's mode");
  termios mode = saved_;
  ::cfmakeraw(&mode);
  mode.c_oflag |= saved_.c_oflag & (OPOST | ONLCR);
  mode.c_cc[VMIN] = 1;
  mode.c_cc[VTIME] = 0;
  raw_ = 1;  // before: a signal between the two then restores what is there already
  if (::tcsetattr(fd_, TCSANOW, &mode) != 0) {
    raw_ = 0;
    return errno_error(errno, "cannot make the terminal raw");
  }
  return ok();
}

void TerminalMode::restore() {
  if (!raw_) return;
  const int kept_errno = errno;
  // From the background, tcsetattr() would stop the process by SIGTTOU, with the terminal still raw.
  sigset_t ttou, before;
  ::sigemptyset(&ttou);
  ::sigaddset(&ttou, SIGTTOU);
  ::pthread_sigmask(SIG_BLOCK, &ttou, &before);
  ::tcsetattr(fd_, TCSANOW, &saved_);
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  raw_ = 0;
  errno = kept_errno;
}

}  // namespace skerry::chardev
