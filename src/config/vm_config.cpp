#include "config/vm_config.hpp"

#include <algorithm>
#include <cctype>

#include "accel/debug_options.hpp"
#include "base/log.hpp"
#include "config/checks.hpp"

namespace skerry::config {

namespace {

constexpr size_t kMaxInitrd = 64 * KiB;
constexpr size_t kMaxHost = 253;  // a DNS name, RFC 1035, 2.3.4
constexpr uint64_t kMemoryUnit = 4 * KiB;

Result<void> check_name(std::string_view name) {
  const auto allowed = [](unsigned char c) { return std::isalnum(c) || c == '.' || c == '_' || c == '-'; };
  if (name.empty() || name.size() > 64 || !std::isalnum(static_cast<unsigned char>(name[0])) ||
      !std::all_of(name.begin(), name.end(), allowed))
    return error("name: '{}' is not a VM name; use 1 to 64 letters, digits, '.', '_' and '-', a letter or digit first",
                 shown(name));
  return ok();
}

Result<void> check_memory(uint64_t memory) {
  if (memory < kMinMemory)
    return error("memory: {} is too small; at least {}", format_size(memory), format_size(kMinMemory));
  if (memory > kMaxMemory)
    return error("memory: {} is too large; at most {}", format_size(memory), format_size(kMaxMemory));
  if (memory % kMemoryUnit)
    return error("memory: {} is not a multiple of {}; use {}", format_size(memory), format_size(kMemoryUnit),
                 format_size(align_up(memory, kMemoryUnit)));
  return ok();
}

// What is there to start: a kernel, or what a firmware starts from.
Result<void> check_kernel(const VmConfig& config) {
  const Kernel& kernel = config.kernel;
  if (kernel.path.empty() && (config.board == kPlainBoard || config.board == kMicrovmBoard))
    return error("kernel.path: is empty; this board has no firmware to start from, so give a kernel (--kernel FILE)");
  if (kernel.path.empty() && config.disks.empty() && config.firmware.empty())
    return error("kernel.path: is empty, and there is neither a disk nor a firmware to start from; give one of the three");
  if (kernel.path.empty() && !kernel.initrd.empty())
    return error("kernel.initrd: there is no kernel to take it; give one, or leave the initrd out");
  if (kernel.path.empty() && !kernel.command_line.empty())
    return error("kernel.command_line: there is no kernel to take it; give one, or leave the command line out");
  if (!kernel.path.empty() && !config.firmware.empty())
    return error("firmware: a kernel is started directly, without a firmware; leave one of the two out");
  if (!kernel.path.empty())
    if (auto good = check_path("kernel.path", kernel.path); !good) return good;
  if (!config.firmware.empty())
    if (auto good = check_path("firmware", config.firmware); !good) return good;
  if (!config.uefi_variables.empty() && (config.firmware.empty() || config.firmware == "bios"))
    return error("uefi_variables: only a UEFI has them; give one (--firmware uefi), or leave them out");
  if (!config.uefi_variables.empty())
    if (auto good = check_path("uefi_variables", config.uefi_variables); !good) return good;
  if (auto good = check_text("kernel.initrd", kernel.initrd, kMaxInitrd); !good) return good;
  return check_text("kernel.command_line", kernel.command_line, kMaxCommandLine);
}

// A board that starts a kernel directly, and by nothing else.
Result<void> check_has_no_firmware(const VmConfig& config) {
  if (config.firmware.empty()) return ok();
  return error("firmware: board {} starts a kernel directly and has no firmware; use board q35-1", config.board);
}

// Virtio devices are all that this board has places for.
Result<void> check_microvm(const VmConfig& config) {
  for (size_t i = 0; i < config.disks.size(); ++i)
    if (config.disks[i].bus != Disk::Bus::kVirtio)
      return error("disks[{}].bus: board {} has virtio disks only; use bus=virtio, or board q35-1", i, config.board);
  for (size_t i = 0; i < config.nics.size(); ++i)
    if (config.nics[i].model != Nic::Model::kVirtio)
      return error("nics[{}].model: board {} has virtio cards only; use model=virtio, or board q35-1", i, config.board);
  if (config.input != Input::kPs2)
    return error("input: board {} has neither USB nor a screen to point at; leave it out, or use board q35-1", config.board);
  if (config.tpm) return error("tpm: board {} has no place for it; use board q35-1", config.board);
  if (config.watchdog) return error("watchdog: board {} has no PCI and no place for it; use board q35-1", config.board);
  if (config.sound != Sound::kNone) return error("sound: board {} has no PCI and no place for it; use board q35-1", config.board);
  return check_has_no_firmware(config);
}

// A board without PCI has no place for these.
Result<void> check_board(const VmConfig& config) {
  if (auto good = check_choice("board", config.board, boards()); !good) return good;
  if (config.board == kMicrovmBoard) return check_microvm(config);
  if (config.board == kPcBoard && config.firmware.starts_with("uefi"))
    return error("firmware: board {} starts by a BIOS; for a UEFI use board {}", config.board, kQ35Board);
  if (config.board != kPlainBoard) return ok();
  const std::pair<std::string_view, bool> need_pci[] = {{"disks", !config.disks.empty()},
                                                        {"nics", !config.nics.empty()},
                                                        {"cloud_init", config.cloud_init.has_value()},
                                                        {"vsock", config.vsock.has_value()},
                                                        {"shares", !config.shares.empty()},
                                                        {"guest_agent", config.guest_agent.has_value()},
                                                        {"input", config.input != Input::kPs2},
                                                        {"sound", config.sound != Sound::kNone},
                                                        {"watchdog", config.watchdog.has_value()},
                                                        {"tpm", config.tpm.has_value()}};
  for (const auto& [field, present] : need_pci)
    if (present) return error("{}: board {} has no PCI and no place for it; use board q35-1", field, config.board);
  return check_has_no_firmware(config);
}

Result<void> check_console(const Console& console) {
  if (console.type == Console::Type::kUnix) return check_socket("console.path", console.path);
  if (console.type == Console::Type::kFile) return check_path("console.path", console.path);
  if (!console.path.empty())
    return error("console.path: a console of type '{}' has no path; leave it out",
                 to_string(Console{console.type, ""}));
  return ok();
}

Result<void> check_gdb(const GdbAddress& gdb) {
  if (gdb.type == GdbAddress::Type::kUnix) {
    if (!gdb.host.empty() || gdb.port != 0)
      return error("gdb.host: a unix socket has no host and port; leave them out");
    return check_socket("gdb.path", gdb.path);
  }
  if (!gdb.path.empty()) return error("gdb.path: a TCP address has no path; leave it out");
  if (gdb.port == 0) return error("gdb.port: 0 is not a TCP port; use 1 to 65535");
  return check_text("gdb.host", gdb.host, kMaxHost);
}

Result<void> check_debug(const VmConfig& config) {
  std::vector<std::string_view> categories = log::category_names();
  categories.push_back("all");
  const std::vector<std::string_view> options = accel::debug_option_names();
  categories.insert(categories.end(), options.begin(), options.end());
  if (config.debug.size() > categories.size())
    return error("debug: has {} entries; name each category once", config.debug.size());
  for (const std::string& word : config.debug) {
    accel::DebugOptions ignored;
    auto known = accel::apply(word, ignored);
    if (!known) return std::move(known).error().in("debug");
    if (*known) continue;
    if (auto good = check_choice("debug", word, categories); !good) return good;
  }
  return ok();
}

Result<void> check_smm(const VmConfig& config) {
  if (!has_smm(config)) return ok();
  if (config.board != kQ35Board) return error("smm: board {} has no System Management Mode; use board {}", config.board, kQ35Board);
  if (config.accelerator != "kvm") return ok();
  constexpr std::string_view kWhy = "needs System Management Mode, which is not there under KVM; use accelerator bt, or auto";
  return config.smm ? error("smm: {}", kWhy) : error("accelerator: firmware {} {}", config.firmware, kWhy);
}

Result<void> check_kvm(const VmConfig& config) {
  if (config.kvm != Kvm{} && config.accelerator != "kvm")
    return error("kvm: accelerator {} has no descriptor and no irqchip to choose; leave it out", config.accelerator);
  if (config.kvm.fd >= 0 && (config.kvm.fd < kMinFd || config.kvm.fd > kMaxFd))
    return error("kvm.fd: {} is not a descriptor for this; use {} to {}", config.kvm.fd, kMinFd, kMaxFd);
  if (config.kvm.irqchip == Kvm::Irqchip::kSplit && config.gdb)
    return error("kvm.irqchip: a debugger needs Skerry's own interrupt controllers; use irqchip=user, or leave gdb out");
  return ok();
}

}  // namespace

bool has_smm(const VmConfig& config) { return config.smm || config.firmware == kSecureFirmware; }

std::vector<std::string_view> boards() { return {kPlainBoard, kMicrovmBoard, kQ35Board, kPcBoard}; }

std::vector<std::string_view> accelerators() { return {"auto", "bt", "interpreter", "kvm"}; }
std::vector<std::string_view> cpu_models() { return {"host", "x86-64-v1", "x86-64-v2", "x86-64-v3", "x86-64-v4"}; }

Result<void> validate(const VmConfig& config) {
  if (auto good = check_name(config.name); !good) return good;
  if (auto good = check_board(config); !good) return good;
  if (auto good = check_choice("accelerator", config.accelerator, accelerators()); !good) return good;
  if (auto good = check_kvm(config); !good) return good;
  if (auto good = check_smm(config); !good) return good;
  if (auto good = check_choice("cpu.model", config.cpu_model, cpu_models()); !good) return good;
  if (config.vcpus < 1) return error("cpu.count: 0 is too few; a VM has 1 to {} vCPUs", kMaxVcpus);
  if (config.vcpus > kMaxVcpus)
    return error("cpu.count: {} is too many; board {} has 1 to {} vCPUs", config.vcpus, config.board, kMaxVcpus);
  if (config.tsc_hz && (*config.tsc_hz < kMinTscHz || *config.tsc_hz > kMaxTscHz))
    return error("cpu.tsc_hz: {} is no frequency of a time-stamp counter; use {} to {}", *config.tsc_hz, kMinTscHz, kMaxTscHz);
  if (auto good = check_memory(config.memory); !good) return good;
  if (auto good = check_kernel(config); !good) return good;
  if (auto good = check_disks(config); !good) return good;
  if (auto good = check_nics(config); !good) return good;
  if (auto good = check_guest_services(config); !good) return good;
  if (auto good = check_tpm(config); !good) return good;
  if (auto good = check_screen(config); !good) return good;
  if (auto good = check_console(config.console); !good) return good;
  if (config.isa_debug_exit && *config.isa_debug_exit > 0x10000 - kIsaDebugExitPorts)
    return error("isa_debug_exit: port {:#x} is too high for {} ports; at most {:#x}", *config.isa_debug_exit,
                 kIsaDebugExitPorts, 0x10000 - kIsaDebugExitPorts);
  if (config.qmp)
    if (auto good = check_socket("qmp", *config.qmp); !good) return good;
  if (config.gdb)
    if (auto good = check_gdb(*config.gdb); !good) return good;
  return check_debug(config);
}

Result<Console> parse_console(std::string_view text) {
  Console console;
  if (text == "stdio") return console;
  if (text == "pty" || text == "none") {
    console.type = text == "pty" ? Console::Type::kPty : Console::Type::kNone;
    return console;
  }
  for (const auto& [prefix, type] :
       {std::pair<std::string_view, Console::Type>{"file:", Console::Type::kFile}, {"unix:", Console::Type::kUnix}}) {
    if (!text.starts_with(prefix)) continue;
    if (text.size() == prefix.size()) return error("console '{}' has no path; write {}PATH", text, prefix);
    return Console{type, std::string(text.substr(prefix.size()))};
  }
  return error("'{}' is not a console; use stdio, pty, file:PATH, unix:PATH or none", text);
}

std::string to_string(const Console& console) {
  switch (console.type) {
    case Console::Type::kStdio:
      return "stdio";
    case Console::Type::kPty:
      return "pty";
    case Console::Type::kFile:
      return "file:" + console.path;
    case Console::Type::kUnix:
      return "unix:" + console.path;
    case Console::Type::kNone:
      break;
  }
  return "none";
}

Result<GdbAddress> parse_gdb(std::string_view text) {
  GdbAddress address;
  if (text.starts_with("unix:") && text.size() > 5) {
    address.type = GdbAddress::Type::kUnix;
    address.path = text.substr(5);
    return address;
  }
  // The last colon separates the port: an IPv6 address has colons of its own.
  const size_t colon = text.rfind(':');
  if (!text.starts_with("tcp:") || colon < 4)
    return error("'{}' is not an address for gdb; use tcp::PORT, tcp:HOST:PORT or unix:PATH", text);
  auto port = parse_number(text.substr(colon + 1));
  if (!port || *port < 1 || *port > 65535)
    return error("'{}' in '{}' is not a TCP port; use 1 to 65535", text.substr(colon + 1), text);
  std::string_view host = text.substr(4, colon - 4);
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  address.host = host;
  address.port = static_cast<uint16_t>(*port);
  return address;
}

std::string to_string(const GdbAddress& address) {
  if (address.type == GdbAddress::Type::kUnix) return "unix:" + address.path;
  const bool ipv6 = address.host.find(':') != std::string::npos;
  return fmt::format("tcp:{}{}{}:{}", ipv6 ? "[" : "", address.host, ipv6 ? "]" : "", address.port);
}

}  // namespace skerry::config
