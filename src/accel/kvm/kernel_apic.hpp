// One vCPU's local APIC where the kernel has it: its registers, and what the interpreter sees of it.
#pragma once

#include <functional>

#include "accel/kvm/vcpu_state.hpp"
#include "irqchip/foreign_apic.hpp"
#include "x86/environment.hpp"

namespace skerry::accel::kvm {

// Stores to a register in the xAPIC's page, on the vCPU's thread. False, with the reason logged: it could not be done.
using ApicStore = std::function<bool(uint32_t offset, uint32_t value)>;

// The environment of an interpreter that works for such a vCPU: all but the local APIC is `around`'s.
class KernelApic final : public x86::Environment {
 public:
  // `beside` is what travels with the special registers; while the interpreter has the state CR8 and IA32_APIC_BASE are there.
  // `store` does what is stored there: set from outside, the registers would lose what comes meanwhile.
  KernelApic(x86::Environment& around, int vcpu, bool wide_ids, VcpuState::Beside& beside, ApicStore store)
      : around_(around), vcpu_(vcpu), wide_ids_(wide_ids), beside_(beside), store_(std::move(store)) {}

  // On the vCPU's thread, or while it rests.
  Result<irqchip::LapicRegisters> get();
  // The mode is that of IA32_APIC_BASE, which has been set.
  Result<void> set(const irqchip::LapicRegisters& registers);
  // Whether the pin LINT1 is an NMI.
  bool lint1_is_nmi();
  // The kernel's timer for the TSC deadline starts anew, after the time-stamp counter was changed.
  void restart_deadline();
  // Whether a store of the last instruction could not be done.
  bool store_failed() const { return store_failed_; }

  uint64_t pio_read(uint16_t port, unsigned size) override { return around_.pio_read(port, size); }
  void pio_write(uint16_t port, unsigned size, uint64_t value) override { around_.pio_write(port, size, value); }
  uint64_t mmio_read(uint64_t gpa, unsigned size) override;
  void mmio_write(uint64_t gpa, unsigned size, uint64_t value) override;
  int acknowledge_interrupt() override { return around_.acknowledge_interrupt(); }
  uint8_t read_tpr() override { return beside_.cr8; }
  void write_tpr(uint8_t priority) override { beside_.cr8 = priority; }
  x86::MsrResult read_msr(uint32_t index, uint64_t& value) override;
  x86::MsrResult write_msr(uint32_t index, uint64_t value) override;
  bool send_ipi(uint32_t apic_id, uint32_t icr) override { return around_.send_ipi(apic_id, icr); }
  uint64_t tsc() override { return around_.tsc(); }
  TscRate tsc_rate() override { return around_.tsc_rate(); }
  void tsc_offset_changed(uint64_t offset) override { around_.tsc_offset_changed(offset); }
  void exclusive(const std::function<void()>& work) override { around_.exclusive(work); }
  void raise_ferr() override { around_.raise_ferr(); }
  void spin_hint() override { around_.spin_hint(); }

 private:
  bool in_page(uint64_t gpa) const;

  x86::Environment& around_;
  const int vcpu_;
  const bool wide_ids_;
  VcpuState::Beside& beside_;
  const ApicStore store_;
  bool store_failed_ = false;
};

}  // namespace skerry::accel::kvm
