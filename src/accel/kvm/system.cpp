#include "accel/kvm/system.hpp"

#include <cpuid.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <memory>

namespace skerry::accel::kvm {

namespace {

constexpr const char* kDevice = "/dev/kvm";
constexpr unsigned kMostCpuidEntries = 512;

constexpr std::array kCapabilities = {
    Capability{KVM_CAP_USER_MEMORY, "KVM_CAP_USER_MEMORY", true, "to give a guest memory of this process"},
    Capability{KVM_CAP_DESTROY_MEMORY_REGION_WORKS, "KVM_CAP_DESTROY_MEMORY_REGION_WORKS", true, "to take memory away again"},
    Capability{KVM_CAP_JOIN_MEMORY_REGIONS_WORKS, "KVM_CAP_JOIN_MEMORY_REGIONS_WORKS", true, "to replace memory by other memory"},
    Capability{KVM_CAP_READONLY_MEM, "KVM_CAP_READONLY_MEM", true, "for firmware's ROM"},
    Capability{KVM_CAP_SET_TSS_ADDR, "KVM_CAP_SET_TSS_ADDR", true, "for real mode on processors that do not virtualize it"},
    Capability{KVM_CAP_EXT_CPUID, "KVM_CAP_EXT_CPUID", true, "to say what the guest's processor can do"},
    Capability{KVM_CAP_IMMEDIATE_EXIT, "KVM_CAP_IMMEDIATE_EXIT", true, "to take a vCPU out of the guest without a lost wake-up"},
    Capability{KVM_CAP_VCPU_EVENTS, "KVM_CAP_VCPU_EVENTS", true, "to save what is about to be delivered"},
    Capability{KVM_CAP_DEBUGREGS, "KVM_CAP_DEBUGREGS", true, "to save debug registers"},
    Capability{KVM_CAP_XSAVE, "KVM_CAP_XSAVE", true, "to save FPU and vector registers"},
    Capability{KVM_CAP_XCRS, "KVM_CAP_XCRS", true, "to save XCR0"},
    Capability{KVM_CAP_MP_STATE, "KVM_CAP_MP_STATE", true, "to stop and start processors"},
    Capability{KVM_CAP_USER_NMI, "KVM_CAP_USER_NMI", true, "for NMIs"},
    Capability{KVM_CAP_X86_USER_SPACE_MSR, "KVM_CAP_X86_USER_SPACE_MSR", true, "for the MSRs of Skerry's own devices"},
    Capability{KVM_CAP_X86_MSR_FILTER, "KVM_CAP_X86_MSR_FILTER", true, "for the MSRs of Skerry's own devices"},
    Capability{KVM_CAP_VCPU_ATTRIBUTES, "KVM_CAP_VCPU_ATTRIBUTES", true, "to set the time-stamp counter exactly"},
    Capability{KVM_CAP_XSAVE2, "KVM_CAP_XSAVE2", false, "vector state larger than 4 KiB (AMX)"},
    Capability{KVM_CAP_SREGS2, "KVM_CAP_SREGS2", false, "to save the page-directory pointers of PAE paging"},
    Capability{KVM_CAP_EXIT_ON_EMULATION_FAILURE, "KVM_CAP_EXIT_ON_EMULATION_FAILURE", false,
               "to be told of instructions that KVM lacks, those of user programs too"},
    Capability{KVM_CAP_TSC_CONTROL, "KVM_CAP_TSC_CONTROL", false, "to go on with a VM from a host with another TSC frequency"},
    Capability{KVM_CAP_GET_TSC_KHZ, "KVM_CAP_GET_TSC_KHZ", false, "to know the rate of the time-stamp counter"},
    Capability{KVM_CAP_IRQCHIP, "KVM_CAP_IRQCHIP", false, "interrupt controllers in the kernel"},
    Capability{KVM_CAP_SPLIT_IRQCHIP, "KVM_CAP_SPLIT_IRQCHIP", false, "local APICs in the kernel"},
    Capability{KVM_CAP_IRQFD, "KVM_CAP_IRQFD", false, "interrupts from other processes and the kernel"},
    Capability{KVM_CAP_IRQ_ROUTING, "KVM_CAP_IRQ_ROUTING", false, "interrupts from other processes and the kernel"},
    Capability{KVM_CAP_SIGNAL_MSI, "KVM_CAP_SIGNAL_MSI", false, "message-signalled interrupts to APICs in the kernel"},
    Capability{KVM_CAP_IOEVENTFD, "KVM_CAP_IOEVENTFD", false, "notifications of the guest without leaving it for long"},
    Capability{KVM_CAP_X2APIC_API, "KVM_CAP_X2APIC_API", false, "more than 255 processors with APICs in the kernel"},
    Capability{KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2, "KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2", false, "to log written pages with short pauses"},
    Capability{KVM_CAP_DIRTY_LOG_RING, "KVM_CAP_DIRTY_LOG_RING", false, "to log written pages in rings"},
};

std::string held_by_another() {
  return "the processor's virtualization is held by another program (VirtualBox, VMware?); end it, or use --accel bt";
}

Error cannot_open(int number) {
  switch (number) {
    case ENOENT:
      return error("there is no {}: load the module of KVM (sudo modprobe kvm_intel, or kvm_amd; virtualization may be "
                   "switched off in the host's firmware), or use --accel bt", kDevice);
    case EACCES:
    case EPERM:
      return error("{} may not be opened by this user: who is in its group may (sudo usermod -aG kvm $USER, then log in "
                   "again); or use --accel bt", kDevice);
    case ENXIO:
    case ENODEV:
      return error("{} is there, but no KVM is behind it: load its module (sudo modprobe kvm_intel, or kvm_amd), or use "
                   "--accel bt", kDevice);
    case EBUSY:
      return error("{}: {}", kDevice, held_by_another());
    default:
      return errno_error(number, fmt::format("{} cannot be opened; use --accel bt", kDevice));
  }
}

// The beginning of a small file of the kernel's; empty if there is none.
std::string first_of(const char* path) {
  const UniqueFd fd(::open(path, O_RDONLY | O_CLOEXEC));
  std::array<char, 16> text{};
  const ssize_t size = fd ? ::read(fd.get(), text.data(), text.size()) : -1;
  return size > 0 ? std::string(text.data(), static_cast<size_t>(size)) : std::string();
}

bool parameter_is_on(const char* path) { return first_of(path).starts_with('Y') || first_of(path).starts_with('1'); }
bool module_is_loaded(const char* path) { return ::access(path, F_OK) == 0; }

}  // namespace

std::span<const Capability> capabilities() { return kCapabilities; }

Result<System> System::open(UniqueFd fd) {
  if (!fd) fd = UniqueFd(::open(kDevice, O_RDWR | O_CLOEXEC));
  if (!fd) return cannot_open(errno);
  System system(std::move(fd));
  const int version = call(system.fd(), KVM_GET_API_VERSION, 0);
  if (version < 0) return error("what was given as {} is not a KVM device", kDevice);
  if (version != KVM_API_VERSION)
    return error("{} speaks version {} of its interface, and Skerry {}; use --accel bt", kDevice, version, KVM_API_VERSION);
  for (const Capability& one : kCapabilities)
    if (one.required && system.check(one.number) <= 0)
      return error("this kernel's KVM lacks {}, which is needed {}; use a newer kernel, or --accel bt", one.name, one.purpose);
  const int size = call(system.fd(), KVM_GET_VCPU_MMAP_SIZE, 0);
  if (size < static_cast<int>(sizeof(kvm_run))) return error("{} gives no room for its vCPUs; use --accel bt", kDevice);
  system.run_size_ = static_cast<size_t>(size);
  return system;
}

int System::check(int capability) const { return std::max(call(fd(), KVM_CHECK_EXTENSION, capability), 0); }

Result<UniqueFd> System::create_vm() const {
  const int made = call(fd(), KVM_CREATE_VM, 0);
  if (made >= 0) return UniqueFd(made);
  if (made == -EBUSY) return error("{}: {}", kDevice, held_by_another());
  return errno_error(-made, fmt::format("{} makes no VM; use --accel bt", kDevice));
}

std::vector<kvm_cpuid_entry2> System::supported_cpuid() const {
  const size_t size = sizeof(kvm_cpuid2) + kMostCpuidEntries * sizeof(kvm_cpuid_entry2);
  const auto buffer = std::make_unique<std::byte[]>(size);
  auto* list = reinterpret_cast<kvm_cpuid2*>(buffer.get());
  list->nent = kMostCpuidEntries;
  if (call(fd(), KVM_GET_SUPPORTED_CPUID, list) < 0) return {};
  return {list->entries, list->entries + list->nent};
}

std::vector<uint32_t> System::msr_indices() const {
  kvm_msr_list count{};
  call(fd(), KVM_GET_MSR_INDEX_LIST, &count);  // E2BIG, and how many there are
  const auto buffer = std::make_unique<std::byte[]>(sizeof(kvm_msr_list) + count.nmsrs * sizeof(uint32_t));
  auto* list = reinterpret_cast<kvm_msr_list*>(buffer.get());
  list->nmsrs = count.nmsrs;
  if (call(fd(), KVM_GET_MSR_INDEX_LIST, list) < 0) return {};
  return {list->indices, list->indices + list->nmsrs};
}

bool hardware_assisted() {
  constexpr unsigned kVmx = 1u << 5, kSvm = 1u << 2;  // CPUID.1:ECX, CPUID.80000001h:ECX
  unsigned eax, ebx, ecx, edx;
  if (__get_cpuid(1, &eax, &ebx, &ecx, &edx) && (ecx & kVmx)) return true;
  if (__get_cpuid(0x80000001, &eax, &ebx, &ecx, &edx) && (ecx & kSvm)) return true;
  return module_is_loaded("/sys/module/kvm_intel") || module_is_loaded("/sys/module/kvm_amd");
}

bool shadow_paging() {
  return !parameter_is_on("/sys/module/kvm_intel/parameters/ept") && !parameter_is_on("/sys/module/kvm_amd/parameters/npt");
}

}  // namespace skerry::accel::kvm
