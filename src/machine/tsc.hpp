// The VM's time-stamp counter: the host's, less the time that the VM was paused.
#pragma once

#include <x86intrin.h>

#include <atomic>
#include <cstdint>
#include <optional>

namespace skerry::machine {

// One per VM; each vCPU adds its own offset. It runs at the host's rate; that of a VM which was saved on a host with
// another is scaled.
// now() may be called from any thread; the rest only with vCPUs at rest.
class Tsc {
 public:
  // Two rates that differ by less count as the same: the guest's own clock discipline makes up for it, as under KVM.
  static constexpr uint64_t kTolerance = 250;  // parts per million

  // Stopped, at 0. `hz` is the frequency that the guest is told; none: the host's. It counts that much in a second of the
  // guest's, which is `divisor` seconds of the host's.
  Tsc(std::optional<uint64_t> hz, uint64_t host_hz, unsigned divisor = 1);
  uint64_t hz() const { return hz_; }
  bool as_hosts() const { return scale_ == kOne; }  // counts as fast
  uint64_t now() const {
    const uint64_t base = base_.load(std::memory_order_acquire);
    return running_.load(std::memory_order_relaxed) ? host() - base : base;
  }
  // What now() is above the host's counter at the guest's rate, while running.
  uint64_t offset() const { return -base_.load(std::memory_order_acquire); }
  void start();
  void stop();
  // Continues from `value`.
  void set(uint64_t value);
  // It is the host's from now on, and runs always: where guests read that, whatever Skerry would like them to.
  void be_hosts();

 private:
  static constexpr unsigned kFraction = 48;  // bits of scale_ below 1
  static constexpr uint64_t kOne = uint64_t{1} << kFraction;
  // The host's TSC, at the guest's rate.
  uint64_t host() const {
    const uint64_t tsc = __rdtsc();
    return scale_ == kOne ? tsc : static_cast<uint64_t>(static_cast<unsigned __int128>(tsc) * scale_ >> kFraction);
  }

  const uint64_t hz_;
  const uint64_t scale_;
  std::atomic<uint64_t> base_{0};  // running: host() - guest TSC; else the guest TSC
  std::atomic<bool> running_{false};
  bool hosts_ = false;
};

// Of the host: from CPUID, or else measured against CLOCK_MONOTONIC_RAW in about 10 ms.
uint64_t host_tsc_hz();

}  // namespace skerry::machine
