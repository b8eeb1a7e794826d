// Whether devices of this host can be handed to guests.
#include <algorithm>

#include "doctor/processor.hpp"
#include "doctor/remedies.hpp"
#include "doctor/subjects.hpp"

namespace skerry::doctor {

namespace {

constexpr std::string_view kGroups = "/sys/kernel/iommu_groups";
constexpr std::string_view kParameter = "in GRUB_CMDLINE_LINUX of /etc/default/grub, then update-grub and a new start";

// What the firmware says of the IOMMU: Intel's table, AMD's.
bool firmware_tells(const Host& host) {
  return host.has("/sys/firmware/acpi/tables/DMAR") || host.has("/sys/firmware/acpi/tables/IVRS");
}

std::string how_to_get_iommu(const Host& host) {
  const Processor found = processor(host);
  if (found.is_guest) return "give this VM an IOMMU where it is run; Skerry's guests with virtio devices need none";
  const bool amd = found.vendor == "AuthenticAMD" || found.vendor == "HygonGenuine";
  if (!firmware_tells(host))
    return fmt::format("turn on {} in the firmware's setup{}", amd ? "\"IOMMU\"" : "\"VT-d\"",
                       amd ? "" : fmt::format("; and kernel parameter intel_iommu=on, {}", kParameter));
  if (amd) return fmt::format("remove amd_iommu=off and iommu=off from the kernel's parameters, {}", kParameter);
  return fmt::format("kernel parameter intel_iommu=on, {}", kParameter);
}

}  // namespace

std::optional<Finding> check_iommu(const Host& host) {
  const auto groups = host.names(kGroups);
  if (!groups.empty())
    return fine(fmt::format("{}{} groups", groups.size(), groups.size() == Host::kMaxNames ? " or more" : ""));
  if (!host.has("/sys/kernel")) return not_told(host, error("there is no '{}'", kGroups));
  return warning("no group: no device of this host can be handed to a guest", how_to_get_iommu(host));
}

std::optional<Finding> check_vfio(const Host& host) {
  if (host.names(kGroups).empty()) return std::nullopt;
  const bool driver = host.has("/sys/bus/pci/drivers/vfio-pci"), node = host.has("/dev/vfio/vfio");
  if (driver && node) return fine("the driver vfio-pci and /dev/vfio/vfio are there");
  if (driver && in_container(host)) return warning("there is no /dev/vfio/vfio", how_to_pass_in("/dev/vfio/vfio"));
  return warning(
      driver ? "there is no /dev/vfio/vfio" : "the driver vfio-pci is not there: no device can be handed to a guest",
      how_to_load(host, "vfio-pci", "CONFIG_VFIO_PCI"));
}

std::optional<Finding> check_swtpm(const Host& host) {
  if (const auto program = host.program("swtpm")) return fine(*program);
  return warning("not installed: VMs have no TPM (--tpm)", "apt install swtpm; elsewhere the package of the same name");
}

}  // namespace skerry::doctor
