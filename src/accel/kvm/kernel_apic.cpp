#include "accel/kvm/kernel_apic.hpp"

#include <cstring>

#include "accel/kvm/vcpu_calls.hpp"
#include "irqchip/lapic.hpp"
#include "irqchip/lapic_bits.hpp"

namespace skerry::accel::kvm {

using irqchip::Lapic;
using irqchip::LapicRegisters;

namespace {

constexpr uint32_t kApicBase = 0x1b, kTscDeadline = 0x6e0, kX2apicFirst = 0x800, kX2apicLast = 0x8ff;
constexpr uint64_t kEnabled = 1 << 11, kX2apic = 1 << 10;
constexpr uint32_t kPeriodic = 1 << 17;  // of the timer's entry
constexpr unsigned kStride = 16, kLint1 = irqchip::apic::kLvtFirst + 4, kIdShift = 24;

bool is_apic_msr(uint32_t index) { return index == kApicBase || index == kTscDeadline || (index >= kX2apicFirst && index <= kX2apicLast); }

}  // namespace

Result<LapicRegisters> KernelApic::get() {
  kvm_lapic_state state{};
  if (const int result = call(vcpu_, KVM_GET_LAPIC, &state); result < 0) return errno_error(-result, "KVM_GET_LAPIC");
  LapicRegisters registers;
  for (unsigned n = 0; n < registers.page.size(); ++n) std::memcpy(&registers.page[n], state.regs + kStride * n, sizeof(uint32_t));
  if (!get_msr(vcpu_, kApicBase, registers.apic_base) || !get_msr(vcpu_, kTscDeadline, registers.tsc_deadline))
    return error("KVM does not give the local APIC's MSRs");
  if (!wide_ids_ && (registers.apic_base & kX2apic)) registers.page[irqchip::apic::kId] >>= kIdShift;
  return registers;
}

// The deadline comes after the register that says whether there is one. A timer that has run out would run out again, at once,
// if KVM saw what it began with.
Result<void> KernelApic::set(const LapicRegisters& registers) {
  kvm_lapic_state state{};
  const bool ran_out = registers.page[irqchip::apic::kCurrentCount] == 0 && !(registers.page[irqchip::apic::kLvtFirst] & kPeriodic);
  for (unsigned n = 0; n < registers.page.size(); ++n) {
    uint32_t value = registers.page[n];
    if (n == irqchip::apic::kInitialCount && ran_out) value = 0;
    if (n == irqchip::apic::kId && !wide_ids_ && (registers.apic_base & kX2apic)) value <<= kIdShift;
    std::memcpy(state.regs + kStride * n, &value, sizeof value);
  }
  if (const int result = call(vcpu_, KVM_SET_LAPIC, &state); result < 0) return errno_error(-result, "KVM_SET_LAPIC");
  if (!set_msr(vcpu_, kTscDeadline, registers.tsc_deadline)) return error("KVM does not take the TSC deadline {}", registers.tsc_deadline);
  return ok();
}

bool KernelApic::lint1_is_nmi() {
  const auto registers = get();
  if (!registers || !(registers->apic_base & kEnabled)) return static_cast<bool>(registers);
  const uint32_t entry = registers->page[kLint1];
  return !(entry & irqchip::apic::kLvtMasked) &&
         (entry & irqchip::apic::kLvtDeliveryMode) >> irqchip::apic::kLvtModeShift == static_cast<uint32_t>(irqchip::DeliveryMode::kNmi);
}

void KernelApic::restart_deadline() {
  uint64_t deadline = 0;
  if (get_msr(vcpu_, kTscDeadline, deadline) && deadline != 0) (void)set_msr(vcpu_, kTscDeadline, deadline);
}

bool KernelApic::in_page(uint64_t gpa) const {
  return (beside_.apic_base & (kEnabled | kX2apic)) == kEnabled && gpa - Lapic::kBaseAddress < Lapic::kPageSize;
}

uint64_t KernelApic::mmio_read(uint64_t gpa, unsigned size) {
  if (!in_page(gpa)) return around_.mmio_read(gpa, size);
  const auto registers = get();
  const uint64_t reg = (gpa - Lapic::kBaseAddress) / kStride;
  if (!registers || reg >= registers->page.size() || gpa % kStride >= sizeof(uint32_t)) return 0;
  const uint64_t value = registers->page[reg] >> (8 * (gpa % kStride));
  return size >= 4 ? value : value & ((uint64_t{1} << (8 * size)) - 1);
}

// As KVM has it: registers are written by aligned stores of 32 bits, and others do nothing.
void KernelApic::mmio_write(uint64_t gpa, unsigned size, uint64_t value) {
  if (!in_page(gpa)) return around_.mmio_write(gpa, size, value);
  const auto offset = static_cast<uint32_t>(gpa - Lapic::kBaseAddress);
  if (size != sizeof(uint32_t) || offset % kStride != 0 || store_failed_) return;
  store_failed_ = !store_(offset, static_cast<uint32_t>(value));
}

x86::MsrResult KernelApic::read_msr(uint32_t index, uint64_t& value) {
  if (!is_apic_msr(index)) return around_.read_msr(index, value);
  return get_msr(vcpu_, index, value) ? x86::MsrResult::kDone : x86::MsrResult::kFault;
}

x86::MsrResult KernelApic::write_msr(uint32_t index, uint64_t value) {
  if (!is_apic_msr(index)) return around_.write_msr(index, value);
  if (!set_msr(vcpu_, index, value)) return x86::MsrResult::kFault;
  if (index == kApicBase) beside_.apic_base = value;
  return x86::MsrResult::kDone;
}

}  // namespace skerry::accel::kvm
