#include "cli/launch.hpp"

#include <fcntl.h>
#include <limits.h>
#include <malloc.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <vector>

#include "base/fd.hpp"
#include "base/log.hpp"
#include "base/program_pages.hpp"
#include "base/unix_socket.hpp"
#include "cli/exit_status.hpp"
#include "cli/terminal.hpp"

namespace skerry::cli {

namespace {

constexpr int kPatienceSeconds = 10;  // between asking the VM's process to end and ending it

Result<UniqueFd> config_in_memory(const config::VmConfig& config) {
  UniqueFd fd(::memfd_create("skerry-config", MFD_CLOEXEC));
  const std::string json = config::to_json(config);
  if (!fd || ::write(fd.get(), json.data(), json.size()) != static_cast<ssize_t>(json.size()) ||
      ::lseek(fd.get(), 0, SEEK_SET) != 0)
    return errno_error(errno, "cannot write down the description of the VM");
  return fd;
}

// skerry-vm is installed beside skerry; which skerry, is /proc/self/exe.
Result<std::string> find_vm_program() {
  std::array<char, PATH_MAX> self{};
  const ssize_t size = ::readlink("/proc/self/exe", self.data(), self.size() - 1);
  if (size < 0) return errno_error(errno, "cannot find this program's own folder (/proc/self/exe)");
  std::string path(self.data(), static_cast<size_t>(size));
  path.resize(path.rfind('/') + 1);
  path += "skerry-vm";
  if (::access(path.c_str(), X_OK) != 0)
    return errno_error(errno, fmt::format("cannot run '{}', which belongs beside skerry; install both", path));
  return path;
}

// After fork(): what happens between here and the exec must not touch memory that another thread may hold.
[[noreturn]] void become_vm(const std::string& program, const RunPlan& plan, int config_fd, pid_t parent,
                            const sigset_t& mask) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) ::_exit(kExitInternal);  // it died before the line above
  ::fcntl(config_fd, F_SETFD, 0);
  ::sigprocmask(SIG_SETMASK, &mask, nullptr);
  const std::string number = fmt::format("{}", config_fd);
  const std::string restore = fmt::format("{}", plan.restore.get());
  std::vector<const char*> arguments = {program.c_str(), "--config-fd", number.c_str()};
  if (plan.restore) {
    ::fcntl(plan.restore.get(), F_SETFD, 0);
    arguments.insert(arguments.end(), {"--restore-fd", restore.c_str()});
    if (!plan.verify) arguments.push_back("--no-verify");
  }
  if (plan.wait_for_gdb) arguments.push_back("--wait-for-gdb");
  arguments.push_back(nullptr);
  ::execv(program.c_str(), const_cast<char* const*>(arguments.data()));
  log::failure("cannot run '{}': {}", program, ::strerror(errno));
  ::_exit(kExitInternal);
}

// The time between the start of the VM's process and its end.
class Supervisor {
 public:
  explicit Supervisor(bool console_here) : console_here_(console_here) {
    ::sigemptyset(&signals_);
    for (const int number : {SIGCHLD, SIGTERM, SIGINT, SIGHUP, SIGTSTP, SIGCONT}) ::sigaddset(&signals_, number);
    // Blocked before the fork, so that none is missed; a SIGCHLD that is ignored would never come.
    ::signal(SIGCHLD, SIG_DFL);
    ::sigprocmask(SIG_BLOCK, &signals_, &before_);
  }
  ~Supervisor() { ::sigprocmask(SIG_SETMASK, &before_, nullptr); }

  const sigset_t& mask_of_child() const { return before_; }
  int watch(pid_t child);  // its exit status

 private:
  void handle(const siginfo_t& about);
  void pass_on(int number);
  void stop_with_child();
  int status_of(int status) const;

  const bool console_here_;
  sigset_t signals_, before_;
  Terminal terminal_;
  pid_t child_ = 0;
  int passed_on_ = 0;  // the signal that asked the child to end
};

