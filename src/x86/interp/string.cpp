// String instructions. Under REP they work up to a page at a time on host memory where they can, and one element at a
// time where an access may fault, go to a device, or is watched.
#include <algorithm>
#include <cstring>

#include "x86/interp/io.hpp"
#include "x86/interp/operands.hpp"

namespace skerry::x86 {

namespace {

uint64_t address_mask(const Insn& insn) {
  return insn.addr_size == 8 ? ~uint64_t{0} : insn.addr_size == 4 ? 0xffffffff : 0xffff;
}
uint64_t count_of(const Interpreter& in, const Insn& insn) { return in.gpr_sized(kRcx, insn.addr_size); }
bool repeated(const Insn& insn) { return insn.prefixes & (prefix::kRep | prefix::kRepne); }

void advance(Interpreter& in, const Insn& insn, unsigned reg, uint64_t bytes) {
  const bool down = in.state.rflags & flags::kDf;
  in.set_gpr_sized(reg, insn.addr_size, in.state.gpr[reg] + (down ? -bytes : bytes));
}

// After `done` elements: whether the instruction is finished.
Flow count_down(Interpreter& in, const Insn& insn, uint64_t done) {
  const uint64_t left = count_of(in, insn) - done;
  in.set_gpr_sized(kRcx, insn.addr_size, left);
  return left == 0 ? Flow::kNext : Flow::kRepeat;
}

// Repeated no times. With 32-bit addresses processors write the registers nonetheless, which clears their upper halves.
template <typename... Pointer>
Flow none(Interpreter& in, const Insn& insn, Pointer... pointers) {
  (in.set_gpr_sized(pointers, insn.addr_size, in.state.gpr[pointers]), ...);
  in.set_gpr_sized(kRcx, insn.addr_size, 0);
  return Flow::kNext;
}

uint64_t room(uint64_t linear) { return memory::kPageSize - (linear & memory::kPageMask); }

bool downward(const Interpreter& in) { return in.state.rflags & flags::kDf; }

// How many elements from `offset` on, upwards or downwards, lie in one page and in the segment without wrapping; 0 if none
// can be done together. `linear` is the first one's address.
template <typename T>
uint64_t together(Interpreter& in, const Insn& insn, unsigned segment, uint64_t offset, bool write, uint64_t count,
                  uint64_t& linear) {
  const bool down = downward(in);
  if (in.code64() && insn.addr_size == 8) {
    linear = offset + (segment >= kFs ? in.state.seg[segment].base : 0);
  } else {
    const Segment& s = in.state.seg[segment];
    const bool plain = in.code64() || (!s.unusable && s.present && (s.type & 0xc) == 0 && (!write || (s.type & 2)));
    if (!plain) return 0;
    const uint64_t limit = std::min<uint64_t>(in.code64() ? ~uint64_t{0} : s.limit, address_mask(insn));
    if (offset > limit || limit - offset < sizeof(T)) return 0;
    count = std::min(count, down ? offset / sizeof(T) + 1 : (limit - offset) / sizeof(T));
    linear = in.code64() ? offset + (segment >= kFs ? s.base : 0) : (offset + s.base) & 0xffffffff;
  }
  if (room(linear) < sizeof(T)) return 0;
  return std::min(count, down ? (linear & memory::kPageMask) / sizeof(T) + 1 : room(linear) / sizeof(T));
}

bool may_go_fast(const Interpreter& in, const Insn& insn) {
  return repeated(insn) && !in.one_iteration();
}

// MOVS ---------------------------------------------------------------------------------------------------------------

// A run of elements, upwards or downwards from the first one.
template <typename T>
void move_run(const Interpreter& in, const std::byte* source, std::byte* target, uint64_t count) {
  const uint64_t bytes = count * sizeof(T), before = downward(in) ? bytes - sizeof(T) : 0;
  const bool read_again = downward(in) ? target < source && source < target + bytes : target > source && target < source + bytes;
  if (!read_again) {
    std::memmove(target - before, source - before, bytes);
    return;
  }
  // The elements written are read: the pattern repeats, as it would on a processor.
  const ptrdiff_t step = downward(in) ? -static_cast<ptrdiff_t>(sizeof(T)) : static_cast<ptrdiff_t>(sizeof(T));
  for (uint64_t i = 0; i < count; ++i, target += step, source += step) {
    T value;
    std::memcpy(&value, source, sizeof(T));
    std::memcpy(target, &value, sizeof(T));
  }
}

template <typename T>
Flow movs(Interpreter& in, const Insn& insn) {
  uint64_t run = 0, from = 0, to = 0;
  if (repeated(insn)) {
    run = count_of(in, insn);
    if (run == 0) return none(in, insn, kRsi, kRdi);
    if (!may_go_fast(in, insn)) run = 0;
    if (run) run = together<T>(in, insn, insn.segment, in.gpr_sized(kRsi, insn.addr_size), false, run, from);
    if (run) run = together<T>(in, insn, kEs, in.gpr_sized(kRdi, insn.addr_size), true, run, to);
  }
  const std::byte* source = run ? in.ready_to_read(from) : nullptr;
  std::byte* target = run ? in.ready_to_write(to) : nullptr;
  uint64_t done = 0;
  if (!source || !target) {
    // The first one finds the faults. Both pages may have the same place in the TLB: the source's is asked for in between.
    T value;
    if (!in.load<T>(insn.segment, in.gpr_sized(kRsi, insn.addr_size), value)) return Flow::kFault;
    source = run > 1 ? in.ready_to_read(from) : nullptr;
    if (!in.store<T>(kEs, in.gpr_sized(kRdi, insn.addr_size), value)) return Flow::kFault;
    target = run > 1 ? in.ready_to_write(to) : nullptr;
    done = 1;
  }
  if (source && target) {
    const ptrdiff_t step = static_cast<ptrdiff_t>(done * sizeof(T)) * (downward(in) ? -1 : 1);
    move_run<T>(in, source + step, target + step, run - done);
    done = run;
  }
  advance(in, insn, kRsi, done * sizeof(T));
  advance(in, insn, kRdi, done * sizeof(T));
  return repeated(insn) ? count_down(in, insn, done) : Flow::kNext;
}

// STOS, LODS -----------------------------------------------------------------------------------------------------------

template <typename T>
uint64_t fill_run(Interpreter& in, const Insn& insn, T value, uint64_t count) {
  uint64_t to = 0;
  count = together<T>(in, insn, kEs, in.gpr_sized(kRdi, insn.addr_size), true, count, to);
  std::byte* target = count ? in.ready_to_write(to) : nullptr;
  if (!target) return 0;
  if (downward(in)) target -= (count - 1) * sizeof(T);
  if (sizeof(T) == 1 || value == 0) {
    std::memset(target, static_cast<int>(value), count * sizeof(T));
  } else {
    for (uint64_t i = 0; i < count; ++i) std::memcpy(target + i * sizeof(T), &value, sizeof(T));
  }
  return count;
}

template <typename T>
Flow stos(Interpreter& in, const Insn& insn) {
  const T value = in.gpr<T>(kRax * 8);
  uint64_t count = 1;
  if (repeated(insn)) {
    count = count_of(in, insn);
    if (count == 0) return none(in, insn, kRdi);
    if (may_go_fast(in, insn)) {
      if (const uint64_t done = fill_run<T>(in, insn, value, count)) {
        advance(in, insn, kRdi, done * sizeof(T));
        return count_down(in, insn, done);
      }
    }
  }
  if (!in.store<T>(kEs, in.gpr_sized(kRdi, insn.addr_size), value)) return Flow::kFault;
  advance(in, insn, kRdi, sizeof(T));
  return repeated(insn) ? count_down(in, insn, 1) : Flow::kNext;
}

template <typename T>
Flow lods(Interpreter& in, const Insn& insn) {
  if (repeated(insn) && count_of(in, insn) == 0) return none(in, insn);
  T value;
  if (!in.load<T>(insn.segment, in.gpr_sized(kRsi, insn.addr_size), value)) return Flow::kFault;
  in.set_gpr<T>(kRax * 8, value);
  advance(in, insn, kRsi, sizeof(T));
  return repeated(insn) ? count_down(in, insn, 1) : Flow::kNext;
}

// CMPS, SCAS -----------------------------------------------------------------------------------------------------------

template <typename T>
void compare(Interpreter& in, T a, T b) {
  uint32_t out;
  asm("cmp %[b], %[a]\n\tlahf\n\tseto %%al" : "=&a"(out) : [a] "q"(a), [b] "q"(b) : "cc");
  merge_flags(in.state.rflags, out, flags::kStatus);
}

// Whether REPE (REPNE) ends because of what was compared.
bool comparison_ends(const Interpreter& in, const Insn& insn) {
  const bool equal = in.state.rflags & flags::kZf;
  return insn.prefixes & prefix::kRepne ? equal : !equal;
}

template <typename T>
bool compare_once(Interpreter& in, const Insn& insn, bool scan) {
  T a = in.gpr<T>(kRax * 8), b;
  // Processors read the second operand first, which shows where both fault.
  if (!in.load<T>(kEs, in.gpr_sized(kRdi, insn.addr_size), b)) return false;
  if (!scan && !in.load<T>(insn.segment, in.gpr_sized(kRsi, insn.addr_size), a)) return false;
  compare<T>(in, a, b);
  if (!scan) advance(in, insn, kRsi, sizeof(T));
  advance(in, insn, kRdi, sizeof(T));
  return true;
}

template <typename T, bool kScan>
Flow compare_string(Interpreter& in, const Insn& insn) {
  if (!repeated(insn)) return compare_once<T>(in, insn, kScan) ? Flow::kNext : Flow::kFault;
  if (count_of(in, insn) == 0) return none(in, insn);
  const uint64_t rflags = in.state.rflags;  // what a fault or an interrupt shows (SDM vol. 2, REP)
  for (;;) {
    if (!compare_once<T>(in, insn, kScan)) {
      in.state.rflags = rflags;
      return Flow::kFault;
    }
    if (count_down(in, insn, 1) == Flow::kNext || comparison_ends(in, insn)) return Flow::kNext;
    if (!in.one_iteration() && !in.event_waiting()) continue;
    in.state.rflags = rflags;
    return Flow::kRepeat;
  }
}

// INS, OUTS ------------------------------------------------------------------------------------------------------------

template <typename T>
Flow ins(Interpreter& in, const Insn& insn) {
  const uint16_t port = static_cast<uint16_t>(in.state.gpr[kRdx]);
  if (!io_allowed(in, port, sizeof(T))) return Flow::kFault;
  if (repeated(insn) && count_of(in, insn) == 0) return none(in, insn);
  const uint64_t to = in.gpr_sized(kRdi, insn.addr_size);
  if (!in.probe_store(kEs, to, sizeof(T))) return Flow::kFault;  // before the port is read, which may have effects
  const T value = static_cast<T>(in.env.pio_read(port, sizeof(T)));
  if (!in.store<T>(kEs, to, value)) return Flow::kFault;
  watch_io(in, port, sizeof(T));
  advance(in, insn, kRdi, sizeof(T));
  return repeated(insn) ? count_down(in, insn, 1) : Flow::kNext;
}

template <typename T>
Flow outs(Interpreter& in, const Insn& insn) {
  const uint16_t port = static_cast<uint16_t>(in.state.gpr[kRdx]);
  if (!io_allowed(in, port, sizeof(T))) return Flow::kFault;
  if (repeated(insn) && count_of(in, insn) == 0) return none(in, insn);
  T value;
  if (!in.load<T>(insn.segment, in.gpr_sized(kRsi, insn.addr_size), value)) return Flow::kFault;
  in.env.pio_write(port, sizeof(T), value);
  watch_io(in, port, sizeof(T));
  advance(in, insn, kRsi, sizeof(T));
  return repeated(insn) ? count_down(in, insn, 1) : Flow::kNext;
}

// The source may be in any segment; the operand is implicit, so lower() has not seen it.
void fill_source_segment(const Lowering& lowering) {
  lowering.insn.segment = kDs;
  for (unsigned i = 0; i < lowering.decoded.instruction.operand_count; ++i) {
    const ZydisDecodedOperand& operand = lowering.decoded.operands[i];
    if (operand.type != ZYDIS_OPERAND_TYPE_MEMORY) continue;
    if (ZydisRegisterGetId(operand.mem.base) == kRsi)
      lowering.insn.segment = static_cast<uint8_t>(ZydisRegisterGetId(operand.mem.segment));
  }
}

}  // namespace

Handler select_string(Lowering& lowering) {
  const ZydisInstructionCategory category = lowering.decoded.instruction.meta.category;
  if (category != ZYDIS_CATEGORY_STRINGOP && category != ZYDIS_CATEGORY_IOSTRINGOP) return nullptr;
  fill_source_segment(lowering);
  switch (lowering.decoded.instruction.mnemonic) {
    case ZYDIS_MNEMONIC_MOVSB: return movs<uint8_t>;
    case ZYDIS_MNEMONIC_MOVSW: return movs<uint16_t>;
    case ZYDIS_MNEMONIC_MOVSD: return movs<uint32_t>;
    case ZYDIS_MNEMONIC_MOVSQ: return movs<uint64_t>;
    case ZYDIS_MNEMONIC_STOSB: return stos<uint8_t>;
    case ZYDIS_MNEMONIC_STOSW: return stos<uint16_t>;
    case ZYDIS_MNEMONIC_STOSD: return stos<uint32_t>;
    case ZYDIS_MNEMONIC_STOSQ: return stos<uint64_t>;
    case ZYDIS_MNEMONIC_LODSB: return lods<uint8_t>;
    case ZYDIS_MNEMONIC_LODSW: return lods<uint16_t>;
    case ZYDIS_MNEMONIC_LODSD: return lods<uint32_t>;
    case ZYDIS_MNEMONIC_LODSQ: return lods<uint64_t>;
    case ZYDIS_MNEMONIC_CMPSB: return compare_string<uint8_t, false>;
    case ZYDIS_MNEMONIC_CMPSW: return compare_string<uint16_t, false>;
    case ZYDIS_MNEMONIC_CMPSD: return compare_string<uint32_t, false>;
    case ZYDIS_MNEMONIC_CMPSQ: return compare_string<uint64_t, false>;
    case ZYDIS_MNEMONIC_SCASB: return compare_string<uint8_t, true>;
    case ZYDIS_MNEMONIC_SCASW: return compare_string<uint16_t, true>;
    case ZYDIS_MNEMONIC_SCASD: return compare_string<uint32_t, true>;
    case ZYDIS_MNEMONIC_SCASQ: return compare_string<uint64_t, true>;
    case ZYDIS_MNEMONIC_INSB: return ins<uint8_t>;
    case ZYDIS_MNEMONIC_INSW: return ins<uint16_t>;
    case ZYDIS_MNEMONIC_INSD: return ins<uint32_t>;
    case ZYDIS_MNEMONIC_OUTSB: return outs<uint8_t>;
    case ZYDIS_MNEMONIC_OUTSW: return outs<uint16_t>;
    case ZYDIS_MNEMONIC_OUTSD: return outs<uint32_t>;
    default: return nullptr;
  }
}

}  // namespace skerry::x86
