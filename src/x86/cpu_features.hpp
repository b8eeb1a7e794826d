// The processor features that Skerry knows by name, with their CPUID bits. Intel SDM vol. 2, CPUID.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace skerry::x86 {

enum class CpuidRegister : uint8_t { kEax, kEbx, kEcx, kEdx };

struct CpuidBit {
  uint32_t leaf, subleaf;
  CpuidRegister reg;
  uint8_t bit;
};

// How the engine provides a feature.
enum class Provided : uint8_t {
  kAlways,     // by itself, on any host
  kSlowly,     // likewise, but more slowly than programs go without it: models have it where the host has
  kByHost,     // by the host's own instruction: only where the host has it
  kByHostAvx,  // likewise, and the host's operating system must have enabled AVX
  kByProcessor,  // AVX-512: only where the processor itself executes the guest (KVM)
  kBySoftware,   // of a processor that is software: what it need not be defended against. Not under KVM
  kByKernel,     // paravirtual: by itself, but it pays only with the kernel's KVM, so no model has it: see CpuModel::add()
};

struct Feature {
  std::string_view name;  // as Linux spells it in /proc/cpuinfo; of KVM's own, as in its documentation
  CpuidBit where;
  uint8_t level;  // the x86-64 level (psABI) that brings it; 1 for what every model has; 9: `host` only
  Provided provided;
};

std::span<const Feature> known_features();
const Feature* find_feature(std::string_view name);

}  // namespace skerry::x86
