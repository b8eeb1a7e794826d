#include "doctor/checks.hpp"

#include "doctor/kvm_capabilities.hpp"
#include "doctor/subjects.hpp"

namespace skerry::doctor {

namespace {

struct Entry {
  std::string_view id, group, title;
  std::optional<Finding> (*look)(const Host& host);
};

// Ids are for programs, and stay as they are.
constexpr Entry kChecks[] = {
    {"skerry.programs", "Skerry", "programs", check_programs},
    {"skerry.translator", "Skerry", "translator", check_translator},
    {"processor.model", "Processor", "model", check_processor_model},
    {"processor.virtualization", "Processor", "hardware virtualization", check_virtualization},
    {"processor.hypervisor", "Processor", "hypervisor below", check_hypervisor},
    {"processor.clock", "Processor", "clock source", check_clock_source},
    {"processor.vulnerabilities", "Processor", "vulnerabilities", check_vulnerabilities},
    {"kvm.modules", "KVM", "modules", check_kvm_modules},
    {"kvm.device", "KVM", "/dev/kvm", check_kvm_device},
    {"kvm.api", "KVM", "API", check_kvm_api},
    {"kvm.vm", "KVM", "creating a VM", check_kvm_vm},
    {"kvm.paging", "KVM", "paging of guests", check_kvm_paging},
    {"kvm.nesting", "KVM", "nesting", check_kvm_nesting},
    {"kvm.capabilities", "KVM", "capabilities", check_kvm_capabilities},
    {"memory.free", "Memory", "free memory", check_free_memory},
    {"memory.overcommit", "Memory", "overcommit", check_overcommit},
    {"memory.transparent-pages", "Memory", "transparent huge pages", check_transparent_pages},
    {"memory.huge-pages-2m", "Memory", "huge pages of 2 MiB", check_huge_pages_2m},
    {"memory.huge-pages-1g", "Memory", "huge pages of 1 GiB", check_huge_pages_1g},
    {"memory.ksm", "Memory", "merging of equal pages", check_ksm},
    {"memory.userfaultfd", "Memory", "userfaultfd", check_userfaultfd},
    {"storage.io-uring", "Storage", "io_uring", check_io_uring},
    {"storage.open-files", "Storage", "open files", check_open_files},
    {"network.tun", "Network", "/dev/net/tun", check_tun},
    {"network.vhost-net", "Network", "/dev/vhost-net", check_vhost_net},
    {"network.vhost-vsock", "Network", "/dev/vhost-vsock", check_vhost_vsock},
    {"network.bridges", "Network", "bridges", check_bridges},
    {"network.bridge-filter", "Network", "filter of bridges", check_bridge_filter},
    {"network.forwarding", "Network", "forwarding", check_forwarding},
    {"network.firewall", "Network", "firewall", check_firewall},
    {"network.dnsmasq", "Network", "dnsmasq", check_dnsmasq},
    {"devices.iommu", "Devices", "IOMMU", check_iommu},
    {"devices.vfio", "Devices", "VFIO", check_vfio},
    {"devices.swtpm", "Devices", "swtpm", check_swtpm},
    {"firmware.seabios", "Firmware", "SeaBIOS", check_seabios},
    {"firmware.ovmf", "Firmware", "OVMF", check_ovmf},
    {"isolation.seccomp", "Isolation", "seccomp", check_seccomp},
    {"isolation.namespaces", "Isolation", "user namespaces", check_namespaces},
    {"isolation.cgroup", "Isolation", "cgroup", check_cgroup},
};

}  // namespace

std::string_view name_of(Status status) {
  switch (status) {
    case Status::kOk:
      return "ok";
    case Status::kWarning:
      return "warning";
    default:
      return "missing";
  }
}

std::vector<Check> examine(const Host& host) {
  std::vector<Check> done;
  for (const Entry& entry : kChecks) {
    auto finding = entry.look(host);
    if (!finding) continue;
    done.push_back({std::string(entry.id), std::string(entry.group), std::string(entry.title), std::move(*finding)});
    if (entry.look != check_kvm_capabilities) continue;
    for (Check& capability : kvm_capability_checks(host)) done.push_back(std::move(capability));
  }
  return done;
}

Summary summary_of(const std::vector<Check>& checks) {
  Summary summary;
  for (const Check& check : checks) {
    if (check.finding.status == Status::kOk) ++summary.ok;
    if (check.finding.status == Status::kWarning) ++summary.warnings;
    if (check.finding.status == Status::kMissing) ++summary.missing;
  }
  return summary;
}

}  // namespace skerry::doctor
