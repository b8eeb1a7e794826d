// Two-operand arithmetic, moves, conditional moves and sets.
#include "x86/interp/operands.hpp"

namespace skerry::x86 {

namespace {

// The result and all status flags are the host's own.
#define SKERRY_ALU(Name, instruction, writes)                                                     \
  struct Name {                                                                                   \
    static constexpr bool kWrites = writes;                                                       \
    template <typename T>                                                                         \
    static T apply(T a, T b, uint64_t& rflags) {                                                  \
      uint32_t out;                                                                               \
      asm(instruction " %[b], %[a]\n\tlahf\n\tseto %%al" : [a] "+&q"(a), "=&a"(out) : [b] "q"(b) : "cc"); \
      merge_flags(rflags, out, flags::kStatus);                                                   \
      return a;                                                                                   \
    }                                                                                             \
  };
SKERRY_ALU(Add, "add", true)
SKERRY_ALU(Or, "or", true)
SKERRY_ALU(And, "and", true)
SKERRY_ALU(Sub, "sub", true)
SKERRY_ALU(Xor, "xor", true)
SKERRY_ALU(Cmp, "cmp", false)
SKERRY_ALU(Test, "test", false)
#undef SKERRY_ALU

#define SKERRY_ALU_CARRY(Name, instruction)                                                  \
  struct Name {                                                                              \
    static constexpr bool kWrites = true;                                                    \
    template <typename T>                                                                    \
    static T apply(T a, T b, uint64_t& rflags) {                                             \
      uint32_t out;                                                                          \
      asm("bt $0, %k[f]\n\t" instruction " %[b], %[a]\n\tlahf\n\tseto %%al"                  \
          : [a] "+&q"(a), "=&a"(out)                                                         \
          : [b] "q"(b), [f] "r"(rflags)                                                      \
          : "cc");                                                                           \
      merge_flags(rflags, out, flags::kStatus);                                              \
      return a;                                                                              \
    }                                                                                        \
  };
SKERRY_ALU_CARRY(Adc, "adc")
SKERRY_ALU_CARRY(Sbb, "sbb")
#undef SKERRY_ALU_CARRY

#define SKERRY_UNARY(Name, instruction, mask)                                            \
  struct Name {                                                                          \
    template <typename T>                                                                \
    static T apply(T a, uint64_t& rflags) {                                              \
      uint32_t out;                                                                      \
      asm(instruction " %[a]\n\tlahf\n\tseto %%al" : [a] "+&q"(a), "=&a"(out) : : "cc"); \
      merge_flags(rflags, out, mask);                                                    \
      return a;                                                                          \
    }                                                                                    \
  };
SKERRY_UNARY(Inc, "inc", flags::kStatus & ~flags::kCf)
SKERRY_UNARY(Dec, "dec", flags::kStatus & ~flags::kCf)
SKERRY_UNARY(Neg, "neg", flags::kStatus)
#undef SKERRY_UNARY

struct Not {
  template <typename T>
  static T apply(T a, uint64_t&) {
    return static_cast<T>(~a);
  }
};

template <typename T>
struct Mov {
  static Flow r_r(Interpreter& in, const Insn& insn) {
    in.set_gpr<T>(insn.reg[0], in.gpr<T>(insn.reg[1]));
    return Flow::kNext;
  }
  static Flow r_i(Interpreter& in, const Insn& insn) {
    in.set_gpr<T>(insn.reg[0], static_cast<T>(insn.imm));
    return Flow::kNext;
  }
  static Flow r_m(Interpreter& in, const Insn& insn) {
    T value;
    if (!in.load<T>(insn.segment, in.ea(insn), value)) return Flow::kFault;
    in.set_gpr<T>(insn.reg[0], value);
    return Flow::kNext;
  }
  static Flow m_r(Interpreter& in, const Insn& insn) {
    return in.store<T>(insn.segment, in.ea(insn), in.gpr<T>(insn.reg[0])) ? Flow::kNext : Flow::kFault;
  }
  static Flow m_i(Interpreter& in, const Insn& insn) {
    return in.store<T>(insn.segment, in.ea(insn), static_cast<T>(insn.imm)) ? Flow::kNext : Flow::kFault;
  }
  // Absolute 64-bit offsets (A0-A3).
  static Flow r_moffs(Interpreter& in, const Insn& insn) {
    T value;
    if (!in.load<T>(insn.segment, insn.imm, value)) return Flow::kFault;
    in.set_gpr<T>(insn.reg[0], value);
    return Flow::kNext;
  }
  static Flow moffs_r(Interpreter& in, const Insn& insn) {
    return in.store<T>(insn.segment, insn.imm, in.gpr<T>(insn.reg[0])) ? Flow::kNext : Flow::kFault;
  }
};

bool is_moffs(const Lowering& lowering) {
  const uint8_t opcode = lowering.decoded.instruction.opcode;
  return lowering.decoded.instruction.opcode_map == ZYDIS_OPCODE_MAP_DEFAULT && opcode >= 0xa0 && opcode <= 0xa3;
}

Handler select_mov(const Lowering& lowering) {
  for (unsigned n = 0; n < 2; ++n) {
    if (!is_register(lowering, n)) continue;
    const ZydisRegisterClass kind = ZydisRegisterGetClass(lowering.decoded.operands[n].reg.value);
    if (kind == ZYDIS_REGCLASS_SEGMENT || kind == ZYDIS_REGCLASS_CONTROL || kind == ZYDIS_REGCLASS_DEBUG)
      return nullptr;  // select_system's
  }
  // A0-A3: the offset is of address size; lower() sign-extended what is unsigned here.
  if (is_moffs(lowering) && lowering.insn.addr_size < 8)
    lowering.insn.imm &= lowering.insn.addr_size == 4 ? 0xffffffff : 0xffff;
  return by_size(operand_size(lowering), [&](auto t) -> Handler {
    using Form = Mov<decltype(t)>;
    if (is_moffs(lowering)) return is_memory(lowering, 0) ? Form::moffs_r : Form::r_moffs;
    if (is_memory(lowering, 0)) return is_immediate(lowering, 1) ? Form::m_i : Form::m_r;
    if (is_memory(lowering, 1)) return Form::r_m;
    return is_immediate(lowering, 1) ? Form::r_i : Form::r_r;
  });
}

// MOVZX, MOVSX, MOVSXD.
template <typename To, typename From, bool kMemory>
Flow extend(Interpreter& in, const Insn& insn) {
  std::make_unsigned_t<From> value;
  if (!read_rm<std::make_unsigned_t<From>, kMemory>(in, insn, 1, value)) return Flow::kFault;
  in.set_gpr<To>(insn.reg[0], static_cast<To>(static_cast<From>(value)));
  return Flow::kNext;
}

template <typename From>
Handler select_extend_from(const Lowering& lowering) {
  return by_wide_size(operand_size(lowering, 0), [&](auto t) -> Handler {
    using To = decltype(t);
    return is_memory(lowering, 1) ? extend<To, From, true> : extend<To, From, false>;
  });
}

Handler select_extend(const Lowering& lowering, bool is_signed) {
  switch (operand_size(lowering, 1)) {
    case 1: return is_signed ? select_extend_from<int8_t>(lowering) : select_extend_from<uint8_t>(lowering);
    case 2: return is_signed ? select_extend_from<int16_t>(lowering) : select_extend_from<uint16_t>(lowering);
    default: return select_extend_from<int32_t>(lowering);
  }
}

template <typename T>
Flow lea(Interpreter& in, const Insn& insn) {
  in.set_gpr<T>(insn.reg[0], static_cast<T>(in.ea(insn)));
  return Flow::kNext;
}

// Conditional moves load their source whatever the condition is; the 32-bit form clears the upper half either way.
template <typename T, unsigned cc, bool kMemory>
Flow cmov(Interpreter& in, const Insn& insn) {
  T value;
  if (!read_rm<T, kMemory>(in, insn, 1, value)) return Flow::kFault;
  in.set_gpr<T>(insn.reg[0], condition<cc>(in.state.rflags) ? value : in.gpr<T>(insn.reg[0]));
  return Flow::kNext;
}

template <unsigned cc, bool kMemory>
Flow setcc(Interpreter& in, const Insn& insn) {
  const uint8_t value = condition<cc>(in.state.rflags) ? 1 : 0;
  if constexpr (kMemory) return in.store<uint8_t>(insn.segment, in.ea(insn), value) ? Flow::kNext : Flow::kFault;
  in.set_gpr<uint8_t>(insn.reg[0], value);
  return Flow::kNext;
}

template <unsigned cc>
Handler select_conditional(const Lowering& lowering, bool move) {
  if (!move) return is_memory(lowering, 0) ? setcc<cc, true> : setcc<cc, false>;
  return by_wide_size(operand_size(lowering), [&](auto t) -> Handler {
    using T = decltype(t);
    return is_memory(lowering, 1) ? cmov<T, cc, true> : cmov<T, cc, false>;
  });
}

template <unsigned... cc>
Handler select_conditional_of(std::integer_sequence<unsigned, cc...>, const Lowering& lowering, bool move) {
  const unsigned wanted = lowering.decoded.instruction.opcode & 15;
  Handler chosen = nullptr;
  ((cc == wanted ? void(chosen = select_conditional<cc>(lowering, move)) : void()), ...);
  return chosen;
}

// CBW, CWDE, CDQE: the lower half of RAX into all of it.
template <typename To, typename From>
Flow convert_low(Interpreter& in, const Insn&) {
  in.set_gpr<To>(kRax * 8, static_cast<To>(static_cast<From>(in.gpr<To>(kRax * 8))));
  return Flow::kNext;
}
// CWD, CDQ, CQO: the sign of RAX into RDX.
template <typename T>
Flow convert_high(Interpreter& in, const Insn&) {
  const auto value = static_cast<std::make_signed_t<T>>(in.gpr<T>(kRax * 8));
  in.set_gpr<T>(kRdx * 8, value < 0 ? static_cast<T>(~T{0}) : T{0});
  return Flow::kNext;
}

Flow bswap32(Interpreter& in, const Insn& insn) {
  in.set_gpr<uint32_t>(insn.reg[0], __builtin_bswap32(in.gpr<uint32_t>(insn.reg[0])));
  return Flow::kNext;
}
Flow bswap64(Interpreter& in, const Insn& insn) {
  in.set_gpr<uint64_t>(insn.reg[0], __builtin_bswap64(in.gpr<uint64_t>(insn.reg[0])));
  return Flow::kNext;
}
Flow bswap16(Interpreter& in, const Insn& insn) {  // undefined; processors clear the register's low half
  in.set_gpr<uint16_t>(insn.reg[0], 0);
  return Flow::kNext;
}

template <typename T>
T byte_swapped(T value) {
  if constexpr (sizeof(T) == 2) return __builtin_bswap16(value);
  if constexpr (sizeof(T) == 4) return __builtin_bswap32(value);
  if constexpr (sizeof(T) == 8) return __builtin_bswap64(value);
}
template <typename T>
Flow movbe_load(Interpreter& in, const Insn& insn) {
  T value;
  if (!in.load<T>(insn.segment, in.ea(insn), value)) return Flow::kFault;
  in.set_gpr<T>(insn.reg[0], byte_swapped(value));
  return Flow::kNext;
}
template <typename T>
Flow movbe_store(Interpreter& in, const Insn& insn) {
  const T value = byte_swapped(in.gpr<T>(insn.reg[0]));
  return in.store<T>(insn.segment, in.ea(insn), value) ? Flow::kNext : Flow::kFault;
}

Flow xlat(Interpreter& in, const Insn& insn) {
  const uint64_t sum = in.state.gpr[kRbx] + in.gpr<uint8_t>(kRax * 8);
  const uint64_t offset = insn.addr_size == 8 ? sum : insn.addr_size == 4 ? uint32_t(sum) : uint16_t(sum);
  uint8_t value;
  if (!in.load<uint8_t>(insn.segment, offset, value)) return Flow::kFault;
  in.set_gpr<uint8_t>(kRax * 8, value);
  return Flow::kNext;
}

Flow nop(Interpreter&, const Insn&) { return Flow::kNext; }

}  // namespace

Handler select_integer(Lowering& lowering) {
  const unsigned size = lowering.insn.op_size;
  switch (lowering.decoded.instruction.mnemonic) {
    case ZYDIS_MNEMONIC_ADD: return select_binary<Add>(lowering);
    case ZYDIS_MNEMONIC_OR: return select_binary<Or>(lowering);
    case ZYDIS_MNEMONIC_ADC: return select_binary<Adc>(lowering);
    case ZYDIS_MNEMONIC_SBB: return select_binary<Sbb>(lowering);
    case ZYDIS_MNEMONIC_AND: return select_binary<And>(lowering);
    case ZYDIS_MNEMONIC_SUB: return select_binary<Sub>(lowering);
    case ZYDIS_MNEMONIC_XOR: return select_binary<Xor>(lowering);
    case ZYDIS_MNEMONIC_CMP: return select_binary<Cmp>(lowering);
    case ZYDIS_MNEMONIC_TEST: return select_binary<Test>(lowering);
    case ZYDIS_MNEMONIC_INC: return select_unary<Inc>(lowering);
    case ZYDIS_MNEMONIC_DEC: return select_unary<Dec>(lowering);
    case ZYDIS_MNEMONIC_NEG: return select_unary<Neg>(lowering);
    case ZYDIS_MNEMONIC_NOT: return select_unary<Not>(lowering);
    case ZYDIS_MNEMONIC_MOV: return select_mov(lowering);
    case ZYDIS_MNEMONIC_MOVNTI:
      return by_wide_size(operand_size(lowering), [](auto t) -> Handler { return Mov<decltype(t)>::m_r; });
    case ZYDIS_MNEMONIC_MOVZX: return select_extend(lowering, false);
    case ZYDIS_MNEMONIC_MOVSX: return select_extend(lowering, true);
    case ZYDIS_MNEMONIC_MOVSXD:
      // Without REX.W it is a plain move of 32 (or 16) bits.
      if (operand_size(lowering, 0) < 8)
        return by_wide_size(operand_size(lowering, 0), [&](auto t) -> Handler {
          return is_memory(lowering, 1) ? Mov<decltype(t)>::r_m : Mov<decltype(t)>::r_r;
        });
      return select_extend(lowering, true);
    case ZYDIS_MNEMONIC_LEA: return by_wide_size(operand_size(lowering), [](auto t) -> Handler { return lea<decltype(t)>; });
    case ZYDIS_MNEMONIC_CBW: return convert_low<uint16_t, int8_t>;
    case ZYDIS_MNEMONIC_CWDE: return convert_low<uint32_t, int16_t>;
    case ZYDIS_MNEMONIC_CDQE: return convert_low<uint64_t, int32_t>;
    case ZYDIS_MNEMONIC_CWD: return convert_high<uint16_t>;
    case ZYDIS_MNEMONIC_CDQ: return convert_high<uint32_t>;
    case ZYDIS_MNEMONIC_CQO: return convert_high<uint64_t>;
    case ZYDIS_MNEMONIC_BSWAP: return size == 8 ? bswap64 : size == 4 ? bswap32 : bswap16;
    case ZYDIS_MNEMONIC_MOVBE:
      return by_wide_size(operand_size(lowering), [&](auto t) -> Handler {
        return is_memory(lowering, 0) ? movbe_store<decltype(t)> : movbe_load<decltype(t)>;
      });
    case ZYDIS_MNEMONIC_XLAT: fill_implicit_segment(lowering); return xlat;
    case ZYDIS_MNEMONIC_NOP: return nop;
    default: break;
  }
  switch (lowering.decoded.instruction.meta.category) {
    case ZYDIS_CATEGORY_CMOV:
      return select_conditional_of(std::make_integer_sequence<unsigned, 16>(), lowering, true);
    case ZYDIS_CATEGORY_SETCC:
      return select_conditional_of(std::make_integer_sequence<unsigned, 16>(), lowering, false);
    default: return nullptr;
  }
}

}  // namespace skerry::x86
