// `skerry run --restore`: the description of the VM comes from its state file, and what connects it to this host anew
// from the options.
#include <fcntl.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "cli/run_options.hpp"
#include "config/saved_config.hpp"
#include "migrate/state_file.hpp"

namespace skerry::cli {

namespace {

// Of the host and the moment; everything else is the machine, and in the file.
constexpr std::array<std::string_view, 12> kAllowed = {"--restore", "--no-verify", "--accel", "--console", "--display", "--qmp", "--tpm",
                                                       "--gdb",     "--no-reboot", "--debug", "--verbose", "--help"};

Result<UniqueFd> open_state(const std::string& path) {
  UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY));
  if (!file) return errno_error(errno, fmt::format("state file '{}': cannot open", path));
  return file;
}

}  // namespace

Result<RunPlan> lower_restored(const RunOptions& options, const std::vector<std::string>& given) {
  for (const std::string& option : given)
    if (std::find(kAllowed.begin(), kAllowed.end(), option) == kAllowed.end())
      return error("{}: cannot be changed by --restore: the saved VM goes on as it was; leave it out", option);
  RunPlan plan;
  auto file = open_state(options.restore);
  if (!file) return std::move(file).error();
  plan.restore = UniqueFd(::fcntl(file->get(), F_DUPFD_CLOEXEC, 3));
  if (!plan.restore) return errno_error(errno, fmt::format("state file '{}': cannot open", options.restore));
  plan.verify = !options.no_verify;
  const auto state = migrate::StateFile::open(options.restore, std::move(*file));
  if (!state) return state.error();
  auto saved = state->config();
  if (!saved) return std::move(saved).error();

  if (auto possible = config::check_can_be_saved(*saved); !possible) return std::move(possible).error().in(fmt::format("--restore '{}'", options.restore));
  plan.config = config::for_saving(std::move(*saved));  // whoever made the file chooses nothing on this host
  if (std::find(given.begin(), given.end(), "--accel") != given.end())
    if (auto chosen = lower_accelerator(options.accel, plan.config); !chosen) return std::move(chosen).error();
  if (!options.tpm.empty()) {
    auto tpm = parse_tpm(options.tpm);
    if (!tpm) return std::move(tpm).error().in("--tpm");
    plan.config.tpm = std::move(*tpm);
  }
  plan.config.no_reboot |= options.no_reboot;
  if (auto lowered = lower_host(options, plan); !lowered) return std::move(lowered).error();
  return plan;
}

}  // namespace skerry::cli
