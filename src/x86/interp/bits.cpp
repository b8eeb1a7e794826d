// Shifts, rotates, bit tests and scans, BMI.
#include "x86/interp/operands.hpp"

namespace skerry::x86 {

namespace {

// Shifts and rotates by the host. A count of zero changes neither flags nor the value (SDM vol. 2, SAL/SAR/SHL/SHR).
#define SKERRY_SHIFT(Name, instruction, mask)                                          \
  struct Name {                                                                        \
    template <typename T>                                                              \
    static T apply(T a, uint8_t count, uint64_t& rflags) {                             \
      uint32_t out;                                                                    \
      asm("bt $0, %k[f]\n\t" instruction " %%cl, %[a]\n\tlahf\n\tseto %%al"            \
          : [a] "+&q"(a), "=&a"(out)                                                   \
          : "c"(count), [f] "r"(rflags)                                                \
          : "cc");                                                                     \
      merge_flags(rflags, out, mask);                                                  \
      return a;                                                                        \
    }                                                                                  \
  };
constexpr uint64_t kRotateFlags = flags::kCf | flags::kOf;
SKERRY_SHIFT(Shl, "shl", flags::kStatus)
SKERRY_SHIFT(Shr, "shr", flags::kStatus)
SKERRY_SHIFT(Sar, "sar", flags::kStatus)
SKERRY_SHIFT(Rol, "rol", kRotateFlags)
SKERRY_SHIFT(Ror, "ror", kRotateFlags)
SKERRY_SHIFT(Rcl, "rcl", kRotateFlags)
SKERRY_SHIFT(Rcr, "rcr", kRotateFlags)
#undef SKERRY_SHIFT

template <typename T>
constexpr uint8_t kCountMask = sizeof(T) == 8 ? 63 : 31;

// The count is CL if kByCl, else the immediate (1 for the short form).
template <typename Op, typename T, bool kMemory, bool kByCl>
Flow shift(Interpreter& in, const Insn& insn) {
  const uint8_t count = (kByCl ? in.gpr<uint8_t>(kRcx * 8) : static_cast<uint8_t>(insn.imm)) & kCountMask<T>;
  uint64_t rflags = in.state.rflags;
  const auto change = [&](T value) {
    if (count == 0) return value;
    rflags = in.state.rflags;
    return Op::apply(value, count, rflags);
  };
  if constexpr (kMemory) {
    T old;
    if (!in.modify<T>(insn.segment, in.ea(insn), false, change, old)) return Flow::kFault;
  } else {
    in.set_gpr<T>(insn.reg[0], change(in.gpr<T>(insn.reg[0])));
  }
  in.state.rflags = rflags;
  return Flow::kNext;
}

template <typename Op>
Handler select_shift(Lowering& lowering) {
  const bool by_cl = is_register(lowering, 1);
  const uint8_t opcode = lowering.decoded.instruction.opcode;
  if (opcode == 0xd0 || opcode == 0xd1) lowering.insn.imm = 1;
  return by_size(operand_size(lowering), [&](auto t) -> Handler {
    using T = decltype(t);
    if (is_memory(lowering, 0)) return by_cl ? shift<Op, T, true, true> : shift<Op, T, true, false>;
    return by_cl ? shift<Op, T, false, true> : shift<Op, T, false, false>;
  });
}

template <bool kLeft, typename T>
T shift_double(T a, T b, uint8_t count, uint64_t& rflags) {
  uint32_t out;
  if constexpr (kLeft)
    asm("shld %%cl, %[b], %[a]\n\tlahf\n\tseto %%al" : [a] "+&r"(a), "=&a"(out) : [b] "r"(b), "c"(count) : "cc");
  else
    asm("shrd %%cl, %[b], %[a]\n\tlahf\n\tseto %%al" : [a] "+&r"(a), "=&a"(out) : [b] "r"(b), "c"(count) : "cc");
  merge_flags(rflags, out, flags::kStatus);
  return a;
}

template <bool kLeft, typename T, bool kMemory, bool kByCl>
Flow double_shift(Interpreter& in, const Insn& insn) {
  const uint8_t count = (kByCl ? in.gpr<uint8_t>(kRcx * 8) : static_cast<uint8_t>(insn.imm)) & kCountMask<T>;
  const T fill = in.gpr<T>(insn.reg[kMemory ? 0 : 1]);
  uint64_t rflags = in.state.rflags;
  const auto change = [&](T value) {
    if (count == 0) return value;
    rflags = in.state.rflags;
    return shift_double<kLeft, T>(value, fill, count, rflags);
  };
  if constexpr (kMemory) {
    T old;
    if (!in.modify<T>(insn.segment, in.ea(insn), false, change, old)) return Flow::kFault;
  } else {
    in.set_gpr<T>(insn.reg[0], change(in.gpr<T>(insn.reg[0])));
  }
  in.state.rflags = rflags;
  return Flow::kNext;
}

template <bool kLeft>
Handler select_double_shift(const Lowering& lowering) {
  const bool by_cl = is_register(lowering, 2);
  return by_wide_size(operand_size(lowering), [&](auto t) -> Handler {
    using T = decltype(t);
    if (is_memory(lowering, 0)) return by_cl ? double_shift<kLeft, T, true, true> : double_shift<kLeft, T, true, false>;
    return by_cl ? double_shift<kLeft, T, false, true> : double_shift<kLeft, T, false, false>;
  });
}

// BT, BTS, BTR, BTC -------------------------------------------------------------------------------------------------

enum class BitOp { kTest, kSet, kReset, kComplement };

template <BitOp kOp, typename T>
T apply_bit(T value, T mask) {
  switch (kOp) {
    case BitOp::kSet: return value | mask;
    case BitOp::kReset: return value & static_cast<T>(~mask);
    case BitOp::kComplement: return value ^ mask;
    default: return value;
  }
}

void set_carry(Interpreter& in, bool carry) {
  in.state.rflags = (in.state.rflags & ~flags::kCf) | (carry ? flags::kCf : 0);
}

template <BitOp kOp, typename T, bool kImmediate>
Flow bit_register(Interpreter& in, const Insn& insn) {
  const T number = (kImmediate ? static_cast<T>(insn.imm) : in.gpr<T>(insn.reg[1])) & (sizeof(T) * 8 - 1);
  const T value = in.gpr<T>(insn.reg[0]);
  const T mask = static_cast<T>(T{1} << number);
  if constexpr (kOp != BitOp::kTest) in.set_gpr<T>(insn.reg[0], apply_bit<kOp, T>(value, mask));
  set_carry(in, value & mask);
  return Flow::kNext;
}

// A register bit number reaches over all of memory, in both directions (SDM vol. 1, 3.1.1.9).
template <BitOp kOp, typename T, bool kImmediate>
Flow bit_memory(Interpreter& in, const Insn& insn) {
  uint64_t offset = in.ea(insn);
  T number = static_cast<T>(insn.imm);
  if constexpr (!kImmediate) {
    number = in.gpr<T>(insn.reg[0]);
    const int64_t units = static_cast<std::make_signed_t<T>>(number) >> (sizeof(T) == 8 ? 6 : sizeof(T) == 4 ? 5 : 4);
    offset += static_cast<uint64_t>(units) * sizeof(T);
    if (insn.addr_size < 8) offset &= insn.addr_size == 4 ? 0xffffffff : 0xffff;
  }
  const T mask = static_cast<T>(T{1} << (number & (sizeof(T) * 8 - 1)));
  T old;
  if constexpr (kOp == BitOp::kTest) {
    if (!in.load<T>(insn.segment, offset, old)) return Flow::kFault;
  } else {
    const auto change = [&](T value) { return apply_bit<kOp, T>(value, mask); };
    if (!in.modify<T>(insn.segment, offset, insn.prefixes & prefix::kLock, change, old)) return Flow::kFault;
  }
  set_carry(in, old & mask);
  return Flow::kNext;
}

template <BitOp kOp>
Handler select_bit(const Lowering& lowering) {
  return by_wide_size(operand_size(lowering), [&](auto t) -> Handler {
    using T = decltype(t);
    if (is_memory(lowering, 0)) return is_immediate(lowering, 1) ? bit_memory<kOp, T, true> : bit_memory<kOp, T, false>;
    return is_immediate(lowering, 1) ? bit_register<kOp, T, true> : bit_register<kOp, T, false>;
  });
}

// Operations of one source and one destination register that the host executes ----------------------------------------

#define SKERRY_SCAN(Name, instruction)                                            \
  struct Name {                                                                   \
    /* The destination goes in: BSF and BSR keep it for a source of zero. */      \
    template <typename T>                                                         \
    static void apply(uint64_t& to, T source, uint64_t& rflags) {                 \
      uint32_t out;                                                               \
      T value = static_cast<T>(to);                                               \
      asm(instruction " %[s], %[d]\n\tlahf\n\tseto %%al"                          \
          : [d] "+&r"(value), "=&a"(out)                                          \
          : [s] "r"(source)                                                       \
          : "cc");                                                                \
      merge_flags(rflags, out, flags::kStatus);                                   \
      to = value;                                                                 \
    }                                                                             \
  };
SKERRY_SCAN(Bsf, "bsf")
SKERRY_SCAN(Bsr, "bsr")
SKERRY_SCAN(Tzcnt, "tzcnt")
SKERRY_SCAN(Lzcnt, "lzcnt")
SKERRY_SCAN(Popcnt, "popcnt")
SKERRY_SCAN(Blsi, "blsi")
SKERRY_SCAN(Blsr, "blsr")
SKERRY_SCAN(Blsmsk, "blsmsk")
#undef SKERRY_SCAN

template <typename Op, typename T, unsigned kSource, bool kMemory>
Flow scan(Interpreter& in, const Insn& insn) {
  T source;
  if (!read_rm<T, kMemory>(in, insn, kSource, source)) return Flow::kFault;
  uint64_t value = in.gpr<T>(insn.reg[0]);
  Op::template apply<T>(value, source, in.state.rflags);
  // BSF and BSR of zero write nothing, not even zeroes to the upper half.
  constexpr bool kKeeps = std::is_same_v<Op, Bsf> || std::is_same_v<Op, Bsr>;
  if (!kKeeps || source != 0) in.set_gpr<T>(insn.reg[0], static_cast<T>(value));
  return Flow::kNext;
}

template <typename Op>
Handler select_scan(const Lowering& lowering) {
  return by_wide_size(operand_size(lowering), [&](auto t) -> Handler {
    using T = decltype(t);
    return is_memory(lowering, 1) ? scan<Op, T, 1, true> : scan<Op, T, 1, false>;
  });
}
// BLSI and its like exist in 32 and 64 bits only.
template <typename Op>
Handler select_bls(const Lowering& lowering) {
  if (operand_size(lowering) == 8) return is_memory(lowering, 1) ? scan<Op, uint64_t, 1, true> : scan<Op, uint64_t, 1, false>;
  return is_memory(lowering, 1) ? scan<Op, uint32_t, 1, true> : scan<Op, uint32_t, 1, false>;
}

// BMI instructions of two sources. `a` is the r/m operand, `b` the other; kMaskFlags says which flags change.
#define SKERRY_BMI(Name, text, mask)                                                                              \
  struct Name {                                                                                                   \
    template <typename T>                                                                                         \
    static T apply(T a, T b, uint64_t& rflags) {                                                                  \
      uint32_t out;                                                                                               \
      T d;                                                                                                        \
      asm(text "\n\tlahf\n\tseto %%al" : [d] "=&r"(d), "=&a"(out) : [a] "r"(a), [b] "r"(b) : "cc");               \
      merge_flags(rflags, out, mask);                                                                             \
      return d;                                                                                                   \
    }                                                                                                             \
  };
SKERRY_BMI(Andn, "andn %[a], %[b], %[d]", flags::kStatus)
SKERRY_BMI(Bextr, "bextr %[b], %[a], %[d]", flags::kStatus)
SKERRY_BMI(Bzhi, "bzhi %[b], %[a], %[d]", flags::kStatus)
SKERRY_BMI(Pdep, "pdep %[a], %[b], %[d]", 0)
SKERRY_BMI(Pext, "pext %[a], %[b], %[d]", 0)
SKERRY_BMI(Sarx, "sarx %[b], %[a], %[d]", 0)
SKERRY_BMI(Shlx, "shlx %[b], %[a], %[d]", 0)
SKERRY_BMI(Shrx, "shrx %[b], %[a], %[d]", 0)
#undef SKERRY_BMI

// Where the r/m operand stands: the second one for BEXTR, BZHI and shifts, the third for ANDN, PDEP, PEXT.
template <typename Op, typename T, unsigned kRm, bool kMemory>
Flow bmi(Interpreter& in, const Insn& insn) {
  T a;
  if (!read_rm<T, kMemory>(in, insn, kRm, a)) return Flow::kFault;
  const T b = in.gpr<T>(insn.reg[kMemory || kRm == 2 ? 1 : 2]);
  in.set_gpr<T>(insn.reg[0], Op::template apply<T>(a, b, in.state.rflags));
  return Flow::kNext;
}

template <typename Op, unsigned kRm>
Handler select_bmi(const Lowering& lowering) {
  const bool memory = is_memory(lowering, kRm);
  if (operand_size(lowering) == 8) return memory ? bmi<Op, uint64_t, kRm, true> : bmi<Op, uint64_t, kRm, false>;
  return memory ? bmi<Op, uint32_t, kRm, true> : bmi<Op, uint32_t, kRm, false>;
}

template <typename T, bool kMemory>
Flow rorx(Interpreter& in, const Insn& insn) {
  T value;
  if (!read_rm<T, kMemory>(in, insn, 1, value)) return Flow::kFault;
  const unsigned count = insn.imm & (sizeof(T) * 8 - 1);
  in.set_gpr<T>(insn.reg[0], count ? static_cast<T>(value >> count | value << (sizeof(T) * 8 - count)) : value);
  return Flow::kNext;
}

// ADCX and ADOX: an addition with carry through one flag alone.
template <typename T, uint64_t kFlag, bool kMemory>
Flow add_carry(Interpreter& in, const Insn& insn) {
  T source;
  if (!read_rm<T, kMemory>(in, insn, 1, source)) return Flow::kFault;
  const unsigned __int128 sum = static_cast<unsigned __int128>(in.gpr<T>(insn.reg[0])) + source +
                                ((in.state.rflags & kFlag) ? 1 : 0);
  in.set_gpr<T>(insn.reg[0], static_cast<T>(sum));
  in.state.rflags = (in.state.rflags & ~kFlag) | ((sum >> (sizeof(T) * 8)) ? kFlag : 0);
  return Flow::kNext;
}
template <uint64_t kFlag>
Handler select_add_carry(const Lowering& lowering) {
  const bool memory = is_memory(lowering, 1);
  if (operand_size(lowering) == 8) return memory ? add_carry<uint64_t, kFlag, true> : add_carry<uint64_t, kFlag, false>;
  return memory ? add_carry<uint32_t, kFlag, true> : add_carry<uint32_t, kFlag, false>;
}

// CRC32 (SSE4.2): polynomial 11EDC6F41, in a 32-bit accumulator.
template <typename T>
uint32_t crc32c(uint32_t crc, T source) {
  uint64_t wide = crc;
  if constexpr (sizeof(T) == 8)
    asm("crc32q %[s], %[c]" : [c] "+r"(wide) : [s] "r"(source));
  else
    asm("crc32 %[s], %k[c]" : [c] "+r"(wide) : [s] "q"(source));
  return static_cast<uint32_t>(wide);
}
template <typename T, bool kMemory>
Flow crc(Interpreter& in, const Insn& insn) {
  T source;
  if (!read_rm<T, kMemory>(in, insn, 1, source)) return Flow::kFault;
  in.set_gpr<uint32_t>(insn.reg[0], crc32c<T>(in.gpr<uint32_t>(insn.reg[0]), source));
  return Flow::kNext;
}

}  // namespace

Handler select_bits(Lowering& lowering) {
  switch (lowering.decoded.instruction.mnemonic) {
    case ZYDIS_MNEMONIC_SHL: return select_shift<Shl>(lowering);
    case ZYDIS_MNEMONIC_SHR: return select_shift<Shr>(lowering);
    case ZYDIS_MNEMONIC_SAR: return select_shift<Sar>(lowering);
    case ZYDIS_MNEMONIC_ROL: return select_shift<Rol>(lowering);
    case ZYDIS_MNEMONIC_ROR: return select_shift<Ror>(lowering);
    case ZYDIS_MNEMONIC_RCL: return select_shift<Rcl>(lowering);
    case ZYDIS_MNEMONIC_RCR: return select_shift<Rcr>(lowering);
    case ZYDIS_MNEMONIC_SHLD: return select_double_shift<true>(lowering);
    case ZYDIS_MNEMONIC_SHRD: return select_double_shift<false>(lowering);
    case ZYDIS_MNEMONIC_BT: return select_bit<BitOp::kTest>(lowering);
    case ZYDIS_MNEMONIC_BTS: return select_bit<BitOp::kSet>(lowering);
    case ZYDIS_MNEMONIC_BTR: return select_bit<BitOp::kReset>(lowering);
    case ZYDIS_MNEMONIC_BTC: return select_bit<BitOp::kComplement>(lowering);
    case ZYDIS_MNEMONIC_BSF: return select_scan<Bsf>(lowering);
    case ZYDIS_MNEMONIC_BSR: return select_scan<Bsr>(lowering);
    // Without BMI1 and LZCNT the prefix means nothing.
    case ZYDIS_MNEMONIC_TZCNT:
      return lowering.model.has_bmi1() ? select_scan<Tzcnt>(lowering) : select_scan<Bsf>(lowering);
    case ZYDIS_MNEMONIC_LZCNT:
      return lowering.model.has_lzcnt() ? select_scan<Lzcnt>(lowering) : select_scan<Bsr>(lowering);
    case ZYDIS_MNEMONIC_POPCNT: return select_scan<Popcnt>(lowering);
    case ZYDIS_MNEMONIC_BLSI: return select_bls<Blsi>(lowering);
    case ZYDIS_MNEMONIC_BLSR: return select_bls<Blsr>(lowering);
    case ZYDIS_MNEMONIC_BLSMSK: return select_bls<Blsmsk>(lowering);
    case ZYDIS_MNEMONIC_ANDN: return select_bmi<Andn, 2>(lowering);
    case ZYDIS_MNEMONIC_BEXTR: return select_bmi<Bextr, 1>(lowering);
    case ZYDIS_MNEMONIC_BZHI: return select_bmi<Bzhi, 1>(lowering);
    case ZYDIS_MNEMONIC_PDEP: return select_bmi<Pdep, 2>(lowering);
    case ZYDIS_MNEMONIC_PEXT: return select_bmi<Pext, 2>(lowering);
    case ZYDIS_MNEMONIC_SARX: return select_bmi<Sarx, 1>(lowering);
    case ZYDIS_MNEMONIC_SHLX: return select_bmi<Shlx, 1>(lowering);
    case ZYDIS_MNEMONIC_SHRX: return select_bmi<Shrx, 1>(lowering);
    case ZYDIS_MNEMONIC_RORX:
      if (operand_size(lowering) == 8) return is_memory(lowering, 1) ? rorx<uint64_t, true> : rorx<uint64_t, false>;
      return is_memory(lowering, 1) ? rorx<uint32_t, true> : rorx<uint32_t, false>;
    case ZYDIS_MNEMONIC_ADCX: return select_add_carry<flags::kCf>(lowering);
    case ZYDIS_MNEMONIC_ADOX: return select_add_carry<flags::kOf>(lowering);
    case ZYDIS_MNEMONIC_CRC32:
      return by_size(operand_size(lowering, 1), [&](auto t) -> Handler {
        return is_memory(lowering, 1) ? crc<decltype(t), true> : crc<decltype(t), false>;
      });
    default: return nullptr;
  }
}

}  // namespace skerry::x86
