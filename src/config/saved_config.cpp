#include "config/saved_config.hpp"

namespace skerry::config {

namespace {

std::string text_of(std::string_view value) { return std::string(value); }
std::string text_of(const std::string& value) { return value; }
template <typename T>
std::string text_of(const T& value) {
  return fmt::format("{}", value);
}
template <typename T>
std::string text_of(const std::optional<T>& value) {
  return value ? fmt::format("{}", *value) : "none";
}

std::optional<uint32_t> cid_of(const VmConfig& config) {
  return config.vsock ? std::optional(config.vsock->cid) : std::nullopt;
}

std::string_view video_of(const VmConfig& config) { return kVideos[static_cast<unsigned>(config.video)].first; }
std::string_view bus_of(const Disk& disk) { return kDiskBuses[static_cast<unsigned>(disk.bus)].first; }
std::string_view sound_of(const VmConfig& config) { return kSounds[static_cast<unsigned>(config.sound)].first; }
std::string_view input_of(const VmConfig& config) { return kInputs[static_cast<unsigned>(config.input)].first; }

std::string_view tpm_of(const VmConfig& config) {
  return config.tpm ? kTpmModels[static_cast<unsigned>(config.tpm->model)].first : "none";
}

std::string_view model_of(const Nic& nic) { return kNicModels[static_cast<unsigned>(nic.model)].first; }

// Keeps the first difference.
class Comparison {
 public:
  template <typename T>
  void field(std::string_view path, const T& saved, const T& now) {
    if (first_.empty() && !(saved == now))
      first_ = fmt::format("{}: the VM was saved with {}, and is described with {}; a saved VM goes on only as it was",
                           path, text_of(saved), text_of(now));
  }
  Result<void> result() const {
    if (first_.empty()) return ok();
    return Error(first_);
  }

 private:
  std::string first_;
};

}  // namespace

Result<void> check_can_be_saved(const VmConfig& config) {
  if (config.shares.empty()) return ok();
  return error("a VM with a shared folder ('{}') cannot be saved, as what the guest has open in it cannot be; start the VM without "
               "--share to save it later", config.shares.front().path);
}

VmConfig for_saving(VmConfig config) {
  config.kvm = {};
  config.console = {};
  config.vnc.reset();
  config.shares.clear();
  config.qmp.reset();
  config.gdb.reset();
  config.debug.clear();
  return config;
}

Result<void> check_same_machine(const VmConfig& saved, const VmConfig& now) {
  Comparison compare;
  compare.field("board", saved.board, now.board);
  compare.field("cpu.model", saved.cpu_model, now.cpu_model);
  compare.field("cpu.count", saved.vcpus, now.vcpus);
  compare.field("memory", saved.memory, now.memory);
  compare.field("firmware", saved.firmware, now.firmware);
  compare.field("smm", has_smm(saved), has_smm(now));
  compare.field("uefi_variables", !saved.uefi_variables.empty(), !now.uefi_variables.empty());
  compare.field("video", video_of(saved), video_of(now));
  compare.field("input", input_of(saved), input_of(now));
  compare.field("isa_debug_exit", saved.isa_debug_exit, now.isa_debug_exit);
  compare.field("vsock.cid", cid_of(saved), cid_of(now));
  compare.field("sound", sound_of(saved), sound_of(now));
  compare.field("watchdog", saved.watchdog.has_value(), now.watchdog.has_value());
  compare.field("tpm.model", tpm_of(saved), tpm_of(now));
  compare.field("shares", saved.shares.size(), now.shares.size());
  compare.field("disks", saved.disks.size(), now.disks.size());
  for (size_t i = 0; i < std::min(saved.disks.size(), now.disks.size()); ++i) {
    const Disk &a = saved.disks[i], &b = now.disks[i];
    compare.field(fmt::format("disks.{}.read_only", i), a.read_only, b.read_only);
    compare.field(fmt::format("disks.{}.cdrom", i), a.cdrom, b.cdrom);
    compare.field(fmt::format("disks.{}.serial", i), a.serial, b.serial);
    compare.field(fmt::format("disks.{}.bus", i), bus_of(a), bus_of(b));
  }
  compare.field("nics", saved.nics.size(), now.nics.size());
  for (size_t i = 0; i < std::min(saved.nics.size(), now.nics.size()); ++i) {
    const Nic &a = saved.nics[i], &b = now.nics[i];
    compare.field(fmt::format("nics.{}.mac", i), a.mac, b.mac);
    compare.field(fmt::format("nics.{}.queues", i), a.queues, b.queues);
    compare.field(fmt::format("nics.{}.model", i), model_of(a), model_of(b));
  }
  return compare.result();
}

}  // namespace skerry::config
