// What a processor keeps of itself in memory while it is in System Management Mode.
// AMD64 Architecture Programmer's Manual vol. 2, 10.2.3 and table 10-1 (the area of processors with long mode).
#pragma once

#include <cstdint>

#include "memory/guest_memory.hpp"
#include "x86/cpu_state.hpp"

namespace skerry::x86 {

struct SmmSegment {
  uint16_t selector;
  uint16_t attributes;  // as bits 8 to 23 of a descriptor's upper half, without those of the limit
  uint32_t limit;
  uint64_t base;
};

// At kOffset from SMBASE.
struct SmmStateSaveArea {
  static constexpr uint32_t kOffset = 0xfe00;
  SmmSegment segments[kSegmentCount];  // ES CS SS DS FS GS
  SmmSegment gdtr, ldtr, idtr, tr;
  uint64_t io_restart_rip, io_restart_rcx, io_restart_rsi, io_restart_rdi;  // this, and what else is of I/O: not there, zero
  uint32_t io_restart_dword, reserved_c4;
  uint8_t io_restart;
  uint8_t auto_halt_restart;  // bit 0: it was in HLT, and RSM goes back into it
  uint8_t reserved_ca[6];
  uint64_t efer;
  uint8_t reserved_d8[0x24];
  uint32_t revision;  // kRevision
  uint32_t smbase;    // RSM takes what it is by then
  uint8_t reserved_104[0x44];
  uint64_t cr4, cr3, cr0, dr7, dr6, rflags, rip;
  uint64_t gpr_from_r15[16];  // RAX is the last
};
static_assert(sizeof(SmmSegment) == 16 && sizeof(SmmStateSaveArea) == 0x200);
static_assert(__builtin_offsetof(SmmStateSaveArea, efer) == 0xd0 && __builtin_offsetof(SmmStateSaveArea, revision) == 0xfc);
static_assert(__builtin_offsetof(SmmStateSaveArea, cr4) == 0x148 && __builtin_offsetof(SmmStateSaveArea, gpr_from_r15) == 0x180);

// The state as SMM begins with it (10.3.1): `area` has what it was.
SmmStateSaveArea enter_smm(CpuState& state);

// What RSM makes of the area (10.3.3, 10.3.4). False: no processor can be in such a state, and it shuts down.
// `cr4_allowed` and `max_physical` are the model's.
bool leave_smm(CpuState& state, const SmmStateSaveArea& area, const memory::GuestMemory& memory, uint64_t cr4_allowed, unsigned max_physical);

}  // namespace skerry::x86
