// The kernel's local APICs, as the I/O APIC and devices reach them: messages, routes, event descriptors.
// Linux, Documentation/virt/kvm/api.rst: KVM_CAP_SPLIT_IRQCHIP, KVM_SET_GSI_ROUTING, KVM_IRQFD, KVM_SIGNAL_MSI.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "accel/kvm/system.hpp"
#include "irqchip/foreign_apic.hpp"

namespace skerry::accel::kvm {

class KernelApics final : public irqchip::ForeignApics {
 public:
  // The KVM_CAP_ without which the kernel can have no local APICs alone, or nothing.
  static std::string_view missing(const System& system);
  // Makes the kernel have local APICs, for the vCPUs that are made after it, and no other controller. `vm` outlives it.
  static Result<std::unique_ptr<KernelApics>> create(const System& system, int vm);

  void connect(irqchip::EoiListener& ioapic) override { ioapic_ = &ioapic; }
  bool deliver(const irqchip::ApicMessage& message) override;
  std::unique_ptr<bus::MsiEvent> make_msi_event() override;
  void set_pin(unsigned pin, const irqchip::ApicMessage* message) override;

  // A vCPU has ended an interrupt of one of the pins. On its thread.
  void ended(uint8_t vector) {
    if (ioapic_) ioapic_->end_of_interrupt(vector);
  }
  // Whether x2APIC IDs are as wide as they are; else they are in the place of xAPIC's.
  bool wide_ids() const { return wide_ids_; }

 private:
  class Event;
  // What an interrupt number of the kernel's stands for.
  struct Msi {
    uint64_t address;
    uint32_t data;
    bool operator==(const Msi&) const = default;
  };
  explicit KernelApics(int vm) : vm_(vm) {}
  static Msi msi_of(const irqchip::ApicMessage& message);
  bool set_routes();  // with the lock held

  const int vm_;
  bool wide_ids_ = false;
  bool irqfd_ = false;
  uint32_t most_routes_ = 0;
  irqchip::EoiListener* ioapic_ = nullptr;

  std::mutex lock_;  // what follows; a leaf
  std::map<uint32_t, Msi> routes_;
};

}  // namespace skerry::accel::kvm
