#include "cli/device_options.hpp"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>

#include "base/path_error.hpp"
#include "base/units.hpp"
#include "cli/option_text.hpp"

namespace skerry::cli {

namespace {

using config::Nic;

Result<config::Disk::Cache> parse_cache(std::string_view text) {
  std::vector<std::string_view> choices;
  for (const auto& [name, mode] : config::kCacheModes) {
    if (name == text) return mode;
    choices.push_back(name);
  }
  return error("cache mode '{}' is not known; use {}", text, fmt::join(choices, ", "));
}

Result<config::Disk::Bus> parse_bus(std::string_view text) {
  std::vector<std::string_view> choices;
  for (const auto& [name, bus] : config::kDiskBuses) {
    if (name == text) return bus;
    choices.push_back(name);
  }
  return error("bus '{}' is not known; use {}", text, fmt::join(choices, ", "));
}

Result<Nic::Model> parse_model(std::string_view text) {
  std::vector<std::string_view> choices;
  for (const auto& [name, model] : config::kNicModels) {
    if (name == text) return model;
    choices.push_back(name);
  }
  return error("model '{}' is not known; use {}", text, fmt::join(choices, ", "));
}

Result<void> set_disk(const Setting& setting, DiskOption& option) {
  config::Disk& disk = option.disk;
  if (setting.key == "format") {
    disk.format = setting.value;
    option.format_given = true;
  } else if (setting.key == "serial") {
    disk.serial = setting.value;
  } else if (setting.key == "cache") {
    const auto mode = parse_cache(setting.value);
    if (!mode) return mode.error();
    disk.cache = *mode;
  } else if (setting.key == "bus") {
    const auto bus = parse_bus(setting.value);
    if (!bus) return bus.error();
    disk.bus = *bus;
  } else if (setting.key == "readonly") {
    const auto on = parse_switch(setting);
    if (!on) return on.error();
    disk.read_only = *on;
  } else {
    return unknown_setting(setting.key, {"format", "readonly", "cache", "serial", "bus"});
  }
  return ok();
}

Result<unsigned> parse_queues(std::string_view text) {
  const auto number = parse_number(text);
  if (!number || *number < 1 || *number > config::kMaxQueuePairs)
    return error("queues={}: use 1 to {}", text, config::kMaxQueuePairs);
  return static_cast<unsigned>(*number);
}

Result<void> set_user(const Setting& setting, Nic& nic) {
  if (setting.key == "hostfwd") {
    auto forward = config::parse_forward(setting.value);
    if (!forward) return std::move(forward).error().in("hostfwd");
    nic.forwards.push_back(std::move(*forward));
    return ok();
  }
  if (setting.key != "restrict") return unknown_setting(setting.key, {"hostfwd", "restrict", "model", "mac"});
  const auto on = parse_switch(setting);
  if (!on) return on.error();
  nic.restricted = *on;
  return ok();
}

Result<void> set_socket(const Setting& setting, Nic& nic) {
  if (setting.key != "listen") return unknown_setting(setting.key, {"listen", "model", "mac"});
  const auto on = parse_switch(setting);
  if (!on) return on.error();
  nic.listen = *on;
  return ok();
}

Result<void> set_net(const Setting& setting, Nic& nic) {
  if (setting.key == "mac") {
    nic.mac = setting.value;
    return ok();
  }
  if (setting.key == "model") {
    const auto model = parse_model(setting.value);
    if (!model) return model.error();
    nic.model = *model;
    return ok();
  }
  if (nic.type == Nic::Type::kUser) return set_user(setting, nic);
  if (nic.type == Nic::Type::kSocket) return set_socket(setting, nic);
  if (setting.key != "queues") return unknown_setting(setting.key, {"queues", "model", "mac"});
  const auto queues = parse_queues(setting.value);
  if (!queues) return queues.error();
  nic.queues = *queues;
  return ok();
}

// The first element, which says what the cable leads to.
Result<Nic> parse_cable(std::string_view element) {
  constexpr std::string_view kForms = "user, tap=NAME, tap-fd=N, bridge=NAME, socket=PATH or none";
  Nic nic;
  if (element == "user") return nic;
  const auto setting = parse_setting(element);
  if (!setting || setting->value.empty()) return error("'{}' is not a network; use {}", element, kForms);
  const std::string value(setting->value);
  if (setting->key == "tap" || setting->key == "bridge") {
    nic.type = setting->key == "tap" ? Nic::Type::kTap : Nic::Type::kBridge;
    nic.name = value;
  } else if (setting->key == "socket") {
    nic.type = Nic::Type::kSocket;
    nic.path = value;
  } else if (setting->key == "tap-fd") {
    const auto fd = parse_number(value);
    if (!fd || *fd < config::kMinFd || *fd > config::kMaxFd)
      return error("tap-fd={}: is not a descriptor for this; use {} to {}", value, config::kMinFd, config::kMaxFd);
    nic.type = Nic::Type::kTap;
    nic.fd = static_cast<int>(*fd);
  } else {
    return error("'{}' is not a network; use {}", element, kForms);
  }
  return nic;
}

}  // namespace

Result<DiskOption> parse_disk(std::string_view text) {
  const auto elements = split_settings(text);
  if (!elements) return elements.error();
  DiskOption option;
  option.disk.path = (*elements)[0];
  for (size_t i = 1; i < elements->size(); ++i) {
    const auto setting = parse_setting((*elements)[i]);
    if (!setting) return setting.error();
    if (auto set = set_disk(*setting, option); !set) return std::move(set).error();
  }
  return option;
}

Result<DiskOption> parse_cdrom(std::string_view text) {
  DiskOption option{.disk = {.path = std::string(text), .read_only = true, .cdrom = true}};
  constexpr std::string_view kBus = ",bus=";
  const size_t at = text.rfind(kBus);
  if (at == text.npos) return option;
  const auto bus = parse_bus(text.substr(at + kBus.size()));
  if (!bus) return bus.error();
  option.disk.path = text.substr(0, at);
  option.disk.bus = *bus;
  return option;
}

Result<std::optional<Nic>> parse_net(std::string_view text) {
  if (text == "none") return std::optional<Nic>();
  const auto elements = split_settings(text);
  if (!elements) return elements.error();
  auto nic = parse_cable((*elements)[0]);
  if (!nic) return std::move(nic).error();
  for (size_t i = 1; i < elements->size(); ++i) {
    const auto setting = parse_setting((*elements)[i]);
    if (!setting) return setting.error();
    if (auto set = set_net(*setting, *nic); !set) return std::move(set).error();
  }
  return std::optional<Nic>(std::move(*nic));
}

Result<config::Share> parse_share(std::string_view text) {
  const auto elements = split_settings(text);
  if (!elements) return elements.error();
  config::Share share{.path = elements->front()};
  for (size_t i = 1; i < elements->size(); ++i) {
    const auto setting = parse_setting((*elements)[i]);
    if (!setting) return setting.error();
    if (setting->key == "tag") {
      share.tag = setting->value;
    } else if (setting->key == "readonly") {
      const auto on = parse_switch(*setting);
      if (!on) return on.error();
      share.read_only = *on;
    } else {
      return unknown_setting(setting->key, {"tag", "readonly"});
    }
  }
  const std::unique_ptr<char, decltype(&::free)> real(::realpath(share.path.c_str(), nullptr), ::free);
  if (!real) return error("'{}': {}", share.path, explain_path(errno, share.path, R_OK));
  if (struct stat about{}; ::stat(real.get(), &about) != 0 || !S_ISDIR(about.st_mode))
    return error("'{}': is no folder; only a folder can be shared", share.path);
  if (share.tag.empty()) share.tag = std::string_view(real.get()).substr(std::string_view(real.get()).rfind('/') + 1);
  if (share.tag.empty()) return error("'{}': has no name of its own for the guest to mount it by; give one by tag=TAG", share.path);
  if (share.tag.size() > config::kMaxShareTag)
    return error("'{}': '{}' is longer than the {} bytes of a tag; give a shorter one by tag=TAG", share.path, share.tag,
                 config::kMaxShareTag);
  return share;
}

Result<config::Sound> parse_sound(std::string_view text) {
  for (const auto& [name, sound] : config::kSounds)
    if (name == text) return sound;
  return error("'{}' is not known; use hda or none", text);
}

Result<config::WatchdogAction> parse_watchdog(std::string_view text) {
  std::vector<std::string_view> choices;
  for (const auto& [name, action] : config::kWatchdogActions) {
    if (name == text) return action;
    choices.push_back(name);
  }
  return error("'{}' is not known; use {}", text, fmt::join(choices, ", "));
}

std::string name_of_image(std::string_view path) {
  std::string_view file = path.substr(path.rfind('/') + 1);  // npos + 1 is 0
  if (const size_t dot = file.rfind('.'); dot != file.npos && dot != 0) file = file.substr(0, dot);
  std::string name;
  for (const char c : file) {
    const bool letter = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    if (letter || (!name.empty() && (c == '.' || c == '_'))) {
      name += c;
    } else if (!name.empty() && name.back() != '-') {
      name += '-';
    }
  }
  name.resize(std::min<size_t>(name.size(), 64));
  while (name.ends_with('-')) name.pop_back();
  return name.empty() ? "vm" : name;
}

}  // namespace skerry::cli
