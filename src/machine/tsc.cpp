#include "machine/tsc.hpp"

#include <cpuid.h>
#include <time.h>

#include "base/log.hpp"

namespace skerry::machine {

namespace {

constexpr int64_t kNanosecondsPerSecond = 1'000'000'000;
constexpr int64_t kMeasuringTime = 2'000'000;  // ns

struct Cpuid {
  uint32_t eax = 0, ebx = 0, ecx = 0, edx = 0;
};
Cpuid cpuid(uint32_t leaf) {
  Cpuid result;
  __cpuid_count(leaf, 0, result.eax, result.ebx, result.ecx, result.edx);
  return result;
}

// Time Stamp Counter and Nominal Core Crystal Clock leaf (Intel SDM vol. 2, CPUID). Leaf 16h is not used: it gives the
// frequency on the label, which may differ from the real one by a part in a thousand.
uint64_t hz_of_leaf_15h() {
  if (cpuid(0).eax < 0x15) return 0;
  const Cpuid ratio = cpuid(0x15);
  if (ratio.eax == 0 || ratio.ebx == 0) return 0;
  return uint64_t{ratio.ecx} * ratio.ebx / ratio.eax;
}

// The timing leaf that VMware defined and KVM offers: on a host that is itself a guest.
uint64_t hz_of_hypervisor() {
  constexpr uint32_t kHypervisorPresent = 1u << 31, kTimingLeaf = 0x40000010;
  if (!(cpuid(1).ecx & kHypervisorPresent) || cpuid(0x40000000).eax < kTimingLeaf) return 0;
  return uint64_t{cpuid(kTimingLeaf).eax} * 1000;
}

struct Sample {
  int64_t time;
  uint64_t tsc;
};

// The clock and the counter at one instant: of several tries the one that took the least.
Sample sample() {
  Sample best{};
  uint64_t shortest = ~uint64_t{0};
  for (int i = 0; i < 16; ++i) {
    timespec now{};
    const uint64_t before = __rdtsc();
    ::clock_gettime(CLOCK_MONOTONIC_RAW, &now);
    const uint64_t took = __rdtsc() - before;
    if (took >= shortest) continue;
    shortest = took;
    best = {now.tv_sec * kNanosecondsPerSecond + now.tv_nsec, before + took / 2};
  }
  return best;
}

// Taken before main(), so that what a program does before it asks is time to measure in, not to wait for.
const Sample at_start = sample();

uint64_t measured_hz() {
  const Sample first = at_start;
  Sample last = sample();
  if (const int64_t missing = kMeasuringTime - (last.time - first.time); missing > 0) {
    const timespec wait{0, missing};
    ::nanosleep(&wait, nullptr);
    last = sample();
  }
  const auto cycles = static_cast<unsigned __int128>(last.tsc - first.tsc);
  const int64_t time = last.time - first.time;
  const auto hz = static_cast<uint64_t>(cycles * kNanosecondsPerSecond / static_cast<uint64_t>(time > 0 ? time : 1));
  constexpr uint64_t kHalfStep = 50'000, kStep = 100'000;  // the measurement is not better than that
  return (hz + kHalfStep) / kStep * kStep;
}

bool same_rate(uint64_t a, uint64_t b) { return (a > b ? a - b : b - a) <= a / 1'000'000 * Tsc::kTolerance; }

uint64_t ratio(uint64_t a, uint64_t b, unsigned fraction) {
  return static_cast<uint64_t>((static_cast<unsigned __int128>(a) << fraction) / b);
}

}  // namespace

uint64_t host_tsc_hz() {
  constexpr uint64_t kLowest = 100'000'000;  // what is less is not a TSC's frequency
  for (const auto source : {hz_of_leaf_15h, hz_of_hypervisor, measured_hz}) {
    const uint64_t hz = source();
    if (hz < kLowest) continue;
    log::debug(log::Category::kTimer, "host TSC: {} Hz", hz);
    return hz;
  }
  return kLowest;
}

Tsc::Tsc(std::optional<uint64_t> hz, uint64_t host_hz, unsigned divisor)
    : hz_(hz.value_or(host_hz)),
      scale_(same_rate(hz_, host_hz * divisor) ? kOne : ratio(hz_, host_hz * divisor, kFraction)) {
  if (scale_ != kOne) log::debug(log::Category::kTimer, "guest TSC: {} Hz, scaled", hz_);
}

void Tsc::be_hosts() {
  hosts_ = true;
  base_.store(0, std::memory_order_relaxed);
  running_.store(true, std::memory_order_release);
}

void Tsc::start() {
  if (running_) return;
  base_.store(host() - base_.load(std::memory_order_relaxed), std::memory_order_relaxed);
  running_.store(true, std::memory_order_release);
}

void Tsc::stop() {
  if (!running_ || hosts_) return;
  base_.store(now(), std::memory_order_relaxed);
  running_.store(false, std::memory_order_release);
}

void Tsc::set(uint64_t value) {
  if (hosts_) return;
  const bool was_running = running_;
  stop();
  base_.store(value, std::memory_order_relaxed);
  if (was_running) start();
}

}  // namespace skerry::machine
