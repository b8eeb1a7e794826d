// The ISA bridge of the PIIX3 (function 0 of its device, 8086:7000): where PCI interrupts go.
// Intel 82371FB (PIIX) and 82371SB (PIIX3) PCI ISA IDE Xcelerator datasheet, 2.2.
#pragma once

#include "bus/pci.hpp"
#include "devices/pirq_routes.hpp"

namespace skerry::devices {

class Piix3Isa final : public bus::PciFunction {
 public:
  static constexpr unsigned kPirqs = 4;
  explicit Piix3Isa(bus::IrqSink& irqs);

  // Which of the PIRQs pin `pin` (0 to 3) of root bus device `device` is wired to: INTA of device 1, the PIIX3's own, is PIRQA.
  static unsigned pirq(unsigned device, unsigned pin) { return (device + pin + kPirqs - 1) % kPirqs; }
  // What set_up() makes of a PIRQ, as SeaBIOS does.
  static constexpr unsigned isa_irq(unsigned pirq_index) { return pirq_index & 2 ? 11 : 10; }
  // As firmware leaves it, for a machine that has none. At rest.
  void set_up();

  // A function of the root bus drives its pin. Any thread.
  void set_intx(unsigned device, unsigned pin, bool level) { routes_.drive(pirq(device, pin), level); }
  void config_write(unsigned offset, unsigned size, uint32_t value) override;
  void reset() override;
  void restored() override;

 private:
  void apply_routes();

  PirqRoutes routes_;
};

}  // namespace skerry::devices
