#include "devices/q35_mch.hpp"

namespace skerry::devices {

namespace {

constexpr unsigned kPciexbar = 0x60, kPam0 = 0x90;
// PCIEXBAR (5.1.16): enable, length, base.
constexpr uint64_t kPciexbarEnable = 1, kPciexbarLength = 6, kPciexbarBase = 0xf'f000'0000, kPciexbar128 = 0x800'0000,
                   kPciexbar64 = 0x400'0000;
constexpr unsigned kPciexbarLengthShift = 1;
// Two bits a segment: 0 read enable, 1 write enable. PAM0's are in its high half only (5.1.20).
constexpr uint8_t kWriteEnable = 2;
constexpr unsigned kPams = 7;
constexpr uint64_t kPam0Base = 0xf0000, kPam0Size = 0x10000, kPam1Base = 0xc0000, kPamSize = 0x4000;

}  // namespace

Q35Mch::Segment Q35Mch::segment(unsigned index) {
  if (index == 0) return {kPam0Base, kPam0Size};
  return {kPam1Base + (index - 1) * kPamSize, kPamSize};
}

Q35Mch::Q35Mch(bus::PciHost& host, memory::GuestMemory& memory, std::function<void()> writable_changed)
    : PciFunction("mch", {.vendor = 0x8086, .device = 0x29c0, .class_code = 0x060000, .revision = 2}),
      host_(host),
      memory_(memory),
      writable_changed_(std::move(writable_changed)) {
  set_writable<uint64_t>(kPciexbar, kPciexbarBase | kPciexbar128 | kPciexbar64 | kPciexbarLength | kPciexbarEnable);
  set_writable<uint8_t>(kPam0, 0x30);
  for (unsigned i = 1; i < kPams; ++i) set_writable<uint8_t>(kPam0 + i, 0x33);
}

void Q35Mch::set_up() {
  set_config<uint64_t>(kPciexbar, kEcamBase | kPciexbarEnable);
  set_config<uint8_t>(kPam0, 0x30);
  for (unsigned i = 1; i < kPams; ++i) set_config<uint8_t>(kPam0 + i, 0x33);
  apply_ecam();
  apply_segments();
}

void Q35Mch::reset() {
  PciFunction::reset();
  apply_ecam();
  apply_segments();
}

void Q35Mch::restored() {
  PciFunction::restored();
  apply_ecam();
  apply_segments();
}

void Q35Mch::config_write(unsigned offset, unsigned size, uint32_t value) {
  PciFunction::config_write(offset, size, value);
  if (offset < kPciexbar + 8 && offset + size > kPciexbar) apply_ecam();
  if (offset < kPam0 + kPams && offset + size > kPam0) apply_segments();
}

void Q35Mch::apply_ecam() {
  const auto pciexbar = config<uint64_t>(kPciexbar);
  const uint64_t length = (pciexbar & kPciexbarLength) >> kPciexbarLengthShift;  // 256, 128, 64 buses; 3 is reserved
  if (!(pciexbar & kPciexbarEnable) || length == 3) return host_.set_ecam(0, 0);
  const unsigned buses = kEcamBuses >> length;
  uint64_t base = pciexbar & kPciexbarBase;
  if (length >= 1) base |= pciexbar & kPciexbar128;
  if (length == 2) base |= pciexbar & kPciexbar64;
  host_.set_ecam(base, buses);
}

void Q35Mch::apply_segments() {
  for (unsigned i = 0; i < kSegments; ++i) {
    const uint8_t pam = config<uint8_t>(kPam0 + (i + 1) / 2);
    const uint8_t bits = i % 2 == 0 ? pam >> 4 : pam & 0xf;
    memory_.set_writable(segment(i).base, bits & kWriteEnable);
  }
  writable_changed_();
}

}  // namespace skerry::devices
