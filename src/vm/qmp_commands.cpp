#include "vm/qmp_commands.hpp"

#include <array>

#include "vm/version.hpp"

namespace skerry::vm {

namespace {

using nlohmann::json;

// QEMU's qapi/run-state.json, StatusInfo.
Result<json> query_status(VmControl& vm) {
  const RunState state = vm.run_state();
  return json{{"status", name(state)}, {"running", state == RunState::kRunning}, {"singlestep", false}};
}

Result<json> stop(VmControl& vm) {
  vm.stop();
  return json::object();
}

Result<json> cont(VmControl& vm) {
  if (vm.run_state() == RunState::kShutdown) return error("The VM is about to end; it cannot go on");
  vm.cont();
  return json::object();
}

Result<json> system_powerdown(VmControl& vm) {
  vm.press_power_button();
  return json::object();
}

Result<json> system_reset(VmControl& vm) {
  vm.request_reset(Cause::kHostQmpSystemReset);
  return json::object();
}

Result<json> quit(VmControl& vm) {
  vm.request_quit(Cause::kHostQmpQuit);
  return json::object();
}

// qapi/machine.json, CpuInfoFast.
Result<json> query_cpus_fast(VmControl& vm) {
  json all = json::array();
  for (const int thread : vm.vcpu_threads()) {
    const size_t index = all.size();
    all.push_back({{"cpu-index", index},
                   {"qom-path", fmt::format("/machine/unattached/device[{}]", index)},
                   {"thread-id", thread},
                   {"target", "x86_64"}});
  }
  return all;
}

Result<json> query_version(VmControl&) { return qmp_version(); }
Result<json> query_name(VmControl& vm) { return json{{"name", vm.vm_name()}}; }

Result<json> query_commands(VmControl&) {
  json all = json::array({{{"name", "qmp_capabilities"}}});
  for (const QmpCommand& command : qmp_commands()) all.push_back({{"name", command.name}});
  return all;
}

constexpr std::array kCommands = {
    QmpCommand{"cont", cont},
    QmpCommand{"query-commands", query_commands},
    QmpCommand{"query-cpus-fast", query_cpus_fast},
    QmpCommand{"query-name", query_name},
    QmpCommand{"query-status", query_status},
    QmpCommand{"query-version", query_version},
    QmpCommand{"quit", quit},
    QmpCommand{"stop", stop},
    QmpCommand{"system_powerdown", system_powerdown},
    QmpCommand{"system_reset", system_reset},
};

}  // namespace

std::span<const QmpCommand> qmp_commands() { return kCommands; }

// qapi/control.json, VersionInfo. The key is "qemu" whoever speaks the protocol: clients look for it.
json qmp_version() {
  return {{"qemu", {{"major", kVersionMajor}, {"minor", kVersionMinor}, {"micro", kVersionMicro}}},
          {"package", "Skerry"}};
}

}  // namespace skerry::vm
