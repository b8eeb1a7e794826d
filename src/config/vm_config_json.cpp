// The JSON form of VmConfig.
#include <unistd.h>

#include <cerrno>

#include "config/json_reader.hpp"
#include "config/vm_config.hpp"

namespace skerry::config {

namespace {

using nlohmann::ordered_json;

constexpr std::pair<std::string_view, Kvm::Irqchip> kIrqchips[] = {
    {"auto", Kvm::Irqchip::kAuto}, {"split", Kvm::Irqchip::kSplit}, {"user", Kvm::Irqchip::kUser}};
constexpr std::pair<std::string_view, Console::Type> kConsoleTypes[] = {
    {"stdio", Console::Type::kStdio}, {"pty", Console::Type::kPty},   {"file", Console::Type::kFile},
    {"unix", Console::Type::kUnix},   {"none", Console::Type::kNone},
};
constexpr std::pair<std::string_view, GdbAddress::Type> kGdbTypes[] = {
    {"tcp", GdbAddress::Type::kTcp},
    {"unix", GdbAddress::Type::kUnix},
};
constexpr std::pair<std::string_view, Nic::Type> kNicTypes[] = {
    {"user", Nic::Type::kUser},
    {"tap", Nic::Type::kTap},
    {"bridge", Nic::Type::kBridge},
    {"socket", Nic::Type::kSocket},
};
constexpr std::pair<std::string_view, bool> kProtocols[] = {{"tcp", false}, {"udp", true}};

void read_disk(ObjectReader& disk, Disk& value) {
  disk.require("path");
  disk.read("path", value.path);
  disk.read("format", value.format);
  disk.read("read_only", value.read_only);
  disk.read("cdrom", value.cdrom);
  disk.read("cache", value.cache, kCacheModes);
  disk.read("serial", value.serial);
  disk.read("bus", value.bus, kDiskBuses);
}

void read_forward(ObjectReader& forward, PortForward& value) {
  forward.read("protocol", value.udp, kProtocols);
  forward.read("host_address", value.host_address);
  forward.read("host_port", value.host_port);
  forward.read("guest_address", value.guest_address);
  forward.read("guest_port", value.guest_port);
}

void read_nic(ObjectReader& nic, Nic& value) {
  nic.require("type");
  nic.read("type", value.type, kNicTypes);
  switch (value.type) {
    case Nic::Type::kUser:
      nic.read("restricted", value.restricted);
      nic.objects("forwards", value.forwards, read_forward);
      break;
    case Nic::Type::kTap:
      nic.read("name", value.name);
      if (nic.optional("fd")) {
        uint32_t fd = 0;
        nic.read("fd", fd, kMaxFd);
        value.fd = static_cast<int>(fd);
      }
      break;
    case Nic::Type::kBridge:
      nic.read("name", value.name);
      break;
    case Nic::Type::kSocket:
      nic.read("path", value.path);
      nic.read("listen", value.listen);
      break;
  }
  nic.read("model", value.model, kNicModels);
  nic.read("mac", value.mac);
  nic.read("queues", value.queues);
}

void read_share(ObjectReader& share, Share& value) {
  share.require("path");
  share.require("tag");
  share.read("path", value.path);
  share.read("tag", value.tag);
  share.read("read_only", value.read_only);
}

void read_pci_devices(ObjectReader& root, VmConfig& config) {
  root.read("firmware", config.firmware);
  root.read("smm", config.smm);
  root.read("uefi_variables", config.uefi_variables);
  root.objects("disks", config.disks, read_disk);
  root.objects("nics", config.nics, read_nic);
  root.object("cloud_init", [&](ObjectReader& seed) {
    CloudInit& value = config.cloud_init.emplace();
    seed.read("user_data", value.user_data);
    seed.read("meta_data", value.meta_data);
    seed.read("network_config", value.network_config);
  });
  root.object("vsock", [&](ObjectReader& vsock) {
    Vsock& value = config.vsock.emplace();
    vsock.read("path", value.path);
    vsock.read("cid", value.cid);
  });
  root.objects("shares", config.shares, read_share);
  if (root.optional("guest_agent")) root.read("guest_agent", config.guest_agent.emplace());
  root.read("sound", config.sound, kSounds);
  if (root.optional("watchdog")) root.read("watchdog", config.watchdog.emplace(), kWatchdogActions);
  root.object("tpm", [&](ObjectReader& tpm) {
    Tpm& value = config.tpm.emplace();
    tpm.require("path");
    tpm.read("type", value.type, kTpmTypes);
    tpm.read("path", value.path);
    tpm.read("model", value.model, kTpmModels);
  });
}

void read_screen(ObjectReader& root, VmConfig& config) {
  root.read("video", config.video, kVideos);
  root.object("vnc", [&](ObjectReader& vnc) {
    Vnc& value = config.vnc.emplace();
    vnc.require("listen");
    vnc.read("listen", value.listen);
    vnc.read("password_file", value.password_file);
    vnc.read("user", value.user);
    vnc.read("tls", value.tls, kVncTls);
    vnc.read("certificate", value.certificate);
    vnc.read("key", value.key);
    vnc.read("client_ca", value.client_ca);
  });
}

void read_devices(ObjectReader& root, VmConfig& config) {
  read_screen(root, config);
  root.object("console", [&](ObjectReader& console) {
    console.read("type", config.console.type, kConsoleTypes);
    console.read("path", config.console.path);
  });
  root.read("input", config.input, kInputs);
  if (root.optional("isa_debug_exit")) root.read("isa_debug_exit", config.isa_debug_exit.emplace());
  if (root.optional("qmp")) root.read("qmp", config.qmp.emplace());
  root.object("gdb", [&](ObjectReader& gdb) {
    GdbAddress& address = config.gdb.emplace();
    gdb.read("type", address.type, kGdbTypes);
    if (address.type == GdbAddress::Type::kUnix) {
      gdb.read("path", address.path);
    } else {
      gdb.read("host", address.host);
      gdb.read("port", address.port);
    }
  });
}

void read_root(ObjectReader& root, VmConfig& config) {
  unsigned version = kVersion;
  root.require("version");
  root.read("version", version);
  if (version != kVersion)
    root.fail("version", fmt::format("{} is not known; this program reads version {}", version, kVersion));
  root.read("name", config.name);
  root.read("board", config.board);
  root.read("accelerator", config.accelerator);
  root.object("kvm", [&](ObjectReader& kvm) {
    if (kvm.optional("fd")) {
      uint64_t fd = 0;
      kvm.read("fd", fd, kMaxFd);
      config.kvm.fd = static_cast<int>(fd);
    }
    kvm.read("irqchip", config.kvm.irqchip, kIrqchips);
  });
  root.object("cpu", [&](ObjectReader& cpu) {
    cpu.read("model", config.cpu_model);
    cpu.read("count", config.vcpus);
    cpu.read("features", config.cpu_features);
    if (cpu.optional("tsc_hz")) cpu.read("tsc_hz", config.tsc_hz.emplace());
  });
  root.read("memory", config.memory);
  root.object("kernel", [&](ObjectReader& kernel) {
    kernel.read("path", config.kernel.path);
    kernel.read("initrd", config.kernel.initrd);
    kernel.read("command_line", config.kernel.command_line);
  });
  read_pci_devices(root, config);
  read_devices(root, config);
  root.read("no_reboot", config.no_reboot);
  root.read("debug", config.debug);
  root.refuse_others();
}

ordered_json json_of(const Disk& disk) {
  ordered_json json{{"path", disk.path},
                    {"format", disk.format},
                    {"read_only", disk.read_only},
                    {"cdrom", disk.cdrom},
                    {"cache", name_of(kCacheModes, disk.cache)}};
  if (!disk.serial.empty()) json["serial"] = disk.serial;
  if (disk.bus != Disk::Bus::kVirtio) json["bus"] = name_of(kDiskBuses, disk.bus);
  return json;
}

ordered_json json_of(const PortForward& forward) {
  return {{"protocol", name_of(kProtocols, forward.udp)},
          {"host_address", forward.host_address},
          {"host_port", forward.host_port},
          {"guest_address", forward.guest_address},
          {"guest_port", forward.guest_port}};
}

ordered_json json_of(const Nic& nic) {
  ordered_json json{{"type", name_of(kNicTypes, nic.type)}};
  if (nic.model != Nic::Model::kVirtio) json["model"] = name_of(kNicModels, nic.model);
  if (!nic.name.empty()) json["name"] = nic.name;
  if (nic.fd >= 0) json["fd"] = nic.fd;
  if (nic.type == Nic::Type::kSocket) {
    json["path"] = nic.path;
    json["listen"] = nic.listen;
  }
  if (nic.type == Nic::Type::kUser) {
    json["restricted"] = nic.restricted;
    ordered_json& forwards = json["forwards"] = ordered_json::array();
    for (const PortForward& forward : nic.forwards) forwards.push_back(json_of(forward));
  }
  if (!nic.mac.empty()) json["mac"] = nic.mac;
  json["queues"] = nic.queues;
  return json;
}

// Keys of what is not there are left out, so that a description of before they existed is still the same text.
void write_pci_devices(ordered_json& root, const VmConfig& config) {
  if (!config.firmware.empty()) root["firmware"] = config.firmware;
  if (config.smm) root["smm"] = true;
  if (!config.uefi_variables.empty()) root["uefi_variables"] = config.uefi_variables;
  for (const Disk& disk : config.disks) root["disks"].push_back(json_of(disk));
  for (const Nic& nic : config.nics) root["nics"].push_back(json_of(nic));
  if (config.cloud_init) {
    root["cloud_init"] = {{"user_data", config.cloud_init->user_data}, {"meta_data", config.cloud_init->meta_data}};
    if (!config.cloud_init->network_config.empty())
      root["cloud_init"]["network_config"] = config.cloud_init->network_config;
  }
  if (config.vsock) root["vsock"] = {{"path", config.vsock->path}, {"cid", config.vsock->cid}};
  for (const Share& share : config.shares)
    root["shares"].push_back({{"path", share.path}, {"tag", share.tag}, {"read_only", share.read_only}});
  if (config.guest_agent) root["guest_agent"] = *config.guest_agent;
  if (config.sound != Sound::kNone) root["sound"] = name_of(kSounds, config.sound);
  if (config.watchdog) root["watchdog"] = name_of(kWatchdogActions, *config.watchdog);
  if (config.tpm)
    root["tpm"] = {{"type", name_of(kTpmTypes, config.tpm->type)}, {"path", config.tpm->path}, {"model", name_of(kTpmModels, config.tpm->model)}};
}

void write_screen(ordered_json& root, const VmConfig& config) {
  if (config.video != Video::kNone) root["video"] = name_of(kVideos, config.video);
  if (!config.vnc) return;
  ordered_json& vnc = root["vnc"] = {{"listen", config.vnc->listen}, {"tls", name_of(kVncTls, config.vnc->tls)}};
  const auto text = [&](const char* key, const std::string& value) {
    if (!value.empty()) vnc[key] = value;
  };
  text("password_file", config.vnc->password_file);
  text("user", config.vnc->user);
  text("certificate", config.vnc->certificate);
  text("key", config.vnc->key);
  text("client_ca", config.vnc->client_ca);
}

}  // namespace

Result<VmConfig> from_json(std::string_view text) {
  constexpr std::string_view doing = "VM description";
  auto root = parse_json(text);
  if (!root) return std::move(root).error().in(doing);
  VmConfig config;
  std::string failure;
  ObjectReader reader(*root, "", failure);
  read_root(reader, config);
  if (!failure.empty()) return error("{}: {}", doing, failure);
  if (auto good = validate(config); !good) return std::move(good).error().in(doing);
  return config;
}

std::string to_json(const VmConfig& config) {
  ordered_json root{{"version", kVersion},
                    {"name", config.name},
                    {"board", config.board},
                    {"accelerator", config.accelerator},
                    {"cpu", {{"model", config.cpu_model}, {"count", config.vcpus}}},
                    {"memory", config.memory}};
  if (config.kvm.fd >= 0) root["kvm"]["fd"] = config.kvm.fd;
  if (config.kvm.irqchip != Kvm::Irqchip::kAuto) root["kvm"]["irqchip"] = name_of(kIrqchips, config.kvm.irqchip);
  if (!config.cpu_features.empty()) root["cpu"]["features"] = config.cpu_features;
  if (config.tsc_hz) root["cpu"]["tsc_hz"] = *config.tsc_hz;
  root["kernel"] = {
      {"path", config.kernel.path}, {"initrd", config.kernel.initrd}, {"command_line", config.kernel.command_line}};
  write_pci_devices(root, config);
  write_screen(root, config);
  root["console"] = {{"type", name_of(kConsoleTypes, config.console.type)}};
  if (!config.console.path.empty()) root["console"]["path"] = config.console.path;
  if (config.input != Input::kPs2) root["input"] = name_of(kInputs, config.input);
  if (config.isa_debug_exit) root["isa_debug_exit"] = *config.isa_debug_exit;
  if (config.qmp) root["qmp"] = *config.qmp;
  if (config.gdb) {
    ordered_json& gdb = root["gdb"] = {{"type", name_of(kGdbTypes, config.gdb->type)}};
    if (config.gdb->type == GdbAddress::Type::kUnix) {
      gdb["path"] = config.gdb->path;
    } else {
      gdb["host"] = config.gdb->host;
      gdb["port"] = config.gdb->port;
    }
  }
  root["no_reboot"] = config.no_reboot;
  root["debug"] = config.debug;
  // A valid description is UTF-8 throughout; for one that is not, replacing is better than throwing.
  return root.dump(2, ' ', false, ordered_json::error_handler_t::replace) + "\n";
}

Result<VmConfig> read_json(int fd) {
  std::string text;
  char buffer[16384];
  for (;;) {
    const ssize_t got = ::read(fd, buffer, sizeof buffer);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return errno_error(errno, fmt::format("cannot read the VM description from descriptor {}", fd));
    if (got == 0) return from_json(text);
    text.append(buffer, static_cast<size_t>(got));
    if (text.size() > kMaxJsonSize) return from_json(text);  // refuses it, for its size
  }
}

}  // namespace skerry::config
