#include "cli/run_options.hpp"

#include <algorithm>

#include "accel/debug_options.hpp"
#include "base/log.hpp"
#include "base/units.hpp"
#include "cli/device_options.hpp"
#include "cli/option_text.hpp"

namespace skerry::cli {

namespace {

constexpr std::string_view kUnixPrefix = "unix:";
constexpr std::string_view kWaitSuffix = ",wait";

// validate() names fields of the description; people know options.
constexpr std::pair<std::string_view, std::string_view> kOptionOfField[] = {
    {"name", "--name"},
    {"board", "--board"},
    {"firmware", "--firmware"},
    {"smm", "--smm"},
    {"uefi_variables", "--uefi-vars"},
    {"disks", "--disk"},
    {"nics", "--net"},
    {"cloud_init", "--cloud-init"},
    {"vsock", "--vsock"},
    {"shares", "--share"},
    {"guest_agent", "--guest-agent"},
    {"sound", "--sound"},
    {"watchdog", "--watchdog"},
    {"tpm", "--tpm"},
    {"accelerator", "--accel"},
    {"cpu.model", "--cpu"},
    {"cpu.count", "--cpus"},
    {"memory", "--memory"},
    {"kernel.path", "--kernel"},
    {"kernel.initrd", "--initrd"},
    {"kernel.command_line", "--append"},
    {"video", "--video"},
    {"vnc", "--display"},
    {"console", "--console"},
    {"input", "--input"},
    {"isa_debug_exit", "--isa-debug-exit"},
    {"qmp", "--qmp"},
    {"gdb", "--gdb"},
    {"debug", "--debug"},
};

// "disks[1].serial" is the serial of a certain image, "nics[1].mac" that of the second --net.
std::string name_of_element(const config::VmConfig& config, std::string_view option, std::string_view rest) {
  const auto index = parse_number(rest.substr(1, rest.find(']') - 1));
  if (option == "--disk" && index && *index < config.disks.size()) {
    const config::Disk& disk = config.disks[*index];
    return fmt::format("{} '{}'", disk.cdrom ? "--cdrom" : "--disk", disk.path);
  }
  if (option == "--share" && index && *index < config.shares.size()) return fmt::format("{} '{}'", option, config.shares[*index].path);
  return index && config.nics.size() > 1 ? fmt::format("{} number {}", option, *index + 1) : std::string(option);
}

Error in_options(const config::VmConfig& config, const Error& failure) {
  const std::string_view text = failure.message();
  const std::string_view path = text.substr(0, text.find(':'));
  for (const auto& [field, option] : kOptionOfField) {
    if (path == field || (path.starts_with(field) && path[field.size()] == '.'))
      return error("{}{}", option, text.substr(path.size()));
    if (!path.starts_with(field) || path[field.size()] != '[') continue;
    const size_t dot = path.find('.');
    const std::string_view part = dot == path.npos ? "" : path.substr(dot + 1);
    return error("{}{}{}{}", name_of_element(config, option, path.substr(field.size())), part.empty() ? "" : ": ", part,
                 text.substr(path.size()));
  }
  return Error(std::string(text));
}

Result<unsigned> parse_vcpus(const std::string& text) {
  const auto number = parse_number(text);
  if (!number) return error("--cpus: '{}' is not a number of vCPUs; use 1 to {}", text, config::kMaxVcpus);
  if (*number == 0 || *number > config::kMaxVcpus)
    return error("--cpus: {} is too {}; use 1 to {}", text, *number ? "many" : "few", config::kMaxVcpus);
  return static_cast<unsigned>(*number);
}

Result<config::Input> parse_input(std::string_view text) {
  for (const auto& [name, input] : config::kInputs)
    if (name == text) return input;
  return error("--input: '{}' is not known; use ps2, tablet, usb or virtio", text);
}

Result<uint16_t> parse_port(const std::string& text) {
  const auto number = parse_number(text);
  if (!number || *number > 0xffff)
    return error("--isa-debug-exit: '{}' is not a port; use a number such as 0xf4", text);
  return static_cast<uint16_t>(*number);
}

Result<std::string> parse_unix(std::string_view option, std::string_view text) {
  if (!text.starts_with(kUnixPrefix) || text.size() == kUnixPrefix.size())
    return error("{}: '{}' is not an address; use unix:PATH", option, text);
  return std::string(text.substr(kUnixPrefix.size()));
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

// unix:PATH[,cid=N]
Result<config::Vsock> parse_vsock(const std::string& text) {
  const auto elements = split_settings(text);
  if (!elements) return Error(elements.error()).in("--vsock");
  auto path = parse_unix("--vsock", elements->front());
  if (!path) return std::move(path).error();
  config::Vsock vsock{.path = std::move(*path)};
  for (size_t i = 1; i < elements->size(); ++i) {
    const auto setting = parse_setting((*elements)[i]);
    if (!setting) return Error(setting.error()).in("--vsock");
    if (setting->key != "cid") return unknown_setting(setting->key, {"cid"}).in("--vsock");
    const auto number = parse_number(setting->value);
    if (!number || *number < config::kMinVsockCid || *number > config::kMaxVsockCid)
      return error("--vsock: cid={}: is not a guest's context ID; use {} to {}", setting->value, config::kMinVsockCid,
                   config::kMaxVsockCid);
    vsock.cid = static_cast<uint32_t>(*number);
  }
  return vsock;
}

Result<void> add_disk(std::string_view option, DiskOption disk, config::VmConfig& config) {
  if (auto good = check_image(disk); !good)
    return std::move(good).error().in(fmt::format("{} '{}'", option, disk.disk.path));
  config.disks.push_back(std::move(disk.disk));
  return ok();
}

Result<void> lower_disks(const RunOptions& options, config::VmConfig& config) {
  if (!options.image.empty())
    if (auto added = add_disk("disk", {.disk = {.path = options.image}}, config); !added) return added;
  for (const std::string& text : options.disks) {
    auto disk = parse_disk(text);
    if (!disk) return std::move(disk).error().in("--disk");
    if (auto added = add_disk("--disk", std::move(*disk), config); !added) return added;
  }
  for (const std::string& path : options.cdroms) {
    auto disk = parse_cdrom(path);
    if (!disk) return std::move(disk).error().in("--cdrom");
    if (disk->disk.path.empty()) return error("--cdrom: is empty; give the path of an image");
    if (auto added = add_disk("--cdrom", std::move(*disk), config); !added) return added;
  }
  if (auto good = check_images_differ(config.disks); !good) return std::move(good).error().in("--disk");
  return ok();
}

Result<void> lower_nets(const RunOptions& options, config::VmConfig& config) {
  bool none = false;
  for (const std::string& text : options.nets) {
    auto nic = parse_net(text);
    if (!nic) return std::move(nic).error().in("--net");
    none |= !nic->has_value();
    if (!nic->has_value()) continue;
    if ((*nic)->fd >= 0)
      if (auto open = check_tap_descriptor((*nic)->fd); !open) return std::move(open).error().in("--net");
    config.nics.push_back(std::move(**nic));
  }
  if (none && options.nets.size() > 1) return error("--net: none has no place beside others; leave it or them out");
  // A machine with a disk is one that people expect to be on the network.
  if (options.nets.empty() && !config.disks.empty()) config.nics.emplace_back();
  return ok();
}

// What is connected by PCI.
Result<void> lower_pci_devices(const RunOptions& options, config::VmConfig& config) {
  if (auto lowered = lower_disks(options, config); !lowered) return lowered;
  if (auto lowered = lower_nets(options, config); !lowered) return lowered;
  auto seed = lower_cloud_init(options.cloud_init);
  if (!seed) return std::move(seed).error();
  config.cloud_init = std::move(*seed);
  if (!options.vsock.empty()) {
    auto vsock = parse_vsock(options.vsock);
    if (!vsock) return std::move(vsock).error();
    config.vsock = std::move(*vsock);
  }
  for (const std::string& text : options.shares) {
    auto share = parse_share(text);
    if (!share) return std::move(share).error().in("--share");
    config.shares.push_back(std::move(*share));
  }
  if (!options.sound.empty()) {
    const auto sound = parse_sound(options.sound);
    if (!sound) return Error(sound.error()).in("--sound");
    config.sound = *sound;
  }
  if (!options.watchdog.empty()) {
    const auto action = parse_watchdog(options.watchdog);
    if (!action) return Error(action.error()).in("--watchdog");
    config.watchdog = *action;
  }
  auto tpm = parse_tpm(options.tpm);
  if (!tpm) return std::move(tpm).error().in("--tpm");
  config.tpm = std::move(*tpm);
  if (options.guest_agent.empty()) return ok();
  auto path = parse_unix("--guest-agent", options.guest_agent);
  if (!path) return std::move(path).error();
  config.guest_agent = std::move(*path);
  return ok();
}

// The small board starts a kernel and has the least in its way; what needs PCI needs another.
std::string_view board_for(const config::VmConfig& config) {
  if (std::ranges::count(config.disks, config::Disk::Bus::kIde, &config::Disk::bus)) return config::kPcBoard;
  const bool needs_pci = !config.disks.empty() || !config.nics.empty() || config.cloud_init || config.vsock || !config.shares.empty() ||
                         config.guest_agent || config.sound != config::Sound::kNone || config.watchdog || config.tpm || !config.firmware.empty() || config.video != config::Video::kNone || config.smm;
  return needs_pci ? config::kQ35Board : config::kPlainBoard;
}

// "pc" is the newest of the boards pc-N. They are listed from the oldest version on.
std::string_view board_named(std::string_view name) {
  std::string_view newest = name;
  for (const std::string_view board : config::boards())
    if (board.substr(0, board.rfind('-')) == name) newest = board;
  return newest;
}

Result<void> lower_defaults(const RunOptions& options, config::VmConfig& config) {
  if (config.kernel.path.empty() && config.disks.empty() && config.firmware.empty())
    return error("--kernel: is not given, and no disk either; start a disk image by 'skerry run IMAGE' or a kernel by "
                 "'skerry run --kernel FILE'");
  config.board = options.board.empty() ? board_for(config) : board_named(options.board);
  if (!options.name.empty())
    config.name = options.name;
  else if (!config.disks.empty())
    config.name = name_of_image(config.disks[0].path);
  const std::string_view usual = config.disks.empty() ? "512M" : "1G";
  const auto memory = parse_size(options.memory.empty() ? usual : options.memory);
  if (!memory) return Error(memory.error()).in("--memory");
  config.memory = *memory;
  return ok();
}

// none, or vnc=ADDR[,password-file=FILE][,user=NAME][,tls=on][,cert=FILE,key=FILE][,ca=FILE]
Result<std::optional<config::Vnc>> parse_display(const std::string& text) {
  constexpr std::string_view kVnc = "vnc";
  if (text.empty() || text == "none") return std::optional<config::Vnc>();
  const auto elements = split_settings(text);
  if (!elements) return elements.error();
  const auto where = parse_setting(elements->front());
  if (!where || where->key != kVnc) return error("'{}' is not a display; use vnc=ADDRESS:PORT or none", elements->front());
  auto listen = config::parse_vnc_address(where->value);
  if (!listen) return std::move(listen).error();
  config::Vnc vnc{.listen = std::move(*listen)};
  const std::pair<std::string_view, std::string*> texts[] = {{"password-file", &vnc.password_file},
                                                             {"user", &vnc.user},
                                                             {"cert", &vnc.certificate},
                                                             {"key", &vnc.key},
                                                             {"ca", &vnc.client_ca}};
  bool tls = false;
  for (size_t i = 1; i < elements->size(); ++i) {
    const auto setting = parse_setting((*elements)[i]);
    if (!setting) return setting.error();
    const auto found = std::ranges::find(texts, setting->key, [](const auto& entry) { return entry.first; });
    if (found != std::end(texts)) {
      *found->second = setting->value;
    } else if (setting->key == "tls") {
      const auto on = parse_switch(*setting);
      if (!on) return on.error();
      tls = *on;
    } else {
      return unknown_setting(setting->key, {"password-file", "user", "tls", "cert", "key", "ca"});
    }
  }
  if (!vnc.certificate.empty() || !vnc.key.empty())
    vnc.tls = config::Vnc::Tls::kX509;
  else if (tls)
    vnc.tls = config::Vnc::Tls::kAnonymous;
  return std::optional(std::move(vnc));
}

// Who asks for a display wants something to be on it.
Result<void> lower_video(const RunOptions& options, config::VmConfig& config) {
  const bool viewers = !options.display.empty() && options.display != "none";
  if (viewers && options.video != "none") config.input = config::Input::kTablet;
  if (options.video.empty()) {
    config.video = viewers ? config::Video::kVga : config::Video::kNone;
    return ok();
  }
  for (const auto& [name, video] : config::kVideos) {
    if (name != options.video) continue;
    config.video = video;
    return ok();
  }
  return error("--video: '{}' is not known; use vga, virtio or none", options.video);
}

// Those with an address or a number of their own.
Result<void> lower_devices(const RunOptions& options, RunPlan& plan) {
  config::VmConfig& config = plan.config;
  auto console = config::parse_console(options.console);
  if (!console) return std::move(console).error().in("--console");
  config.console = std::move(*console);
  auto vnc = parse_display(options.display);
  if (!vnc) return std::move(vnc).error().in("--display");
  config.vnc = std::move(*vnc);
  if (!options.input.empty()) {
    const auto input = parse_input(options.input);
    if (!input) return input.error();
    config.input = *input;
  }
  if (!options.isa_debug_exit.empty()) {
    const auto port = parse_port(options.isa_debug_exit);
    if (!port) return port.error();
    config.isa_debug_exit = *port;
  }
  if (!options.qmp.empty()) {
    auto path = parse_unix("--qmp", options.qmp);
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

Result<std::optional<config::Tpm>> parse_tpm(const std::string& text) {
  if (text.empty() || text == "none") return std::optional<config::Tpm>();
  const auto elements = split_settings(text);
  if (!elements) return elements.error();
  config::Tpm tpm{.path = elements->front()};
  if (tpm.path.starts_with(kUnixPrefix)) {
    tpm.type = config::Tpm::Type::kSocket;
    tpm.path.erase(0, kUnixPrefix.size());
    if (tpm.path.empty()) return error("'{}' has no path; use unix:PATH, where swtpm has its control channel", text);
  }
  for (size_t i = 1; i < elements->size(); ++i) {
    const auto setting = parse_setting((*elements)[i]);
    if (!setting) return setting.error();
    if (setting->key != "model") return unknown_setting(setting->key, {"model"});
    if (setting->value != "crb") return error("model={}: is not there; use crb, which current systems know", setting->value);
  }
  return std::optional(std::move(tpm));
}

Result<std::string> parse_qmp(std::string_view text) { return parse_unix("--qmp", text); }

namespace {

Result<void> lower_kvm_setting(const Setting& setting, config::Kvm& kvm) {
  if (setting.key == "fd") {
    const auto number = parse_number(setting.value);
    if (!number || *number < config::kMinFd || *number > config::kMaxFd)
      return error("fd={}: is not a descriptor for this; open /dev/kvm as number {} to {}", setting.value, config::kMinFd,
                   config::kMaxFd);
    kvm.fd = static_cast<int>(*number);
    return ok();
  }
  if (setting.key != "irqchip") return unknown_setting(setting.key, {"fd", "irqchip"});
  if (setting.value != "split" && setting.value != "user")
    return error("irqchip={}: there are split (the kernel's local APICs) and user (all are Skerry's)", setting.value);
  kvm.irqchip = setting.value == "split" ? config::Kvm::Irqchip::kSplit : config::Kvm::Irqchip::kUser;
  return ok();
}

}  // namespace

// NAME, or kvm[,fd=N][,irqchip=split|user]
Result<void> lower_accelerator(const std::string& text, config::VmConfig& config) {
  const auto elements = split_settings(text);
  if (!elements) return Error(elements.error()).in("--accel");
  config.accelerator = elements->front();
  for (size_t i = 1; i < elements->size(); ++i) {
    const auto setting = parse_setting((*elements)[i]);
    if (!setting) return Error(setting.error()).in("--accel");
    if (auto good = lower_kvm_setting(*setting, config.kvm); !good) return std::move(good).error().in("--accel");
  }
  return ok();
}

Result<void> lower_host(const RunOptions& options, RunPlan& plan) {
  plan.config.debug = split(options.debug);
  if (options.verbose) plan.config.debug.emplace_back("accel");
  if (auto lowered = lower_devices(options, plan); !lowered) return lowered;
  if (auto valid = config::validate(plan.config); !valid) return in_options(plan.config, valid.error());
  return ok();
}

Result<RunPlan> lower(const RunOptions& options) {
  RunPlan plan;
  config::VmConfig& config = plan.config;
  if (auto chosen = lower_accelerator(options.accel, config); !chosen) return std::move(chosen).error();
  config.cpu_model = options.cpu;
  config.kernel = {options.kernel, options.initrd, options.append};
  config.firmware = options.firmware;
  config.smm = options.smm;
  config.uefi_variables = options.uefi_variables;
  config.no_reboot = options.no_reboot;
  const auto vcpus = parse_vcpus(options.cpus);
  if (!vcpus) return vcpus.error();
  config.vcpus = *vcpus;
  if (auto lowered = lower_video(options, config); !lowered) return std::move(lowered).error();
  if (auto lowered = lower_pci_devices(options, config); !lowered) return std::move(lowered).error();
  if (auto lowered = lower_defaults(options, config); !lowered) return std::move(lowered).error();
  if (auto lowered = lower_host(options, plan); !lowered) return std::move(lowered).error();
  return plan;
}

std::vector<std::string> accelerator_choices() {
  std::vector<std::string> all;
  for (const std::string_view name : config::accelerators())
    all.emplace_back(name);
  return all;
}

std::vector<std::string> debug_choices() {
  std::vector<std::string> all{"all"};
  for (const std::string_view name : log::category_names()) all.emplace_back(name);
  for (const std::string_view name : accel::debug_option_names()) all.emplace_back(name);
  return all;
}

}  // namespace skerry::cli
