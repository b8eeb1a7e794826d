#include "doctor/processor.hpp"

#include <array>
#include <cstring>

#include "base/units.hpp"

namespace skerry::doctor {

namespace {

// CPUID, Intel SDM vol. 2 and AMD APM vol. 3. The leaves from 0x40000000 on are the hypervisors' by convention.
constexpr uint32_t kHypervisorLeaf = 0x40000000, kExtendedLeaf = 0x80000000, kBrandLeaf = 0x80000002;
constexpr uint64_t kVmx = bit(5), kHypervisor = bit(31);  // of leaf 1, ECX
constexpr uint64_t kSvm = bit(2);                         // of leaf 0x80000001, ECX

// Registers as text: what is before the first NUL.
template <size_t N>
std::string text_of(const std::array<uint32_t, N>& registers) {
  std::string text(N * 4, '\0');
  std::memcpy(text.data(), registers.data(), text.size());
  text.resize(std::min(text.size(), text.find('\0')));
  const size_t first = text.find_first_not_of(' '), last = text.find_last_not_of(' ');
  return first == text.npos ? "" : printable(text.substr(first, last - first + 1));
}

std::string brand(const System& system) {
  std::array<uint32_t, 12> registers{};
  for (uint32_t i = 0; i < 3; ++i) {
    const auto part = system.cpuid(kBrandLeaf + i, 0);
    registers[4 * i] = part.eax;
    registers[4 * i + 1] = part.ebx;
    registers[4 * i + 2] = part.ecx;
    registers[4 * i + 3] = part.edx;
  }
  return text_of(registers);
}

}  // namespace

Processor processor(const Host& host) {
  const System& system = host.system();
  Processor found;
  const auto first = system.cpuid(0, 0), features = system.cpuid(1, 0), extended = system.cpuid(kExtendedLeaf, 0);
  found.vendor = text_of(std::array{first.ebx, first.edx, first.ecx});
  if (extended.eax >= kBrandLeaf + 2) found.model = brand(system);
  if (features.ecx & kVmx) found.virtualization = Virtualization::kVmx;
  if (extended.eax > kExtendedLeaf && (system.cpuid(kExtendedLeaf + 1, 0).ecx & kSvm))
    found.virtualization = Virtualization::kSvm;
  found.is_guest = features.ecx & kHypervisor;
  if (found.is_guest) {
    const auto who = system.cpuid(kHypervisorLeaf, 0);
    found.hypervisor = text_of(std::array{who.ebx, who.ecx, who.edx});
  }
  return found;
}

std::string_view name_of(Virtualization virtualization) {
  switch (virtualization) {
    case Virtualization::kVmx:
      return "VT-x";
    case Virtualization::kSvm:
      return "AMD-V";
    default:
      return "VT-x or AMD-V";
  }
}

std::string_view module_of(Virtualization virtualization) {
  return virtualization == Virtualization::kSvm ? "kvm_amd" : "kvm_intel";
}

}  // namespace skerry::doctor
