// What a guest processor is: its CPUID leaves, and by them which instructions and control bits it has.
#pragma once

#include <Zydis/Zydis.h>

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"

namespace skerry::x86 {

struct Feature;

struct CpuidResult {
  uint32_t eax = 0, ebx = 0, ecx = 0, edx = 0;
};

// One per VM; immutable once the first vCPU is there, so that any thread may read it.
class CpuModel {
 public:
  // `name` is host or x86-64-v1 to x86-64-v4. `host` is what the engine can do of this processor; a named
  // level that the host lacks is refused with the features that are missing. `tsc_hz` is the guest's TSC frequency.
  static Result<CpuModel> create(std::string_view name, unsigned vcpus, uint64_t tsc_hz);
  static std::vector<std::string_view> names();

  const std::string& name() const { return name_; }
  const std::string& vendor() const { return vendor_; }  // "GenuineIntel"
  // Whether the vendor is AMD or Hygon, whose system calls and some MSRs differ from Intel's.
  bool amd() const { return amd_; }
  unsigned physical_address_bits() const { return physical_address_bits_; }
  uint32_t signature() const { return signature_; }  // CPUID.1:EAX, and EDX after reset
  uint64_t tsc_hz() const { return tsc_hz_; }
  unsigned vcpus() const { return vcpus_; }

  // The CPUID instruction. What depends on the vCPU's state (OSXSAVE, APIC ID, XSAVE sizes by XCR0) is given by
  // `apic_id`, `cr4`, `xcr0` and `apic_enabled`.
  struct Dynamic {
    uint32_t apic_id = 0;
    uint64_t cr4 = 0, xcr0 = 1, xss = 0;
    bool apic_enabled = true;
  };
  CpuidResult cpuid(uint32_t leaf, uint32_t subleaf, const Dynamic& dynamic) const;

  // Whether this processor has the instruction; else it raises #UD (or, for TZCNT, LZCNT, is another instruction).
  bool has(const ZydisDecodedInstruction& instruction) const;
  bool has_feature(const Feature& feature) const;
  bool has_named(std::string_view feature) const;  // by the name that Linux gives it
  bool has_bmi1() const;
  bool has_lzcnt() const;

  // Whether it has what Skerry executes nowhere: it is for accelerators with which the processor executes the guest.
  bool for_processors() const;
  // Gives it a feature that its name does not bring here: Provided::kByKernel, kSlowly.
  void add(const Feature& feature);
  // Takes away the features that are not wanted, and gives the names of those that the model's name promises (x86-64-vN).
  std::vector<std::string_view> keep(const std::function<bool(const Feature&)>& wanted);

  // The control-register, EFER and XCR0 bits that may be set.
  uint64_t cr4_allowed() const;
  uint64_t efer_allowed() const;
  uint64_t xcr0_allowed() const;

 private:
  friend class CpuModelPeer;  // of the tests: makes an AMD processor on any host
  void identify();
  void identify_as_host();
  uint32_t intel_signature() const;
  CpuidResult features(uint32_t leaf, uint32_t subleaf) const;
  CpuidResult identity(const Dynamic& dynamic) const;
  CpuidResult caches(uint32_t subleaf) const;
  CpuidResult topology(uint32_t subleaf, const Dynamic& dynamic) const;
  CpuidResult extended_state(uint32_t subleaf, const Dynamic& dynamic) const;
  CpuidResult hypervisor(uint32_t leaf) const;
  CpuidResult extended(uint32_t leaf) const;

  std::string name_;
  std::string vendor_;  // 12 characters
  std::string brand_;   // at most 48
  bool amd_ = false;
  uint32_t signature_ = 0;
  unsigned vcpus_ = 1;
  unsigned physical_address_bits_ = 40;
  uint64_t tsc_hz_ = 0;
  struct Leaf {
    uint32_t leaf, subleaf;
    CpuidResult value;
  };
  std::vector<Leaf> leaves_;
};

}  // namespace skerry::x86
