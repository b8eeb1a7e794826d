#include "doctor/kvm_capabilities.hpp"

#include <linux/kvm.h>

#include <array>

#include "config/vm_config.hpp"

namespace skerry::doctor {

namespace {

enum class Need : uint8_t { kRequired, kUseful };
// What has to be another one where it is missing; the processor together with its module.
enum class From : uint8_t { kKernel, kProcessor };

struct Capability {
  unsigned number;
  std::string_view name;  // behind KVM_CAP_
  Need need;
  std::string_view without;  // what is lost
  From from = From::kKernel;
  int least = 1;  // of those that are a number of something
};

constexpr Capability kCapabilities[] = {
    {KVM_CAP_USER_MEMORY, "USER_MEMORY", Need::kRequired, "a guest can be given no memory"},
    {KVM_CAP_NR_MEMSLOTS, "NR_MEMSLOTS", Need::kRequired, "memory, firmware and devices' memory do not fit",
     From::kKernel, 32},
    {KVM_CAP_READONLY_MEM, "READONLY_MEM", Need::kRequired, "firmware has no memory that a guest cannot write to"},
    {KVM_CAP_NR_VCPUS, "NR_VCPUS", Need::kUseful, "the kernel recommends no number of vCPUs"},
    {KVM_CAP_MAX_VCPUS, "MAX_VCPUS", Need::kUseful, "a guest has fewer vCPUs than Skerry could give it", From::kKernel,
     static_cast<int>(config::kMaxVcpus)},
    {KVM_CAP_EXT_CPUID, "EXT_CPUID", Need::kRequired, "what CPUID tells a guest cannot be set"},
    {KVM_CAP_IMMEDIATE_EXIT, "IMMEDIATE_EXIT", Need::kRequired, "a vCPU cannot be stopped without a race"},
    {KVM_CAP_MP_STATE, "MP_STATE", Need::kRequired, "vCPUs that wait cannot be started, saved and restored"},
    {KVM_CAP_VCPU_EVENTS, "VCPU_EVENTS", Need::kRequired, "pending exceptions and NMIs are lost by save and restore"},
    {KVM_CAP_DEBUGREGS, "DEBUGREGS", Need::kRequired, "debug registers are lost by save and restore"},
    {KVM_CAP_XSAVE, "XSAVE", Need::kRequired, "vector registers are lost by save and restore"},
    {KVM_CAP_XCRS, "XCRS", Need::kRequired, "which vector registers are in use is lost by save and restore"},
    {KVM_CAP_XSAVE2, "XSAVE2", Need::kUseful, "guests have no AMX: its registers could not be saved"},
    {KVM_CAP_SREGS2, "SREGS2", Need::kUseful, "the page pointers of 32-bit PAE guests are read anew at a restore"},
    {KVM_CAP_IRQCHIP, "IRQCHIP", Need::kRequired, "the kernel has no interrupt controllers for guests"},
    {KVM_CAP_SPLIT_IRQCHIP, "SPLIT_IRQCHIP", Need::kUseful,
     "PIC and I/O APIC are in the kernel too, where guests can reach more of it"},
    {KVM_CAP_IRQ_ROUTING, "IRQ_ROUTING", Need::kRequired, "interrupts of devices cannot be routed"},
    {KVM_CAP_SIGNAL_MSI, "SIGNAL_MSI", Need::kRequired, "PCI devices cannot interrupt by message"},
    {KVM_CAP_IRQFD, "IRQFD", Need::kUseful, "each interrupt of a device costs a system call of its own; no vhost"},
    {KVM_CAP_IOEVENTFD, "IOEVENTFD", Need::kUseful, "a vCPU stands still while a device is told of work; no vhost"},
    {KVM_CAP_X2APIC_API, "X2APIC_API", Need::kUseful, "interrupts reach no APIC ID above 254"},
    {KVM_CAP_TSC_DEADLINE_TIMER, "TSC_DEADLINE_TIMER", Need::kUseful, "guests' timers cost more exits"},
    {KVM_CAP_GET_TSC_KHZ, "GET_TSC_KHZ", Need::kUseful, "a guest cannot be told the rate of its TSC exactly"},
    {KVM_CAP_TSC_CONTROL, "TSC_CONTROL", Need::kUseful,
     "a guest restored on a host whose TSC has another rate keeps wrong time", From::kProcessor},
    {KVM_CAP_VCPU_ATTRIBUTES, "VCPU_ATTRIBUTES", Need::kUseful, "the TSC cannot be restored exactly"},
    {KVM_CAP_ADJUST_CLOCK, "ADJUST_CLOCK", Need::kUseful, "a guest's kvm-clock jumps at a restore"},
    {KVM_CAP_X86_USER_SPACE_MSR, "X86_USER_SPACE_MSR", Need::kUseful,
     "MSRs that KVM does not know raise #GP in the guest"},
    {KVM_CAP_X86_MSR_FILTER, "X86_MSR_FILTER", Need::kUseful, "a guest cannot be kept from MSRs that KVM knows"},
    {KVM_CAP_EXIT_ON_EMULATION_FAILURE, "EXIT_ON_EMULATION_FAILURE", Need::kUseful,
     "an instruction that KVM cannot emulate raises #UD in a program of the guest and is not reported"},
    {KVM_CAP_DIRTY_LOG_RING, "DIRTY_LOG_RING", Need::kUseful,
     "pages that a guest writes are found by bitmaps, which is slower"},
    {KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2, "MANUAL_DIRTY_LOG_PROTECT2", Need::kUseful,
     "looking for written pages stops the vCPUs longer"},
    {KVM_CAP_SET_GUEST_DEBUG, "SET_GUEST_DEBUG", Need::kUseful, "no breakpoints by --gdb"},
    {KVM_CAP_NESTED_STATE, "NESTED_STATE", Need::kUseful, "a guest that runs VMs itself cannot be saved",
     From::kProcessor},
};

constexpr auto kNumbers = [] {
  std::array<unsigned, std::size(kCapabilities)> numbers{};
  for (size_t i = 0; i < numbers.size(); ++i) numbers[i] = kCapabilities[i].number;
  return numbers;
}();

// "kvm.capability.split-irqchip"
std::string id_of(const Capability& capability) {
  std::string id(capability.name);
  for (char& c : id) c = c == '_' ? '-' : static_cast<char>(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
  return "kvm.capability." + id;
}

std::string remedy_for(const Host& host, const Capability& capability) {
  if (capability.from == From::kProcessor)
    return "use a processor whose VT-x or AMD-V can do it, by kvm_intel or kvm_amd of a newer kernel";
  const auto release = host.line("/proc/sys/kernel/osrelease");
  return fmt::format("use a newer kernel than this{} (Debian: linux-image-amd64 from backports)",
                     release ? ", Linux " + *release : " one");
}

Finding look(const Host& host, const Capability& capability, int value) {
  if (value >= capability.least) {
    const std::string found = value == 1 ? "there" : fmt::format("there: {}", value);
    return fine(capability.need == Need::kRequired ? found + " (required)" : found);
  }
  const std::string found = value > 0 ? fmt::format("only {}", value) : "not there";
  return warning(
      fmt::format("{}{}: {}", found, capability.need == Need::kRequired ? ", but required by --accel kvm" : "",
                  capability.without),
      remedy_for(host, capability));
}

}  // namespace

std::span<const unsigned> kvm_capability_numbers() { return kNumbers; }

std::vector<Check> kvm_capability_checks(const Host& host) {
  std::vector<Check> checks;
  const std::vector<int>& values = host.kvm().capabilities;
  if (values.size() != std::size(kCapabilities)) return checks;
  for (size_t i = 0; i < values.size(); ++i) {
    const Capability& capability = kCapabilities[i];
    checks.push_back(
        {id_of(capability), "KVM", "KVM_CAP_" + std::string(capability.name), look(host, capability, values[i]), true});
  }
  return checks;
}

}  // namespace skerry::doctor
