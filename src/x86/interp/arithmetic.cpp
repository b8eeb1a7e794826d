// Multiplication, division, exchanges, decimal arithmetic.
#include "base/units.hpp"
#include "x86/interp/operands.hpp"

namespace skerry::x86 {

namespace {

template <typename T>
struct Wide;
template <> struct Wide<uint8_t> { using U = uint16_t; using S = int16_t; };
template <> struct Wide<uint16_t> { using U = uint32_t; using S = int32_t; };
template <> struct Wide<uint32_t> { using U = uint64_t; using S = int64_t; };
template <> struct Wide<uint64_t> { using U = unsigned __int128; using S = __int128; };

// RDX:RAX of the operand size; AX for bytes.
template <typename T>
typename Wide<T>::U read_pair(const Interpreter& in) {
  if constexpr (sizeof(T) == 1) return in.gpr<uint16_t>(kRax * 8);
  else return static_cast<typename Wide<T>::U>(in.gpr<T>(kRdx * 8)) << (sizeof(T) * 8) | in.gpr<T>(kRax * 8);
}
template <typename T>
void write_pair(Interpreter& in, T low, T high) {
  if constexpr (sizeof(T) == 1) {
    in.set_gpr<uint16_t>(kRax * 8, static_cast<uint16_t>(high << 8 | low));
  } else {
    in.set_gpr<T>(kRax * 8, low);
    in.set_gpr<T>(kRdx * 8, high);
  }
}

// MUL and IMUL of one operand. The host multiplies so that the flags that the manual leaves undefined are its own too.
template <typename T, bool kSigned>
void multiply(T a, T b, T& low, T& high, uint64_t& rflags) {
  uint64_t rax = a, product;
#define SKERRY_MULTIPLY(instruction, ...) \
  asm(instruction " %[b]\n\tmov %%rax, %[p]\n\tlahf\n\tseto %%al" : [p] "=&r"(product), "+a"(rax) __VA_ARGS__ : [b] "q"(b) : "cc")
  if constexpr (sizeof(T) == 1) {
    if constexpr (kSigned) SKERRY_MULTIPLY("imulb");
    else SKERRY_MULTIPLY("mulb");
    high = static_cast<uint8_t>(product >> 8);
  } else {
    if constexpr (kSigned) SKERRY_MULTIPLY("imul", , "=&d"(high));
    else SKERRY_MULTIPLY("mul", , "=&d"(high));
  }
#undef SKERRY_MULTIPLY
  low = static_cast<T>(product);
  const uint32_t out = static_cast<uint32_t>(rax);
  merge_flags(rflags, out, flags::kStatus);
}

template <typename T, bool kSigned, bool kMemory>
Flow mul(Interpreter& in, const Insn& insn) {
  T source, low, high;
  if (!read_rm<T, kMemory>(in, insn, 0, source)) return Flow::kFault;
  multiply<T, kSigned>(in.gpr<T>(kRax * 8), source, low, high, in.state.rflags);
  write_pair<T>(in, low, high);
  return Flow::kNext;
}

// IMUL of two and three operands.
template <typename T, bool kMemory, bool kImmediate>
Flow imul_to(Interpreter& in, const Insn& insn) {
  T source;
  if (!read_rm<T, kMemory>(in, insn, 1, source)) return Flow::kFault;
  T value = kImmediate ? static_cast<T>(insn.imm) : in.gpr<T>(insn.reg[0]);
  uint32_t out;
  asm("imul %[s], %[v]\n\tlahf\n\tseto %%al" : [v] "+&r"(value), "=&a"(out) : [s] "r"(source) : "cc");
  merge_flags(in.state.rflags, out, flags::kStatus);
  in.set_gpr<T>(insn.reg[0], value);
  return Flow::kNext;
}

template <typename T, bool kMemory>
Flow mulx(Interpreter& in, const Insn& insn) {
  T source;
  if (!read_rm<T, kMemory>(in, insn, 2, source)) return Flow::kFault;
  const auto product = static_cast<typename Wide<T>::U>(in.gpr<T>(kRdx * 8)) * source;
  in.set_gpr<T>(insn.reg[1], static_cast<T>(product));
  in.set_gpr<T>(insn.reg[0], static_cast<T>(product >> (sizeof(T) * 8)));  // last: it wins if both are one register
  return Flow::kNext;
}

template <typename T, bool kSigned, bool kMemory>
Flow divide(Interpreter& in, const Insn& insn) {
  T source;
  if (!read_rm<T, kMemory>(in, insn, 0, source)) return Flow::kFault;
  if (source == 0) return in.raise(kDivideError);
  if constexpr (kSigned) {
    using S = typename Wide<T>::S;
    using Narrow = std::make_signed_t<T>;
    const S dividend = static_cast<S>(read_pair<T>(in));
    const S divisor = static_cast<Narrow>(source);
    if (divisor == -1 && dividend == static_cast<S>(static_cast<typename Wide<T>::U>(1) << (sizeof(S) * 8 - 1)))
      return in.raise(kDivideError);
    const S quotient = dividend / divisor;
    if (quotient != static_cast<Narrow>(quotient)) return in.raise(kDivideError);
    write_pair<T>(in, static_cast<T>(quotient), static_cast<T>(dividend % divisor));
  } else {
    const auto dividend = read_pair<T>(in);
    const auto quotient = dividend / source;
    if (quotient != static_cast<T>(quotient)) return in.raise(kDivideError);
    write_pair<T>(in, static_cast<T>(quotient), static_cast<T>(dividend % source));
  }
  return Flow::kNext;
}

template <template <typename, bool> class Form>
Handler select_rm(const Lowering& lowering, unsigned n) {
  return by_size(operand_size(lowering, n), [&](auto t) -> Handler {
    return is_memory(lowering, n) ? Form<decltype(t), true>::run : Form<decltype(t), false>::run;
  });
}
template <typename T, bool m> struct MulForm { static constexpr Handler run = mul<T, false, m>; };
template <typename T, bool m> struct ImulForm { static constexpr Handler run = mul<T, true, m>; };
template <typename T, bool m> struct DivForm { static constexpr Handler run = divide<T, false, m>; };
template <typename T, bool m> struct IdivForm { static constexpr Handler run = divide<T, true, m>; };

Handler select_imul(const Lowering& lowering) {
  const unsigned operands = lowering.decoded.instruction.operand_count_visible;
  if (operands == 1) return select_rm<ImulForm>(lowering, 0);
  return by_wide_size(operand_size(lowering), [&](auto t) -> Handler {
    using T = decltype(t);
    if (operands == 3) return is_memory(lowering, 1) ? imul_to<T, true, true> : imul_to<T, false, true>;
    return is_memory(lowering, 1) ? imul_to<T, true, false> : imul_to<T, false, false>;
  });
}

// Exchanges ----------------------------------------------------------------------------------------------------------

template <typename T>
struct Xchg {
  static Flow r_r(Interpreter& in, const Insn& insn) {
    const T first = in.gpr<T>(insn.reg[0]);
    in.set_gpr<T>(insn.reg[0], in.gpr<T>(insn.reg[1]));
    in.set_gpr<T>(insn.reg[1], first);
    return Flow::kNext;
  }
  // Locked with or without the prefix. SDM vol. 3, 8.1.2.1.
  static Flow m_r(Interpreter& in, const Insn& insn) {
    const T mine = in.gpr<T>(insn.reg[0]);
    T old;
    if (!in.modify<T>(insn.segment, in.ea(insn), true, [&](T) { return mine; }, old)) return Flow::kFault;
    in.set_gpr<T>(insn.reg[0], old);
    return Flow::kNext;
  }
};

template <typename T>
T add_with_flags(T a, T b, uint64_t& rflags) {
  uint32_t out;
  asm("add %[b], %[a]\n\tlahf\n\tseto %%al" : [a] "+&q"(a), "=&a"(out) : [b] "q"(b) : "cc");
  merge_flags(rflags, out, flags::kStatus);
  return a;
}
template <typename T>
void compare_flags(T a, T b, uint64_t& rflags) {
  uint32_t out;
  asm("cmp %[b], %[a]\n\tlahf\n\tseto %%al" : "=&a"(out) : [a] "q"(a), [b] "q"(b) : "cc");
  merge_flags(rflags, out, flags::kStatus);
}

template <typename T>
struct Xadd {
  static Flow r_r(Interpreter& in, const Insn& insn) {
    const T to = in.gpr<T>(insn.reg[0]);
    const T sum = add_with_flags<T>(to, in.gpr<T>(insn.reg[1]), in.state.rflags);
    in.set_gpr<T>(insn.reg[1], to);
    in.set_gpr<T>(insn.reg[0], sum);  // last: it wins if both are one register
    return Flow::kNext;
  }
  static Flow m_r(Interpreter& in, const Insn& insn) {
    const T mine = in.gpr<T>(insn.reg[0]);
    T old;
    const auto change = [&](T value) { return static_cast<T>(value + mine); };
    if (!in.modify<T>(insn.segment, in.ea(insn), insn.prefixes & prefix::kLock, change, old)) return Flow::kFault;
    add_with_flags<T>(old, mine, in.state.rflags);
    in.set_gpr<T>(insn.reg[0], old);
    return Flow::kNext;
  }
};

template <typename T>
struct Cmpxchg {
  static Flow r_r(Interpreter& in, const Insn& insn) {
    const T old = in.gpr<T>(insn.reg[0]);
    const T accumulator = in.gpr<T>(kRax * 8);
    compare_flags<T>(accumulator, old, in.state.rflags);
    if (accumulator == old)
      in.set_gpr<T>(insn.reg[0], in.gpr<T>(insn.reg[1]));
    else
      in.set_gpr<T>(kRax * 8, old);
    return Flow::kNext;
  }
  // The processor always writes: the old value if the comparison fails.
  static Flow m_r(Interpreter& in, const Insn& insn) {
    const T accumulator = in.gpr<T>(kRax * 8), desired = in.gpr<T>(insn.reg[0]);
    T old;
    const auto change = [&](T value) { return value == accumulator ? desired : value; };
    if (!in.modify<T>(insn.segment, in.ea(insn), insn.prefixes & prefix::kLock, change, old)) return Flow::kFault;
    compare_flags<T>(accumulator, old, in.state.rflags);
    if (accumulator != old) in.set_gpr<T>(kRax * 8, old);
    return Flow::kNext;
  }
};

template <template <typename> class Form>
Handler select_exchange(const Lowering& lowering) {
  return by_size(operand_size(lowering), [&](auto t) -> Handler {
    return is_memory(lowering, 0) ? Form<decltype(t)>::m_r : Form<decltype(t)>::r_r;
  });
}

void set_zero_flag(Interpreter& in, bool zero) {
  in.state.rflags = (in.state.rflags & ~flags::kZf) | (zero ? flags::kZf : 0);
}

Flow cmpxchg8b(Interpreter& in, const Insn& insn) {
  const auto pair = [&](unsigned high, unsigned low) {
    return uint64_t{in.gpr<uint32_t>(static_cast<uint8_t>(high * 8))} << 32 | in.gpr<uint32_t>(static_cast<uint8_t>(low * 8));
  };
  const uint64_t expected = pair(kRdx, kRax), desired = pair(kRcx, kRbx);
  uint64_t old;
  const auto change = [&](uint64_t value) { return value == expected ? desired : value; };
  if (!in.modify<uint64_t>(insn.segment, in.ea(insn), insn.prefixes & prefix::kLock, change, old)) return Flow::kFault;
  set_zero_flag(in, old == expected);
  if (old != expected) {
    in.state.gpr[kRax] = static_cast<uint32_t>(old);
    in.state.gpr[kRdx] = old >> 32;
  }
  return Flow::kNext;
}

Flow cmpxchg16b(Interpreter& in, const Insn& insn) {
  const uint64_t offset = in.ea(insn);
  if (!aligned(in, insn, offset, 16)) return Flow::kFault;
  uint64_t low = in.state.gpr[kRax], high = in.state.gpr[kRdx];
  bool equal = false;
  std::byte* host = nullptr;
  if (!in.writable_host(insn.segment, offset, 16, host)) return Flow::kFault;
  if (host) {
    asm volatile("lock cmpxchg16b %[m]\n\tsete %[e]"
                 : [m] "+m"(*reinterpret_cast<unsigned __int128*>(host)), [e] "=q"(equal), "+a"(low), "+d"(high)
                 : "b"(in.state.gpr[kRbx]), "c"(in.state.gpr[kRcx])
                 : "cc");
  } else {
    bool done = false;
    uint64_t old[2];
    in.env.exclusive([&] {
      if (!in.load_bytes(insn.segment, offset, old, 16)) return;
      equal = old[0] == low && old[1] == high;
      const uint64_t desired[2] = {equal ? in.state.gpr[kRbx] : old[0], equal ? in.state.gpr[kRcx] : old[1]};
      done = in.store_bytes(insn.segment, offset, desired, 16);
    });
    if (!done) return Flow::kFault;
    low = old[0];
    high = old[1];
  }
  set_zero_flag(in, equal);
  if (!equal) {
    in.state.gpr[kRax] = low;
    in.state.gpr[kRdx] = high;
  }
  return Flow::kNext;
}

// Decimal arithmetic. SDM vol. 2; only outside of 64-bit mode. -------------------------------------------------------

void set_result_flags(Interpreter& in, uint8_t al) {
  uint64_t f = in.state.rflags & ~(flags::kSf | flags::kZf | flags::kPf);
  if (al & 0x80) f |= flags::kSf;
  if (al == 0) f |= flags::kZf;
  if (!(__builtin_popcount(al) & 1)) f |= flags::kPf;
  in.state.rflags = f;
}
void set_carries(Interpreter& in, bool carry, bool adjust) {
  in.state.rflags = (in.state.rflags & ~(flags::kCf | flags::kAf)) | (carry ? flags::kCf : 0) | (adjust ? flags::kAf : 0);
}

template <bool kSubtract>
Flow decimal_adjust(Interpreter& in, const Insn&) {  // DAA, DAS
  const uint8_t old = in.gpr<uint8_t>(0);
  const bool old_carry = in.state.rflags & flags::kCf;
  uint8_t al = old;
  bool carry = false;
  const bool adjust = (old & 15) > 9 || (in.state.rflags & flags::kAf);
  if (adjust) {
    carry = old_carry || (kSubtract ? old < 6 : old > 0xf9);
    al = static_cast<uint8_t>(kSubtract ? al - 6 : al + 6);
  }
  if (old > 0x99 || old_carry) {
    al = static_cast<uint8_t>(kSubtract ? al - 0x60 : al + 0x60);
    carry = true;
  } else if (!kSubtract) {
    carry = false;
  }
  in.set_gpr<uint8_t>(0, al);
  set_carries(in, carry, adjust);
  set_result_flags(in, al);
  return Flow::kNext;
}

template <bool kSubtract>
Flow ascii_adjust(Interpreter& in, const Insn&) {  // AAA, AAS
  uint16_t ax = in.gpr<uint16_t>(0);
  const bool adjust = (ax & 15) > 9 || (in.state.rflags & flags::kAf);
  if (adjust) ax = static_cast<uint16_t>(kSubtract ? ax - 0x106 : ax + 0x106);
  in.set_gpr<uint16_t>(0, ax & 0xff0f);
  set_carries(in, adjust, adjust);
  return Flow::kNext;
}

Flow aam(Interpreter& in, const Insn& insn) {
  const uint8_t base = static_cast<uint8_t>(insn.imm);
  if (base == 0) return in.raise(kDivideError);
  const uint8_t al = in.gpr<uint8_t>(0);
  in.set_gpr<uint16_t>(0, static_cast<uint16_t>((al / base) << 8 | al % base));
  set_result_flags(in, al % base);
  return Flow::kNext;
}

Flow aad(Interpreter& in, const Insn& insn) {
  const uint16_t ax = in.gpr<uint16_t>(0);
  const uint8_t al = static_cast<uint8_t>((ax & 0xff) + (ax >> 8) * static_cast<uint8_t>(insn.imm));
  in.set_gpr<uint16_t>(0, al);
  set_result_flags(in, al);
  return Flow::kNext;
}

Flow salc(Interpreter& in, const Insn&) {  // undocumented D6
  in.set_gpr<uint8_t>(0, in.state.rflags & flags::kCf ? 0xff : 0);
  return Flow::kNext;
}

}  // namespace

Handler select_arithmetic(Lowering& lowering) {
  const bool wide = operand_size(lowering) == 8;
  switch (lowering.decoded.instruction.mnemonic) {
    case ZYDIS_MNEMONIC_MUL: return select_rm<MulForm>(lowering, 0);
    case ZYDIS_MNEMONIC_IMUL: return select_imul(lowering);
    case ZYDIS_MNEMONIC_MULX:
      if (wide) return is_memory(lowering, 2) ? mulx<uint64_t, true> : mulx<uint64_t, false>;
      return is_memory(lowering, 2) ? mulx<uint32_t, true> : mulx<uint32_t, false>;
    case ZYDIS_MNEMONIC_DIV: return select_rm<DivForm>(lowering, 0);
    case ZYDIS_MNEMONIC_IDIV: return select_rm<IdivForm>(lowering, 0);
    case ZYDIS_MNEMONIC_XCHG: return select_exchange<Xchg>(lowering);
    case ZYDIS_MNEMONIC_XADD: return select_exchange<Xadd>(lowering);
    case ZYDIS_MNEMONIC_CMPXCHG: return select_exchange<Cmpxchg>(lowering);
    case ZYDIS_MNEMONIC_CMPXCHG8B: return cmpxchg8b;
    case ZYDIS_MNEMONIC_CMPXCHG16B: return cmpxchg16b;
    case ZYDIS_MNEMONIC_DAA: return decimal_adjust<false>;
    case ZYDIS_MNEMONIC_DAS: return decimal_adjust<true>;
    case ZYDIS_MNEMONIC_AAA: return ascii_adjust<false>;
    case ZYDIS_MNEMONIC_AAS: return ascii_adjust<true>;
    case ZYDIS_MNEMONIC_AAM: return aam;
    case ZYDIS_MNEMONIC_AAD: return aad;
    case ZYDIS_MNEMONIC_SALC: return salc;
    default: return nullptr;
  }
}

}  // namespace skerry::x86
