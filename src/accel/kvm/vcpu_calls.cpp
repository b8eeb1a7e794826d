#include "accel/kvm/vcpu_calls.hpp"

#include <algorithm>
#include <array>
#include <memory>

namespace skerry::accel::kvm {

namespace {

struct OneMsr {
  explicit OneMsr(uint32_t index, uint64_t value = 0) {
    list()->nmsrs = 1;
    entry().index = index;
    entry().data = value;
  }
  kvm_msrs* list() { return reinterpret_cast<kvm_msrs*>(bytes.data()); }
  kvm_msr_entry& entry() { return list()->entries[0]; }
  alignas(kvm_msr_entry) std::array<std::byte, sizeof(kvm_msrs) + sizeof(kvm_msr_entry)> bytes{};
};

}  // namespace

Result<void> set_cpuid(int vcpu, const std::vector<kvm_cpuid_entry2>& entries) {
  const auto buffer = std::make_unique<std::byte[]>(sizeof(kvm_cpuid2) + entries.size() * sizeof(kvm_cpuid_entry2));
  auto* const list = reinterpret_cast<kvm_cpuid2*>(buffer.get());
  list->nent = static_cast<uint32_t>(entries.size());
  std::copy(entries.begin(), entries.end(), list->entries);
  if (const int result = call(vcpu, KVM_SET_CPUID2, list); result < 0) return errno_error(-result, "KVM_SET_CPUID2");
  return ok();
}

bool get_msr(int vcpu, uint32_t index, uint64_t& value) {
  OneMsr msr(index);
  if (call(vcpu, KVM_GET_MSRS, msr.list()) != 1) return false;
  value = msr.entry().data;
  return true;
}

bool set_msr(int vcpu, uint32_t index, uint64_t value) {
  OneMsr msr(index, value);
  return call(vcpu, KVM_SET_MSRS, msr.list()) == 1;
}

}  // namespace skerry::accel::kvm
