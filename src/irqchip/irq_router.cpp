#include "irqchip/irq_router.hpp"

namespace skerry::irqchip {

void IrqRouter::set_irq(unsigned gsi, bool level) {
  constexpr unsigned kCascadeIrq = 2, kIsaIrqs = 16;
  if (gsi == kCascadeIrq) return;
  if (gsi < kIsaIrqs) pic_.set_irq(gsi, level);
  ioapic_.set_irq(gsi == kTimerIrq ? kTimerPin : gsi, level);
}

}  // namespace skerry::irqchip
