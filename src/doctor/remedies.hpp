// What a person can do about devices and kernel modules: the same sentences for all checks.
#pragma once

#include <string>
#include <string_view>

#include "doctor/check.hpp"
#include "doctor/host.hpp"

namespace skerry::doctor {

// Where devices and modules are those of somebody else.
bool in_container(const Host& host);
bool module_loaded(const Host& host, std::string_view module);
// Whether this kernel has no modules at all, so that what it lacks it was built without.
bool kernel_has_no_modules(const Host& host);

// How a module gets into the kernel; `option` is what a kernel without modules is built with, such as "CONFIG_TUN".
std::string how_to_load(const Host& host, std::string_view module, std::string_view option);
// How this process gets a device into its container.
std::string how_to_pass_in(std::string_view device);
// How this user gets the right to read and write a device, by the group that has it.
std::string how_to_be_allowed(const Host& host, const std::string& device);
// "root:kvm 0660", of a device that is there.
std::string owners_of(const Host& host, const std::string& device);

// A device that the kernel registers as a "misc" one, behind which is a module.
struct MiscDevice {
  std::string_view path;    // "/dev/net/tun"
  std::string_view name;    // "tun", in /sys/class/misc
  std::string_view module;  // "tun"
  std::string_view option;  // "CONFIG_TUN"
};
// What stands in the way of opening it, or a finding that is ok. A module that is not loaded is not loaded by this: the
// device is opened only where its driver is there already. `without` says what cannot be had without it.
Finding look_at(const Host& host, const MiscDevice& device, std::string_view without);

// That a check could not look: a file of /proc or /sys cannot be read. `why` is the failure.
Finding not_told(const Host& host, const Error& why);

}  // namespace skerry::doctor
