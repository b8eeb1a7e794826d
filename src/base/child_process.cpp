#include "base/child_process.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>

#include "base/fd.hpp"

namespace skerry {

namespace {

constexpr int kStartFailed = 127;
constexpr std::string_view kUsualPath = "/usr/local/bin:/usr/bin:/bin";

// As root too: what execve() gives it is within the bounding set (capabilities(7)). Who may not change that set has nothing to lose.
void give_up_rights() {
  for (unsigned long capability = 0; capability < 64; ++capability) ::prctl(PR_CAPBSET_DROP, capability, 0, 0, 0);
  ::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
  ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
}

// After fork(): only async-signal-safe calls. `sources` are above the numbers that they are moved to.
[[noreturn]] void become(const char* program, char* const* arguments, const std::vector<int>& sources, int null, pid_t parent,
                         ChildRights rights) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) ::_exit(kStartFailed);  // it died before the line above
  if (rights == ChildRights::kNone) give_up_rights();
  ::setpgid(0, 0);  // a terminal's signals are for us
  ::dup2(null, STDIN_FILENO);
  ::dup2(null, STDOUT_FILENO);
  int next = kFirstChildFd;
  for (const int source : sources) ::dup2(source, next++);
  ::close_range(static_cast<unsigned>(next), ~0u, 0);
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  ::execv(program, arguments);
  ::_exit(kStartFailed);
}

// Copies with numbers that no target of dup2() has.
Result<std::vector<UniqueFd>> out_of_the_way(const std::vector<int>& fds) {
  std::vector<UniqueFd> copies;
  for (const int fd : fds) {
    copies.emplace_back(::fcntl(fd, F_DUPFD_CLOEXEC, kFirstChildFd + static_cast<int>(fds.size())));
    if (!copies.back()) return errno_error(errno, "cannot copy a descriptor");
  }
  return copies;
}

}  // namespace

Result<pid_t> start_child(const std::string& program, const std::vector<std::string>& arguments, const std::vector<int>& descriptors,
                          ChildRights rights) {
  const UniqueFd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
  if (!null) return errno_error(errno, "cannot open /dev/null");
  const auto copies = out_of_the_way(descriptors);
  if (!copies) return copies.error();
  std::vector<int> sources;
  for (const UniqueFd& copy : *copies) sources.push_back(copy.get());
  std::vector<char*> words{const_cast<char*>(program.c_str())};
  for (const std::string& argument : arguments) words.push_back(const_cast<char*>(argument.c_str()));
  words.push_back(nullptr);

  const pid_t parent = ::getpid(), child = ::fork();
  if (child < 0) return errno_error(errno, fmt::format("cannot start a process for '{}'", program));
  if (child == 0) become(program.c_str(), words.data(), sources, null.get(), parent, rights);
  return child;
}

void stop_child(pid_t child) {
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
}

std::optional<std::string> find_program(std::string_view name) {
  const char* given = std::getenv("PATH");
  for (std::string_view path = given && *given ? given : kUsualPath; !path.empty();) {
    const size_t colon = path.find(':');
    const std::string candidate = fmt::format("{}/{}", path.substr(0, colon), name);
    if (candidate.starts_with('/') && ::access(candidate.c_str(), X_OK) == 0) return candidate;
    path = colon == path.npos ? std::string_view() : path.substr(colon + 1);
  }
  return std::nullopt;
}

}  // namespace skerry
