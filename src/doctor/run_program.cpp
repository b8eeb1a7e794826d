#include "doctor/run_program.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "base/fd.hpp"

namespace skerry::doctor {

namespace {

constexpr int kEndPeriod = 10;  // ms between two looks whether a program that has closed its output has ended

int64_t now_ms() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * int64_t{1000} + now.tv_nsec / 1'000'000;
}

struct Pipe {
  UniqueFd read, write;
};

Result<Pipe> make_pipe() {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return errno_error(errno, "cannot make a pipe");
  return Pipe{UniqueFd(ends[0]), UniqueFd(ends[1])};
}

// One of the streams of a program.
struct Stream {
  UniqueFd fd;
  std::string& text;
};

// Takes what is there, after poll() has said so; false once nothing more can come.
bool take(Stream& stream, bool& cut) {
  std::array<char, 16384> buffer;
  const ssize_t got = ::read(stream.fd.get(), buffer.data(), buffer.size());
  if (got < 0) return errno == EINTR;
  const size_t size = static_cast<size_t>(got), room = kMaxProgramOutput - stream.text.size();
  stream.text.append(buffer.data(), std::min(size, room));
  if (size > room) cut = true;
  return got > 0 && !cut;
}

// Until both are closed, one has more than there is room for, or it is time.
void read_both(std::array<Stream, 2>& streams, bool& cut, int64_t deadline) {
  for (int64_t left; !cut && (left = deadline - now_ms()) > 0;) {
    std::array<pollfd, 2> wait{};
    for (size_t i = 0; i < wait.size(); ++i) wait[i] = {streams[i].fd.get(), POLLIN, 0};  // a closed one is ignored
    if (!streams[0].fd && !streams[1].fd) return;
    if (::poll(wait.data(), wait.size(), static_cast<int>(left)) < 0 && errno != EINTR) return;
    for (size_t i = 0; i < wait.size(); ++i)
      if (wait[i].revents != 0 && !take(streams[i], cut)) streams[i].fd.reset();
  }
}

// Where whoever started this program ignores SIGCHLD, nobody would know how a child ended.
class ChildSignal {
 public:
  ChildSignal() {
    struct sigaction usual {};
    usual.sa_handler = SIG_DFL;
    ::sigaction(SIGCHLD, &usual, &before_);
  }
  ~ChildSignal() { ::sigaction(SIGCHLD, &before_, nullptr); }

 private:
  struct sigaction before_ {};
};

// Its wait status, or nothing if it had to be killed.
std::optional<int> wait_for(pid_t child, bool kill_now, int64_t deadline) {
  int status = 0;
  for (;;) {
    const pid_t ended = ::waitpid(child, &status, WNOHANG);
    if (ended == child) return status;
    if (ended < 0 && errno != EINTR) return std::nullopt;
    if (kill_now || now_ms() >= deadline) break;
    ::poll(nullptr, 0, kEndPeriod);
  }
  ::kill(child, SIGKILL);
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return std::nullopt;
}

// Its streams, an empty environment but for what such programs look at, and signals as they are by default.
int spawn(const std::vector<std::string>& command, int out, int err, pid_t& child) {
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  ::posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO);
  ::posix_spawn_file_actions_adddup2(&actions, err, STDERR_FILENO);
  ::posix_spawnattr_init(&attributes);
  sigset_t all, none;
  ::sigfillset(&all);
  ::sigemptyset(&none);
  ::posix_spawnattr_setsigdefault(&attributes, &all);
  ::posix_spawnattr_setsigmask(&attributes, &none);
  ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);

  std::vector<char*> arguments;
  arguments.reserve(command.size() + 1);
  for (const std::string& word : command) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  std::string path = "PATH=/usr/sbin:/usr/bin:/sbin:/bin", locale = "LC_ALL=C";
  std::array<char*, 3> environment{path.data(), locale.data(), nullptr};
  const int failure =
      ::posix_spawn(&child, command[0].c_str(), &actions, &attributes, arguments.data(), environment.data());
  ::posix_spawnattr_destroy(&attributes);
  ::posix_spawn_file_actions_destroy(&actions);
  return failure;
}

}  // namespace

Result<ProgramResult> run_program(const std::vector<std::string>& command, int milliseconds) {
  auto out = make_pipe(), err = make_pipe();
  if (!out) return std::move(out).error();
  if (!err) return std::move(err).error();
  const int64_t deadline = now_ms() + milliseconds;
  const ChildSignal told_of_its_end;
  pid_t child = 0;
  if (const int failure = spawn(command, out->write.get(), err->write.get(), child); failure != 0)
    return errno_error(failure, fmt::format("cannot run '{}'", command[0]));
  out->write.reset();
  err->write.reset();
  ProgramResult result;
  std::array<Stream, 2> streams{Stream{std::move(out->read), result.output},
                                Stream{std::move(err->read), result.errors}};
  read_both(streams, result.cut, deadline);
  const auto status = wait_for(child, result.cut, deadline);
  if (result.cut) return result;
  if (!status) return error("'{}' did not end within {} ms and was ended", command[0], milliseconds);
  if (!WIFEXITED(*status)) return error("'{}' was ended by SIG{}", command[0], ::sigabbrev_np(WTERMSIG(*status)));
  result.exit_status = WEXITSTATUS(*status);
  return result;
}

}  // namespace skerry::doctor
