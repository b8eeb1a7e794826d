#include "vm/bus_error.hpp"

#include <signal.h>
#include <unistd.h>

#include <string_view>

#include "vm/exit_status.hpp"

namespace skerry::vm {

namespace {

// Runs in the midst of anything, translated code too: only async-signal-safe calls. There is no way on: the instruction
// would fault again.
void on_bus_error(int, siginfo_t*, void*) {
  constexpr std::string_view kText =
      "skerry: error: guest memory is gone: the state file that the VM was restored from has become shorter, or cannot be "
      "read any more; the VM has been ended. Keep a state file unchanged for as long as a VM that came from it runs\n";
  [[maybe_unused]] const ssize_t written = ::write(STDERR_FILENO, kText.data(), kText.size());
  ::_exit(kExitInternal);
}

}  // namespace

void report_bus_errors() {
  struct sigaction action {};
  action.sa_sigaction = on_bus_error;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  ::sigemptyset(&action.sa_mask);
  ::sigaction(SIGBUS, &action, nullptr);
}

}  // namespace skerry::vm
