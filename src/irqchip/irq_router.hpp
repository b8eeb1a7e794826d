// The board's wiring of global system interrupts to the 8259s and the I/O APIC, as the ACPI tables must tell it:
// GSI n is pin n of the I/O APIC, but ISA IRQ 0, the timer, is pin 2 (an interrupt source override).
//
// Devices give ISA interrupts by their IRQ number. No state, no lock: any thread may call it.
#pragma once

#include "bus/interrupt.hpp"
#include "irqchip/ioapic.hpp"
#include "irqchip/pic.hpp"

namespace skerry::irqchip {

class IrqRouter final : public bus::IrqSink {
 public:
  static constexpr unsigned kTimerIrq = 0, kTimerPin = 2;

  IrqRouter(Pic& pic, IoApic& ioapic) : pic_(pic), ioapic_(ioapic) {}
  // Lines without such a number go nowhere; neither does 2, the 8259s' cascade.
  void set_irq(unsigned gsi, bool level) override;

 private:
  Pic& pic_;
  IoApic& ioapic_;
};

}  // namespace skerry::irqchip