int Supervisor::watch(pid_t child) {
  child_ = child;
  if (console_here_) terminal_.hold();
  give_back_program_pages();  // of this process there is hardly anything to do but to wait
  ::malloc_trim(0);
  int status = 0;
  for (;;) {
    const pid_t ended = ::waitpid(child_, &status, WNOHANG);
    if (ended == child_ || (ended < 0 && errno != EINTR)) break;
    siginfo_t about;
    const timespec patience{kPatienceSeconds, 0};
    const int got = passed_on_ ? ::sigtimedwait(&signals_, &about, &patience) : ::sigwaitinfo(&signals_, &about);
    if (got > 0) handle(about);
    if (got < 0 && errno == EAGAIN) ::kill(child_, SIGKILL);
  }
  terminal_.release();
  return status_of(status);
}

void Supervisor::handle(const siginfo_t& about) {
  switch (about.si_signo) {
    case SIGTERM:
    case SIGINT:
    case SIGHUP: return pass_on(about.si_signo);
    case SIGTSTP: return stop_with_child();
    case SIGCONT:
      ::kill(child_, SIGCONT);
      if (console_here_) terminal_.hold();
      return;
    default: return;  // SIGCHLD: the loop looks
  }
}

void Supervisor::pass_on(int number) {
  if (!passed_on_) passed_on_ = number;
  ::kill(child_, number);
}

void Supervisor::stop_with_child() {
  terminal_.release();
  ::kill(child_, SIGSTOP);
  ::raise(SIGSTOP);  // goes on here after SIGCONT, which handle() sees then
}

int Supervisor::status_of(int status) const {
  if (WIFEXITED(status)) return WEXITSTATUS(status);
  const int number = WTERMSIG(status);
  if (number == passed_on_) return kExitSignal;  // it came before the VM could take it
  if (passed_on_ && number == SIGKILL) {
    log::failure("the VM's process did not end within {} s of SIG{}; it has been killed", kPatienceSeconds,
                 ::sigabbrev_np(passed_on_));
    return kExitSignal;
  }
  const char* name = ::sigabbrev_np(number);
  const bool killed = number == SIGKILL || number == SIGTERM;
  log::failure("the VM's process {} was ended by SIG{}; {}", child_, name ? name : "?",
               killed ? "somebody ended it, or the machine is out of memory (see the kernel's log)"
                      : "this is an error in Skerry: please report it with the command and the guest's last output");
  return kExitInternal;
}

// The VM's process cannot do it from its sandbox, nor after a crash. A socket that somebody listens on is not ours.
void remove_dead_socket(const std::string& path) {
  const auto address = unix_address("socket", path);
  struct stat about{};
  if (!address || ::lstat(path.c_str(), &about) != 0 || !S_ISSOCK(about.st_mode)) return;
  if (!connect_unix(*address) && errno == ECONNREFUSED) ::unlink(path.c_str());
}

void remove_sockets(const config::VmConfig& config) {
  if (config.console.type == config::Console::Type::kUnix) remove_dead_socket(config.console.path);
  if (config.qmp) remove_dead_socket(*config.qmp);
  if (constexpr std::string_view kUnix = "unix:"; config.vnc && config.vnc->listen.starts_with(kUnix))
    remove_dead_socket(config.vnc->listen.substr(kUnix.size()));
  if (config.guest_agent) remove_dead_socket(*config.guest_agent);
  if (config.vsock) remove_dead_socket(config.vsock->path);
  for (const config::Nic& nic : config.nics)
    if (nic.type == config::Nic::Type::kSocket && nic.listen) remove_dead_socket(nic.path);
  if (config.gdb && config.gdb->type == config::GdbAddress::Type::kUnix) remove_dead_socket(config.gdb->path);
}

int fail(const Error& why) {
  log::failure("{}", why.message());
  return kExitInternal;
}

}  // namespace

int launch(const RunPlan& plan) {
  const auto program = find_vm_program();
  if (!program) return fail(program.error());
  const auto config_fd = config_in_memory(plan.config);
  if (!config_fd) return fail(config_fd.error());
  Supervisor supervisor(plan.config.console.type == config::Console::Type::kStdio);
  const pid_t parent = ::getpid();
  const pid_t child = ::fork();
  if (child < 0) return fail(errno_error(errno, "cannot start a process for the VM"));
  if (child == 0) become_vm(*program, plan, config_fd->get(), parent, supervisor.mask_of_child());
  const int status = supervisor.watch(child);
  remove_sockets(plan.config);
  return status;
}

}  // namespace skerry::cli
