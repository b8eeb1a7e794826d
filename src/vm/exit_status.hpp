// What the process's exit status says. Documented in docs/man/skerry-run.1 and in `skerry run --help`.
#pragma once

namespace skerry::vm {

// Odd statuses belong to the guest: isa-debug-exit gives (value << 1) | 1. So all of ours are even.
enum ExitStatus : int {
  kExitOk = 0,           // powered off, reset under --no-reboot, or ended by Ctrl-A x or the monitor's quit
  kExitBadInput = 2,     // an option, a file, a kernel
  kExitTripleFault = 4,  // under --no-reboot
  kExitInternal = 6,     // the VMM itself failed
  kExitSignal = 8,       // SIGTERM, SIGINT or SIGHUP ended it
};

}  // namespace skerry::vm
