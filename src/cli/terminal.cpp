#include "cli/terminal.hpp"

#include <signal.h>
#include <unistd.h>

namespace skerry::cli {

void Terminal::hold() {
  if (held_ || !::isatty(STDIN_FILENO)) return;
  // In the background the terminal is somebody else's; hold() is called again when we come to the front (SIGCONT).
  // A terminal that is not the controlling one has no such thing.
  const pid_t front = ::tcgetpgrp(STDIN_FILENO);
  if (front >= 0 && front != ::getpgrp()) return;
  if (::tcgetattr(STDIN_FILENO, &saved_) != 0) return;
  termios raw = saved_;
  ::cfmakeraw(&raw);
  raw.c_oflag = saved_.c_oflag;  // log lines on the same terminal begin at its left edge
  held_ = ::tcsetattr(STDIN_FILENO, TCSANOW, &raw) == 0;
}

void Terminal::release() {
  if (!held_) return;
  // From the background, tcsetattr() would stop this process by SIGTTOU with the terminal still raw.
  sigset_t ttou, before;
  ::sigemptyset(&ttou);
  ::sigaddset(&ttou, SIGTTOU);
  ::sigprocmask(SIG_BLOCK, &ttou, &before);
  ::tcsetattr(STDIN_FILENO, TCSANOW, &saved_);
  ::sigprocmask(SIG_SETMASK, &before, nullptr);
  held_ = false;
}

}  // namespace skerry::cli
