#include "net/helper.hpp"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <string_view>

namespace skerry::net {

namespace {

constexpr int kPatienceMs = 20'000;  // a machine may be slow; opening sockets is not
constexpr int kStartFailed = 127;

// skerry-net is installed beside this program, which is /proc/self/exe.
Result<std::string> find_program() {
  std::array<char, PATH_MAX> self{};
  const ssize_t size = ::readlink("/proc/self/exe", self.data(), self.size() - 1);
  if (size < 0) return errno_error(errno, "cannot find this program's own folder (/proc/self/exe)");
  std::string path(self.data(), static_cast<size_t>(size));
  path.resize(path.rfind('/') + 1);
  path += "skerry-net";
  if (::access(path.c_str(), X_OK) != 0)
    return errno_error(errno, fmt::format("cannot run '{}', which belongs beside skerry-vm; install both", path));
  return path;
}

// After fork(): only async-signal-safe calls. `sources` are above the numbers that they are moved to.
[[noreturn]] void become_helper(const char* program, char* const* arguments, const std::vector<int>& sources, int null,
                                pid_t parent) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) ::_exit(kStartFailed);  // it died before the line above
  ::dup2(null, STDIN_FILENO);
  ::dup2(null, STDOUT_FILENO);
  int next = kHelperControl;
  for (const int source : sources) ::dup2(source, next++);
  ::close_range(static_cast<unsigned>(next), ~0u, 0);
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  ::execv(program, arguments);
  ::_exit(kStartFailed);
}

// Copies with numbers that no target of dup2() has.
Result<std::vector<UniqueFd>> out_of_the_way(std::vector<int> fds) {
  std::vector<UniqueFd> copies;
  for (const int fd : fds) {
    copies.emplace_back(::fcntl(fd, F_DUPFD_CLOEXEC, kHelperControl + static_cast<int>(fds.size())));
    if (!copies.back()) return errno_error(errno, "cannot copy a descriptor");
  }
  return copies;
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

Result<UniqueFd> start_helper(const std::vector<std::string>& arguments, const std::vector<int>& descriptors) {
  const auto program = find_program();
  if (!program) return program.error();
  int pair[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
    return errno_error(errno, "cannot make a socket for skerry-net");
  UniqueFd ours(pair[0]), theirs(pair[1]);
  const UniqueFd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
  if (!null) return errno_error(errno, "cannot open /dev/null");
  std::vector<int> wanted{theirs.get()};
  wanted.insert(wanted.end(), descriptors.begin(), descriptors.end());
  auto copies = out_of_the_way(wanted);
  if (!copies) return std::move(copies).error();
  std::vector<int> sources;
  for (const UniqueFd& copy : *copies) sources.push_back(copy.get());
  std::vector<char*> words{const_cast<char*>(program->c_str())};
  for (const std::string& argument : arguments) words.push_back(const_cast<char*>(argument.c_str()));
  words.push_back(nullptr);

  const pid_t parent = ::getpid(), child = ::fork();
  if (child < 0) return errno_error(errno, "cannot start a process for the network");
  if (child == 0) become_helper(program->c_str(), words.data(), sources, null.get(), parent);
  theirs.reset();
  copies->clear();
  if (auto ready = wait_until_ready(ours.get(), *program); !ready) {
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
    return std::move(ready).error();
  }
  ::fcntl(ours.get(), F_SETFL, O_NONBLOCK);
  return ours;
}

}  // namespace skerry::net
