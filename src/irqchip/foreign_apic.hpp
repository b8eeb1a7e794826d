// Local APICs that are not Skerry's own, but the accelerator's: the kernel's. Lapic is then what they are saved in and loaded
// from; while the machine runs messages go past it.
#pragma once

#include <array>
#include <cstdint>
#include <memory>

#include "bus/interrupt.hpp"
#include "irqchip/apic_message.hpp"

namespace skerry::irqchip {

// One local APIC's registers, as software would read them.
struct LapicRegisters {
  std::array<uint32_t, 64> page{};  // by offset in the register page, divided by 16 (Intel SDM vol. 3, table 11-1)
  uint64_t apic_base = 0;           // IA32_APIC_BASE
  uint64_t tsc_deadline = 0;        // IA32_TSC_DEADLINE
};

// That of one processor, which is at rest when it is asked.
class ForeignApic {
 public:
  virtual ~ForeignApic() = default;
  virtual LapicRegisters get_apic() = 0;
  virtual void set_apic(const LapicRegisters& registers) = 0;
};

// All of a machine. Any thread; called with the I/O APIC's lock held, or a device's.
class ForeignApics {
 public:
  virtual ~ForeignApics() = default;
  // Hears of interrupts that have ended, on the thread of a vCPU, with no lock held. Before the first vCPU runs.
  virtual void connect(EoiListener& ioapic) = 0;
  // False when no APIC took it.
  virtual bool deliver(const ApicMessage& message) = 0;
  // See bus::MsiSink.
  virtual std::unique_ptr<bus::MsiEvent> make_msi_event() = 0;
  // What pin `pin` of the I/O APIC sends from now on; null if it is nothing of whose end it has to hear.
  virtual void set_pin(unsigned pin, const ApicMessage* message) = 0;
};

}  // namespace skerry::irqchip
