// What MMX, SSE and AVX handlers and the x87 ones share.
#pragma once

#include <cstring>

#include "x86/interp/interpreter.hpp"

namespace skerry::x86 {

// Whether SSE (kVex: AVX) instructions may run now; raises #UD or #NM. Intel SDM vol. 3, 13.1; vol. 2, 2.4.
template <bool kVex>
[[nodiscard]] bool vector_enabled(Interpreter& in) {
  const CpuState& s = in.state;
  if constexpr (kVex) {
    const bool enabled = (s.cr4 & cr4::kOsxsave) && (s.xcr0 & 6) == 6 && s.protected_mode() && !s.v86_mode();
    if (!enabled) [[unlikely]] return (in.ud(), false);
  } else {
    if ((s.cr0 & cr0::kEm) || !(s.cr4 & cr4::kOsfxsr)) [[unlikely]] return (in.ud(), false);
  }
  if (s.cr0 & cr0::kTs) [[unlikely]] return (in.raise(kDeviceNotAvailable), false);
  return true;
}

// The error summary: an unmasked x87 exception is pending. It is reported at the next waiting instruction.
constexpr uint16_t kFswEs = 1 << 7, kFswB = 1 << 15, kFswTop = 7 << 11;
[[nodiscard]] inline bool x87_error_pending(Interpreter& in) {
  if (!(in.state.x87.fsw & kFswEs)) [[likely]] return false;
  if (in.state.cr0 & cr0::kNe) return (in.raise(kFpuError), true);
  in.env.raise_ferr();
  return false;
}

// A memory operand of `size` bytes. Up to 8 bytes it is one atomic access, and its alignment is checked where #AC is on.
[[nodiscard]] inline bool load_operand(Interpreter& in, const Insn& insn, uint64_t offset, void* to, unsigned size) {
  const auto load = [&](auto value) {
    return in.load(insn.segment, offset, value) && (std::memcpy(to, &value, sizeof(value)), true);
  };
  switch (size) {
    case 1: return load(uint8_t{});
    case 2: return load(uint16_t{});
    case 4: return load(uint32_t{});
    case 8: return load(uint64_t{});
    case 10: {  // x87's own format, in two accesses
      uint64_t low;
      uint16_t high;
      if (!in.load(insn.segment, offset, low) || !in.load(insn.segment, offset + 8, high)) return false;
      std::memcpy(to, &low, 8);
      std::memcpy(static_cast<uint8_t*>(to) + 8, &high, 2);
      return true;
    }
    default: return in.load_bytes(insn.segment, offset, to, size);
  }
}
[[nodiscard]] inline bool store_operand(Interpreter& in, const Insn& insn, uint64_t offset, const void* from, unsigned size) {
  const auto store = [&](auto value) {
    std::memcpy(&value, from, sizeof(value));
    return in.store(insn.segment, offset, value);
  };
  switch (size) {
    case 1: return store(uint8_t{});
    case 2: return store(uint16_t{});
    case 4: return store(uint32_t{});
    case 8: return store(uint64_t{});
    case 10: {
      std::byte* host;
      return in.writable_host(insn.segment, offset, 8, host) && in.writable_host(insn.segment, offset + 8, 2, host) &&
             in.store_bytes(insn.segment, offset, from, size);
    }
    default: return in.store_bytes(insn.segment, offset, from, size);
  }
}

}  // namespace skerry::x86
