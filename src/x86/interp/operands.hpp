// Building blocks of integer handlers: flags from the host's own arithmetic, and handlers by operand form and size.
#pragma once

#include "x86/interp/interpreter.hpp"

namespace skerry::x86 {

// Status flags as LAHF and SETO deliver them: AH has SF ZF AF PF CF, AL has OF. No stack is used, so no red zone is hurt.
constexpr uint64_t flags_of(uint32_t lahf_seto) {
  return ((lahf_seto >> 8) & (flags::kCf | flags::kPf | flags::kAf | flags::kZf | flags::kSf)) |
         (lahf_seto & 1) << 11;
}
inline void merge_flags(uint64_t& rflags, uint32_t lahf_seto, uint64_t mask) {
  rflags = (rflags & ~mask) | (flags_of(lahf_seto) & mask);
}

// Evaluates condition code `cc` (the low four bits of Jcc, SETcc, CMOVcc). Intel SDM vol. 1, appendix B.
template <unsigned cc>
bool condition(uint64_t f) {
  bool value = false;
  switch (cc >> 1) {
    case 0: value = f & flags::kOf; break;
    case 1: value = f & flags::kCf; break;
    case 2: value = f & flags::kZf; break;
    case 3: value = f & (flags::kCf | flags::kZf); break;
    case 4: value = f & flags::kSf; break;
    case 5: value = f & flags::kPf; break;
    case 6: value = !(f & flags::kSf) != !(f & flags::kOf); break;
    default: value = (f & flags::kZf) || (!(f & flags::kSf) != !(f & flags::kOf)); break;
  }
  return value != static_cast<bool>(cc & 1);
}

// Calls `make` with an unsigned integer of `size` bytes, to choose a template instance.
template <typename Make>
Handler by_size(unsigned size, Make make) {
  switch (size) {
    case 1: return make(uint8_t{});
    case 2: return make(uint16_t{});
    case 4: return make(uint32_t{});
    case 8: return make(uint64_t{});
    default: return nullptr;
  }
}
// Where the instruction has no 8-bit form.
template <typename Make>
Handler by_wide_size(unsigned size, Make make) {
  switch (size) {
    case 2: return make(uint16_t{});
    case 4: return make(uint32_t{});
    case 8: return make(uint64_t{});
    default: return nullptr;
  }
}

inline unsigned operand_size(const Lowering& lowering, unsigned n = 0) { return lowering.decoded.operands[n].size / 8; }
inline bool is_memory(const Lowering& lowering, unsigned n) {
  return lowering.decoded.operands[n].type == ZYDIS_OPERAND_TYPE_MEMORY;
}
inline bool is_register(const Lowering& lowering, unsigned n) {
  return lowering.decoded.operands[n].type == ZYDIS_OPERAND_TYPE_REGISTER;
}
inline bool is_immediate(const Lowering& lowering, unsigned n) {
  return lowering.decoded.operands[n].type == ZYDIS_OPERAND_TYPE_IMMEDIATE;
}

// Sets Insn::segment where the memory operand is implicit, so that lower() has not seen it (XLAT, MASKMOVDQU).
inline void fill_implicit_segment(const Lowering& lowering) {
  for (unsigned n = 0; n < lowering.decoded.instruction.operand_count; ++n) {
    const ZydisDecodedOperand& operand = lowering.decoded.operands[n];
    if (operand.type == ZYDIS_OPERAND_TYPE_MEMORY)
      lowering.insn.segment = static_cast<uint8_t>(ZydisRegisterGetId(operand.mem.segment));
  }
}

// #GP(0) for memory operands that must be aligned. The check is on the linear address.
inline bool aligned(Interpreter& in, const Insn& insn, uint64_t offset, unsigned alignment) {
  const uint64_t base = in.code64() && insn.segment < kFs ? 0 : in.state.seg[insn.segment].base;
  if (((base + offset) & (alignment - 1)) == 0) return true;
  in.gp();
  return false;
}

// Reads the r/m source operand: memory if `kMemory`, else register `n`.
template <typename T, bool kMemory>
[[nodiscard]] bool read_rm(Interpreter& in, const Insn& insn, unsigned n, T& value) {
  if constexpr (kMemory) {
    return in.load<T>(insn.segment, in.ea(insn), value);
  } else {
    value = in.gpr<T>(insn.reg[n]);
    return true;
  }
}

// An operation of one changing operand and one source: `T Op::apply(T destination, T source, uint64_t& rflags)`.
// Op::kWrites is false for CMP and TEST.
template <typename Op, typename T>
struct Binary {
  static Flow reg(Interpreter& in, const Insn& insn, T source) {
    const T result = Op::apply(in.gpr<T>(insn.reg[0]), source, in.state.rflags);
    if constexpr (Op::kWrites) in.set_gpr<T>(insn.reg[0], result);
    return Flow::kNext;
  }
  static Flow mem(Interpreter& in, const Insn& insn, T source) {
    if constexpr (!Op::kWrites) {
      T value;
      if (!in.load<T>(insn.segment, in.ea(insn), value)) return Flow::kFault;
      Op::apply(value, source, in.state.rflags);
    } else {
      uint64_t rflags = 0;
      T old;
      const auto change = [&](T value) {
        rflags = in.state.rflags;
        return Op::apply(value, source, rflags);
      };
      if (!in.modify<T>(insn.segment, in.ea(insn), insn.prefixes & prefix::kLock, change, old)) return Flow::kFault;
      in.state.rflags = rflags;
    }
    return Flow::kNext;
  }
  static Flow r_r(Interpreter& in, const Insn& insn) { return reg(in, insn, in.gpr<T>(insn.reg[1])); }
  static Flow r_i(Interpreter& in, const Insn& insn) { return reg(in, insn, static_cast<T>(insn.imm)); }
  static Flow r_m(Interpreter& in, const Insn& insn) {
    T source;
    if (!in.load<T>(insn.segment, in.ea(insn), source)) return Flow::kFault;
    return reg(in, insn, source);
  }
  static Flow m_r(Interpreter& in, const Insn& insn) { return mem(in, insn, in.gpr<T>(insn.reg[0])); }
  static Flow m_i(Interpreter& in, const Insn& insn) { return mem(in, insn, static_cast<T>(insn.imm)); }
};

template <typename Op>
Handler select_binary(const Lowering& lowering) {
  return by_size(operand_size(lowering), [&](auto t) -> Handler {
    using Form = Binary<Op, decltype(t)>;
    if (is_memory(lowering, 0)) return is_immediate(lowering, 1) ? Form::m_i : Form::m_r;
    if (is_memory(lowering, 1)) return Form::r_m;
    return is_immediate(lowering, 1) ? Form::r_i : Form::r_r;
  });
}

// An operation on one operand: `T Op::apply(T value, uint64_t& rflags)`.
template <typename Op, typename T>
struct Unary {
  static Flow r(Interpreter& in, const Insn& insn) {
    in.set_gpr<T>(insn.reg[0], Op::apply(in.gpr<T>(insn.reg[0]), in.state.rflags));
    return Flow::kNext;
  }
  static Flow m(Interpreter& in, const Insn& insn) {
    uint64_t rflags = 0;
    T old;
    const auto change = [&](T value) {
      rflags = in.state.rflags;
      return Op::apply(value, rflags);
    };
    if (!in.modify<T>(insn.segment, in.ea(insn), insn.prefixes & prefix::kLock, change, old)) return Flow::kFault;
    in.state.rflags = rflags;
    return Flow::kNext;
  }
};

template <typename Op>
Handler select_unary(const Lowering& lowering) {
  return by_size(operand_size(lowering), [&](auto t) -> Handler {
    using Form = Unary<Op, decltype(t)>;
    return is_memory(lowering, 0) ? Form::m : Form::r;
  });
}

}  // namespace skerry::x86
