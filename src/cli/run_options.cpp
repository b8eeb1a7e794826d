#include "cli/run_options.hpp"

#include <array>

#include "accel/debug_options.hpp"
#include "base/log.hpp"
#include "base/units.hpp"

namespace skerry::cli {

namespace {

constexpr std::string_view kUnixPrefix = "unix:";
constexpr std::string_view kWaitSuffix = ",wait";

// validate() names fields of the description; people know options.
constexpr std::array<std::pair<std::string_view, std::string_view>, 12> kOptionOfField = {{
    {"accelerator", "--accel"},
    {"cpu.model", "--cpu"},
    {"cpu.count", "--cpus"},
    {"memory", "--memory"},
    {"kernel.path", "--kernel"},
    {"kernel.initrd", "--initrd"},
    {"kernel.command_line", "--append"},
    {"console", "--console"},
    {"isa_debug_exit", "--isa-debug-exit"},
    {"qmp", "--qmp"},
    {"gdb", "--gdb"},
    {"debug", "--debug"},
}};

Error in_options(const Error& failure) {
  const std::string_view text = failure.message();
  const std::string_view path = text.substr(0, text.find(':'));
  for (const auto& [field, option] : kOptionOfField)
    if (path == field || (path.starts_with(field) && path[field.size()] == '.'))
      return error("{}{}", option, text.substr(path.size()));
  return Error(std::string(text));
}

Result<unsigned> parse_vcpus(const std::string& text) {
  const auto number = parse_number(text);
  if (!number) return error("--cpus: '{}' is not a number of vCPUs; use 1 to {}", text, config::kMaxVcpus);
  if (*number == 0 || *number > config::kMaxVcpus)
    return error("--cpus: {} is too {}; use 1 to {}", text, *number ? "many" : "few", config::kMaxVcpus);
  return static_cast<unsigned>(*number);
}

Result<uint16_t> parse_port(const std::string& text) {
  const auto number = parse_number(text);
  if (!number || *number > 0xffff)
    return error("--isa-debug-exit: '{}' is not a port; use a number such as 0xf4", text);
  return static_cast<uint16_t>(*number);
}

std::vector<std::string> split(std::string_view list) {
  std::vector<std::string> parts;
  while (!list.empty()) {
    const size_t comma = list.find(',');
    if (comma != 0) parts.emplace_back(list.substr(0, comma));
    list = comma == list.npos ? std::string_view() : list.substr(comma + 1);
  }
  return parts;
}

// Those with an address or a number of their own.
Result<void> lower_devices(const RunOptions& options, RunPlan& plan) {
  config::VmConfig& config = plan.config;
  auto console = config::parse_console(options.console);
  if (!console) return std::move(console).error().in("--console");
  config.console = std::move(*console);
  if (!options.isa_debug_exit.empty()) {
    const auto port = parse_port(options.isa_debug_exit);
    if (!port) return port.error();
    config.isa_debug_exit = *port;
  }
  if (!options.qmp.empty()) {
    auto path = parse_qmp(options.qmp);
    if (!path) return std::move(path).error();
    config.qmp = std::move(*path);
  }
  if (options.gdb.empty()) return ok();
  std::string_view address = options.gdb;
  plan.wait_for_gdb = address.ends_with(kWaitSuffix);
  if (plan.wait_for_gdb) address.remove_suffix(kWaitSuffix.size());
  auto gdb = config::parse_gdb(address);
  if (!gdb) return std::move(gdb).error().in("--gdb");
  config.gdb = std::move(*gdb);
  return ok();
}

}  // namespace

Result<std::string> parse_qmp(std::string_view text) {
  if (!text.starts_with(kUnixPrefix) || text.size() == kUnixPrefix.size())
    return error("--qmp: '{}' is not an address; use unix:PATH", text);
  return std::string(text.substr(kUnixPrefix.size()));
}

Result<void> lower_host(const RunOptions& options, RunPlan& plan) {
  plan.config.debug = split(options.debug);
  if (auto lowered = lower_devices(options, plan); !lowered) return lowered;
  if (auto valid = config::validate(plan.config); !valid) return in_options(valid.error());
  return ok();
}

Result<RunPlan> lower(const RunOptions& options) {
  RunPlan plan;
  config::VmConfig& config = plan.config;
  config.accelerator = options.accel;
  config.cpu_model = options.cpu;
  config.kernel = {options.kernel, options.initrd, options.append};
  config.no_reboot = options.no_reboot;
  const auto memory = parse_size(options.memory);
  if (!memory) return Error(memory.error()).in("--memory");
  config.memory = *memory;
  const auto vcpus = parse_vcpus(options.cpus);
  if (!vcpus) return vcpus.error();
  config.vcpus = *vcpus;
  if (auto lowered = lower_host(options, plan); !lowered) return std::move(lowered).error();
  return plan;
}

std::vector<std::string> accelerator_choices() {
  std::vector<std::string> all;
  for (const std::string_view name : config::accelerators())
    if (name != "kvm") all.emplace_back(name);
  for (const std::string_view name : accel::debug_option_names()) all.emplace_back(name);
  return all;
}

std::vector<std::string> debug_choices() {
  std::vector<std::string> all{"all"};
  for (const std::string_view name : log::category_names()) all.emplace_back(name);
  return all;
}

}  // namespace skerry::cli
