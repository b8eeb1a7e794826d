// What disks need of the kernel.
#include <algorithm>
#include <cerrno>
#include <cstring>

#include "doctor/remedies.hpp"
#include "doctor/subjects.hpp"

namespace skerry::doctor {

namespace {
constexpr uint64_t kEnoughFiles = 1024;
}

std::optional<Finding> check_io_uring(const Host& host) {
  const int failure = host.system().make_io_uring();
  if (failure == 0) return fine("there");
  const std::string found =
      fmt::format("cannot be used ({}): disks are read and written by threads, which is slower", ::strerror(failure));
  const auto disabled = host.number("/proc/sys/kernel/io_uring_disabled");
  if (disabled && *disabled > 0)
    return warning(
        found,
        fmt::format("as root: sysctl kernel.io_uring_disabled=0 (it is {}; look for it in /etc/sysctl.d)", *disabled));
  if (failure == EPERM || failure == EACCES)
    return warning(found,
                   "in a container, use a seccomp profile that allows io_uring_setup, io_uring_enter and "
                   "io_uring_register: docker run --security-opt seccomp=FILE");
  if (failure == ENOSYS)
    return warning(found,
                   "use a kernel with CONFIG_IO_URING, Linux 5.10 or newer; in a container, a seccomp profile that "
                   "allows io_uring_setup");
  if (failure == ENOMEM) return warning(found, "raise the limit of locked memory: ulimit -l 65536");
  return warning(found, "see what the kernel says: dmesg | tail");
}

std::optional<Finding> check_open_files(const Host& host) {
  const uint64_t limit = host.system().open_files_limit();
  if (limit >= kEnoughFiles) return fine(fmt::format("{}", limit));
  return warning(
      fmt::format("{}: a VM with many disks, networks and connections has too few", limit),
      fmt::format("ulimit -n {}; for good, as root: a line * soft nofile {} in /etc/security/limits.d/skerry.conf",
                  kEnoughFiles, kEnoughFiles));
}

}  // namespace skerry::doctor
