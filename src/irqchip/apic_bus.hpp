// The bus between local APICs, IOAPIC and devices' MSIs: finds the LAPICs that a message is for.
//
// LAPICs are added and controllers connected before the first vCPU runs; after that the bus is immutable, has no lock
// and no state, and any thread may call it. A message takes the lock of each LAPIC that gets it, one after the other.
//
// Without interrupt remapping, messages of the IOAPIC and of devices reach APIC IDs below 255 only.
#pragma once

#include <functional>
#include <vector>

#include "base/result.hpp"
#include "bus/interrupt.hpp"
#include "irqchip/apic_message.hpp"
#include "irqchip/foreign_apic.hpp"

namespace skerry::irqchip {

class Lapic;

class ApicBus final : public bus::MsiSink {
 public:
  static constexpr uint32_t kMaxApicId = 4095;

  Result<void> add(Lapic& lapic);  // its ID must be new; it must outlive the bus's use
  void connect(ExtIntSource* pic, EoiListener* ioapic);
  // Messages go to `apics` from now on, and the LAPICs that are added keep their state. After connect().
  void use(ForeignApics& apics);

  // The processors have System Management Mode from now on. Else SMIs are dropped.
  void deliver_smis() { smis_ = true; }
  bool delivers_smis() const { return smis_; }

  // False when no LAPIC took it.
  bool deliver(const ApicMessage& message);
  // To the LAPIC with that ID, whatever the message's destination: no ID is a broadcast.
  bool deliver_to(uint32_t id, ApicMessage message);
  // The shorthands of the ICR: every LAPIC but `except` (which may be null).
  bool deliver_to_all(const ApicMessage& message, const Lapic* except);
  // Intel SDM vol. 3, 11.11. Writes outside 0xfeexxxxx are no interrupts and are dropped.
  void send_msi(uint64_t address, uint32_t data) override;
  std::unique_ptr<bus::MsiEvent> make_msi_event() override;

  // The 8259s' INTR, wired to LINT0 of every processor.
  void set_lint0(bool level);
  // The NMI line (port 0x61's and the chipset's), wired to LINT1 of every processor.
  void set_lint1(bool level);

  // For the I/O APIC: what `pin` sends has changed; null if it is no level-triggered interrupt.
  void pin_changed(unsigned pin, const ApicMessage* message);

  // For LAPICs, which call these without their lock.
  void broadcast_eoi(uint8_t vector);
  int acknowledge_extint();  // -1 when no 8259 is there

 private:
  Lapic* find(uint32_t apic_id) const { return apic_id < by_id_.size() ? by_id_[apic_id] : nullptr; }
  // Every LAPIC that `message` names, in the order of IDs.
  void for_each_target(const ApicMessage& message, const std::function<void(Lapic&)>& visit);
  void for_each_in_cluster(uint32_t destination, const std::function<void(Lapic&)>& visit);
  bool deliver_lowest_priority(const ApicMessage& message);

  std::vector<Lapic*> lapics_;  // in the order of IDs
  std::vector<Lapic*> by_id_;   // null where no LAPIC has the ID
  bool smis_ = false;
  ForeignApics* foreign_ = nullptr;
  ExtIntSource* pic_ = nullptr;
  EoiListener* ioapic_ = nullptr;
};

}  // namespace skerry::irqchip
