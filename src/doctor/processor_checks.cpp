// The processor, and whether this host is a VM itself.
#include <algorithm>
#include <array>

#include "doctor/processor.hpp"
#include "doctor/remedies.hpp"
#include "doctor/subjects.hpp"

namespace skerry::doctor {

namespace {

struct HypervisorName {
  std::string_view signature, name;
};
// Of CPUID leaf 0x40000000.
constexpr HypervisorName kHypervisors[] = {
    {"KVMKVMKVM", "KVM"},           {"Linux KVM Hv", "KVM"},     {"TCGTCGTCGTCG", "QEMU's TCG"},
    {"Microsoft Hv", "Hyper-V"},    {"VMwareVMware", "VMware"},  {"XenVMMXenVMM", "Xen"},
    {"VBoxVBoxVBox", "VirtualBox"}, {"bhyve bhyve", "bhyve"},    {"ACRNACRNACRN", "ACRN"},
    {"prl hyperv", "Parallels"},    {"lrpepyh vr", "Parallels"}, {"QNXQVMBSQG", "QNX"},
};

// The kernel hides the flag where the firmware has locked the feature away, CPUID does not.
bool kernel_shows(const Host& host, std::string_view flag) {
  const auto text = host.text("/proc/cpuinfo");
  if (!text) return true;  // nothing that says otherwise
  for (const std::string_view line : lines_of(*text)) {
    if (!line.starts_with("flags")) continue;
    const auto words = words_of(line);
    return std::find(words.begin(), words.end(), flag) != words.end();
  }
  return true;
}

constexpr std::string_view kTranslated = "guests are run by the translator (--accel bt), slower than by the processor";

}  // namespace

std::optional<Finding> check_processor_model(const Host& host) {
  const Processor found = processor(host);
  if (found.vendor.empty()) return fine("an unknown processor");
  return fine(found.model.empty() ? found.vendor : fmt::format("{} ({})", found.model, found.vendor));
}

std::optional<Finding> check_virtualization(const Host& host) {
  const Processor found = processor(host);
  if (found.virtualization == Virtualization::kNone) {
    const std::string what = fmt::format("no VT-x (vmx) and no AMD-V (svm): {}", kTranslated);
    if (found.is_guest)
      return warning(
          what,
          "turn on nested virtualization for this VM where it is run: the parameter nested=1 of kvm_intel or "
          "kvm_amd there and the VM's processor as the host's; in a cloud, an instance type that offers it");
    return warning(
        what,
        "turn on VT-x (\"Intel Virtualization Technology\") or AMD-V (\"SVM Mode\") in the firmware's setup, "
        "if this processor has it");
  }
  const bool vmx = found.virtualization == Virtualization::kVmx;
  const std::string_view flag = vmx ? "vmx" : "svm";
  if (kernel_shows(host, flag)) return fine(fmt::format("{} ({})", name_of(found.virtualization), flag));
  return warning(fmt::format("{} ({}) is there, but /proc/cpuinfo does not have it: the firmware has locked it; {}",
                             name_of(found.virtualization), flag, kTranslated),
                 fmt::format("turn on {} in the firmware's setup, and switch the machine off and on",
                             vmx ? "\"Intel Virtualization Technology\"" : "\"SVM Mode\""));
}

std::optional<Finding> check_hypervisor(const Host& host) {
  const Processor found = processor(host);
  if (!found.is_guest) return fine("none: this is no VM, or one that does not tell");
  const auto known = std::find_if(std::begin(kHypervisors), std::end(kHypervisors),
                                  [&](const HypervisorName& entry) { return entry.signature == found.hypervisor; });
  const std::string who = known != std::end(kHypervisors) ? std::string(known->name) : "an unknown hypervisor";
  return fine(fmt::format("this is a VM of {} (\"{}\")", who, found.hypervisor));
}

std::optional<Finding> check_clock_source(const Host& host) {
  const auto current = host.line("/sys/devices/system/clocksource/clocksource0/current_clocksource");
  if (!current) return not_told(host, current.error());
  // Those that programs read without a system call.
  for (const std::string_view fast : {"tsc", "kvm-clock", "hyperv_clocksource_tsc_page"})
    if (*current == fast) return fine(*current);
  return warning(
      fmt::format("'{}': each look at the clock is a system call, and guests look often", *current),
      "see why the kernel does not trust the TSC: dmesg | grep -i -e tsc -e clocksource; update the firmware. Where "
      "the TSC is known to be good: kernel parameter tsc=reliable");
}

std::optional<Finding> check_vulnerabilities(const Host& host) {
  constexpr std::string_view kFolder = "/sys/devices/system/cpu/vulnerabilities";
  const auto names = host.names(kFolder);
  if (names.empty()) return not_told(host, error("there is nothing to be read in '{}'", kFolder));
  std::vector<std::string> open;
  for (const std::string& name : names) {
    const auto state = host.line(fmt::format("{}/{}", kFolder, name));
    if (state && state->starts_with("Vulnerable")) open.push_back(printable(name));
  }
  if (open.empty())
    return fine(fmt::format("{} known to the kernel, each mitigated or not of this processor", names.size()));
  return warning(
      printable(fmt::format("not mitigated: {}; guests may read what is not theirs", fmt::join(open, ", "))),
      "install new microcode (Debian: intel-microcode or amd64-microcode) and a new kernel, start anew, and remove "
      "mitigations= from the kernel's parameters if it is there; see lscpu");
}

}  // namespace skerry::doctor
