// skerry-vm: is one VM, as a description on a file descriptor says. Started by `skerry run`.
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <malloc.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>

#include <array>
#include <cstdio>
#include <exception>
#include <optional>

#include "base/fd.hpp"
#include "base/log.hpp"
#include "vm/sandbox.hpp"
#include "vm/version.hpp"
#include "vm/vm.hpp"

namespace {

using namespace skerry;

constexpr const char* kUsage = R"(Usage: skerry-vm --config-fd N [--restore-fd N [--no-verify]] [--wait-for-gdb]

Runs the virtual machine that is described, as JSON, on file descriptor N. People use `skerry run`, which starts this
program; see `skerry run --help` for what it does and its exit statuses.

  --config-fd N    read the description of the VM from descriptor N
  --restore-fd N   go on from the state file on descriptor N
  --no-verify      do not compare the memory in it with its checksums first
  --wait-for-gdb   do not execute anything until a debugger says so
  --version        print the version
  --help           this text
)";

struct Options {
  int config_fd = -1;
  int restore_fd = -1;
  bool verify = true;
  bool wait_for_gdb = false;
  std::optional<int> exit;  // nothing more to do
};

int descriptor_of(const char* text) {
  const auto number = parse_number(text);
  return number && *number <= 0xffff ? static_cast<int>(*number) : -1;
}

Options parse_options(int argc, char** argv) {
  constexpr option kOptions[] = {{"config-fd", required_argument, nullptr, 'c'},
                                 {"restore-fd", required_argument, nullptr, 'r'},
                                 {"no-verify", no_argument, nullptr, 'n'},
                                 {"wait-for-gdb", no_argument, nullptr, 'w'},
                                 {"version", no_argument, nullptr, 'v'},
                                 {"help", no_argument, nullptr, 'h'},
                                 {}};
  Options options;
  for (int found; (found = ::getopt_long(argc, argv, "h", kOptions, nullptr)) != -1;) {
    switch (found) {
      case 'c': options.config_fd = descriptor_of(::optarg); break;
      case 'r':
        options.restore_fd = descriptor_of(::optarg);
        if (options.restore_fd < 0) options.exit = vm::kExitBadInput;
        break;
      case 'n': options.verify = false; break;
      case 'w': options.wait_for_gdb = true; break;
      case 'v':
        std::printf("skerry-vm %u.%u.%u\n", vm::kVersionMajor, vm::kVersionMinor, vm::kVersionMicro);
        options.exit = vm::kExitOk;
        break;
      case 'h':
        std::fputs(kUsage, stdout);
        options.exit = vm::kExitOk;
        break;
      default: options.exit = vm::kExitBadInput;
    }
  }
  if (!options.exit && (options.config_fd < 0 || ::optind != argc)) {
    std::fputs(kUsage, stderr);
    options.exit = vm::kExitBadInput;
  }
  return options;
}

// Blocked before any thread is there, so that all of them leave these signals to the descriptor.
Result<UniqueFd> catch_signals() {
  sigset_t set;
  ::sigemptyset(&set);
  for (const int number : {SIGTERM, SIGINT, SIGHUP}) ::sigaddset(&set, number);
  ::pthread_sigmask(SIG_BLOCK, &set, nullptr);
  ::signal(SIGPIPE, SIG_IGN);
  UniqueFd fd(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!fd) return errno_error(errno, "cannot create a signal descriptor");
  return fd;
}

int fail(const Error& why, int status) {
  log::failure("{}", why.message());
  return status;
}

Result<config::VmConfig> read_config(int fd) {
  const UniqueFd owned(fd);
  return config::read_json(fd);
}

std::optional<vm::RestoreSource> restore_source(const Options& options) {
  if (options.restore_fd < 0) return std::nullopt;
  // Only for messages.
  std::array<char, PATH_MAX> path{};
  const std::string link = fmt::format("/proc/self/fd/{}", options.restore_fd);
  const ssize_t size = ::readlink(link.c_str(), path.data(), path.size() - 1);
  ::fcntl(options.restore_fd, F_SETFD, FD_CLOEXEC);
  return vm::RestoreSource{size > 0 ? path.data() : link, UniqueFd(options.restore_fd),
                           options.verify ? migrate::Verify::kYes : migrate::Verify::kNo};
}

Result<void> close_sandbox(vm::Vm& vm) {
  if (auto dropped = vm::drop_rights(); !dropped) return dropped;
  if (auto started = vm.start_threads(); !started) return started;
  vm::hide_memory();
  return vm::install_syscall_filter();
}

int run(const Options& options) {
  auto config = read_config(options.config_fd);
  if (!config) return fail(config.error(), vm::kExitBadInput);
  for (const std::string& word : config->debug) (void)log::enable(word);  // those that are none are the accelerator's
  auto signals = catch_signals();
  if (!signals) return fail(signals.error(), vm::kExitInternal);

  VmClock clock;
  auto loop = EventLoop::create(clock);
  if (!loop) return fail(loop.error(), vm::kExitInternal);
  auto vm = vm::Vm::create(*config, **loop, restore_source(options));
  if (!vm) return fail(vm.error(), vm::kExitBadInput);
  auto watched = (*loop)->add(signals->get(), EPOLLIN, [&](uint32_t) {
    signalfd_siginfo about;
    if (::read(signals->get(), &about, sizeof about) == sizeof about) (*vm)->request_quit(vm::Cause::kHostSignal);
  });
  if (!watched) return fail(watched.error(), vm::kExitInternal);

  if (auto closed = close_sandbox(**vm); !closed) return fail(closed.error(), vm::kExitInternal);
  if (auto started = (*vm)->start(options.wait_for_gdb); !started) return fail(started.error(), vm::kExitBadInput);
  (*loop)->run();
  return (*vm)->finish();
}

}  // namespace

int main(int argc, char** argv) {
  const Options options = parse_options(argc, argv);
  if (options.exit) return *options.exit;
  // Arenas of threads ask a file in /proc whether they may shrink, which the sandbox forbids.
  ::mallopt(M_ARENA_MAX, 1);
  try {
    return run(options);
  } catch (const std::exception& failure) {  // memory, threads: what the standard library throws
    log::failure("the VM cannot go on: {}", failure.what());
    return vm::kExitInternal;
  }
}
