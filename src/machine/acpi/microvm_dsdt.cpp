// The board "microvm-1": hardware-reduced ACPI, virtio devices by memory-mapped registers, a serial port.
#include <cassert>

#include "devices/acpi_ged.hpp"
#include "machine/acpi/definitions.hpp"

namespace skerry::machine::acpi {

using namespace aml;
using devices::AcpiGed;

namespace {

constexpr uint8_t kPowerButtonPressed = 0x80;  // the notification (ACPI 6.4, 4.8.3.1.1.2)

// The generic event device (5.6.9): at its interrupt the guest calls _EVT, which reads what has happened, takes note of
// all of it by writing that back, and tells the devices.
Bytes event_device() {
  static_assert(AcpiGed::kPowerButtonEvent == 1, "the method below tests it");
  const Bytes happened = cat({
      store(path("ESTS"), local(0)),
      store(local(0), path("ESTS")),
      if_then(bit_and(local(0), integer(AcpiGed::kPowerButtonEvent)), notify(path("\\_SB.PWRB"), kPowerButtonPressed)),
  });
  return device("GED", cat({
                           name("_HID", string("ACPI0013")),
                           name("_UID", integer(0)),
                           name("_CRS", resource_template(interrupts({AcpiGed::kIrq}))),
                           operation_region("EREG", Space::kSystemIo, AcpiGed::kEventPort, 1),
                           byte_fields("EREG", {"ESTS"}),
                           method("_EVT", 1, Serialize::kYes, happened),
                       }));
}

Bytes power_button() { return device("PWRB", cat({name("_HID", eisa_id("PNP0C0C")), name("_UID", integer(0))})); }

// "LNRO0005" is what Linux and others know such a device by. Its accesses are coherent with the processors' caches.
Bytes virtio_device(unsigned index, const VirtioMmio& place) {
  assert(index < 100);
  const char path[] = {'V', 'R', static_cast<char>('0' + index / 10), static_cast<char>('0' + index % 10)};
  return device(
      {path, sizeof path},
      cat({name("_HID", string("LNRO0005")), name("_UID", integer(index)), name("_CCA", integer(1)),
           name("_CRS", resource_template(cat({memory32_fixed(place.base, place.size), interrupts({place.gsi})})))}));
}

}  // namespace

Bytes microvm_definition(const Board& board) {
  Bytes virtio;
  for (unsigned i = 0; i < board.microvm->size(); ++i) append(virtio, virtio_device(i, (*board.microvm)[i]));
  const Bytes soft_off = name("_S5", package({integer(AcpiGed::kSlpTypS5), integer(0), integer(0), integer(0)}));
  return cat(
      {soft_off, scope("_SB", cat({first_serial_port(), power_button(), event_device(), virtio, processors(board)}))});
}

}  // namespace skerry::machine::acpi
