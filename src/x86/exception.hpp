// Exceptions of the processor. Intel SDM vol. 3, table 6-1.
#pragma once

#include <cstdint>

namespace skerry::x86 {

enum Vector : uint8_t {
  kDivideError = 0,          // #DE
  kDebug = 1,                // #DB
  kNmi = 2,
  kBreakpoint = 3,           // #BP
  kOverflow = 4,             // #OF
  kBoundRange = 5,           // #BR
  kInvalidOpcode = 6,        // #UD
  kDeviceNotAvailable = 7,   // #NM
  kDoubleFault = 8,          // #DF
  kInvalidTss = 10,          // #TS
  kSegmentNotPresent = 11,   // #NP
  kStackFault = 12,          // #SS
  kGeneralProtection = 13,   // #GP
  kPageFault = 14,           // #PF
  kFpuError = 16,            // #MF
  kAlignmentCheck = 17,      // #AC
  kMachineCheck = 18,        // #MC
  kSimdError = 19,           // #XM
};

// Page-fault error code. Intel SDM vol. 3, 4.7.
namespace pf {
constexpr uint32_t kPresent = 1 << 0, kWrite = 1 << 1, kUser = 1 << 2, kReserved = 1 << 3, kFetch = 1 << 4;
}  // namespace pf

constexpr bool pushes_error_code(unsigned vector) {
  return vector == kDoubleFault || (vector >= kInvalidTss && vector <= kPageFault) || vector == kAlignmentCheck;
}

struct Exception {
  uint8_t vector = 0;
  uint32_t error_code = 0;
  uint64_t cr2 = 0;      // #PF only
  uint64_t dr6 = 0;      // #DB only: bits to set in DR6
};

}  // namespace skerry::x86
