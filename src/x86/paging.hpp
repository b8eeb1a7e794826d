// Address translation by the guest's page tables: none, 32-bit, PAE and 4-level. Intel SDM vol. 3, chapter 4.
#pragma once

#include <cstdint>

#include "memory/guest_memory.hpp"
#include "x86/cpu_state.hpp"

namespace skerry::x86 {

struct PageAccess {
  bool write = false;
  bool fetch = false;
  bool user = false;      // made at CPL 3 (and not an implicit supervisor access)
  bool smap = false;      // a supervisor access that SMAP forbids to user pages (CR4.SMAP, and AC=0 or implicit)
};

struct Translation {
  uint64_t gpa = 0;        // of the address itself
  bool writable = false;   // a write with the same privilege would be allowed and the dirty flag is set already
  bool executable = false; // a fetch with the same privilege would be allowed
  bool readable = true;    // a read with the same privilege would be allowed
  bool large = false;      // mapped by a page of more than 4 KiB
  bool global = false;     // holds in every address space (CR4.PGE and the G flag)
};

enum class WalkStatus : uint8_t { kOk, kPageFault };

// Translates `linear`, sets accessed and dirty flags by compare-and-swap. On kPageFault `error_code` is that of #PF.
// `max_physical` is the number of physical-address bits.
WalkStatus walk(memory::GuestMemory& memory, const CpuState& state, unsigned max_physical, uint64_t linear,
                PageAccess access, Translation& translation, uint32_t& error_code);

// The same without privilege checks or any effect on the guest, for debuggers. False if not mapped.
bool probe(const memory::GuestMemory& memory, const CpuState& state, uint64_t linear, uint64_t& gpa);

// Loads the four PDPTEs of PAE paging from `cr3`; false if one has reserved bits set (#GP). SDM vol. 3, 4.4.1.
bool load_pdptes(const memory::GuestMemory& memory, memory::View view, uint64_t cr3, unsigned max_physical,
                 std::array<uint64_t, 4>& pdptes);

// How a processor in that state sees memory.
inline memory::View view_of(const CpuState& state) { return state.in_smm ? memory::View::kSmm : memory::View::kOrdinary; }

}  // namespace skerry::x86
