#include "devices/pam.hpp"

namespace skerry::devices::pam {

namespace {
// Of a segment's two bits: 0 read enable, 1 write enable.
constexpr uint8_t kWriteEnable = 2;
constexpr uint64_t kPam0Base = 0xf0000, kPam0Size = 0x10000, kPam1Base = 0xc0000, kPamSize = 0x4000;
}  // namespace

Segment segment(unsigned index) {
  if (index == 0) return {kPam0Base, kPam0Size};
  return {kPam1Base + (index - 1) * kPamSize, kPamSize};
}

void apply(const Registers& registers, memory::GuestMemory& memory) {
  for (unsigned i = 0; i < kSegments; ++i) {
    const uint8_t pam = registers[(i + 1) / 2];
    const int bits = i % 2 == 0 ? pam >> 4 : pam & 0xf;
    memory.set_writable(segment(i).base, bits & kWriteEnable);
  }
}

}  // namespace skerry::devices::pam
