#include "base/helper.hpp"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <string_view>

#include "base/child_process.hpp"

namespace skerry {

namespace {

constexpr int kPatienceMs = 20'000;  // a machine may be slow; opening sockets and folders is not

// It is installed beside this program, which is /proc/self/exe.
Result<std::string> find_beside(std::string_view name) {
  std::array<char, PATH_MAX> self{};
  const ssize_t size = ::readlink("/proc/self/exe", self.data(), self.size() - 1);
  if (size < 0) return errno_error(errno, "cannot find this program's own folder (/proc/self/exe)");
  std::string path(self.data(), static_cast<size_t>(size));
  path.resize(path.rfind('/') + 1);
  path += name;
  if (::access(path.c_str(), X_OK) != 0)
    return errno_error(errno, fmt::format("cannot run '{}', which belongs beside skerry-vm; install both", path));
  return path;
}

void report(char first, std::string_view text) {
  std::string message(1, first);
  message += text.substr(0, kMaxHelperMessage - 1);
  (void)::send(kHelperControl, message.data(), message.size(), MSG_NOSIGNAL);
}

Result<void> wait_until_ready(int control, const std::string& program) {
  pollfd ready{control, POLLIN, 0};
  int polled;
  do polled = ::poll(&ready, 1, kPatienceMs);
  while (polled < 0 && errno == EINTR);
  if (polled <= 0) return error("'{}' does not answer; is the machine overloaded? try again", program);
  std::array<char, kMaxHelperMessage> message;
  const ssize_t size = ::recv(control, message.data(), message.size(), MSG_DONTWAIT);
  if (size <= 0) return error("'{}' could not be started or ended at once; run it by hand to see why", program);
  if (message[0] == kHelperReady) return ok();
  return Error(std::string(message.data() + 1, static_cast<size_t>(size) - 1));
}

}  // namespace

Result<UniqueFd> start_helper(std::string_view name, const std::vector<std::string>& arguments,
                              const std::vector<int>& descriptors) {
  const auto program = find_beside(name);
  if (!program) return program.error();
  int pair[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
    return errno_error(errno, fmt::format("cannot make a socket for {}", name));
  UniqueFd ours(pair[0]), theirs(pair[1]);
  std::vector<int> wanted{theirs.get()};
  wanted.insert(wanted.end(), descriptors.begin(), descriptors.end());
  const auto child = start_child(*program, arguments, wanted);
  if (!child) return child.error();
  theirs.reset();
  if (auto ready = wait_until_ready(ours.get(), *program); !ready) {
    stop_child(*child);
    return std::move(ready).error();
  }
  ::fcntl(ours.get(), F_SETFL, O_NONBLOCK);
  return ours;
}

void report_ready() { report(kHelperReady, {}); }
void report_failure(std::string_view why) { report(kHelperFailed, why); }

}  // namespace skerry
