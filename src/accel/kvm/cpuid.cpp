#include "accel/kvm/cpuid.hpp"

#include <algorithm>
#include <array>

#include "x86/cpu_features.hpp"

namespace skerry::accel::kvm {

namespace {

// Features that are Skerry's to offer whatever KVM says: they are its devices', or no feature of KVM's.
constexpr std::array<std::string_view, 5> kOwn = {"apic", "x2apic", "tsc_deadline_timer", "tsc_adjust", "hypervisor"};
// Where the kernel has no local APICs their MSRs come to Skerry, and who never says that a vCPU is preempted is sent each flush.
constexpr std::array<std::string_view, 3> kOwnParavirtual = {"kvm_steal_time", "kvm_pv_eoi", "kvm_pv_tlb_flush"};
constexpr uint32_t kXstateLeaf = 0xd;

struct Range {
  uint32_t first, last;
};
constexpr std::array kRanges = {Range{0, 0x16}, Range{0x40000000, 0x40000001}, Range{0x40000010, 0x40000010}, Range{0x80000000, 0x80000008}};

unsigned subleaves(uint32_t leaf) {
  switch (leaf) {
    case 4: return 4;
    case 7: return 3;
    case 0xb: return 3;
    case kXstateLeaf: return 32;
    default: return 0;
  }
}

const kvm_cpuid_entry2* find(const std::vector<kvm_cpuid_entry2>& entries, uint32_t leaf, uint32_t subleaf) {
  for (const kvm_cpuid_entry2& entry : entries)
    if (entry.function == leaf && (entry.index == subleaf || !(entry.flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX))) return &entry;
  return nullptr;
}

bool has(const std::vector<kvm_cpuid_entry2>& supported, const x86::Feature& feature) {
  const kvm_cpuid_entry2* entry = find(supported, feature.where.leaf, feature.where.subleaf);
  if (!entry) return false;
  uint32_t value = entry->edx;
  if (feature.where.reg == x86::CpuidRegister::kEax) value = entry->eax;
  if (feature.where.reg == x86::CpuidRegister::kEbx) value = entry->ebx;
  if (feature.where.reg == x86::CpuidRegister::kEcx) value = entry->ecx;
  return (value >> feature.where.bit & 1) != 0;
}

}  // namespace

Result<void> cut(x86::CpuModel& model, const std::vector<kvm_cpuid_entry2>& supported, bool kernel_apics) {
  const auto missing = model.keep([&](const x86::Feature& feature) {
    if (feature.provided == x86::Provided::kBySoftware) return false;
    if (std::ranges::find(kOwn, feature.name) != kOwn.end()) return true;
    if (!kernel_apics && std::ranges::find(kOwnParavirtual, feature.name) != kOwnParavirtual.end()) return true;
    return has(supported, feature);
  });
  if (missing.empty()) return ok();
  return error("CPU model '{}' needs {}, which this host's KVM does not offer; use --cpu host", model.name(), fmt::join(missing, ", "));
}

// A flush is left to KVM by what the structure with the steal time says, and is offered with that only.
std::vector<const x86::Feature*> paravirtual_features(const std::vector<kvm_cpuid_entry2>& supported) {
  std::vector<const x86::Feature*> offered;
  for (const x86::Feature& feature : x86::known_features())
    if (feature.provided == x86::Provided::kByKernel && has(supported, feature)) offered.push_back(&feature);
  const auto named = [&](std::string_view name) { return [name](const x86::Feature* feature) { return feature->name == name; }; };
  if (std::ranges::none_of(offered, named("kvm_steal_time"))) std::erase_if(offered, named("kvm_pv_tlb_flush"));
  return offered;
}

std::vector<kvm_cpuid_entry2> cpuid_of(const x86::CpuModel& model, unsigned index) {
  x86::CpuModel::Dynamic dynamic;
  dynamic.apic_id = index;
  std::vector<kvm_cpuid_entry2> entries;
  const auto add = [&](uint32_t leaf, uint32_t subleaf, uint32_t flags) {
    const x86::CpuidResult r = model.cpuid(leaf, subleaf, dynamic);
    kvm_cpuid_entry2 entry{};
    entry.function = leaf;
    entry.index = subleaf;
    entry.flags = flags;
    entry.eax = r.eax, entry.ebx = r.ebx, entry.ecx = r.ecx, entry.edx = r.edx;
    entries.push_back(entry);
  };
  for (const Range& range : kRanges)
    for (uint32_t leaf = range.first; leaf <= range.last; ++leaf) {
      const unsigned count = subleaves(leaf);
      if (count == 0) add(leaf, 0, 0);
      for (uint32_t subleaf = 0; subleaf < count; ++subleaf) add(leaf, subleaf, KVM_CPUID_FLAG_SIGNIFCANT_INDEX);
    }
  return entries;
}

}  // namespace skerry::accel::kvm
