#include "vm/qmp_commands.hpp"

#include <array>

#include "config/vm_config.hpp"
#include "vm/qmp_screen.hpp"
#include "vm/version.hpp"

namespace skerry::vm {

namespace {

using nlohmann::json;

Error no_descriptor(std::string_view name) {
  return error("File descriptor named '{:.64}' has not been found", name);
}

// QEMU's qapi/run-state.json, StatusInfo.
Result<json> query_status(const QmpCall& call) {
  const RunState state = call.vm.run_state();
  return json{{"status", name(state)}, {"running", state == RunState::kRunning}, {"singlestep", false}};
}

Result<json> stop(const QmpCall& call) {
  call.vm.stop();
  return json::object();
}

Result<json> cont(const QmpCall& call) {
  if (call.vm.run_state() == RunState::kShutdown) return error("The VM is about to end; it cannot go on");
  if (call.vm.run_state() == RunState::kSaving)
    return error("The VM is being saved; it can go on after that, or after migrate_cancel");
  call.vm.cont();
  return json::object();
}

Result<json> system_powerdown(const QmpCall& call) {
  call.vm.press_power_button();
  return json::object();
}

Result<json> system_reset(const QmpCall& call) {
  call.vm.request_reset(Cause::kHostQmpSystemReset);
  return json::object();
}

Result<json> quit(const QmpCall& call) {
  call.vm.request_quit(Cause::kHostQmpQuit);
  return json::object();
}

// qapi/machine.json, CpuInfoFast.
Result<json> query_cpus_fast(const QmpCall& call) {
  json all = json::array();
  for (const int thread : call.vm.vcpu_threads()) {
    const size_t index = all.size();
    all.push_back({{"cpu-index", index},
                   {"qom-path", fmt::format("/machine/unattached/device[{}]", index)},
                   {"thread-id", thread},
                   {"target", "x86_64"}});
  }
  return all;
}

// qapi/misc.json.
Result<json> getfd(const QmpCall& call) {
  const std::string name = call.text("fdname");
  if (!name.empty() && name[0] >= '0' && name[0] <= '9') return error("Parameter 'fdname' expects a name not starting with a digit");
  if (auto claimed = call.descriptors.claim(name); !claimed) return std::move(claimed).error();
  return json::object();
}

Result<json> closefd(const QmpCall& call) {
  const std::string name = call.text("fdname");
  if (!call.descriptors.take(name)) return no_descriptor(name);
  return json::object();
}

// qapi/migration.json. This process opens no files, so it takes one that is open.
Result<json> migrate(const QmpCall& call) {
  const std::string uri = call.text("uri");
  if (!uri.starts_with(kDescriptor))
    return error("The process of a VM opens no files: pass a descriptor by getfd and give 'fd:NAME' as uri, or use "
                 "'skerry save'");
  const std::string name = uri.substr(kDescriptor.size());
  auto file = call.descriptors.take(name);
  if (!file) return no_descriptor(name);
  if (auto started = call.vm.start_save(std::move(*file)); !started) return std::move(started).error();
  return json::object();
}

Result<json> migrate_cancel(const QmpCall& call) {
  call.vm.cancel_save();
  return json::object();
}

// MigrationInfo, with MigrationStats as "ram".
Result<json> query_migrate(const QmpCall& call) {
  const SaveStatus status = call.vm.save_status();
  if (status.state == SaveStatus::State::kNone) return json::object();
  constexpr uint64_t kPageSize = 4096;
  const double seconds = static_cast<double>(status.milliseconds) / 1000;
  const double megabits = static_cast<double>(status.written) * 8 / 1e6;
  json info{{"status", name(status.state)}, {"total-time", status.milliseconds}};
  if (!status.error.empty()) info["error-desc"] = status.error;
  info["ram"] = {{"total", status.total},
                 {"remaining", status.total - status.done},
                 {"transferred", status.written},
                 {"duplicate", (status.done - status.written) / kPageSize},
                 {"skipped", 0},
                 {"normal", status.written / kPageSize},
                 {"normal-bytes", status.written},
                 {"dirty-pages-rate", 0},
                 {"mbps", seconds > 0 ? megabits / seconds : 0.0},
                 {"dirty-sync-count", 1},
                 {"page-size", kPageSize},
                 {"multifd-bytes", 0},
                 {"pages-per-second", 0},
                 {"precopy-bytes", 0},
                 {"downtime-bytes", status.written},
                 {"postcopy-bytes", 0},
                 {"postcopy-requests", 0}};
  if (status.state == SaveStatus::State::kCompleted) {
    info["downtime"] = status.milliseconds;
    info["setup-time"] = 0;
  }
  return info;
}

Result<json> query_version(const QmpCall&) { return qmp_version(); }
Result<json> query_name(const QmpCall& call) { return json{{"name", call.vm.vm_name()}}; }

// qapi/accelerator.json, AcceleratorInfo; "reason" and "remedy" are Skerry's.
Result<json> query_accelerators(const QmpCall& call) {
  const VmControl::AcceleratorInfo info = call.vm.accelerator();
  json present = json::array();
  for (const std::string_view name : config::accelerators())
    if (name != "auto") present.push_back(name);
  json result{{"enabled", info.name}, {"present", std::move(present)}, {"reason", info.why}};
  if (!info.remedy.empty()) result["remedy"] = info.remedy;
  return result;
}

// qapi/accelerator.json, KvmInfo.
Result<json> query_kvm(const QmpCall& call) {
  return json{{"enabled", call.vm.accelerator().name == "kvm"}, {"present", true}};
}

Result<json> query_commands(const QmpCall&) {
  json all = json::array({{{"name", "qmp_capabilities"}}});
  for (const QmpCommand& command : qmp_commands()) all.push_back({{"name", command.name}});
  return all;
}

// Made once: they hold no state.
std::span<const QmpCommand> all_commands() {
  static const std::array kCommands = {
      QmpCommand{"closefd", closefd, {{"fdname"}}},
      QmpCommand{"cont", cont},
      QmpCommand{"getfd", getfd, {{"fdname"}}},
      QmpCommand{"migrate", migrate, {{"uri"}}},
      QmpCommand{"migrate_cancel", migrate_cancel},
      QmpCommand{"query-accelerators", query_accelerators},
      QmpCommand{"query-commands", query_commands},
      QmpCommand{"query-cpus-fast", query_cpus_fast},
      QmpCommand{"query-kvm", query_kvm},
      QmpCommand{"query-migrate", query_migrate},
      QmpCommand{"query-name", query_name},
      QmpCommand{"query-status", query_status},
      QmpCommand{"query-version", query_version},
      QmpCommand{"query-vnc", query_vnc},
      QmpCommand{"quit", quit},
      QmpCommand{"screendump", screendump, {{"filename"}, {.name = "format", .required = false}}},
      QmpCommand{"send-key",
                 send_key,
                 {{"keys", QmpParameter::Type::kArray}, {"hold-time", QmpParameter::Type::kInteger, false}}},
      QmpCommand{"set_password", set_password, {{"protocol"}, {"password"}}},
      QmpCommand{"stop", stop},
      QmpCommand{"system_powerdown", system_powerdown},
      QmpCommand{"system_reset", system_reset},
  };
  return kCommands;
}

}  // namespace

std::span<const QmpCommand> qmp_commands() { return all_commands(); }

// qapi/control.json, VersionInfo. The key is "qemu" whoever speaks the protocol: clients look for it.
json qmp_version() {
  return {{"qemu", {{"major", kVersionMajor}, {"minor", kVersionMinor}, {"micro", kVersionMicro}}},
          {"package", "Skerry"}};
}

}  // namespace skerry::vm
