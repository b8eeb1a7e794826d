// Guest vector and x87 instructions executed by the host's own instruction.
//
// A thunk loads the guest registers that the instruction uses from CpuState, executes it with its memory operand replaced
// by a buffer, and stores what it changed. The guest's MXCSR (or x87 control word) is in force, so results, flags and
// exceptions are the processor's own; an unmasked SIMD exception arrives as SIGFPE, and the handler only redirects the
// thread to the thunk's fault exit.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>

#include "x86/cpu_state.hpp"
#include "x86/decoder.hpp"

namespace skerry::x86 {

// What thunks exchange with their callers beside CpuState.
struct alignas(64) ThunkBuffer {
  uint8_t memory[64];   // the memory operand
  uint8_t fx[512];      // FXSAVE image, for x87 instructions
};

// Gives 0, or 1 if the instruction raised a floating-point exception: nothing but MXCSR is changed then.
using Thunk = uint32_t (*)(CpuState* state, ThunkBuffer* buffer);

// One per interpreter: code is made and used by its thread. All memory is mapped at construction, writable and
// executable views apart, because a sandboxed process may not map executable memory later.
class HostThunks {
 public:
  HostThunks();
  ~HostThunks();
  HostThunks(const HostThunks&) = delete;
  HostThunks& operator=(const HostThunks&) = delete;

  // The thunk for a vector (or MMX) instruction, whose bytes are `guest`; null if the space is used up: see full().
  Thunk vector(const Decoded& decoded, std::span<const uint8_t> guest);
  // The thunk for an x87 instruction, between FXRSTOR and FXSAVE of ThunkBuffer::fx.
  Thunk x87(const Decoded& decoded, std::span<const uint8_t> guest);

  bool full() const { return full_; }
  void clear();  // forgets all thunks; nobody may use them any more

 private:
  Thunk add(const std::string& key, const uint8_t* code, size_t size);
  std::byte* writable_ = nullptr;
  std::byte* executable_ = nullptr;
  size_t used_ = 0;
  bool full_ = false;
  std::map<std::string, Thunk> known_;  // by the bytes of the instruction as the host gets it
};

}  // namespace skerry::x86
