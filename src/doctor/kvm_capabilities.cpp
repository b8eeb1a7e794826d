#include "doctor/kvm_capabilities.hpp"

#include "accel/kvm/capabilities.hpp"

namespace skerry::doctor {

namespace {

using accel::kvm::Capability;

// "kvm.capability.split-irqchip"
std::string id_of(const Capability& capability) {
  std::string id(capability.name);
  for (char& c : id) c = c == '_' ? '-' : static_cast<char>(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
  return "kvm.capability." + id;
}

std::string remedy_for(const Host& host, const Capability& capability) {
  if (capability.from == Capability::From::kProcessor)
    return "use a processor whose VT-x or AMD-V can do it, by kvm_intel or kvm_amd of a newer kernel";
  const auto release = host.line("/proc/sys/kernel/osrelease");
  return fmt::format("use a newer kernel than this{} (Debian: linux-image-amd64 from backports)",
                     release ? ", Linux " + *release : " one");
}

Finding look(const Host& host, const Capability& capability, int value) {
  if (value >= capability.least) {
    const std::string found = value == 1 ? "there" : fmt::format("there: {}", value);
    return fine(capability.need == Capability::Need::kRequired ? found + " (required)" : found);
  }
  const std::string found = value > 0 ? fmt::format("only {}", value) : "not there";
  return warning(
      fmt::format("{}{}: {}", found, capability.need == Capability::Need::kRequired ? ", but required by --accel kvm" : "",
                  capability.without),
      remedy_for(host, capability));
}

}  // namespace

std::vector<Check> kvm_capability_checks(const Host& host) {
  std::vector<Check> checks;
  const std::vector<int>& values = host.kvm().capabilities;
  const std::span<const Capability> all = accel::kvm::capabilities();
  if (values.size() != all.size()) return checks;
  for (size_t i = 0; i < values.size(); ++i) {
    const Capability& capability = all[i];
    checks.push_back(
        {id_of(capability), "KVM", "KVM_CAP_" + std::string(capability.name), look(host, capability, values[i]), true});
  }
  return checks;
}

}  // namespace skerry::doctor
