// The registers of the controller by the names of the specification (High Definition Audio 1.0a, chapter 3), and their
// bits. Where several are in one dword, the offset is that of the dword.
#pragma once

#include <cstdint>

namespace skerry::devices::hda {

constexpr uint32_t GCAP = 0x00;                 // and VMIN, VMAJ
constexpr uint32_t OUTPAY = 0x04;               // and INPAY
constexpr uint32_t GCTL = 0x08, WAKEEN = 0x0c;  // and STATESTS
constexpr uint32_t GSTS = 0x10, INTCTL = 0x20, INTSTS = 0x24, WALCLK = 0x30;
constexpr uint32_t ICH9_SSYNC = 0x34,
                   SSYNC = 0x38;  // the ICH9 has it elsewhere than the specification: here it is at both
constexpr uint32_t CORBLBASE = 0x40, CORBUBASE = 0x44;
constexpr uint32_t CORBWP = 0x48;   // and CORBRP
constexpr uint32_t CORBCTL = 0x4c;  // and CORBSTS, CORBSIZE
constexpr uint32_t RIRBLBASE = 0x50, RIRBUBASE = 0x54;
constexpr uint32_t RIRBWP = 0x58;   // and RINTCNT
constexpr uint32_t RIRBCTL = 0x5c;  // and RIRBSTS, RIRBSIZE
constexpr uint32_t ICOI = 0x60, ICII = 0x64, ICIS = 0x68;
constexpr uint32_t DPLBASE = 0x70, DPUBASE = 0x74;
// Of stream descriptor 0; the others follow.
constexpr uint32_t SD0 = 0x80, kDescriptorSize = 0x20;
constexpr uint32_t SDCTL = 0x00;  // and SDSTS
constexpr uint32_t SDLPIB = 0x04, SDCBL = 0x08, SDLVI = 0x0c;
constexpr uint32_t SDFIFOS = 0x10;  // and SDFMT
constexpr uint32_t SDBDPL = 0x18, SDBDPU = 0x1c;
constexpr uint32_t kAliases = 0x2000;  // 3.4: of WALCLK and SDLPIB, for programs

namespace gctl {
constexpr uint32_t CRST = 1 << 0, FCNTRL = 1 << 1, UNSOL = 1 << 8;
}
namespace gsts {
constexpr uint32_t FSTS = 1 << 1;
}
namespace intctl {  // and INTSTS
constexpr uint32_t CIE = 1 << 30, GIE = 1u << 31;
}
namespace sdctl {
constexpr uint32_t SRST = 1 << 0, RUN = 1 << 1, IOCE = 1 << 2, FEIE = 1 << 3, DEIE = 1 << 4, TP = 1 << 18;
constexpr unsigned kStreamNumber = 20;
}  // namespace sdctl
namespace sdsts {  // where SDCTL has what enables it
constexpr uint8_t BCIS = 1 << 2, FIFOE = 1 << 3, DESE = 1 << 4, FIFORDY = 1 << 5;
constexpr uint8_t kInterrupts = BCIS | FIFOE | DESE;
}  // namespace sdsts

constexpr uint32_t kBaseMask = ~0x7fu;  // of addresses' lower half: what they point to is aligned to 128 bytes

// A register after the bytes in `mask` were written, of which the bits in `writable` can be.
constexpr uint32_t merged(uint32_t before, uint32_t value, uint32_t mask, uint32_t writable) {
  mask &= writable;
  return (before & ~mask) | (value & mask);
}

}  // namespace skerry::devices::hda
