// KVM's paravirtual clock (Linux, Documentation/virt/kvm/x86/msr.rst and cpuid.rst): the guest computes the time from
// its TSC and a structure in its memory, with no exit.
//
// For accelerators that have no kernel to do it. The CPUID bits that announce it are in the CPU model.
#pragma once

#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <vector>

#include "base/clock.hpp"
#include "bus/device.hpp"
#include "memory/guest_memory.hpp"

namespace skerry::devices {

class KvmClock final : public bus::Device {
 public:
  static constexpr uint32_t MSR_KVM_WALL_CLOCK = 0x11;
  static constexpr uint32_t MSR_KVM_SYSTEM_TIME = 0x12;
  static constexpr uint32_t MSR_KVM_WALL_CLOCK_NEW = 0x4b564d00;
  static constexpr uint32_t MSR_KVM_SYSTEM_TIME_NEW = 0x4b564d01;

  // How TSC cycles become nanoseconds: ((cycles << shift) * mul) >> 32, a negative shift being to the right.
  struct Scale {
    uint32_t mul = 0;
    int8_t shift = 0;
  };
  static Scale scale_for(uint64_t tsc_hz);
  static uint64_t nanoseconds(uint64_t cycles, Scale scale);

  static int64_t host_utc();  // nanoseconds since 1970

  // `vm_tsc` gives the TSC that all vCPUs of this VM see (it stands still while the VM is paused), `tsc_hz` is its
  // frequency, `wall_clock` the time of day in nanoseconds since 1970. Both functions are called with this device's
  // lock held.
  KvmClock(VmClock& clock, memory::GuestMemory& memory, unsigned vcpus, uint64_t tsc_hz,
           std::function<uint64_t()> vm_tsc, std::function<int64_t()> wall_clock = host_utc);

  // From the vCPU's thread. False and nothing: not an MSR of this clock, or no such vCPU.
  bool write_msr(unsigned vcpu, uint32_t index, uint64_t value);
  std::optional<uint64_t> read_msr(unsigned vcpu, uint32_t index);

  // The VM is about to run again after a pause or a restore, with the clock and the TSC set: tells the guest the new
  // time, and that it was stopped (PVCLOCK_GUEST_STOPPED), so that its watchdogs do not bark.
  void resumed();

  std::string_view name() const override { return "kvm-clock"; }
  void reset() override;
  void describe(state::Fields& fields) override;

 private:
  struct Vcpu {
    uint64_t system_time_msr = 0;  // address | 1 while enabled
    uint32_t version = 0;
  };

  // With lock_ held.
  void write_system_time(Vcpu& vcpu, uint8_t extra_flags);
  void write_wall_clock();
  bool put_version(uint64_t gpa, uint32_t version);
  uint64_t now() const;

  VmClock& clock_;
  memory::GuestMemory& memory_;
  const Scale scale_;
  const std::function<uint64_t()> vm_tsc_;
  const std::function<int64_t()> wall_clock_;
  std::mutex lock_;
  uint64_t wall_clock_msr_ = 0;
  // One instant, as all vCPUs are told it: only so are their clocks equal to the nanosecond (PVCLOCK_TSC_STABLE_BIT).
  uint64_t reference_tsc_ = 0;
  uint64_t reference_time_ = 0;
  std::vector<Vcpu> vcpus_;
};

}  // namespace skerry::devices
