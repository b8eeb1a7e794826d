// The devices of a PC that a guest cannot find by itself, and the board "plain-1", which has only such.
#include "devices/acpi_pm.hpp"
#include "devices/hpet.hpp"
#include "devices/rtc_cmos.hpp"
#include "devices/serial_16550.hpp"
#include "machine/acpi/definitions.hpp"

namespace skerry::machine::acpi {

using namespace aml;
using namespace devices;

namespace {

// A processor device (ACPI 6.4, 8.4): its _UID is that of its MADT entry.
Bytes processor(unsigned index) {
  constexpr char kHex[] = "0123456789ABCDEF";
  const char path[] = {'C', '0', kHex[index >> 4 & 15], kHex[index & 15]};
  return device({path, sizeof path}, cat({name("_HID", string("ACPI0007")), name("_UID", integer(index))}));
}

}  // namespace

Bytes simple_device(std::string_view path, std::string_view hid, const Bytes& resources) {
  return device(path, cat({name("_HID", eisa_id(hid)), name("_CRS", resource_template(resources))}));
}

Bytes isa_devices() {
  return cat({
      simple_device("PIC", "PNP0000", cat({io(0x20, 2), io(0xa0, 2), io(0x4d0, 2), irq(2)})),
      simple_device("TIMR", "PNP0100", cat({io(0x40, 4), irq(0)})),
      simple_device("SPKR", "PNP0800", io(0x61, 1)),
      simple_device("RTC", "PNP0B00", cat({io(RtcCmos::kPort, 2), irq(RtcCmos::kIrq)})),
      simple_device("KBD", "PNP0303", cat({io(0x60, 1), io(0x64, 1), irq(1)})),
  });
}

Bytes hpet_device() { return simple_device("HPET", "PNP0103", memory32_fixed(Hpet::kBase, Hpet::kSize)); }

Bytes first_serial_port() {
  return device("COM1",
                cat({name("_HID", eisa_id("PNP0501")), name("_UID", integer(1)),
                     name("_CRS", resource_template(cat({io(Serial16550::kCom1, 8), irq(Serial16550::kCom1Irq)})))}));
}

Bytes mouse_device() { return simple_device("MOU", "PNP0F13", irq(12)); }

Bytes processors(const Board& board) {
  Bytes all;
  for (unsigned i = 0; i < board.vcpus; ++i) append(all, processor(i));
  return all;
}

// SLP_TYPa, SLP_TYPb, and two that are reserved (7.4.2.6).
Bytes soft_off() { return name("_S5", package({integer(AcpiPm::kSlpTypS5), integer(0), integer(0), integer(0)})); }

Bytes plain_definition(const Board& board) {
  // Ports that the FADT names, so that nothing else is put there.
  const Bytes reserved =
      simple_device("MBRD", "PNP0C02",
                    cat({io(AcpiPm::kPm1aEventBlock, 0x10), io(AcpiPm::kGpe0Block, AcpiPm::kGpe0Length),
                         io(AcpiPm::kResetRegister, 1)}));
  return cat({soft_off(), scope("_SB", cat({isa_devices(), hpet_device(), reserved, first_serial_port(),
                                            board.mouse ? mouse_device() : Bytes(), processors(board)}))});
}

}  // namespace skerry::machine::acpi
