#include "accel/bt/block.hpp"

namespace skerry::accel::bt {

using namespace x86;

namespace {

bool is_flat(const Segment& s) {
  return s.limit == 0xffffffff && (s.type & 0xe) == 2 && s.code_or_data && s.present && !s.unusable;
}

}  // namespace

std::optional<Mode> Mode::of(const Interpreter& interpreter) {
  const CpuState& s = interpreter.state;
  const unsigned cpl = interpreter.cpl();
  Mode mode;
  if (s.in_smm) return std::nullopt;  // it sees other memory
  if (cpl == 1 || cpl == 2 || interpreter.code_size() == CodeSize::k16) return std::nullopt;
  if (cpl == 3 && (s.cr0 & cr0::kAm) && (s.rflags & flags::kAc)) return std::nullopt;  // alignment checks
  if (interpreter.code64()) {
    mode.bits_ |= kCode64;
  } else {
    const Segment& cs = s.seg[kCs];
    if (s.v86_mode() || !(s.cr0 & cr0::kPe) || cs.base != 0 || cs.limit != 0xffffffff || !s.seg[kSs].big) return std::nullopt;
    if (!is_flat(s.seg[kSs]) || s.seg[kSs].base != 0) return std::nullopt;
    for (const unsigned n : {kEs, kSs, kDs, kFs, kGs}) {
      if (is_flat(s.seg[n])) mode.bits_ |= kFlat << n;
      if (s.seg[n].base == 0) mode.bits_ |= kFromZero << n;
    }
  }
  if (cpl == 3) mode.bits_ |= kUser;
  mode.bits_ |= interpreter.tlb_index() << kTlbShift;
  constexpr uint32_t kAllMasked = 0x1f80;
  const bool simd = !(s.cr0 & (cr0::kTs | cr0::kEm)) && (s.mxcsr & kAllMasked) == kAllMasked;
  if (simd && (s.cr4 & cr4::kOsfxsr)) mode.bits_ |= kSse;
  if (simd && (s.cr4 & cr4::kOsxsave) && (s.xcr0 & 6) == 6) mode.bits_ |= kAvx;
  return mode;
}

}  // namespace skerry::accel::bt
