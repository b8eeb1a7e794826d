// The host bridge of the Q35 chipset (MCH, device 00:00.0): where ECAM is, and what of the memory below 1 MiB is RAM (pam.hpp).
// Intel 3 Series Express Chipset Family Datasheet, chapter 5.
//
// System Management RAM (SMRAM, 5.1.27 and 5.1.28): the segment at 0xa0000 (compatible SMM space) and the end of the memory below 4 GiB
// (TSEG), which processors in SMM alone see, and everybody while D_OPEN is set. There is no SMM space above that (H_SMRAME), and code and
// data are not told apart (D_CLS): their bits read as 0. As in QEMU, TSEG is at the end of memory whatever TSEGMB says, and two
// registers are QEMU's: by them firmware asks for a TSEG of more than 8 MiB, and hides the memory at the SMBASE that processors begin with.
#pragma once

#include <array>
#include <functional>
#include <optional>

#include "bus/pci.hpp"
#include "memory/guest_memory.hpp"

namespace skerry::devices {

class Q35Mch final : public bus::PciFunction {
 public:
  static constexpr uint64_t kEcamBase = 0xb000'0000;  // where firmware puts it
  static constexpr unsigned kEcamBuses = 256;

  static constexpr memory::Gpa kCompatibleSmram = 0xa0000;
  static constexpr uint64_t kCompatibleSmramSize = 0x20000, kExtendedTseg = 16 << 20;

  // Of a machine with System Management Mode. Memory has a region of kCompatibleSmramSize at kCompatibleSmram.
  struct Smram {
    memory::Gpa low_end;  // of the memory below 4 GiB: that of TSEG
  };
  // `map_changed` has every vCPU kicked. Memory is as pam::apply() wants it.
  Q35Mch(bus::PciHost& host, memory::GuestMemory& memory, std::optional<Smram> smram, std::function<void()> map_changed);

  // As firmware leaves it, for a machine that has none: ECAM at its place, all segments RAM. At rest.
  void set_up();

  void reset() override;
  void restored() override;
  void config_write(unsigned offset, unsigned size, uint32_t value) override;

 private:
  void apply_ecam();
  void apply_segments();
  void apply_smram();
  void keep_locked(const std::array<uint8_t, 3>& before);

  bus::PciHost& host_;
  memory::GuestMemory& memory_;
  const std::optional<Smram> smram_;
  const std::function<void()> map_changed_;
};

}  // namespace skerry::devices
