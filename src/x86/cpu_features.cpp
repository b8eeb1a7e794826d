#include "x86/cpu_features.hpp"

#include <array>

namespace skerry::x86 {

namespace {

constexpr CpuidBit ecx1(uint8_t bit) { return {1, 0, CpuidRegister::kEcx, bit}; }
constexpr CpuidBit edx1(uint8_t bit) { return {1, 0, CpuidRegister::kEdx, bit}; }
constexpr CpuidBit ebx7(uint8_t bit) { return {7, 0, CpuidRegister::kEbx, bit}; }
constexpr CpuidBit ecx7(uint8_t bit) { return {7, 0, CpuidRegister::kEcx, bit}; }
constexpr CpuidBit edx7(uint8_t bit) { return {7, 0, CpuidRegister::kEdx, bit}; }
constexpr CpuidBit eaxd(uint8_t bit) { return {0xd, 1, CpuidRegister::kEax, bit}; }
constexpr CpuidBit ecx8(uint8_t bit) { return {0x80000001, 0, CpuidRegister::kEcx, bit}; }
constexpr CpuidBit edx8(uint8_t bit) { return {0x80000001, 0, CpuidRegister::kEdx, bit}; }

constexpr CpuidBit eax_kvm(uint8_t bit) { return {0x40000001, 0, CpuidRegister::kEax, bit}; }

constexpr Provided kAlways = Provided::kAlways, kByHost = Provided::kByHost, kByHostAvx = Provided::kByHostAvx;
constexpr uint8_t kHostOnly = 9;

constexpr std::array kFeatures = {
    Feature{"fpu", edx1(0), 1, kAlways},
    Feature{"vme", edx1(1), 1, kAlways},
    Feature{"de", edx1(2), 1, kAlways},
    Feature{"pse", edx1(3), 1, kAlways},
    Feature{"tsc", edx1(4), 1, kAlways},
    Feature{"msr", edx1(5), 1, kAlways},
    Feature{"pae", edx1(6), 1, kAlways},
    Feature{"mce", edx1(7), 1, kAlways},
    Feature{"cx8", edx1(8), 1, kAlways},
    Feature{"apic", edx1(9), 1, kAlways},
    Feature{"sep", edx1(11), 1, kAlways},
    Feature{"mtrr", edx1(12), 1, kAlways},
    Feature{"pge", edx1(13), 1, kAlways},
    Feature{"mca", edx1(14), 1, kAlways},
    Feature{"cmov", edx1(15), 1, kAlways},
    Feature{"pat", edx1(16), 1, kAlways},
    Feature{"pse36", edx1(17), 1, kAlways},
    Feature{"clflush", edx1(19), 1, kAlways},
    Feature{"mmx", edx1(23), 1, kByHost},
    Feature{"fxsr", edx1(24), 1, kByHost},
    Feature{"sse", edx1(25), 1, kByHost},
    Feature{"sse2", edx1(26), 1, kByHost},
    Feature{"syscall", edx8(11), 1, kAlways},
    Feature{"nx", edx8(20), 1, kAlways},
    Feature{"pdpe1gb", edx8(26), 1, kAlways},
    Feature{"rdtscp", edx8(27), 1, kAlways},
    Feature{"lm", edx8(29), 1, kAlways},
    // What any model has for the sake of the operating system, whatever its level.
    Feature{"x2apic", ecx1(21), 1, kAlways},
    Feature{"tsc_deadline_timer", ecx1(24), 1, kAlways},
    Feature{"hypervisor", ecx1(31), 1, kAlways},
    Feature{"pcid", ecx1(17), 1, kAlways},
    Feature{"fsgsbase", ebx7(0), 1, kAlways},
    Feature{"tsc_adjust", ebx7(1), 1, kAlways},
    Feature{"smep", ebx7(7), 1, kAlways},
    Feature{"fdp_excptn_only", ebx7(6), 1, kAlways},
    Feature{"erms", ebx7(9), 1, kAlways},
    Feature{"invpcid", ebx7(10), 1, kAlways},
    Feature{"zero_fcs_fds", ebx7(13), 1, kAlways},
    Feature{"smap", ebx7(20), 1, kAlways},
    Feature{"umip", ecx7(2), 1, kAlways},
    Feature{"fsrm", edx7(4), 1, kAlways},
    Feature{"arch_capabilities", edx7(29), 1, kAlways},
    // Branches of the guest's code are not branches of the processor, so that what kernels do with theirs against Spectre has no
    // effect, and costs a third of a system call. SDM vol. 2, CPUID.7.2.EDX: BHI_CTRL; AMD64 APM vol. 3, Fn8000_0021: SRSO_NO, TSA_SQ_NO,
    // TSA_L1_NO.
    Feature{"spec_ctrl", edx7(26), 1, Provided::kBySoftware},
    Feature{"bhi_ctrl", {7, 2, CpuidRegister::kEdx, 4}, 1, Provided::kBySoftware},
    Feature{"srso_no", {0x80000021, 0, CpuidRegister::kEax, 29}, 1, Provided::kBySoftware},
    Feature{"tsa_sq_no", {0x80000021, 0, CpuidRegister::kEcx, 1}, 1, Provided::kBySoftware},
    Feature{"tsa_l1_no", {0x80000021, 0, CpuidRegister::kEcx, 2}, 1, Provided::kBySoftware},
    Feature{"lahf_lm", ecx8(0), 1, kAlways},
    Feature{"3dnowprefetch", ecx8(8), 1, kAlways},
    Feature{"xsave", ecx1(26), 1, kByHost},
    Feature{"xsaveopt", eaxd(0), 1, kByHost},
    // x86-64-v2
    Feature{"pni", ecx1(0), 2, kByHost},
    Feature{"ssse3", ecx1(9), 2, kByHost},
    Feature{"cx16", ecx1(13), 2, kByHost},
    Feature{"sse4_1", ecx1(19), 2, kByHost},
    Feature{"sse4_2", ecx1(20), 2, kByHost},
    Feature{"popcnt", ecx1(23), 2, kByHost},
    // x86-64-v3
    Feature{"fma", ecx1(12), 3, kByHostAvx},
    Feature{"movbe", ecx1(22), 3, kAlways},
    Feature{"avx", ecx1(28), 3, kByHostAvx},
    Feature{"f16c", ecx1(29), 3, kByHostAvx},
    Feature{"bmi1", ebx7(3), 3, kByHost},
    Feature{"avx2", ebx7(5), 3, kByHostAvx},
    Feature{"bmi2", ebx7(8), 3, kByHost},
    Feature{"abm", ecx8(5), 3, kByHost},  // LZCNT
    // x86-64-v4
    Feature{"avx512f", ebx7(16), 4, Provided::kByProcessor},
    Feature{"avx512dq", ebx7(17), 4, Provided::kByProcessor},
    Feature{"avx512cd", ebx7(28), 4, Provided::kByProcessor},
    Feature{"avx512bw", ebx7(30), 4, Provided::kByProcessor},
    Feature{"avx512vl", ebx7(31), 4, Provided::kByProcessor},
    // Beyond the levels.
    Feature{"pclmulqdq", ecx1(1), kHostOnly, kByHost},
    Feature{"aes", ecx1(25), kHostOnly, kByHost},
    Feature{"rdrand", ecx1(30), kHostOnly, kByHost},
    Feature{"rdseed", ebx7(18), kHostOnly, kByHost},
    Feature{"adx", ebx7(19), kHostOnly, kAlways},
    Feature{"clflushopt", ebx7(23), kHostOnly, kAlways},
    Feature{"clwb", ebx7(24), kHostOnly, kAlways},
    Feature{"sha_ni", ebx7(29), kHostOnly, Provided::kSlowly},
    Feature{"rdpid", ecx7(22), kHostOnly, kAlways},
    // Linux, Documentation/virt/kvm/x86/cpuid.rst: KVM_FEATURE_STEAL_TIME and so on.
    Feature{"kvm_steal_time", eax_kvm(5), kHostOnly, Provided::kByKernel},
    Feature{"kvm_pv_eoi", eax_kvm(6), kHostOnly, Provided::kByKernel},
    Feature{"kvm_pv_tlb_flush", eax_kvm(9), kHostOnly, Provided::kByKernel},
    Feature{"kvm_pv_send_ipi", eax_kvm(11), kHostOnly, Provided::kByKernel},
};

}  // namespace

std::span<const Feature> known_features() { return kFeatures; }

const Feature* find_feature(std::string_view name) {
  for (const Feature& feature : kFeatures)
    if (feature.name == name) return &feature;
  return nullptr;
}

}  // namespace skerry::x86
