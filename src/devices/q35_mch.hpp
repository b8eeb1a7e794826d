// The host bridge of the Q35 chipset (MCH, device 00:00.0): where ECAM is, and what of the memory below 1 MiB is RAM.
// Intel 3 Series Express Chipset Family Datasheet, chapter 5.
//
// Memory below 1 MiB always reads as what is in it: firmware is put there before the guest starts, and the PAM registers'
// "read enable" bits, which on a PC choose between that RAM and the flash that holds the same, choose nothing here.
#pragma once

#include <functional>

#include "bus/pci.hpp"
#include "memory/guest_memory.hpp"

namespace skerry::devices {

class Q35Mch final : public bus::PciFunction {
 public:
  static constexpr uint64_t kEcamBase = 0xb000'0000;  // where firmware puts it
  static constexpr unsigned kEcamBuses = 256;
  // The segments that PAM0 to PAM6 govern: the last 64 KiB below 1 MiB, and from 0xc0000 twelve of 16 KiB.
  static constexpr unsigned kSegments = 13;
  struct Segment {
    memory::Gpa base;
    uint64_t size;
  };
  static Segment segment(unsigned index);

  // `writable_changed` has every vCPU kicked. Memory has a region for each segment, or none of them.
  Q35Mch(bus::PciHost& host, memory::GuestMemory& memory, std::function<void()> writable_changed);

  // As firmware leaves it, for a machine that has none: ECAM at its place, all segments RAM. At rest.
  void set_up();

  void reset() override;
  void restored() override;
  void config_write(unsigned offset, unsigned size, uint32_t value) override;

 private:
  void apply_ecam();
  void apply_segments();

  bus::PciHost& host_;
  memory::GuestMemory& memory_;
  const std::function<void()> writable_changed_;
};

}  // namespace skerry::devices
