// The VM's time-stamp counter: the host's, less the time that the VM was paused.
#pragma once

#include <x86intrin.h>

#include <atomic>
#include <cstdint>

namespace skerry::machine {

// One per VM; each vCPU adds its own offset. It runs at the host's rate: the scale of a VM is 1 until it migrates.
// now() may be called from any thread; the rest only with vCPUs at rest.
class Tsc {
 public:
  // Stopped, at 0. `hz` is the frequency that the guest is told.
  explicit Tsc(uint64_t hz) : hz_(hz) {}
  uint64_t hz() const { return hz_; }
  uint64_t now() const {
    const uint64_t base = base_.load(std::memory_order_acquire);
    return running_.load(std::memory_order_relaxed) ? __rdtsc() - base : base;
  }
  void start();
  void stop();
  // Continues from `value`.
  void set(uint64_t value);

 private:
  const uint64_t hz_;
  std::atomic<uint64_t> base_{0};  // running: host TSC - guest TSC; else the guest TSC
  std::atomic<bool> running_{false};
};

// Of the host: from CPUID, or else measured against CLOCK_MONOTONIC_RAW in about 10 ms.
uint64_t host_tsc_hz();

}  // namespace skerry::machine
