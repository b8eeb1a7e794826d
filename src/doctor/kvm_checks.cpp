// Hardware virtualization by the kernel: its modules, /dev/kvm, and what is behind that.
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "accel/kvm/linux_kvm.hpp"
#include "doctor/kvm_capabilities.hpp"
#include "doctor/processor.hpp"
#include "doctor/remedies.hpp"
#include "doctor/subjects.hpp"

namespace skerry::doctor {

namespace {

constexpr std::string_view kInstead = "--accel auto takes the translator bt";

MiscDevice kvm_device(const Host& host) {
  const Virtualization virtualization = processor(host).virtualization;
  return {"/dev/kvm", "kvm", module_of(virtualization),
          virtualization == Virtualization::kSvm ? "CONFIG_KVM_AMD" : "CONFIG_KVM_INTEL"};
}

// /dev/kvm may be there without a driver: the node is made at start, and opening it does not load all that is needed.
bool has_driver(const Host& host) { return !host.has("/sys/class/misc") || host.has("/sys/class/misc/kvm"); }

bool answers(const Host& host) {
  return host.has("/dev/kvm") && has_driver(host) && host.allows("/dev/kvm", R_OK | W_OK) && host.kvm().open_error == 0;
}

// Of the module that uses VT-x or AMD-V: "Y" or "1", "N" or "0".
struct Parameter {
  std::string module;
  Result<std::string> value;
  bool on() const { return value && (*value == "Y" || *value == "1"); }
};
std::optional<Parameter> parameter(const Host& host, std::string_view of_intel, std::string_view of_amd) {
  for (const std::string module : {"kvm_intel", "kvm_amd"})
    if (module_loaded(host, module))
      return Parameter{module, host.line(fmt::format("/sys/module/{}/parameters/{}", module,
                                                     module == "kvm_intel" ? of_intel : of_amd))};
  return std::nullopt;
}

std::string how_to_set(std::string_view module, std::string_view setting) {
  return fmt::format(
      "as root, while no VM runs: echo options {0} {1} >> /etc/modprobe.d/skerry-kvm.conf; modprobe -r {0}; "
      "modprobe {0}",
      module, setting);
}

std::string how_to_get_driver(const Host& host) {
  const MiscDevice device = kvm_device(host);
  return how_to_load(host, device.module, device.option) +
         "; where that fails, dmesg | grep -i kvm tells why (most often the firmware's setup)";
}

}  // namespace

std::optional<Finding> check_kvm_modules(const Host& host) {
  if (!host.has("/sys/module")) return not_told(host, error("there is no '/sys/module'"));
  std::vector<std::string_view> loaded;
  for (const std::string_view module : {"kvm_intel", "kvm_amd", "kvm_pvm"})
    if (module_loaded(host, module)) loaded.push_back(module);
  const std::string list = fmt::format("{}", fmt::join(loaded, ", "));
  if (list == "kvm_pvm") return fine(fmt::format("kvm_pvm, which needs no VT-x or AMD-V; {}", kInstead));
  if (!loaded.empty()) return fine(list);
  const Virtualization virtualization = processor(host).virtualization;
  if (virtualization == Virtualization::kNone)
    return fine(fmt::format("none, and no VT-x or AMD-V for one; {}", kInstead));
  return warning(fmt::format("none, although this processor has {}", name_of(virtualization)), how_to_get_driver(host));
}

std::optional<Finding> check_kvm_device(const Host& host) {
  const bool hardware = processor(host).virtualization != Virtualization::kNone;
  const Presence there = host.presence("/dev/kvm");
  if (there == Presence::kAbsent && !hardware)
    return fine(fmt::format("there is no /dev/kvm, and nothing that it could use; {}", kInstead));
  if (there == Presence::kThere && !has_driver(host)) {
    if (!hardware)
      return fine(fmt::format("/dev/kvm has no driver behind it, and nothing that it could use; {}", kInstead));
    return warning(fmt::format("/dev/kvm has no driver behind it: {} is not loaded", kvm_device(host).module),
                   how_to_get_driver(host));
  }
  const Finding finding =
      look_at(host, kvm_device(host), "guests are run by the translator (--accel bt), which is slower");
  const bool by_module = module_loaded(host, "kvm_intel") || module_loaded(host, "kvm_amd") || !host.has("/sys/module");
  if (hardware && (by_module || finding.status != Status::kOk)) return finding;
  // Whether it can be opened makes no difference.
  const std::string_view use = finding.status == Status::kOk ? "," : ", not for this process and";
  return fine(fmt::format("/dev/kvm{} with no VT-x or AMD-V behind it; {}", use, kInstead));
}

std::optional<Finding> check_kvm_api(const Host& host) {
  if (!answers(host)) return std::nullopt;
  const int version = host.kvm().api_version;
  if (version == KVM_API_VERSION) return fine(fmt::format("version {}", version));
  return warning(fmt::format("version {}, where all programs expect {}", version, KVM_API_VERSION),
                 "use a kernel from 2.6.22 on whose /dev/kvm is KVM's own");
}

std::optional<Finding> check_kvm_vm(const Host& host) {
  if (!answers(host)) return std::nullopt;
  switch (const int failure = host.kvm().create_error; failure) {
    case 0:
      return fine("a VM can be created");
    case EBUSY:
      return warning(
          "no VM can be created (EBUSY): another hypervisor holds VT-x or AMD-V",
          "end the VMs of VirtualBox or VMware, or unload their modules as root: modprobe -r vboxnetflt vboxnetadp "
          "vboxdrv, or modprobe -r vmmon");
    case EOPNOTSUPP:
    case EIO:
      return warning(fmt::format("no VM can be created ({}): the processor refuses to switch on virtualization",
                                 ::strerror(failure)),
                     "turn on VT-x or AMD-V in the firmware's setup; dmesg | grep -i kvm tells more");
    case ENOMEM:
      return warning("no VM can be created: the kernel has no memory for it", "free memory, see the check memory.free");
    default:
      return warning(fmt::format("no VM can be created: {}", ::strerror(failure)),
                     "see what the kernel says: dmesg | grep -i kvm");
  }
}

std::optional<Finding> check_kvm_paging(const Host& host) {
  const auto found = parameter(host, "ept", "npt");
  if (!found) return std::nullopt;
  if (!found->value) return not_told(host, found->value.error());
  const std::string_view name = found->module == "kvm_intel" ? "ept" : "npt";
  if (found->on()) return fine(fmt::format("by the processor ({}={})", name, *found->value));
  return warning(fmt::format("{}={}: the kernel shadows the guests' page tables, which is slow", name, *found->value),
                 how_to_set(found->module, fmt::format("{}=1", name)) + "; a processor without it cannot");
}

std::optional<Finding> check_kvm_nesting(const Host& host) {
  const auto found = parameter(host, "nested", "nested");
  if (!found) return std::nullopt;
  if (!found->value) return not_told(host, found->value.error());
  if (found->on()) return fine(fmt::format("guests may have VMs of their own (nested={})", *found->value));
  return warning(fmt::format("nested={}: guests cannot use {} themselves", *found->value,
                             found->module == "kvm_intel" ? "VT-x" : "AMD-V"),
                 how_to_set(found->module, "nested=1"));
}

std::optional<Finding> check_kvm_capabilities(const Host& host) {
  if (!answers(host)) return std::nullopt;
  const auto checks = kvm_capability_checks(host);
  if (checks.empty()) return std::nullopt;
  const auto there = std::count_if(checks.begin(), checks.end(),
                                   [](const Check& check) { return check.finding.status == Status::kOk; });
  if (static_cast<size_t>(there) == checks.size())
    return fine(fmt::format("all {} that Skerry knows a use for", checks.size()));
  return fine(fmt::format("{} of {} that Skerry knows a use for; the others follow", there, checks.size()));
}

}  // namespace skerry::doctor
