// FXSAVE, XSAVE and their kin, MXCSR, XCR0. Intel SDM vol. 1, chapter 13; vol. 2 for each instruction.
#include <cstring>

#include "x86/interp/fx_image.hpp"
#include "x86/interp/operands.hpp"
#include "x86/interp/vector.hpp"

namespace skerry::x86 {

namespace {

constexpr uint64_t kX87 = 1, kSse = 2, kAvx = 4;
constexpr unsigned kLegacySize = 512, kHeaderSize = 64, kAvxOffset = 576, kAvxSize = 256, kAreaSize = kAvxOffset + kAvxSize;
constexpr unsigned kMxcsrOffset = 24, kXmmOffset = 160;

unsigned vector_count(const Interpreter& in) { return in.code64() ? 16 : 8; }

// The segment is checked before the alignment.
bool area_begins(Interpreter& in, const Insn& insn, uint64_t offset, unsigned alignment, bool write) {
  uint64_t linear;
  return in.linear_address(insn.segment, offset, kLegacySize, write, linear) && aligned(in, insn, offset, alignment);
}

// Bytes 0..31 and the x87 registers. With REX.W pointers are of 64 bits, else offset and selector, which is zero, as
// CPUID says (ZERO_FCS_FDS).
void put_x87(const CpuState& s, bool wide, uint8_t* area) {
  const X87& x87 = s.x87;
  std::memcpy(area, &x87.fcw, 2);
  std::memcpy(area + 2, &x87.fsw, 2);
  area[4] = x87.ftw;
  area[5] = 0;
  std::memcpy(area + 6, &x87.fop, 2);
  if (wide) {
    std::memcpy(area + 8, &x87.fip, 8);
    std::memcpy(area + 16, &x87.fdp, 8);
  } else {
    const uint32_t ip = static_cast<uint32_t>(x87.fip), dp = static_cast<uint32_t>(x87.fdp);
    std::memset(area + 8, 0, 16);
    std::memcpy(area + 8, &ip, 4);
    std::memcpy(area + 16, &dp, 4);
  }
  for (unsigned n = 0; n < 8; ++n) {
    std::memset(area + 32 + 16 * n, 0, 16);
    std::memcpy(area + 32 + 16 * n, &x87.st[n].significand, 8);
    std::memcpy(area + 32 + 16 * n + 8, &x87.st[n].sign_exponent, 2);
  }
}

// Processors keep 48 bits of the instruction pointer, and all of the data pointer.
uint64_t made_canonical(uint64_t pointer) { return static_cast<uint64_t>(static_cast<int64_t>(pointer << 16) >> 16); }

void take_x87(CpuState& s, bool wide, const uint8_t* area) {
  X87& x87 = s.x87;
  fx_to_x87(area, x87);
  x87.fcw = static_cast<uint16_t>((x87.fcw & 0x1f7f) | 0x40);
  std::memcpy(&x87.fop, area + 6, 2);
  x87.fop &= 0x7ff;
  x87.fip = x87.fdp = 0;
  std::memcpy(&x87.fip, area + 8, wide ? 8 : 4);
  std::memcpy(&x87.fdp, area + 16, wide ? 8 : 4);
  x87.fip = made_canonical(x87.fip);
  if (!wide) {
    std::memcpy(&x87.fcs, area + 12, 2);
    std::memcpy(&x87.fds, area + 20, 2);
  }
  const bool pending = x87.fsw & ~x87.fcw & 0x3f;
  x87.fsw = static_cast<uint16_t>((x87.fsw & ~(kFswEs | kFswB)) | (pending ? kFswEs | kFswB : 0));
}

void put_mxcsr(const CpuState& s, uint8_t* area) {
  std::memcpy(area + kMxcsrOffset, &s.mxcsr, 4);
  std::memcpy(area + kMxcsrOffset + 4, &kMxcsrMask, 4);
}
uint32_t mxcsr_in(const uint8_t* area) {
  uint32_t value;
  std::memcpy(&value, area + kMxcsrOffset, 4);
  return value;
}

void put_vectors(const Interpreter& in, unsigned part, unsigned count, uint8_t* to) {
  for (unsigned n = 0; n < count; ++n) std::memcpy(to + 16 * n, in.state.vector[n].bytes.data() + 16 * part, 16);
}
void take_vectors(Interpreter& in, unsigned part, const uint8_t* from) {
  for (unsigned n = 0; n < vector_count(in); ++n)
    std::memcpy(in.state.vector[n].bytes.data() + 16 * part, from + 16 * n, 16);
}
void clear_vectors(Interpreter& in, unsigned part) {
  for (unsigned n = 0; n < vector_count(in); ++n) std::memset(in.state.vector[n].bytes.data() + 16 * part, 0, 16);
}

bool fx_enabled(Interpreter& in) {
  if (in.state.cr0 & (cr0::kEm | cr0::kTs)) return (in.raise(kDeviceNotAvailable), false);
  return true;
}

template <bool kWide>
Flow fxsave(Interpreter& in, const Insn& insn) {
  if (!fx_enabled(in)) return Flow::kFault;
  const uint64_t offset = in.ea(insn);
  if (!area_begins(in, insn, offset, 16, true)) return Flow::kFault;
  uint8_t area[kLegacySize];
  // What the instruction does not write stays as it is in memory.
  if (!in.probe_store(insn.segment, offset, kLegacySize) || !in.load_bytes(insn.segment, offset, area, kLegacySize))
    return Flow::kFault;
  put_x87(in.state, kWide, area);
  put_mxcsr(in.state, area);
  put_vectors(in, 0, vector_count(in), area + kXmmOffset);
  return in.store_bytes(insn.segment, offset, area, 416) ? Flow::kNext : Flow::kFault;
}

template <bool kWide>
Flow fxrstor(Interpreter& in, const Insn& insn) {
  if (!fx_enabled(in)) return Flow::kFault;
  const uint64_t offset = in.ea(insn);
  if (!area_begins(in, insn, offset, 16, false)) return Flow::kFault;
  uint8_t area[kLegacySize];
  if (!in.load_bytes(insn.segment, offset, area, kLegacySize)) return Flow::kFault;
  if (mxcsr_in(area) & ~kMxcsrMask) return in.gp();
  take_x87(in.state, kWide, area);
  in.state.mxcsr = mxcsr_in(area);
  take_vectors(in, 0, area + kXmmOffset);
  return Flow::kNext;
}

bool xsave_enabled(Interpreter& in) {
  if (!(in.state.cr4 & cr4::kOsxsave)) return (in.ud(), false);
  if (in.state.cr0 & cr0::kTs) return (in.raise(kDeviceNotAvailable), false);
  return true;
}

uint64_t requested(const Interpreter& in) {
  return (in.gpr_sized(kRdx, 4) << 32 | in.gpr_sized(kRax, 4)) & in.state.xcr0;
}

bool all_zero(const Interpreter& in, unsigned part, unsigned count) {
  for (unsigned n = 0; n < count; ++n)
    for (unsigned i = 0; i < 16; ++i)
      if (in.state.vector[n].bytes[16 * part + i] != 0) return false;
  return true;
}

// XINUSE: components that are not in their initial configuration. It may be set for one that is.
uint64_t in_use(const Interpreter& in) {
  return kX87 | (all_zero(in, 0, vector_count(in)) ? 0 : kSse) | (all_zero(in, 1, vector_count(in)) ? 0 : kAvx);
}

// XSAVEOPT may leave out components in their initial configuration (and ones not modified, which is not tracked here).
template <bool kWide, bool kOptimized>
Flow xsave(Interpreter& in, const Insn& insn) {
  if (!xsave_enabled(in)) return Flow::kFault;
  const uint64_t offset = in.ea(insn);
  if (!area_begins(in, insn, offset, 64, true)) return Flow::kFault;
  const uint64_t rfbm = requested(in), used = in_use(in);
  const uint64_t saved = kOptimized ? rfbm & used : rfbm;
  uint8_t area[kAreaSize];
  const unsigned size = rfbm & kAvx ? kAreaSize : kAvxOffset;
  if (!in.probe_store(insn.segment, offset, size) || !in.load_bytes(insn.segment, offset, area, size)) return Flow::kFault;
  if (saved & kX87) put_x87(in.state, kWide, area);
  if (rfbm & (kSse | kAvx)) put_mxcsr(in.state, area);
  if (saved & kSse) put_vectors(in, 0, vector_count(in), area + kXmmOffset);
  if (saved & kAvx) put_vectors(in, 1, vector_count(in), area + kAvxOffset);
  uint64_t xstate_bv;
  std::memcpy(&xstate_bv, area + kLegacySize, 8);
  xstate_bv = (xstate_bv & ~rfbm) | (rfbm & used);
  std::memcpy(area + kLegacySize, &xstate_bv, 8);
  return in.store_bytes(insn.segment, offset, area, size) ? Flow::kNext : Flow::kFault;
}

template <bool kWide>
Flow xrstor(Interpreter& in, const Insn& insn) {
  if (!xsave_enabled(in)) return Flow::kFault;
  const uint64_t offset = in.ea(insn);
  if (!area_begins(in, insn, offset, 64, false)) return Flow::kFault;
  const uint64_t rfbm = requested(in);
  uint8_t area[kAreaSize];
  if (!in.load_bytes(insn.segment, offset, area, kAvxOffset)) return Flow::kFault;
  uint64_t header[8];
  std::memcpy(header, area + kLegacySize, kHeaderSize);
  // Standard form: XCOMP_BV and the rest of the header's first 24 bytes are zero.
  if ((header[0] & ~in.state.xcr0) || header[1] != 0 || header[2] != 0) return in.gp();
  const uint64_t loaded = rfbm & header[0];
  if ((loaded & kAvx) && !in.load_bytes(insn.segment, offset + kAvxOffset, area + kAvxOffset, kAvxSize)) return Flow::kFault;
  const bool with_mxcsr = rfbm & (kSse | kAvx);
  if (with_mxcsr && (mxcsr_in(area) & ~kMxcsrMask)) return in.gp();

  CpuState& s = in.state;
  if (loaded & kX87) take_x87(s, kWide, area);
  else if (rfbm & kX87) s.x87 = X87();
  if (with_mxcsr) s.mxcsr = mxcsr_in(area);
  if (loaded & kSse) take_vectors(in, 0, area + kXmmOffset);
  else if (rfbm & kSse) clear_vectors(in, 0);
  if (loaded & kAvx) take_vectors(in, 1, area + kAvxOffset);
  else if (rfbm & kAvx) clear_vectors(in, 1);
  return Flow::kNext;
}

Flow xgetbv(Interpreter& in, const Insn&) {
  if (!(in.state.cr4 & cr4::kOsxsave)) return in.ud();
  if (in.gpr_sized(kRcx, 4) != 0) return in.gp();  // ECX = 1 comes with XSAVEC, which is not offered
  in.state.gpr[kRax] = static_cast<uint32_t>(in.state.xcr0);
  in.state.gpr[kRdx] = in.state.xcr0 >> 32;
  return Flow::kNext;
}

Flow xsetbv(Interpreter& in, const Insn&) {
  if (!(in.state.cr4 & cr4::kOsxsave)) return in.ud();
  if (in.cpl() != 0) return in.gp();
  const uint64_t value = in.gpr_sized(kRdx, 4) << 32 | in.gpr_sized(kRax, 4);
  const bool legal = in.gpr_sized(kRcx, 4) == 0 && !(value & ~in.model.xcr0_allowed()) && (value & kX87) &&
                     (!(value & kAvx) || (value & kSse));
  if (!legal) return in.gp();
  in.state.xcr0 = value;
  return Flow::kStop;
}

template <bool kVex>
Flow ldmxcsr(Interpreter& in, const Insn& insn) {
  if (!vector_enabled<kVex>(in)) return Flow::kFault;
  uint32_t value;
  if (!in.load<uint32_t>(insn.segment, in.ea(insn), value)) return Flow::kFault;
  if (value & ~kMxcsrMask) return in.gp();
  in.state.mxcsr = value;
  return Flow::kNext;
}
template <bool kVex>
Flow stmxcsr(Interpreter& in, const Insn& insn) {
  if (!vector_enabled<kVex>(in)) return Flow::kFault;
  return in.store<uint32_t>(insn.segment, in.ea(insn), in.state.mxcsr) ? Flow::kNext : Flow::kFault;
}

}  // namespace

Handler select_xstate(Lowering& lowering) {
  switch (lowering.decoded.instruction.mnemonic) {
    case ZYDIS_MNEMONIC_FXSAVE: return fxsave<false>;
    case ZYDIS_MNEMONIC_FXSAVE64: return fxsave<true>;
    case ZYDIS_MNEMONIC_FXRSTOR: return fxrstor<false>;
    case ZYDIS_MNEMONIC_FXRSTOR64: return fxrstor<true>;
    case ZYDIS_MNEMONIC_XSAVE: return xsave<false, false>;
    case ZYDIS_MNEMONIC_XSAVE64: return xsave<true, false>;
    case ZYDIS_MNEMONIC_XSAVEOPT: return xsave<false, true>;
    case ZYDIS_MNEMONIC_XSAVEOPT64: return xsave<true, true>;
    case ZYDIS_MNEMONIC_XRSTOR: return xrstor<false>;
    case ZYDIS_MNEMONIC_XRSTOR64: return xrstor<true>;
    case ZYDIS_MNEMONIC_XGETBV: return xgetbv;
    case ZYDIS_MNEMONIC_XSETBV: return xsetbv;
    case ZYDIS_MNEMONIC_LDMXCSR: return ldmxcsr<false>;
    case ZYDIS_MNEMONIC_VLDMXCSR: return ldmxcsr<true>;
    case ZYDIS_MNEMONIC_STMXCSR: return stmxcsr<false>;
    case ZYDIS_MNEMONIC_VSTMXCSR: return stmxcsr<true>;
    default: return nullptr;
  }
}

}  // namespace skerry::x86
