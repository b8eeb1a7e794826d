#include "accel/kvm/cpuid.hpp"

#include <array>

#include "x86/cpu_features.hpp"

namespace skerry::accel::kvm {

namespace {

// A leaf of features, and those of them that are Skerry's to offer whatever KVM says: they are its devices' (the local APIC,
// its timer, x2APIC) or no feature of KVM's (the hypervisor bit).
struct FeatureLeaf {
  uint32_t leaf, subleaf;
  uint32_t own_ecx, own_edx;
};
constexpr uint32_t kX2apic = 1u << 21, kTscDeadline = 1u << 24, kHypervisor = 1u << 31, kApic = 1u << 9, kHtt = 1u << 28;
constexpr std::array kFeatureLeaves = {
    FeatureLeaf{1, 0, kX2apic | kTscDeadline | kHypervisor, kApic | kHtt},
    FeatureLeaf{7, 0, 0, 0},
    FeatureLeaf{0x80000001, 0, 0, 0},
};
constexpr uint32_t kXstateLeaf = 0xd;

struct Range {
  uint32_t first, last;
};
constexpr std::array kRanges = {Range{0, 0x16}, Range{0x40000000, 0x40000001}, Range{0x40000010, 0x40000010}, Range{0x80000000, 0x80000008}};

unsigned subleaves(uint32_t leaf) {
  switch (leaf) {
    case 4: return 4;
    case 7: return 1;
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

void cut(kvm_cpuid_entry2& entry, const std::vector<kvm_cpuid_entry2>& supported) {
  for (const FeatureLeaf& leaf : kFeatureLeaves) {
    if (leaf.leaf != entry.function || leaf.subleaf != entry.index) continue;
    const kvm_cpuid_entry2* offered = find(supported, entry.function, entry.index);
    if (entry.function == 7) entry.ebx &= offered ? offered->ebx : 0;
    entry.ecx &= (offered ? offered->ecx : 0) | leaf.own_ecx;
    entry.edx &= (offered ? offered->edx : 0) | leaf.own_edx;
  }
  if (entry.function == kXstateLeaf && entry.index == 1) {
    const kvm_cpuid_entry2* offered = find(supported, kXstateLeaf, 1);
    entry.eax &= offered ? offered->eax : 0;
  }
}

}  // namespace

Result<void> check_model(const x86::CpuModel& model, const std::vector<kvm_cpuid_entry2>& supported) {
  if (model.name() == "host") return ok();
  const auto missing = model.features_without([&](const x86::CpuidBit& where) {
    const kvm_cpuid_entry2* entry = find(supported, where.leaf, where.subleaf);
    if (!entry) return 0u;
    switch (where.reg) {
      case x86::CpuidRegister::kEax: return entry->eax;
      case x86::CpuidRegister::kEbx: return entry->ebx;
      case x86::CpuidRegister::kEcx: return entry->ecx;
      default: return entry->edx;
    }
  });
  if (missing.empty()) return ok();
  return error("CPU model '{}' needs {}, which this host's KVM does not offer; use --cpu host", model.name(), fmt::join(missing, ", "));
}

std::vector<kvm_cpuid_entry2> cpuid_of(const x86::CpuModel& model, unsigned index, const std::vector<kvm_cpuid_entry2>& supported) {
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
    cut(entry, supported);
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
