// The exit statuses of `skerry run`, for the program and for its help. The manual page is checked against this table.
#pragma once

#include <string_view>

namespace skerry::cli {

// Odd statuses are the guest's, by isa-debug-exit; ours are even.
enum ExitStatus : int { kExitOk = 0, kExitBadInput = 2, kExitTripleFault = 4, kExitInternal = 6, kExitSignal = 8 };

// The one of `skerry doctor`, which starts no guest.
constexpr int kExitDoctorMissing = 1;

struct StatusMeaning {
  std::string_view status, meaning;
};
constexpr StatusMeaning kStatusMeanings[] = {
    {"0", "the guest powered off, or reset under --no-reboot; or Ctrl-A x, or quit by QMP or gdb"},
    {"2", "a bad option, or a file, socket or kernel that cannot be used"},
    {"4", "triple fault under --no-reboot"},
    {"6", "Skerry itself failed, or its process was killed"},
    {"8", "ended by SIGTERM, SIGINT or SIGHUP"},
    {"odd", "(value << 1) | 1 of what the guest wrote to the --isa-debug-exit port"},
};

}  // namespace skerry::cli
