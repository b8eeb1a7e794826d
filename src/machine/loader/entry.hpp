// The state in which the bootstrap processor enters a kernel, and the memory behind that state.
#pragma once

#include <cstdint>

#include "base/result.hpp"
#include "memory/guest_memory.hpp"
#include "x86/cpu_state.hpp"

namespace skerry::machine {

class RamLayout;

struct Entry {
  enum class Mode : uint8_t {
    kProtected32,  // flat segments of 4 GiB, no paging
    kLong64,       // the first 4 GiB identity-mapped
  };
  Mode mode = Mode::kProtected32;
  uint64_t rip = 0;
  uint64_t rax = 0, rbx = 0, rsi = 0, rsp = 0;
  uint64_t gdt = 0;   // guest-physical; see place_entry_tables()
  uint64_t pml4 = 0;  // guest-physical, for kLong64
};

// Puts a descriptor table, a small stack, and for kLong64 page tables into low memory, and notes them in `entry`.
Result<void> place_entry_tables(memory::GuestMemory& memory, RamLayout& layout, Entry& entry);

// Turns a processor that has been reset into one that is about to execute the kernel's first instruction.
void apply(const Entry& entry, x86::CpuState& state);

}  // namespace skerry::machine
