// What a saved state depends on beside its configuration: the processor that the guest has seen, and the clocks.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.hpp"
#include "state/fields.hpp"
#include "x86/cpu_model.hpp"

namespace skerry::migrate {

// The part MACH.
struct MachineFacts {
  std::string accelerator;                // that executed it; another may go on
  std::string cpu_vendor;                 // of CPUID leaf 0
  uint32_t cpu_signature = 0;             // CPUID.1:EAX
  std::vector<std::string> cpu_features;  // as Linux spells them
  uint64_t tsc_hz = 0;
  uint64_t saved_at = 0;  // nanoseconds since 1970

  void describe(state::Fields& fields);
};

MachineFacts facts_of(const x86::CpuModel& model, std::string_view accelerator);

// Whether a guest that was saved with `saved` can go on with `here`: every processor feature that it may use is there,
// and its TSC runs on at its rate. A machine takes that rate from its description.
Result<void> check_compatible(const MachineFacts& saved, const MachineFacts& here);

}  // namespace skerry::migrate
