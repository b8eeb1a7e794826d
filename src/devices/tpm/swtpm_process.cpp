#include "devices/tpm/swtpm_process.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <string_view>

#include "base/child_process.hpp"
#include "base/clock.hpp"
#include "base/unix_socket.hpp"

namespace skerry::devices::tpm {

namespace {

constexpr const char* kLog = "swtpm.log";
// What a VM that ended while it was being restored may have left: the next start would take it for its own state.
constexpr const char* kVolatileState = "tpm2-00.volatilestate";
// The swtpm of a VM that has just ended has the folder for a moment more.
constexpr int64_t kLockPatience = 2'000'000'000;
constexpr timespec kLockPause = {0, 10'000'000};
// swtpm's descriptors.
constexpr int kControl = kFirstChildFd, kFolder = kFirstChildFd + 1;

Result<UniqueFd> open_folder(const std::string& folder) {
  if (::mkdir(folder.c_str(), 0700) != 0 && errno != EEXIST) return errno_error(errno, "cannot make this folder");
  UniqueFd fd(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd && errno == ENOTDIR) return error("is no folder; give one for the state of the TPM");
  if (!fd) return errno_error(errno, "cannot open this folder");
  return fd;
}

// The lock is that of the open folder, so swtpm, which gets a copy of the descriptor, keeps it too.
Result<void> lock(int folder) {
  const int64_t deadline = VmClock::host_now() + kLockPatience;
  while (::flock(folder, LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK && errno != EINTR) return errno_error(errno, "cannot lock this folder");
    if (VmClock::host_now() >= deadline) return error("another VM has its TPM there; end it, or use another folder");
    ::nanosleep(&kLockPause, nullptr);
  }
  return ok();
}

// The last line that swtpm has written; empty: none.
std::string last_line(int folder) {
  const UniqueFd log(::openat(folder, kLog, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  std::array<char, 4096> buffer;
  const ssize_t size = log ? ::read(log.get(), buffer.data(), buffer.size()) : 0;
  std::string_view text(buffer.data(), size > 0 ? static_cast<size_t>(size) : 0);
  while (text.ends_with('\n')) text.remove_suffix(1);
  const size_t end = text.rfind('\n');
  std::string line(end == text.npos ? text : text.substr(end + 1));
  for (char& c : line)
    if (c < ' ' || c > '~') c = '?';
  return line;
}

Result<UniqueFd> start_process(int folder, const std::string& program, pid_t& child) {
  int pair[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) return errno_error(errno, "cannot make a socket for swtpm");
  UniqueFd ours(pair[0]);
  const UniqueFd theirs(pair[1]);
  // By its descriptor, whose name has nothing that would part swtpm's options.
  const std::string state = fmt::format("/proc/self/fd/{}", kFolder);
  const auto started = start_child(
      program,
      {"socket", "--tpm2", "--tpmstate", fmt::format("dir={},mode=0600", state), "--ctrl", fmt::format("type=unixio,clientfd={}", kControl),
       "--terminate", "--log", fmt::format("file={}/{},truncate,level=1", state, kLog)},
      {theirs.get(), folder}, ChildRights::kNone);
  if (!started) return started.error();
  child = *started;
  return ours;
}

Result<std::unique_ptr<Swtpm>> start_in(int folder, const std::string& label) {
  const auto program = find_program(kSwtpmProgram);
  if (!program) return error("{}: there is no program swtpm; install the package swtpm", label);
  ::unlinkat(folder, kVolatileState, 0);
  pid_t child = 0;
  auto control = start_process(folder, *program, child);
  if (!control) return std::move(control).error().in(label);
  auto swtpm = Swtpm::open(std::move(*control), label);
  if (swtpm) return swtpm;
  stop_child(child);
  const std::string said = last_line(folder);
  return error("{}{}{}", swtpm.error().message(), said.empty() ? "" : "; it says: ", said);
}

}  // namespace

Result<std::unique_ptr<Swtpm>> start_swtpm(const std::string& folder, std::string label) {
  const auto fd = open_folder(folder);
  if (!fd) return Error(fd.error()).in(label);
  if (auto locked = lock(fd->get()); !locked) return std::move(locked).error().in(label);
  return start_in(fd->get(), label);
}

Result<std::unique_ptr<Swtpm>> connect_swtpm(const std::string& path, std::string label) {
  const auto address = unix_address(label, path);
  if (!address) return address.error();
  UniqueFd control = connect_unix(*address);
  if (!control)
    return errno_error(
        errno, fmt::format("{}: cannot connect; start 'swtpm socket --tpm2 --tpmstate dir=DIR --ctrl type=unixio,path={}'", label, path));
  return Swtpm::open(std::move(control), std::move(label));
}

}  // namespace skerry::devices::tpm
