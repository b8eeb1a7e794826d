// MMX, SSE, AVX, AES, PCLMULQDQ: frequent moves by themselves, the rest through host thunks.
#include "x86/interp/vector.hpp"

#include <algorithm>
#include <cstring>

#include "x86/interp/host_thunks.hpp"
#include "x86/interp/operands.hpp"
#include "x86/interp/sha.hpp"

namespace skerry::x86 {

namespace {

uint8_t* vector_bytes(Interpreter& in, unsigned number) { return in.state.vector[number].bytes.data(); }

// Bits of a VEX destination above what was written are cleared, up to the widest register there is.
void clear_above(Interpreter& in, unsigned number, unsigned bytes) {
  std::memset(vector_bytes(in, number) + bytes, 0, sizeof(VectorRegister::bytes) - bytes);
}

// Plain moves of kSize bytes between a register and memory, or registers. ----------------------------------------------

template <unsigned kSize, bool kVex, bool kAligned>
struct VectorMove {
  static Flow load(Interpreter& in, const Insn& insn) {
    if (!vector_enabled<kVex>(in)) return Flow::kFault;
    const uint64_t offset = in.ea(insn);
    if (kAligned && !aligned(in, insn, offset, kSize)) return Flow::kFault;
    uint8_t value[kSize];
    if (!in.load_bytes(insn.segment, offset, value, kSize)) return Flow::kFault;
    std::memcpy(vector_bytes(in, insn.reg[0]), value, kSize);
    if (kVex) clear_above(in, insn.reg[0], kSize);
    return Flow::kNext;
  }
  static Flow store(Interpreter& in, const Insn& insn) {
    if (!vector_enabled<kVex>(in)) return Flow::kFault;
    const uint64_t offset = in.ea(insn);
    if (kAligned && !aligned(in, insn, offset, kSize)) return Flow::kFault;
    return in.store_bytes(insn.segment, offset, vector_bytes(in, insn.reg[0]), kSize) ? Flow::kNext : Flow::kFault;
  }
  static Flow copy(Interpreter& in, const Insn& insn) {
    if (!vector_enabled<kVex>(in)) return Flow::kFault;
    std::memmove(vector_bytes(in, insn.reg[0]), vector_bytes(in, insn.reg[1]), kSize);
    if (kVex) clear_above(in, insn.reg[0], kSize);
    return Flow::kNext;
  }
};

template <unsigned kSize, bool kVex, bool kAligned>
Handler select_move_form(const Lowering& lowering) {
  using Form = VectorMove<kSize, kVex, kAligned>;
  return is_memory(lowering, 0) ? Form::store : is_memory(lowering, 1) ? Form::load : Form::copy;
}

Handler select_move(const Lowering& lowering, bool must_align) {
  const bool vex = lowering.decoded.instruction.encoding == ZYDIS_INSTRUCTION_ENCODING_VEX;
  const unsigned size = operand_size(lowering, is_memory(lowering, 0) ? 1 : 0);
  if (size == 32) return must_align ? select_move_form<32, true, true>(lowering) : select_move_form<32, true, false>(lowering);
  if (size != 16) return nullptr;
  if (vex) return must_align ? select_move_form<16, true, true>(lowering) : select_move_form<16, true, false>(lowering);
  return must_align ? select_move_form<16, false, true>(lowering) : select_move_form<16, false, false>(lowering);
}

// Through thunks ---------------------------------------------------------------------------------------------------------

// Insn::aux of a thunked instruction.
constexpr uint16_t kAuxSizeMask = 0x7f, kAuxReads = 0x80, kAuxWrites = 0x100, kAuxAlign16 = 0x200, kAuxAlign32 = 0x400;

Flow simd_error(Interpreter& in) {
  return in.state.cr4 & cr4::kOsxmmexcpt ? in.raise(kSimdError) : in.ud();
}

// Runs the thunk between the guest's loads and stores of its memory operand. An instruction that stores changes nothing
// else but MXCSR, and that also when the store faults.
Flow run_thunk(Interpreter& in, const Insn& insn) {
  ThunkBuffer buffer;
  const auto thunk = reinterpret_cast<Thunk>(const_cast<void*>(insn.data));
  const unsigned size = insn.aux & kAuxSizeMask;
  uint64_t offset = 0;
  if (size != 0) {
    offset = in.ea(insn);
    if ((insn.aux & kAuxAlign16) && !aligned(in, insn, offset, 16)) return Flow::kFault;
    if ((insn.aux & kAuxAlign32) && !aligned(in, insn, offset, 32)) return Flow::kFault;
    if ((insn.aux & kAuxReads) && !load_operand(in, insn, offset, buffer.memory, size)) return Flow::kFault;
  }
  if (thunk(&in.state, &buffer) != 0) return simd_error(in);
  if ((insn.aux & kAuxWrites) && !store_operand(in, insn, offset, buffer.memory, size)) return Flow::kFault;
  return Flow::kNext;
}

template <bool kVex>
Flow thunked(Interpreter& in, const Insn& insn) {
  return vector_enabled<kVex>(in) ? run_thunk(in, insn) : Flow::kFault;
}

// MMX registers are the x87 registers in physical order: TOP becomes 0, every tag valid (SDM vol. 3, 12.2). Instructions
// that write one give it an exponent of all ones; insn.imm has a bit for each written register.
void enter_mmx(CpuState& s) {
  X87& x87 = s.x87;
  const unsigned top = (x87.fsw & kFswTop) >> 11;
  std::rotate(x87.st.begin(), x87.st.begin() + ((8 - top) & 7), x87.st.end());
  x87.fsw &= static_cast<uint16_t>(~kFswTop);
  x87.ftw = 0xff;
}

template <bool kSse>
Flow thunked_mmx(Interpreter& in, const Insn& insn) {
  CpuState& s = in.state;
  if ((s.cr0 & cr0::kEm) || (kSse && !(s.cr4 & cr4::kOsfxsr))) return in.ud();
  if (s.cr0 & cr0::kTs) return in.raise(kDeviceNotAvailable);
  if (x87_error_pending(in)) return Flow::kFault;
  const X87 before = s.x87;
  enter_mmx(s);
  const Flow flow = run_thunk(in, insn);
  if (flow == Flow::kFault) {
    // A SIMD exception comes when the state is MMX already; a store that faults has set TOP, but not the tags; a load
    // that faults has done nothing.
    const bool computed = in.raised().vector == kSimdError || in.raised().vector == kInvalidOpcode;
    if (!computed && (insn.aux & kAuxWrites)) s.x87.ftw = before.ftw;
    else if (!computed) s.x87 = before;
    return flow;
  }
  for (unsigned n = 0; n < 8; ++n)
    if (insn.reg[2] >> n & 1) s.x87.st[n].sign_exponent = 0xffff;
  return flow;
}

Flow emms(Interpreter& in, const Insn&) {
  CpuState& s = in.state;
  if (s.cr0 & cr0::kEm) return in.ud();
  if (s.cr0 & cr0::kTs) return in.raise(kDeviceNotAvailable);
  if (x87_error_pending(in)) return Flow::kFault;
  enter_mmx(s);
  s.x87.ftw = 0;
  return Flow::kNext;
}

template <bool kAll>
Flow vzero(Interpreter& in, const Insn&) {  // VZEROALL, VZEROUPPER
  if (!vector_enabled<true>(in)) return Flow::kFault;
  const unsigned count = in.code64() ? 16 : 8;
  for (unsigned n = 0; n < count; ++n) clear_above(in, n, kAll ? 0 : 16);
  return Flow::kNext;
}

// Masked moves: elements whose mask bit is clear are not accessed ------------------------------------------------------------

// MASKMOVQ, MASKMOVDQU: bytes of the first operand to DS:RDI where the second has its high bit set.
template <bool kMmx, bool kVex>
Flow mask_move_bytes(Interpreter& in, const Insn& insn) {
  CpuState& s = in.state;
  const uint8_t* value;
  const uint8_t* mask;
  if constexpr (kMmx) {
    if (s.cr0 & cr0::kEm) return in.ud();
    if (s.cr0 & cr0::kTs) return in.raise(kDeviceNotAvailable);
    if (x87_error_pending(in)) return Flow::kFault;
    enter_mmx(s);  // a fault comes after
    value = reinterpret_cast<const uint8_t*>(&s.x87.st[insn.reg[0]].significand);
    mask = reinterpret_cast<const uint8_t*>(&s.x87.st[insn.reg[1]].significand);
  } else {
    if (!vector_enabled<kVex>(in)) return Flow::kFault;
    value = vector_bytes(in, insn.reg[0]);
    mask = vector_bytes(in, insn.reg[1]);
  }
  const uint64_t start = in.gpr_sized(kRdi, insn.addr_size);
  constexpr unsigned kBytes = kMmx ? 8 : 16;
  for (const bool store : {false, true}) {  // all checks first
    for (unsigned n = 0; n < kBytes; ++n) {
      if (!(mask[n] & 0x80)) continue;
      const bool good = store ? in.store<uint8_t>(insn.segment, start + n, value[n]) : in.probe_store(insn.segment, start + n, 1);
      if (!good) return Flow::kFault;
    }
  }
  return Flow::kNext;
}

template <bool kMmx, bool kVex>
Handler select_mask_move_bytes(const Lowering& lowering) {
  fill_implicit_segment(lowering);
  return mask_move_bytes<kMmx, kVex>;
}

// VMASKMOVPS/PD, VPMASKMOVD/Q. insn.aux: size of the whole operand.
template <typename T>
Flow mask_load(Interpreter& in, const Insn& insn) {
  if (!vector_enabled<true>(in)) return Flow::kFault;
  const unsigned count = insn.aux / sizeof(T);
  const uint64_t start = in.ea(insn);
  T result[4 * 8 / sizeof(T)] = {};
  for (unsigned n = 0; n < count; ++n) {
    T mask;
    std::memcpy(&mask, vector_bytes(in, insn.reg[1]) + n * sizeof(T), sizeof(T));
    if ((mask >> (sizeof(T) * 8 - 1)) && !in.load_bytes(insn.segment, start + n * sizeof(T), &result[n], sizeof(T))) return Flow::kFault;
  }
  std::memcpy(vector_bytes(in, insn.reg[0]), result, insn.aux);
  clear_above(in, insn.reg[0], insn.aux);
  return Flow::kNext;
}
template <typename T>
Flow mask_store(Interpreter& in, const Insn& insn) {
  if (!vector_enabled<true>(in)) return Flow::kFault;
  const unsigned count = insn.aux / sizeof(T);
  const uint64_t start = in.ea(insn);
  for (const bool store : {false, true}) {
    for (unsigned n = 0; n < count; ++n) {
      T mask, value;
      std::memcpy(&mask, vector_bytes(in, insn.reg[0]) + n * sizeof(T), sizeof(T));
      std::memcpy(&value, vector_bytes(in, insn.reg[1]) + n * sizeof(T), sizeof(T));
      if (!(mask >> (sizeof(T) * 8 - 1))) continue;
      const uint64_t at = start + n * sizeof(T);
      if (!(store ? in.store_bytes(insn.segment, at, &value, sizeof(T)) : in.probe_store(insn.segment, at, sizeof(T)))) return Flow::kFault;
    }
  }
  return Flow::kNext;
}

template <typename T>
Handler select_mask_move(const Lowering& lowering) {
  lowering.insn.aux = static_cast<uint16_t>(operand_size(lowering, 1));
  return is_memory(lowering, 0) ? mask_store<T> : mask_load<T>;
}

// Each element of the mask becomes all its highest bit, and what is above `bytes` zero, before anything is loaded.
template <typename T>
void extend_mask(Interpreter& in, unsigned number, unsigned bytes) {
  for (unsigned n = 0; n < bytes / sizeof(T); ++n) {
    T mask;
    uint8_t* at = vector_bytes(in, number) + n * sizeof(T);
    std::memcpy(&mask, at, sizeof(T));
    mask = static_cast<T>(-(mask >> (sizeof(T) * 8 - 1)));
    std::memcpy(at, &mask, sizeof(T));
  }
  clear_above(in, number, bytes);
}

// VGATHER*, VPGATHER*: reg[0] destination, Insn::index the vector of indices, reg[1] the mask. Each element that was
// loaded clears its mask element, so that a fault restarts where it was. insn.aux: index register and number of elements;
// insn.reg[2]: vector length in bytes.
template <typename T, typename Index>
Flow gather(Interpreter& in, const Insn& insn) {
  if (!vector_enabled<true>(in)) return Flow::kFault;
  const unsigned index_register = insn.aux >> 8, count = insn.aux & 0xff;
  if (insn.reg[0] == insn.reg[1] || insn.reg[0] == index_register || insn.reg[1] == index_register) return in.ud();
  const uint64_t* slots = in.state.gpr;  // and beyond it RIP and zero
  const uint64_t base = slots[insn.base];
  extend_mask<T>(in, insn.reg[1], insn.reg[2]);
  for (unsigned n = 0; n < count; ++n) {
    T mask;
    uint8_t* mask_at = vector_bytes(in, insn.reg[1]) + n * sizeof(T);
    std::memcpy(&mask, mask_at, sizeof(T));
    if (mask >> (sizeof(T) * 8 - 1)) {
      Index index;
      std::memcpy(&index, vector_bytes(in, index_register) + n * sizeof(Index), sizeof(Index));
      uint64_t offset = base + (static_cast<uint64_t>(static_cast<int64_t>(index)) << insn.scale) + static_cast<int64_t>(insn.disp);
      if (insn.addr_size == 4) offset &= 0xffffffff;
      T value;  // without #AC (SDM vol. 2, table 2-27)
      if (!in.load_bytes(insn.segment, offset, &value, sizeof(T))) return Flow::kFault;
      std::memcpy(vector_bytes(in, insn.reg[0]) + n * sizeof(T), &value, sizeof(T));
      clear_above(in, insn.reg[0], insn.reg[2]);
    }
    std::memset(mask_at, 0, sizeof(T));
  }
  clear_above(in, insn.reg[1], 0);
  clear_above(in, insn.reg[0], count * sizeof(T));
  return Flow::kNext;
}

template <typename T, typename Index>
Handler select_gather(const Lowering& lowering) {
  Insn& insn = lowering.insn;
  const ZydisDecodedOperand& memory = lowering.decoded.operands[1];
  const bool wide_index = ZydisRegisterGetClass(memory.mem.index) == ZYDIS_REGCLASS_YMM;
  const unsigned destination = operand_size(lowering, 0);
  const unsigned indices = (wide_index ? 32 : 16) / sizeof(Index);
  const unsigned count = std::min<unsigned>(indices, destination / sizeof(T));
  insn.aux = static_cast<uint16_t>(static_cast<unsigned>(ZydisRegisterGetId(memory.mem.index)) << 8 | count);
  insn.index = kSlotZero;
  insn.reg[2] = static_cast<uint8_t>(lowering.decoded.instruction.avx.vector_length / 8);
  return gather<T, Index>;
}

// SHA -----------------------------------------------------------------------------------------------------------------------

template <ShaOperation kOperation>
Flow sha(Interpreter& in, const Insn& insn) {
  if (!vector_enabled<false>(in)) return Flow::kFault;
  ShaBlock source;
  if (insn.aux) {
    const uint64_t offset = in.ea(insn);
    if (!aligned(in, insn, offset, 16) || !in.load_bytes(insn.segment, offset, source.data(), 16)) return Flow::kFault;
  } else {
    std::memcpy(source.data(), vector_bytes(in, insn.reg[1]), 16);
  }
  ShaBlock destination, xmm0;
  std::memcpy(destination.data(), vector_bytes(in, insn.reg[0]), 16);
  std::memcpy(xmm0.data(), vector_bytes(in, 0), 16);
  destination = sha_step(kOperation, destination, source, xmm0, static_cast<uint8_t>(insn.imm));
  std::memcpy(vector_bytes(in, insn.reg[0]), destination.data(), 16);
  return Flow::kNext;
}

// Choosing ------------------------------------------------------------------------------------------------------------------

// Legacy SSE demands alignment of 16-byte operands, with few exceptions; VEX only for the aligned and non-temporal moves.
uint16_t alignment_of(const Decoded& decoded, unsigned size) {
  const bool vex = decoded.instruction.encoding == ZYDIS_INSTRUCTION_ENCODING_VEX;
  switch (decoded.instruction.mnemonic) {
    case ZYDIS_MNEMONIC_VMOVNTDQA: case ZYDIS_MNEMONIC_VMOVNTDQ: case ZYDIS_MNEMONIC_VMOVNTPS: case ZYDIS_MNEMONIC_VMOVNTPD:
      return size == 32 ? kAuxAlign32 : kAuxAlign16;
    case ZYDIS_MNEMONIC_LDDQU: case ZYDIS_MNEMONIC_PCMPESTRI: case ZYDIS_MNEMONIC_PCMPESTRM: case ZYDIS_MNEMONIC_PCMPISTRI:
    case ZYDIS_MNEMONIC_PCMPISTRM: return 0;
    default: return !vex && size == 16 ? kAuxAlign16 : 0;
  }
}

Handler select_thunk(Lowering& lowering) {
  const Decoded& decoded = lowering.decoded;
  Insn& insn = lowering.insn;
  const Thunk thunk = lowering.interpreter.thunks().vector(decoded, insn.bytes);
  if (!thunk) return nullptr;
  insn.data = reinterpret_cast<const void*>(thunk);
  insn.aux = 0;
  uint8_t mmx_written = 0;
  bool mmx = false, xmm = false;
  for (unsigned n = 0; n < decoded.instruction.operand_count; ++n) {
    const ZydisDecodedOperand& operand = decoded.operands[n];
    if (operand.type == ZYDIS_OPERAND_TYPE_MEMORY && n < decoded.instruction.operand_count_visible) {
      const unsigned size = operand.size / 8;
      insn.aux = static_cast<uint16_t>(size);
      if (operand.actions & ZYDIS_OPERAND_ACTION_MASK_READ) insn.aux |= kAuxReads;
      if (operand.actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) insn.aux |= kAuxWrites;
      insn.aux |= alignment_of(decoded, size);
    } else if (operand.type == ZYDIS_OPERAND_TYPE_REGISTER) {
      const auto kind = ZydisRegisterGetClass(operand.reg.value);
      xmm |= kind == ZYDIS_REGCLASS_XMM;
      if (kind != ZYDIS_REGCLASS_MMX) continue;
      mmx = true;
      if (operand.actions & ZYDIS_OPERAND_ACTION_MASK_WRITE)
        mmx_written |= static_cast<uint8_t>(1 << ZydisRegisterGetId(operand.reg.value));
    }
  }
  if (mmx) {
    insn.reg[2] = mmx_written;
    return xmm ? thunked_mmx<true> : thunked_mmx<false>;
  }
  return decoded.instruction.encoding == ZYDIS_INSTRUCTION_ENCODING_VEX ? thunked<true> : thunked<false>;
}

bool is_vector(const Decoded& decoded) {
  // With a memory source these have no vector register.
  if (decoded.instruction.meta.category == ZYDIS_CATEGORY_CONVERT) return true;
  for (unsigned n = 0; n < decoded.instruction.operand_count; ++n) {
    if (decoded.operands[n].type != ZYDIS_OPERAND_TYPE_REGISTER) continue;
    switch (ZydisRegisterGetClass(decoded.operands[n].reg.value)) {
      case ZYDIS_REGCLASS_XMM:
      case ZYDIS_REGCLASS_YMM:
      case ZYDIS_REGCLASS_MMX: return true;
      default: break;
    }
  }
  return false;
}

Handler select_sha(Lowering& lowering) {
  lowering.insn.aux = is_memory(lowering, 1);
  switch (lowering.decoded.instruction.mnemonic) {
    case ZYDIS_MNEMONIC_SHA1MSG1: return sha<ShaOperation::kSha1Msg1>;
    case ZYDIS_MNEMONIC_SHA1MSG2: return sha<ShaOperation::kSha1Msg2>;
    case ZYDIS_MNEMONIC_SHA1NEXTE: return sha<ShaOperation::kSha1Nexte>;
    case ZYDIS_MNEMONIC_SHA1RNDS4: return sha<ShaOperation::kSha1Rnds4>;
    case ZYDIS_MNEMONIC_SHA256MSG1: return sha<ShaOperation::kSha256Msg1>;
    case ZYDIS_MNEMONIC_SHA256MSG2: return sha<ShaOperation::kSha256Msg2>;
    case ZYDIS_MNEMONIC_SHA256RNDS2: return sha<ShaOperation::kSha256Rnds2>;
    default: return nullptr;
  }
}

}  // namespace

Handler select_vector(Lowering& lowering) {
  if (lowering.decoded.instruction.meta.isa_set == ZYDIS_ISA_SET_SHA) return select_sha(lowering);
  switch (lowering.decoded.instruction.mnemonic) {
    case ZYDIS_MNEMONIC_MOVUPS: case ZYDIS_MNEMONIC_MOVUPD: case ZYDIS_MNEMONIC_MOVDQU: case ZYDIS_MNEMONIC_VMOVUPS:
    case ZYDIS_MNEMONIC_VMOVUPD: case ZYDIS_MNEMONIC_VMOVDQU: return select_move(lowering, false);
    case ZYDIS_MNEMONIC_MOVAPS: case ZYDIS_MNEMONIC_MOVAPD: case ZYDIS_MNEMONIC_MOVDQA: case ZYDIS_MNEMONIC_VMOVAPS:
    case ZYDIS_MNEMONIC_VMOVAPD: case ZYDIS_MNEMONIC_VMOVDQA:
      // Register forms have no alignment.
      return select_move(lowering, is_memory(lowering, 0) || is_memory(lowering, 1));
    case ZYDIS_MNEMONIC_EMMS: return emms;
    case ZYDIS_MNEMONIC_VZEROALL: return vzero<true>;
    case ZYDIS_MNEMONIC_VZEROUPPER: return vzero<false>;
    case ZYDIS_MNEMONIC_MASKMOVQ: return select_mask_move_bytes<true, false>(lowering);
    case ZYDIS_MNEMONIC_MASKMOVDQU: return select_mask_move_bytes<false, false>(lowering);
    case ZYDIS_MNEMONIC_VMASKMOVDQU: return select_mask_move_bytes<false, true>(lowering);
    case ZYDIS_MNEMONIC_VMASKMOVPS: case ZYDIS_MNEMONIC_VPMASKMOVD: return select_mask_move<uint32_t>(lowering);
    case ZYDIS_MNEMONIC_VMASKMOVPD: case ZYDIS_MNEMONIC_VPMASKMOVQ: return select_mask_move<uint64_t>(lowering);
    case ZYDIS_MNEMONIC_VGATHERDPS: case ZYDIS_MNEMONIC_VPGATHERDD: return select_gather<uint32_t, int32_t>(lowering);
    case ZYDIS_MNEMONIC_VGATHERQPS: case ZYDIS_MNEMONIC_VPGATHERQD: return select_gather<uint32_t, int64_t>(lowering);
    case ZYDIS_MNEMONIC_VGATHERDPD: case ZYDIS_MNEMONIC_VPGATHERDQ: return select_gather<uint64_t, int32_t>(lowering);
    case ZYDIS_MNEMONIC_VGATHERQPD: case ZYDIS_MNEMONIC_VPGATHERQQ: return select_gather<uint64_t, int64_t>(lowering);
    default: break;
  }
  return is_vector(lowering.decoded) ? select_thunk(lowering) : nullptr;
}

}  // namespace skerry::x86
