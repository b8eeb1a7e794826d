// What Skerry cannot do without.
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "doctor/subjects.hpp"
#include "machine/firmware_image.hpp"

namespace skerry::doctor {

std::optional<Finding> check_programs(const Host& host) {
  const auto folder = host.system().program_folder();
  if (!folder) return missing(folder.error().message(), "as root: mount -t proc proc /proc");
  std::vector<std::string> lost;
  for (const std::string_view name : {"skerry-vm", "skerry-net", "skerry-fs"})
    if (!host.allows(fmt::format("{}/{}", *folder, name), X_OK)) lost.emplace_back(name);
  if (lost.empty()) return fine(fmt::format("skerry-vm, skerry-net and skerry-fs are in '{}'", printable(*folder)));
  return missing(fmt::format("{} cannot be run from '{}'", fmt::join(lost, ", "), printable(*folder)),
                 "install all of Skerry's programs in one folder: cmake --build build, and take them from build/bin");
}

std::optional<Finding> check_translator(const Host& host) {
  const auto made = host.system().make_code_memory();
  if (made) return fine("--accel bt has memory that it may execute");
  return missing(fmt::format("--accel bt does not run: {}", printable(made.error().message())),
                 "let this program execute memory that it has written: sysctl vm.memfd_noexec=0, no noexec policy, "
                 "SELinux boolean deny_execmem off");
}

std::optional<Finding> check_seccomp(const Host& host) {
  const int failure = host.system().use_seccomp_filters();
  if (failure == 0) return fine("filters of system calls are there, under which VMs run");
  return missing(
      fmt::format("no filters of system calls ({}), without which no VM is run", ::strerror(failure)),
      "use a kernel with CONFIG_SECCOMP_FILTER, Linux 4.14 or newer; in a container, a seccomp profile that allows "
      "seccomp");
}

// What closes the server of a shared folder in: namespaces, which ordinary users may be kept from having, or Landlock.
std::optional<Finding> check_namespaces(const Host& host) {
  struct Setting {
    std::string_view path;
    uint64_t closed;
    std::string_view remedy;
  };
  constexpr Setting kSettings[] = {
      {"/proc/sys/user/max_user_namespaces", 0, "sysctl user.max_user_namespaces=10000"},
      {"/proc/sys/kernel/unprivileged_userns_clone", 0, "sysctl kernel.unprivileged_userns_clone=1"},
      {"/proc/sys/kernel/apparmor_restrict_unprivileged_userns", 1, "sysctl kernel.apparmor_restrict_unprivileged_userns=0"},
  };
  for (const Setting& setting : kSettings) {
    if (host.number(setting.path) != setting.closed) continue;
    const auto modules = host.line("/sys/kernel/security/lsm");
    const std::string found = fmt::format("not for ordinary users ('{}' is {})", setting.path, setting.closed);
    if (modules && (*modules).find("landlock") != std::string::npos)
      return fine(found + ": their shared folders (--share) are served under Landlock");
    return warning(found + ": only a filter of system calls confines who serves their shared folders (--share)",
                   fmt::format("as root: {}, or use a kernel with Landlock (lsm=...,landlock on its command line)", setting.remedy));
  }
  return fine("there, also for ordinary users: shared folders (--share) are served in one");
}

std::optional<Finding> check_seabios(const Host& host) {
  using machine::FirmwareImage;
  const std::string_view path = FirmwareImage::known().front().path;
  const auto image = FirmwareImage::load(host.real_path(path));
  if (image) return fine(std::string(path));
  const std::string remedy =
      "apt install seabios; elsewhere the package of SeaBIOS, its bios-256k.bin given by --firmware";
  if (host.presence(path) == Presence::kAbsent) return missing(fmt::format("there is no {}: no VM starts from a disk", path), remedy);
  return missing(fmt::format("cannot be used: {}", printable(image.error().message())), remedy);
}

std::optional<Finding> check_ovmf(const Host& host) {
  for (const machine::KnownFirmware& known : machine::FirmwareImage::known())
    if (known.name == machine::FirmwareImage::kUefi && host.has(known.path) && host.has(known.variables)) return fine(std::string(known.path));
  return warning("there is no OVMF in /usr/share/OVMF or /usr/share/edk2: no VM starts by UEFI",
                 "apt install ovmf; elsewhere the package edk2-ovmf");
}

}  // namespace skerry::doctor
