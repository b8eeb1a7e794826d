// What one processor sees of the board: ports, device memory, its local APIC, clocks, the other processors.
#pragma once

#include <functional>

#include "bus/address_space.hpp"
#include "devices/kvm_clock.hpp"
#include "irqchip/lapic.hpp"
#include "machine/legacy_wiring.hpp"
#include "machine/tsc.hpp"
#include "x86/environment.hpp"

namespace skerry::machine {

// What all processors of a machine share.
struct SharedSurroundings {
  bus::AddressSpace& pio;
  bus::AddressSpace& mmio;
  bus::AddressSpace& smm_mmio;  // what processors in System Management Mode find instead
  devices::KvmClock& kvm_clock;
  FerrLatch& ferr;
  Tsc& tsc;
  // Runs `work` while no vCPU but number `index` is inside an instruction.
  std::function<void(unsigned index, const std::function<void()>& work)> exclusive;
};

class VcpuEnvironment final : public x86::Environment {
 public:
  VcpuEnvironment(unsigned index, SharedSurroundings& shared) : index_(index), shared_(shared) {}
  // The LAPIC comes after the vCPU, which needs this environment. Before the first vCPU runs.
  void connect(irqchip::Lapic& lapic) { lapic_ = &lapic; }

  uint64_t pio_read(uint16_t port, unsigned size) override { return shared_.pio.read(port, size); }
  void pio_write(uint16_t port, unsigned size, uint64_t value) override { shared_.pio.write(port, size, value); }
  uint64_t mmio_read(uint64_t gpa, unsigned size) override;
  void mmio_write(uint64_t gpa, unsigned size, uint64_t value) override;
  int acknowledge_interrupt() override { return lapic_->acknowledge(); }
  uint8_t read_tpr() override { return lapic_->read_tpr(); }
  void write_tpr(uint8_t priority) override { lapic_->write_tpr(priority); }
  x86::MsrResult read_msr(uint32_t index, uint64_t& value) override;
  x86::MsrResult write_msr(uint32_t index, uint64_t value) override;
  bool send_ipi(uint32_t apic_id, uint32_t icr) override { return lapic_->send_to(apic_id, icr); }
  uint64_t tsc() override { return shared_.tsc.now(); }
  TscRate tsc_rate() override { return {shared_.tsc.offset(), shared_.tsc.hz(), shared_.tsc.as_hosts()}; }
  void tsc_offset_changed(uint64_t offset) override { lapic_->set_tsc_offset(static_cast<int64_t>(offset)); }
  void smm_changed(bool inside) override { in_smm_ = inside; }
  void exclusive(const std::function<void()>& work) override { shared_.exclusive(index_, work); }
  void raise_ferr() override { shared_.ferr.raise(); }
  void spin_hint() override;

 private:
  bus::AddressSpace& mmio() const { return in_smm_ ? shared_.smm_mmio : shared_.mmio; }

  const unsigned index_;
  SharedSurroundings& shared_;
  irqchip::Lapic* lapic_ = nullptr;
  unsigned pauses_ = 0;
  bool in_smm_ = false;
};

}  // namespace skerry::machine
