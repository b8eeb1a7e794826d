// What travels between interrupt controllers: the message of the APIC bus, and the two calls that go upwards.
#pragma once

#include <cstdint>

namespace skerry::irqchip {

// Intel SDM vol. 3, 11.6.1, "Delivery Mode"; the same codes in LVT, ICR, IOAPIC entries and MSI data.
enum class DeliveryMode : uint8_t {
  kFixed = 0,
  kLowestPriority = 1,
  kSmi = 2,  // dropped where there is no SMM
  kReserved = 3,
  kNmi = 4,
  kInit = 5,
  kStartUp = 6,
  kExtInt = 7,
};

struct ApicMessage {
  uint32_t destination = 0;
  bool wide = false;     // the destination is an x2APIC one: 32 bits, broadcast is 0xffffffff instead of 0xff
  bool logical = false;  // destination mode: logical, else physical
  DeliveryMode mode = DeliveryMode::kFixed;
  uint8_t vector = 0;
  bool level_triggered = false;
  bool redirect = false;  // MSI redirection hint: to one of the destinations only
};

// Hears that a LAPIC ended a level-triggered interrupt. Called without any LAPIC's lock held.
class EoiListener {
 public:
  virtual ~EoiListener() = default;
  virtual void end_of_interrupt(uint8_t vector) = 0;
};

// The 8259s behind an ExtINT: answers the acknowledge cycle. Called without any LAPIC's lock held.
class ExtIntSource {
 public:
  virtual ~ExtIntSource() = default;
  virtual int acknowledge() = 0;  // the vector; a spurious one when the request has gone
};

}  // namespace skerry::irqchip
