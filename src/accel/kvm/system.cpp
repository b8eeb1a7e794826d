#include "accel/kvm/system.hpp"

#include <cpuid.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <memory>

#include "accel/kvm/capabilities.hpp"

namespace skerry::accel::kvm {

namespace {

constexpr const char* kDevice = "/dev/kvm";
constexpr unsigned kMostCpuidEntries = 512;

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

Result<System> System::open(UniqueFd fd) {
  if (!fd) fd = UniqueFd(::open(kDevice, O_RDWR | O_CLOEXEC));
  if (!fd) return cannot_open(errno);
  System system(std::move(fd));
  const int version = call(system.fd(), KVM_GET_API_VERSION, 0);
  if (version < 0) return error("what was given as {} is not a KVM device", kDevice);
  if (version != KVM_API_VERSION)
    return error("{} speaks version {} of its interface, and Skerry {}; use --accel bt", kDevice, version, KVM_API_VERSION);
  for (const Capability& one : capabilities())
    if (one.need == Capability::Need::kRequired && system.check(static_cast<int>(one.number)) < one.least)
      return error("this kernel's KVM lacks KVM_CAP_{}: {}; use a newer kernel, or --accel bt", one.name, one.without);
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
