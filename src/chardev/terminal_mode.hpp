// The person's terminal, taken raw for a guest's console and given back.
#pragma once

#include <signal.h>
#include <termios.h>

#include "base/result.hpp"

namespace skerry::chardev {

// Not for the VM's own process: for the program that the person started, which outlives it. Destruction restores.
class TerminalMode {
 public:
  explicit TerminalMode(int fd) : fd_(fd) {}
  ~TerminalMode() { restore(); }
  TerminalMode(const TerminalMode&) = delete;
  TerminalMode& operator=(const TerminalMode&) = delete;

  // Every key goes to the guest, Ctrl-C included. Where `fd` is no terminal nothing is done, which is no failure.
  // Output processing stays on, so that log lines on the same terminal begin at its left edge.
  Result<void> make_raw();
  bool raw() const { return raw_ != 0; }
  // Async-signal-safe, and may be called again: a handler of SIGTERM or SIGTSTP may call it. errno is kept.
  void restore();

 private:
  int fd_;
  termios saved_{};
  volatile sig_atomic_t raw_ = 0;
};

}  // namespace skerry::chardev
