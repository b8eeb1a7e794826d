#include "machine/vcpu_environment.hpp"

#include <sched.h>

namespace skerry::machine {

namespace {

constexpr unsigned kPausesPerYield = 16;

bool is_lapic(uint64_t gpa) { return gpa - irqchip::Lapic::kBaseAddress < irqchip::Lapic::kPageSize; }

x86::MsrResult result_of(irqchip::MsrAccess access) {
  switch (access) {
    case irqchip::MsrAccess::kDone:
      return x86::MsrResult::kDone;
    case irqchip::MsrAccess::kFault:
      return x86::MsrResult::kFault;
    case irqchip::MsrAccess::kUnknown:
      break;
  }
  return x86::MsrResult::kUnknown;
}

}  // namespace

// The APIC's registers are for aligned 32-bit accesses; what others do is "undefined" (Intel SDM vol. 3, 11.4.1). Here
// narrower reads give their part of the register, wider ones its 32 bits, and other writes than of 32 bits do nothing.
uint64_t VcpuEnvironment::mmio_read(uint64_t gpa, unsigned size) {
  if (!is_lapic(gpa)) return mmio().read(gpa, size);
  const auto offset = static_cast<uint32_t>(gpa - irqchip::Lapic::kBaseAddress);
  const uint64_t value = lapic_->mmio_read(offset & ~3u) >> (8 * (offset & 3));
  return size >= 4 ? value : value & ((uint64_t{1} << (8 * size)) - 1);
}

void VcpuEnvironment::mmio_write(uint64_t gpa, unsigned size, uint64_t value) {
  if (!is_lapic(gpa)) return mmio().write(gpa, size, value);
  if (size == 4)
    lapic_->mmio_write(static_cast<uint32_t>(gpa - irqchip::Lapic::kBaseAddress), static_cast<uint32_t>(value));
}

x86::MsrResult VcpuEnvironment::read_msr(uint32_t index, uint64_t& value) {
  if (const auto access = lapic_->read_msr(index, value); access != irqchip::MsrAccess::kUnknown)
    return result_of(access);
  const auto clock = shared_.kvm_clock.read_msr(index_, index);
  if (!clock) return x86::MsrResult::kUnknown;
  value = *clock;
  return x86::MsrResult::kDone;
}

x86::MsrResult VcpuEnvironment::write_msr(uint32_t index, uint64_t value) {
  if (const auto access = lapic_->write_msr(index, value); access != irqchip::MsrAccess::kUnknown)
    return result_of(access);
  return shared_.kvm_clock.write_msr(index_, index, value) ? x86::MsrResult::kDone : x86::MsrResult::kUnknown;
}

void VcpuEnvironment::spin_hint() {
  if (++pauses_ % kPausesPerYield == 0) ::sched_yield();
}

}  // namespace skerry::machine
