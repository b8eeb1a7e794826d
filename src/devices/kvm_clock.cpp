#include "devices/kvm_clock.hpp"

#include <time.h>

#include <algorithm>
#include <cassert>
#include <cstddef>
#include <span>

#include "base/log.hpp"
#include "devices/vm_time.hpp"

namespace skerry::devices {

namespace {

// The guest reads version, values, version, and takes values between two equal even versions. The processor keeps the order
// of stores (SDM vol. 3, 9.2.2); this keeps it through the compiler.
void in_order() { asm volatile("" ::: "memory"); }
enum PvclockFlags : uint8_t { PVCLOCK_TSC_STABLE_BIT = 1 << 0, PVCLOCK_GUEST_STOPPED = 1 << 1 };
constexpr uint64_t kEnable = 1;  // bit 0 of MSR_KVM_SYSTEM_TIME

struct [[gnu::packed]] pvclock_vcpu_time_info {
  uint32_t version;  // odd while the rest is being changed
  uint32_t pad0;
  uint64_t tsc_timestamp;
  uint64_t system_time;
  uint32_t tsc_to_system_mul;
  int8_t tsc_shift;
  uint8_t flags;
  uint8_t pad[2];
};
static_assert(sizeof(pvclock_vcpu_time_info) == 32);

struct [[gnu::packed]] pvclock_wall_clock {
  uint32_t version;
  uint32_t sec;
  uint32_t nsec;
};
static_assert(sizeof(pvclock_wall_clock) == 12);

constexpr size_t kVersionSize = sizeof(uint32_t);  // both structures begin with it
}  // namespace

// mul has its top bit set, so that its rounding is the whole error: less than 2^-32 of the rate, 0.25 ppb.
KvmClock::Scale KvmClock::scale_for(uint64_t tsc_hz) {
  assert(tsc_hz > 0);
  constexpr unsigned __int128 kNumerator = static_cast<unsigned __int128>(kNanosecondsPerSecond) << 64;
  unsigned __int128 mul = kNumerator / tsc_hz;  // in units of 2^-64 ns; now to 32 bits
  int shift = -32;
  while (mul >> 32 != 0) {
    ++shift;
    const bool round = mul & 1;
    mul >>= 1;
    if (mul >> 32 == 0 && round) ++mul;  // a carry into bit 32 goes round once more
  }
  return {static_cast<uint32_t>(mul), static_cast<int8_t>(shift)};
}

uint64_t KvmClock::nanoseconds(uint64_t cycles, Scale scale) {
  const uint64_t shifted = scale.shift >= 0 ? cycles << scale.shift : cycles >> -scale.shift;
  return static_cast<uint64_t>(static_cast<unsigned __int128>(shifted) * scale.mul >> 32);
}

int64_t KvmClock::host_utc() {
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  return now.tv_sec * kNanosecondsPerSecond + now.tv_nsec;
}

KvmClock::KvmClock(VmClock& clock, memory::GuestMemory& memory, unsigned vcpus, uint64_t tsc_hz,
                   std::function<uint64_t()> vm_tsc, std::function<int64_t()> wall_clock)
    : clock_(clock),
      memory_(memory),
      scale_(scale_for(tsc_hz)),
      vm_tsc_(std::move(vm_tsc)),
      wall_clock_(std::move(wall_clock)),
      vcpus_(vcpus) {
  reference_tsc_ = vm_tsc_();
  reference_time_ = static_cast<uint64_t>(clock_.now());
}

void KvmClock::reset() {
  std::lock_guard guard(lock_);
  wall_clock_msr_ = 0;
  for (auto& vcpu : vcpus_) vcpu = {};
  reference_tsc_ = vm_tsc_();
  reference_time_ = static_cast<uint64_t>(clock_.now());
}

void KvmClock::describe(state::Fields& fields) {
  fields.field("wall_clock_msr", wall_clock_msr_);
  fields.field("reference_tsc", reference_tsc_);
  fields.field("reference_time", reference_time_, instant());
  fields.list("vcpus", vcpus_.size(), [&](size_t i) {
    fields.field("system_time_msr", vcpus_[i].system_time_msr);
    fields.field("version", vcpus_[i].version);
  });
}

// --- MSRs ------------------------------------------------------------------------------------------------------------

bool KvmClock::write_msr(unsigned vcpu, uint32_t index, uint64_t value) {
  if (vcpu >= vcpus_.size()) return false;
  std::lock_guard guard(lock_);
  switch (index) {
    case MSR_KVM_WALL_CLOCK:
    case MSR_KVM_WALL_CLOCK_NEW:
      wall_clock_msr_ = value;
      write_wall_clock();
      return true;
    case MSR_KVM_SYSTEM_TIME:
    case MSR_KVM_SYSTEM_TIME_NEW:
      vcpus_[vcpu].system_time_msr = value;
      write_system_time(vcpus_[vcpu], 0);
      return true;
    default:
      return false;
  }
}

std::optional<uint64_t> KvmClock::read_msr(unsigned vcpu, uint32_t index) {
  if (vcpu >= vcpus_.size()) return std::nullopt;
  std::lock_guard guard(lock_);
  switch (index) {
    case MSR_KVM_WALL_CLOCK:
    case MSR_KVM_WALL_CLOCK_NEW:
      return wall_clock_msr_;
    case MSR_KVM_SYSTEM_TIME:
    case MSR_KVM_SYSTEM_TIME_NEW:
      return vcpus_[vcpu].system_time_msr;
    default:
      return std::nullopt;
  }
}

void KvmClock::resumed() {
  std::lock_guard guard(lock_);
  // The guest's time has run on by the TSC, whose rate is not exactly VmClock's: never back.
  const uint64_t told = now();
  reference_tsc_ = vm_tsc_();
  reference_time_ = std::max(static_cast<uint64_t>(clock_.now()), told);
  for (auto& vcpu : vcpus_) write_system_time(vcpu, PVCLOCK_GUEST_STOPPED);
}

// --- memory ----------------------------------------------------------------------------------------------------------

uint64_t KvmClock::now() const {
  const uint64_t tsc = vm_tsc_();
  return reference_time_ + (tsc > reference_tsc_ ? nanoseconds(tsc - reference_tsc_, scale_) : 0);
}

// A single store where the guest aligned the structure, as it should; it may watch from another vCPU.
bool KvmClock::put_version(uint64_t gpa, uint32_t version) {
  if (gpa % sizeof version == 0) return memory_.store<uint32_t>(gpa, version);
  return memory_.write(gpa, std::as_bytes(std::span(&version, 1)));
}

void KvmClock::write_system_time(Vcpu& vcpu, uint8_t extra_flags) {
  if (!(vcpu.system_time_msr & kEnable)) return;
  const uint64_t gpa = vcpu.system_time_msr & ~kEnable;
  pvclock_vcpu_time_info info{};
  info.tsc_timestamp = reference_tsc_;
  info.system_time = reference_time_;
  info.tsc_to_system_mul = scale_.mul;
  info.tsc_shift = scale_.shift;
  info.flags = PVCLOCK_TSC_STABLE_BIT | extra_flags;

  vcpu.version = (vcpu.version | 1) + 2;  // odd, and different from what the guest may have read
  if (!put_version(gpa, vcpu.version)) {
    log::debug(log::Category::kTimer, "kvm-clock: no memory at {:#x}", gpa);
    return;
  }
  in_order();
  memory_.write(gpa + kVersionSize, std::as_bytes(std::span(&info, 1)).subspan(kVersionSize));
  in_order();
  put_version(gpa, ++vcpu.version);
}

// The time of day at which the system time was 0; the guest adds the system time itself.
void KvmClock::write_wall_clock() {
  if (wall_clock_msr_ == 0) return;
  const int64_t start = std::max<int64_t>(wall_clock_() - static_cast<int64_t>(now()), 0);
  pvclock_wall_clock wall{};
  wall.sec = static_cast<uint32_t>(start / kNanosecondsPerSecond);
  wall.nsec = static_cast<uint32_t>(start % kNanosecondsPerSecond);

  // This one is of no vCPU: its version goes on from what is in memory.
  uint32_t version = 0;
  if (!memory_.read(wall_clock_msr_, std::as_writable_bytes(std::span(&version, 1)))) return;
  version |= 1;
  if (!put_version(wall_clock_msr_, version)) return;
  in_order();
  memory_.write(wall_clock_msr_ + kVersionSize, std::as_bytes(std::span(&wall, 1)).subspan(kVersionSize));
  in_order();
  put_version(wall_clock_msr_, version + 1);
}

}  // namespace skerry::devices
