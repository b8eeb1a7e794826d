// The devices of the plain board that a guest cannot find by itself.
#include "devices/acpi_pm.hpp"
#include "devices/hpet.hpp"
#include "devices/rtc_cmos.hpp"
#include "devices/serial_16550.hpp"
#include "machine/acpi/aml.hpp"
#include "machine/acpi/tables.hpp"

namespace skerry::machine::acpi {

namespace {

using namespace aml;

Bytes plain_device(std::string_view path, std::string_view hid, const Bytes& resources) {
  return device(path, cat({name("_HID", eisa_id(hid)), name("_CRS", resource_template(resources))}));
}

// A processor device (ACPI 6.4, 8.4): its _UID is that of its MADT entry.
Bytes processor(unsigned index) {
  constexpr char kHex[] = "0123456789ABCDEF";
  const char path[] = {'C', '0', kHex[index >> 4 & 15], kHex[index & 15]};
  return device({path, sizeof path}, cat({name("_HID", string("ACPI0007")), name("_UID", integer(index))}));
}

Bytes legacy_devices(const Board& board) {
  using namespace devices;
  Bytes result = cat({
      plain_device("PIC", "PNP0000", cat({io(0x20, 2), io(0xa0, 2), io(0x4d0, 2), irq(2)})),
      plain_device("TIMR", "PNP0100", cat({io(0x40, 4), irq(0)})),
      plain_device("SPKR", "PNP0800", io(0x61, 1)),
      plain_device("RTC", "PNP0B00", cat({io(RtcCmos::kPort, 2), irq(RtcCmos::kIrq)})),
      plain_device("KBD", "PNP0303", cat({io(0x60, 1), io(0x64, 1), irq(1)})),
      plain_device("HPET", "PNP0103", memory32_fixed(Hpet::kBase, Hpet::kSize)),
      // Ports that the FADT names, so that nothing else is put there.
      plain_device("MBRD", "PNP0C02",
                   cat({io(AcpiPm::kPm1aEventBlock, 0x10), io(AcpiPm::kGpe0Block, AcpiPm::kGpe0Length),
                        io(AcpiPm::kResetRegister, 1)})),
      device("COM1",
             cat({name("_HID", eisa_id("PNP0501")), name("_UID", integer(1)),
                  name("_CRS", resource_template(cat({io(Serial16550::kCom1, 8), irq(Serial16550::kCom1Irq)})))})),
  });
  return board.mouse ? cat({result, plain_device("MOU", "PNP0F13", irq(12))}) : result;
}

}  // namespace

Bytes dsdt_definition(const Board& board) {
  // _S5: SLP_TYPa, SLP_TYPb, and two that are reserved (7.4.2.6).
  const Bytes soft_off =
      name("_S5", package({integer(devices::AcpiPm::kSlpTypS5), integer(0), integer(0), integer(0)}));
  Bytes bus = legacy_devices(board);
  for (unsigned i = 0; i < board.vcpus; ++i) bus = cat({bus, processor(i)});
  return cat({soft_off, scope("_SB", bus)});
}

}  // namespace skerry::machine::acpi
