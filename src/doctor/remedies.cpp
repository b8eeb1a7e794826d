#include "doctor/remedies.hpp"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace skerry::doctor {

namespace {

bool contains(const std::vector<gid_t>& groups, gid_t group) {
  return std::find(groups.begin(), groups.end(), group) != groups.end();
}

// Whether the kernel has a driver behind the device now.
Presence driver_of(const Host& host, const MiscDevice& device) {
  if (!host.has("/sys/class/misc")) return Presence::kUnknown;
  return host.presence(fmt::format("/sys/class/misc/{}", device.name));
}

Finding absent(const Host& host, const MiscDevice& device, std::string_view without) {
  const std::string found = fmt::format("there is no {}: {}", device.path, without);
  if (driver_of(host, device) != Presence::kThere)
    return warning(found, how_to_load(host, device.module, device.option));
  if (in_container(host)) return warning(found, how_to_pass_in(device.path));
  const auto number = host.line(fmt::format("/sys/class/misc/{}/dev", device.name));  // "10:200"
  std::string parts = number ? *number : "MAJOR MINOR";
  std::replace(parts.begin(), parts.end(), ':', ' ');
  const std::string_view folder = device.path.substr(0, device.path.rfind('/'));
  return warning(fmt::format("{}; the kernel has its driver", found),
                 fmt::format("as root: mkdir -p {}; mknod -m 0660 {} c {}", folder, device.path, parts));
}

}  // namespace

bool in_container(const Host& host) {
  return host.has("/.dockerenv") || host.has("/run/.containerenv") || host.has("/run/systemd/container");
}

bool module_loaded(const Host& host, std::string_view module) {
  return host.has(fmt::format("/sys/module/{}", module));
}

bool kernel_has_no_modules(const Host& host) {
  return host.has("/proc/self") && host.presence("/proc/modules") == Presence::kAbsent;
}

std::string how_to_load(const Host& host, std::string_view module, std::string_view option) {
  if (kernel_has_no_modules(host))
    return fmt::format("use a kernel with {}: this one was built without, and loads no modules", option);
  return fmt::format("as root{}: modprobe {}; to have it at each start: echo {} > /etc/modules-load.d/{}.conf",
                     in_container(host) ? ", on the host of this container" : "", module, module, module);
}

std::string how_to_pass_in(std::string_view device) {
  return fmt::format(
      "give it to the container when that is started: docker run --device {0}, or podman run --device {0}", device);
}

std::string owners_of(const Host& host, const std::string& device) {
  const auto about = host.about(device);
  if (!about) return "unknown";
  return fmt::format("group '{}', mode {:04o}", printable(host.system().group_name(about->st_gid)),
                     about->st_mode & 07777);
}

std::string how_to_be_allowed(const Host& host, const std::string& device) {
  const auto about = host.about(device);
  const User user = host.system().user();
  const std::string name = printable(user.name);
  if (about && about->st_gid != 0 && (about->st_mode & 060) == 060) {
    const std::string group = printable(host.system().group_name(about->st_gid));
    if (contains(user.listed_groups, about->st_gid) && !contains(user.groups, about->st_gid))
      return fmt::format(
          "log out and in again: user '{}' is in group '{}', but was not when this session began (for one "
          "shell: newgrp {})",
          name, group, group);
    if (!contains(user.groups, about->st_gid))
      return fmt::format("as root: usermod -aG {} {}; then log out and in again", group, name);
  }
  const std::string_view file = std::string_view(device).substr(device.rfind('/') + 1);
  return fmt::format(
      "as root, until the next start: setfacl -m u:{0}:rw {1}; for good: a line KERNEL==\"{2}\", "
      "GROUP=\"kvm\", MODE=\"0660\" in /etc/udev/rules.d/65-skerry.rules, and usermod -aG kvm {0}",
      name, device, file);
}

Finding look_at(const Host& host, const MiscDevice& device, std::string_view without) {
  const std::string path(device.path);
  const Presence there = host.presence(path);
  if (there == Presence::kUnknown) return not_told(host, error("'{}' cannot be looked at by this user", path));
  if (there == Presence::kAbsent) return absent(host, device, without);
  if (!host.allows(path, R_OK | W_OK))
    return warning(fmt::format("{} may not be opened by this user ({}): {}", path, owners_of(host, path), without),
                   how_to_be_allowed(host, path));
  if (driver_of(host, device) == Presence::kAbsent) {
    if (!kernel_has_no_modules(host))
      return fine(fmt::format("{}; the module {} is not loaded yet, which opening it does", path, device.module));
    return warning(fmt::format("{} has no driver behind it: {}", path, without),
                   how_to_load(host, device.module, device.option));
  }
  const int failure = host.system().open_device(path);
  if (failure == 0) return fine(path);
  const std::string found = fmt::format("{} cannot be opened ({}): {}", path, ::strerror(failure), without);
  if (failure == EPERM) return warning(found, how_to_pass_in(path));
  if (failure == EACCES) return warning(found, how_to_be_allowed(host, path));
  return warning(found, how_to_load(host, device.module, device.option));
}

Finding not_told(const Host& host, const Error& why) {
  const std::string found = fmt::format("not known: {}", why.message());
  if (in_container(host))
    return warning(found, "run skerry doctor outside of the container, or let the container see /proc and /sys whole");
  if (!host.has("/proc/self")) return warning(found, "as root: mount -t proc proc /proc");
  if (!host.has("/sys/kernel")) return warning(found, "as root: mount -t sysfs sysfs /sys");
  if (host.system().user().id != 0) return warning(found, "run it as root: sudo skerry doctor");
  return warning(found, "use a kernel that has this file: Linux 5.10 or newer as Debian builds it");
}

}  // namespace skerry::doctor
