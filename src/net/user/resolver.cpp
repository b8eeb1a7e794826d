#include "net/user/resolver.hpp"

#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <ctime>

#include "base/program_pages.hpp"
#include "net/user/sandbox.hpp"

namespace skerry::net::user {

namespace {

std::string folder_of(const std::string& path) {
  const size_t slash = path.rfind('/');
  return slash == 0 || slash == path.npos ? "/" : path.substr(0, slash);
}

// The folder where the file's name is, and that of what a link there leads to: files are often replaced, not written.
bool watch_folders(int inotify, const std::string& path) {
  constexpr uint32_t kEvents = IN_CLOSE_WRITE | IN_MOVED_TO | IN_CREATE | IN_DELETE | IN_ONLYDIR;
  const bool watched = ::inotify_add_watch(inotify, folder_of(path).c_str(), kEvents) >= 0;
  std::array<char, PATH_MAX> real;
  if (::realpath(path.c_str(), real.data())) ::inotify_add_watch(inotify, folder_of(real.data()).c_str(), kEvents);
  return watched;
}

// Without the file the copy is empty: names are not resolved then, as on the host.
void copy_file(const std::string& path, int copy) {
  std::array<char, kMaxResolvConf> text;
  const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  const ssize_t got = file ? ::read(file.get(), text.data(), text.size()) : 0;
  const size_t size = got > 0 ? static_cast<size_t>(got) : 0;
  [[maybe_unused]] const ssize_t written = ::pwrite(copy, text.data(), size, 0);
  [[maybe_unused]] const int cut = ::ftruncate(copy, static_cast<off_t>(size));
}

// The process: sleeps until something changes in the folders.
[[noreturn]] void follow(const std::string& path, int copy, int inotify) {
  ::prctl(PR_SET_NAME, "skerry-resolv");
  if (!drop_rights() || !confine_resolver()) ::_exit(1);
  give_back_program_pages();
  for (;;) {
    copy_file(path, copy);
    alignas(inotify_event) std::array<char, 4096> events;
    if (::read(inotify, events.data(), events.size()) < 0 && errno != EINTR) ::_exit(1);
    // A folder in which much happens must not keep this busy; what changes meanwhile waits in the queue.
    const timespec pause{0, 500'000'000};
    ::nanosleep(&pause, nullptr);
    (void)watch_folders(inotify, path);
  }
}

}  // namespace

Result<UniqueFd> follow_resolv_conf(const std::string& path) {
  UniqueFd copy(::memfd_create("skerry-resolv", MFD_CLOEXEC));
  if (!copy) return errno_error(errno, "cannot make a copy of /etc/resolv.conf");
  copy_file(path, copy.get());
  const UniqueFd inotify(::inotify_init1(IN_CLOEXEC));
  if (!inotify || !watch_folders(inotify.get(), path)) return copy;  // then the copy stays as it is
  const pid_t parent = ::getpid(), child = ::fork();
  if (child < 0) return errno_error(errno, "cannot start a process that follows /etc/resolv.conf");
  if (child == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != parent) ::_exit(0);  // it died before the line above
    // Whoever waits for skerry-net's sockets to close must not wait for this process.
    ::dup2(copy.get(), 3);
    ::dup2(inotify.get(), 4);
    ::close_range(5, ~0u, 0);
    follow(path, 3, 4);
  }
  return copy;
}

}  // namespace skerry::net::user
