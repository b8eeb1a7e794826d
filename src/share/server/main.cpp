// skerry-fs: one shared folder of one VM, in a process of its own. Started by skerry-vm.
#include <getopt.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <exception>
#include <optional>
#include <vector>

#include "base/helper.hpp"
#include "base/log.hpp"
#include "share/file_system.hpp"
#include "share/protocol.hpp"
#include "share/server/sandbox.hpp"
#include "share/slots.hpp"
#include "share/view.hpp"

namespace {

using namespace skerry;
using namespace skerry::share;

constexpr int kExitOk = 0, kExitFailure = 1, kExitBadInput = 2;

constexpr const char* kUsage = R"(Usage: skerry-fs --share=FOLDER [--read-only]

Serves one folder that a virtual machine shares with the host, in a process of its own. skerry-vm starts it, with a socket and memory
on descriptors 3 and 4; see docs/shared-folders.md. It ends when skerry-vm does.

  --share=FOLDER  the folder
  --read-only     let nothing in it be changed
  --help          this text
)";

struct Options {
  std::string folder;
  bool read_only = false;
  std::optional<int> exit;  // nothing more to do
};

Options parse_options(int argc, char** argv) {
  constexpr option kOptions[] = {{"share", required_argument, nullptr, 's'},
                                 {"read-only", no_argument, nullptr, 'r'},
                                 {"help", no_argument, nullptr, 'h'},
                                 {}};
  Options options;
  for (int found; (found = ::getopt_long(argc, argv, "h", kOptions, nullptr)) != -1;) {
    switch (found) {
      case 's': options.folder = ::optarg; break;
      case 'r': options.read_only = true; break;
      case 'h':
        std::fputs(kUsage, stdout);
        options.exit = kExitOk;
        break;
      default: options.exit = kExitBadInput;
    }
  }
  if (!options.exit && (::optind != argc || options.folder.empty())) {
    std::fputs(kUsage, stderr);
    options.exit = kExitBadInput;
  }
  return options;
}

// What the terminal sends to all of its processes is for the VM to act on; this one ends with it. A limit of file sizes is an
// error for the guest.
void ignore_signals() {
  for (const int number : {SIGINT, SIGHUP, SIGQUIT, SIGTSTP, SIGPIPE, SIGXFSZ}) ::signal(number, SIG_IGN);
}

// Each file that the guest's kernel remembers takes a descriptor, so as many as this process may have. Gives their number.
size_t raise_descriptors() {
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
  ::getrlimit(RLIMIT_NOFILE, &limit);
  return limit.rlim_cur;
}

FileSystem::Options limits_for(size_t descriptors, bool read_only, const Owners& owners) {
  constexpr size_t kOthers = 16;  // what is open beside, and for the time of a request
  constexpr size_t kMostNodes = size_t{1} << 19, kMostHandles = size_t{1} << 16;  // bound this process's memory
  const size_t left = std::max(descriptors, 2 * kOthers) - kOthers;
  return {read_only, owners, std::min(left / 4 * 3, kMostNodes), std::min(left / 4, kMostHandles)};
}

// Everything that needs rights comes before they are dropped.
Result<FileSystem> set_up(const Options& options) {
  ::umask(0);
  const size_t descriptors = raise_descriptors();
  const bool by_root = ::geteuid() == 0;
  auto view = open_view(options.folder, options.read_only);
  if (!view) return std::move(view).error();
  const auto owners = drop_rights(by_root);
  if (!owners) return owners.error();
  if (auto closed = close_view(*view); !closed) return std::move(closed).error();
  auto files = FileSystem::create(std::move(view->root), std::move(view->own_descriptors),
                                  limits_for(descriptors, options.read_only, *owners));
  if (!files) return files;
  if (auto confined = confine(); !confined) return std::move(confined).error();
  return files;
}

// Until skerry-vm closes the socket, or says what it never does.
void answer_requests(FileSystem& files, const Slots& slots) {
  std::vector<uint8_t> copy;
  for (;;) {
    Ask ask;
    const ssize_t got = ::recv(kHelperControl, &ask, sizeof ask, MSG_TRUNC);
    if (got < 0 && errno == EINTR) continue;
    if (got != sizeof ask || ask.slot >= kSlots || ask.size > kRequestBytes || ask.room > kAnswerBytes) return;
    const std::span<const uint8_t> request = slots.request(ask.slot).first(ask.size);
    const std::span<const uint8_t> parsed = request.first(std::min(request.size(), FileSystem::kMostParsed));
    copy.assign(parsed.begin(), parsed.end());
    const Outcome outcome = files.serve(copy, request, slots.answer(ask.slot).first(ask.room));
    const Done done{ask.slot, static_cast<uint32_t>(outcome.size), static_cast<uint32_t>(outcome.error)};
    if (::send(kHelperControl, &done, sizeof done, MSG_NOSIGNAL) != sizeof done) return;
  }
}

int run(const Options& options) {
  ignore_signals();
  auto slots = Slots::map(UniqueFd(kSlotsFd));
  if (!slots) {
    report_failure(slots.error().message());
    return kExitFailure;
  }
  auto files = set_up(options);
  if (!files) {
    report_failure(files.error().message());
    return kExitFailure;
  }
  report_ready();
  answer_requests(*files, *slots);
  return kExitOk;
}

}  // namespace

#ifdef SKERRY_SANITIZED
// The leak checker at the end looks into /proc and stops the process by another: the sandbox lets it do neither, and it
// would try for ever.
extern "C" const char* __asan_default_options() { return "detect_leaks=0"; }
#endif

int main(int argc, char** argv) {
  const Options options = parse_options(argc, argv);
  if (options.exit) return *options.exit;
  try {
    return run(options);
  } catch (const std::exception& failure) {  // memory: what the standard library throws
    log::failure("skerry-fs cannot go on: {}", failure.what());
    return kExitFailure;
  }
}
