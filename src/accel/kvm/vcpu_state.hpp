// A vCPU's registers in the kernel's terms and in Skerry's, both ways.
#pragma once

#include <memory>
#include <vector>

#include "accel/kvm/system.hpp"
#include "base/result.hpp"
#include "x86/cpu_model.hpp"
#include "x86/cpu_state.hpp"

namespace skerry::accel::kvm {

// Gets and sets everything of x86::CpuState that KVM keeps, but for the time-stamp counter's offset and TSC_ADJUST, which are
// always Skerry's, and for what is halted or waiting. Used by the vCPU's thread, or while it is at rest.
class VcpuState {
 public:
  // `vcpu` is KVM's descriptor, whose CPUID has been set. `has_apic`: its local APIC is KVM's, and what it does in HLT and
  // before it was started as well, so that CpuState::activity is got and set too.
  VcpuState(int vcpu, const System& system, const x86::CpuModel& model, bool has_apic);

  // What is not part of CpuState: IA32_APIC_BASE, CR8, and whether an NMI waits. With a local APIC of its own KVM keeps those that
  // wait, as more may come at any moment, and is told of one (or of none) only if that is `nmi_is_new`, which get() clears.
  struct Beside {
    uint64_t apic_base = 0;
    uint8_t cr8 = 0;
    bool nmi_waits = false;
    bool nmi_is_new = true;
  };
  static constexpr uint32_t kStealTime = 0x4b564d03;  // MSR_KVM_STEAL_TIME
  struct MsrField {
    uint32_t index;
    uint64_t x86::CpuState::*member;
  };
  Result<void> get(x86::CpuState& state, Beside& beside);
  Result<void> set(const x86::CpuState& state, const Beside& beside);

 private:
  Result<void> call(unsigned long request, void* argument, const char* name) const;
  Result<void> get_segments(x86::CpuState& state, Beside& beside);
  Result<void> set_segments(const x86::CpuState& state, const Beside& beside);
  Result<void> get_vectors(x86::CpuState& state);
  Result<void> set_vectors(const x86::CpuState& state);
  Result<void> get_msrs(x86::CpuState& state);
  Result<void> set_msrs(const x86::CpuState& state);
  Result<void> get_activity(x86::CpuState& state);
  Result<void> set_activity(const x86::CpuState& state);
  Result<void> get_events(x86::CpuState& state, Beside& beside);
  Result<void> set_events(const x86::CpuState& state, const Beside& beside);
  template <typename Visit>
  void each_msr(Visit visit) const;
  void list_msrs(const System& system);

  const int vcpu_;
  const bool sregs2_, xsave2_, has_apic_;
  const uint64_t xcr0_allowed_;
  // Where the parts of an XSAVE area are on this host, in bytes from its start; 0 where there is none. By component.
  std::array<uint32_t, 10> offsets_{};
  std::vector<std::byte> area_;
  std::vector<MsrField> fields_;
  std::vector<std::byte> msrs_;  // a kvm_msrs
};

}  // namespace skerry::accel::kvm
