#include "devices/q35_mch.hpp"

#include <algorithm>
#include <vector>

#include "devices/pam.hpp"

namespace skerry::devices {

namespace {

constexpr unsigned kPciexbar = 0x60, kPam0 = 0x90;
// PCIEXBAR (5.1.16): enable, length, base.
constexpr uint64_t kPciexbarEnable = 1, kPciexbarLength = 6, kPciexbarBase = 0xf'f000'0000, kPciexbar128 = 0x800'0000,
                   kPciexbar64 = 0x400'0000;
constexpr unsigned kPciexbarLengthShift = 1;
// SMRAM (5.1.27), ESMRAMC (5.1.28); QEMU's registers beside them: the size of an extended TSEG, and memory at the first SMBASE.
constexpr unsigned kExtendedTsegSize = 0x50, kDefaultSmbase = 0x9c, kSmram = 0x9d, kEsmramc = 0x9e;
// Where firmware notes what it has put where: stolen memory of graphics (5.1.29), TSEG (5.1.31).
constexpr unsigned kGbsm = 0xa4, kTsegmb = 0xac;
constexpr uint32_t kWholeMib = 0xfff0'0000;
constexpr uint8_t kOpen = 0x40, kLock = 0x10, kEnable = 0x08, kCompatibleBase = 0x02;
constexpr uint8_t kTsegEnable = 0x01, kTsegSize = 0x06, kCacheBits = 0x38;
constexpr unsigned kTsegSizeShift = 1, kExtended = 3;
constexpr std::array<uint64_t, 3> kTsegSizes = {1 << 20, 2 << 20, 8 << 20};
constexpr uint16_t kTsegQuery = 0xffff;
constexpr uint8_t kSmbaseQuery = 0xff, kSmbaseInRam = 0x01, kSmbaseLock = 0x02;
constexpr memory::GuestMemory::Range kAtSmbase = {0x30000, 0x50000};

}  // namespace

Q35Mch::Q35Mch(bus::PciHost& host, memory::GuestMemory& memory, std::optional<Smram> smram, std::function<void()> map_changed)
    : PciFunction("mch", {.vendor = 0x8086, .device = 0x29c0, .class_code = 0x060000, .revision = 2}),
      host_(host),
      memory_(memory),
      smram_(smram),
      map_changed_(std::move(map_changed)) {
  set_writable<uint64_t>(kPciexbar, kPciexbarBase | kPciexbar128 | kPciexbar64 | kPciexbarLength | kPciexbarEnable);
  for (unsigned i = 0; i < pam::kRegisters; ++i) set_writable<uint8_t>(kPam0 + i, pam::kWritable[i]);
  if (!smram_) return;
  set_config<uint16_t>(kExtendedTsegSize, kTsegQuery);
  set_writable<uint16_t>(kExtendedTsegSize, 0xffff);
  set_writable<uint8_t>(kDefaultSmbase, 0xff);
  set_config<uint8_t>(kSmram, kCompatibleBase);
  set_writable<uint8_t>(kSmram, kOpen | kLock | kEnable);
  set_config<uint8_t>(kEsmramc, kCacheBits);
  set_writable<uint8_t>(kEsmramc, kTsegSize | kTsegEnable);
  set_writable<uint32_t>(kGbsm, kWholeMib);
  set_writable<uint32_t>(kTsegmb, kWholeMib);
}

void Q35Mch::set_up() {
  set_config<uint64_t>(kPciexbar, kEcamBase | kPciexbarEnable);
  for (unsigned i = 0; i < pam::kRegisters; ++i) set_config<uint8_t>(kPam0 + i, pam::kWritable[i]);
  apply_ecam();
  apply_segments();
}

void Q35Mch::reset() {
  PciFunction::reset();
  apply_ecam();
  apply_segments();
  apply_smram();
}

void Q35Mch::restored() {
  PciFunction::restored();
  apply_ecam();
  apply_segments();
  apply_smram();
}

void Q35Mch::config_write(unsigned offset, unsigned size, uint32_t value) {
  const auto touches = [&](unsigned first, unsigned end) { return offset < end && offset + size > first; };
  if (smram_ && (config<uint8_t>(kSmram) & kLock) && (touches(kGbsm, kGbsm + 4) || touches(kTsegmb, kTsegmb + 4))) return;
  const std::array<uint8_t, 3> before = {config<uint8_t>(kDefaultSmbase), config<uint8_t>(kSmram), config<uint8_t>(kEsmramc)};
  PciFunction::config_write(offset, size, value);
  if (offset < kPciexbar + 8 && offset + size > kPciexbar) apply_ecam();
  if (offset < kPam0 + pam::kRegisters && offset + size > kPam0) apply_segments();
  if (!smram_) return;
  if (touches(kExtendedTsegSize, kExtendedTsegSize + 2) && config<uint16_t>(kExtendedTsegSize) == kTsegQuery)
    set_config<uint16_t>(kExtendedTsegSize, static_cast<uint16_t>(kExtendedTseg >> 20));
  if (!touches(kDefaultSmbase, kEsmramc + 1)) return;
  keep_locked(before);
  apply_smram();
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
  pam::Registers registers;
  for (unsigned i = 0; i < registers.size(); ++i) registers[i] = config<uint8_t>(kPam0 + i);
  pam::apply(registers, memory_);
  map_changed_();
}

// What was written, after the locks that are closed until the next reset. `before`: the three registers from kDefaultSmbase on.
void Q35Mch::keep_locked(const std::array<uint8_t, 3>& before) {
  const auto [smbase, smram, esmramc] = before;
  if (smram & kLock) {
    set_config<uint8_t>(kSmram, smram);
    set_config<uint8_t>(kEsmramc, esmramc);
  } else if (config<uint8_t>(kSmram) & kLock) {
    set_config<uint8_t>(kSmram, config<uint8_t>(kSmram) & ~kOpen);
  }
  // The query makes it known that there is this register, and only then it can be locked.
  const auto asked = config<uint8_t>(kDefaultSmbase);
  if (smbase & kSmbaseLock) set_config<uint8_t>(kDefaultSmbase, smbase);
  else if (smbase == kSmbaseInRam) set_config<uint8_t>(kDefaultSmbase, asked != kSmbaseQuery && (asked & kSmbaseLock) ? kSmbaseLock : kSmbaseInRam);
  else set_config<uint8_t>(kDefaultSmbase, asked == kSmbaseQuery ? kSmbaseInRam : 0);
}

void Q35Mch::apply_smram() {
  if (!smram_) return;
  const auto smram = config<uint8_t>(kSmram), esmramc = config<uint8_t>(kEsmramc);
  memory_.set_readable(kCompatibleSmram, smram & kEnable);
  std::vector<memory::GuestMemory::Range> hidden;
  if ((smram & kEnable) && !(smram & kOpen)) {
    hidden.push_back({kCompatibleSmram, kCompatibleSmram + kCompatibleSmramSize});
    const unsigned number = (esmramc & kTsegSize) >> kTsegSizeShift;
    const uint64_t size = number == kExtended ? kExtendedTseg : kTsegSizes[number];
    if (esmramc & kTsegEnable) hidden.push_back({smram_->low_end - std::min(size, smram_->low_end), smram_->low_end});
  }
  if (config<uint8_t>(kDefaultSmbase) & kSmbaseLock) hidden.push_back(kAtSmbase);
  memory_.set_smm_only(hidden);
  map_changed_();
}

}  // namespace skerry::devices
