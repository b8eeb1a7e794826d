// `skerry doctor`: whether this host can run VMs well, and what to do where not.
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <memory>

#include "base/log.hpp"
#include "cli/doctor_report.hpp"
#include "cli/exit_status.hpp"
#include "cli/program.hpp"
#include "doctor/system.hpp"

namespace skerry::cli {

namespace {

constexpr const char* kDoctorHelp = R"(It looks, and changes nothing. Each check is 'ok', or says what to do. 'warning': VMs run, but slower,
less safe or without something. 'missing': no VM runs without it, or none from a disk. A host without VT-x and AMD-V is
one on which VMs run, by the translator (--accel bt). As root it sees more: the rules of the firewall, for one.

Examples:
  skerry doctor
  sudo skerry doctor --verbose
  skerry doctor --json | jq -r '.checks[] | select(.status != "ok") | .id + ": " + .remedy'
  skerry doctor >/dev/null || echo 'no VM would run here'

Exit status:
  0    all that Skerry needs is there; there may be warnings
  1    something that it needs is missing
  2    a bad option, or nothing could be printed
)";

struct DoctorOptions {
  bool json = false, verbose = false;
};

// https://no-color.org: whatever it is set to, unless it is empty.
bool colours() {
  const char* forbidden = std::getenv("NO_COLOR");
  return ::isatty(STDOUT_FILENO) && !(forbidden && *forbidden);
}

int run(const DoctorOptions& options) {
  const auto system = doctor::this_system();
  const auto checks = doctor::examine(doctor::Host(*system));
  const std::string text = options.json ? doctor_json(checks) : doctor_text(checks, {options.verbose, colours()});
  if (std::fputs(text.c_str(), stdout) < 0 || std::fflush(stdout) != 0) {
    log::failure("{}", errno_error(errno, "cannot print what was found").message());
    return kExitBadInput;
  }
  return doctor::summary_of(checks).missing == 0 ? kExitOk : kExitDoctorMissing;
}

}  // namespace

void add_doctor(CLI::App& app, Action& action) {
  CLI::App* command =
      app.add_subcommand("doctor", "Tell whether this host can run virtual machines well, and what to do");
  const auto options = std::make_shared<DoctorOptions>();
  command->add_flag("--json", options->json, "Print all of it as JSON");
  command->add_flag("--verbose", options->verbose, "Show each capability of KVM too");
  command->set_help_flag("-h,--help", "Print this help");
  command->footer(kDoctorHelp);
  command->callback([options, &action] { action = [options] { return run(*options); }; });
}

}  // namespace skerry::cli
