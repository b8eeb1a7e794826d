// `skerry save`: puts a running VM into a file, by its monitor.
#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <cstdio>
#include <memory>

#include "base/log.hpp"
#include "base/units.hpp"
#include "cli/exit_status.hpp"
#include "cli/output_file.hpp"
#include "cli/program.hpp"
#include "cli/qmp_client.hpp"
#include "cli/run_options.hpp"

namespace skerry::cli {

namespace {

using nlohmann::json;

constexpr const char* kFooter = R"(The VM is stopped, its state written to FILE, and the VM ends with status 0. When the save fails, it goes on.
FILE gets its name when it is whole and on the disk. It holds the guest's memory: keep it as secret as the guest.

Examples:
  skerry run --kernel vmlinuz --qmp unix:/tmp/vm.qmp          # elsewhere
  skerry save vm.state --qmp unix:/tmp/vm.qmp
  skerry run --restore vm.state --qmp unix:/tmp/vm.qmp
  skerry save checkpoint.state --qmp unix:/tmp/vm.qmp --keep-running --force

Exit status:
  0    the VM is in FILE
  2    it is not, and FILE is as it was before
  8    ended by SIGTERM, SIGINT or SIGHUP; FILE is as it was before
)";

constexpr int kPollPeriod = 50;  // ms

struct SaveOptions {
  std::string file, qmp;
  bool keep_running = false, force = false;
};

// The signals that end this program, as a descriptor: the VM must be told to go on first.
class Interrupts {
 public:
  Interrupts() {
    ::sigemptyset(&set_);
    for (const int number : {SIGTERM, SIGINT, SIGHUP}) ::sigaddset(&set_, number);
    ::sigprocmask(SIG_BLOCK, &set_, &before_);
    fd_ = UniqueFd(::signalfd(-1, &set_, SFD_CLOEXEC));
  }
  // One that came too late to change anything is dropped: the exit status tells what was done.
  ~Interrupts() {
    const timespec now{};
    while (::sigtimedwait(&set_, nullptr, &now) > 0) {
    }
    ::sigprocmask(SIG_SETMASK, &before_, nullptr);
  }
  // Whether one came, within so many milliseconds.
  bool wait(int milliseconds) const {
    pollfd wait{fd_.get(), POLLIN, 0};
    return ::poll(&wait, 1, milliseconds) > 0;
  }

 private:
  sigset_t set_, before_;
  UniqueFd fd_;
};

// Of what a monitor has answered: whatever it is, it is looked at with care.
std::string text_of(const json& object, const char* key, std::string otherwise) {
  return object.is_object() && object.contains(key) && object[key].is_string() ? object[key].get<std::string>() : otherwise;
}
uint64_t number_of(const json& object, const char* key) {
  return object.is_object() && object.contains(key) && object[key].is_number_unsigned() ? object[key].get<uint64_t>() : 0;
}

// On a terminal: one line that is written over and over.
class ProgressLine {
 public:
  ~ProgressLine() {
    if (shown_) std::fputs("\r\033[K", stderr);
  }
  void show(const json& info) {
    if (!terminal_ || !info.is_object() || !info.contains("ram")) return;
    const uint64_t total = number_of(info["ram"], "total"), left = number_of(info["ram"], "remaining");
    if (total == 0 || left > total) return;
    shown_ = true;
    fmt::print(stderr, "\rsaving: {} % of {}", (total - left) * 100 / total, format_size(total));
    std::fflush(stderr);
  }

 private:
  const bool terminal_ = ::isatty(STDERR_FILENO);
  bool shown_ = false;
};

enum class Outcome { kWritten, kInterrupted };

// Waits until the VM has written its state, or tells why it has not.
Result<Outcome> follow(QmpClient& vm, const Interrupts& interrupts) {
  ProgressLine progress;
  bool interrupted = false;
  for (;;) {
    const auto info = vm.command("query-migrate");
    if (!info) return info.error();
    const std::string status = text_of(*info, "status", "none");
    if (status == "completed") return interrupted ? Outcome::kInterrupted : Outcome::kWritten;
    if (status != "active")
      return interrupted ? Result(Outcome::kInterrupted)
                         : error("the VM could not be saved: {}", text_of(*info, "error-desc", "its monitor says " + status));
    progress.show(*info);
    if (interrupted || !interrupts.wait(kPollPeriod)) continue;
    interrupted = true;
    if (auto cancelled = vm.command("migrate_cancel"); !cancelled) return cancelled.error();
  }
}

Result<void> go_on(QmpClient& vm, bool was_running) {
  if (!was_running) return ok();
  auto done = vm.command("cont");
  return done ? ok() : Result<void>(done.error());
}

Result<Outcome> save(const SaveOptions& options, const std::string& monitor) {
  const Interrupts interrupts;
  auto file = OutputFile::create(options.file, options.force);
  if (!file) return std::move(file).error();
  auto vm = QmpClient::connect(monitor);
  if (!vm) return std::move(vm).error();
  const auto before = vm->command("query-status");
  if (!before) return before.error();
  const bool was_running = before->is_object() && before->value("running", json()) == true;
  if (auto passed = vm->command("getfd", {{"fdname", "skerry-save"}}, file->fd()); !passed) return passed.error();
  if (auto begun = vm->command("migrate", {{"uri", "fd:skerry-save"}}); !begun) return begun.error();
  const auto outcome = follow(*vm, interrupts);
  if (!outcome) return outcome.error();

  const auto committed = *outcome == Outcome::kWritten ? file->commit() : ok();
  if (!committed || *outcome == Outcome::kInterrupted || options.keep_running) {
    const auto resumed = go_on(*vm, was_running);
    if (!committed) return committed.error();
    if (!resumed) return resumed.error();
    return *outcome;
  }
  if (auto ended = vm->command("quit"); !ended) return ended.error();
  if (auto ended = vm->wait_for_end(); !ended) return std::move(ended).error();
  return *outcome;
}

int run(const SaveOptions& options) {
  const auto monitor = parse_qmp(options.qmp);
  const auto outcome = monitor ? save(options, *monitor) : Result<Outcome>(monitor.error());
  if (!outcome) {
    log::failure("{}", outcome.error().message());
    return kExitBadInput;
  }
  return *outcome == Outcome::kWritten ? kExitOk : kExitSignal;
}

}  // namespace

void add_save(CLI::App& app, Action& action) {
  CLI::App* save = app.add_subcommand("save", "Put a running virtual machine into a file");
  const auto options = std::make_shared<SaveOptions>();
  save->add_option("FILE", options->file, "The state file to write")->required();
  save->add_option("--qmp", options->qmp, "The VM's monitor, unix:PATH")->type_name("ADDR")->required();
  save->add_flag("--keep-running", options->keep_running, "Let the VM go on afterwards");
  save->add_flag("--force", options->force, "Replace FILE if it exists");
  save->set_help_flag("-h,--help", "Print this help");
  save->footer(kFooter);
  save->callback([options, &action] { action = [options] { return run(*options); }; });
}

}  // namespace skerry::cli
