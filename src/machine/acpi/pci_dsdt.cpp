// The boards with PCI: a root, and a bridge with the devices of a PC behind it. Which PIRQ a pin is, and where that leads, is
// what chipsets do differently.
#include <cassert>

#include "devices/acpi_pm.hpp"
#include "devices/fw_cfg.hpp"
#include "devices/pvpanic.hpp"
#include "devices/tpm/crb.hpp"
#include "machine/acpi/definitions.hpp"

namespace skerry::machine::acpi {

using namespace aml;
using namespace devices;

namespace {

constexpr unsigned kPciSlots = 32, kPins = 4;
// The configuration mechanism's ports, which the root keeps for itself.
constexpr uint16_t kConfigPorts = 0xcf8, kConfigPortCount = 8;
// ICH9, 13.8.3: the power management registers, 128 ports at PMBASE.
constexpr uint8_t kPmPorts = 0x80;
constexpr uint8_t IRQEN = 0x80;  // "1 = the PIRQ is not routed to the 8259"
constexpr uint8_t kRouteMask = 0x0f;
// _STA (6.3.7): present, enabled, not shown, working; and one that is not enabled.
constexpr uint8_t kHidden = 0x0b, kDisabled = 0x09;

// The bridge to the ISA bus, in whose configuration space the PIRQs' registers are.
struct Bridge {
  std::string_view name;
  unsigned device;
  uint8_t routes;  // the first of four registers
  std::string_view links[kPins], link_paths[kPins], registers[kPins];
  unsigned first_slot;  // whose INTA is the first of the four PIRQs, as INTB of the slot before it is
};
// ICH9, 13.1.20 "PIRQ[n]_ROUT": PIRQE to PIRQH.
constexpr Bridge kLpc = {"LPC",
                         PciRoot::kLpcDevice,
                         0x68,
                         {"LNKE", "LNKF", "LNKG", "LNKH"},
                         {"\\_SB.PCI0.LPC.LNKE", "\\_SB.PCI0.LPC.LNKF", "\\_SB.PCI0.LPC.LNKG", "\\_SB.PCI0.LPC.LNKH"},
                         {"PRQE", "PRQF", "PRQG", "PRQH"},
                         0};
// PIIX3, PIRQRC: PIRQA to PIRQD.
constexpr Bridge kPiix = {"ISA",
                          PciRoot::kPiixDevice,
                          0x60,
                          {"LNKA", "LNKB", "LNKC", "LNKD"},
                          {"\\_SB.PCI0.ISA.LNKA", "\\_SB.PCI0.ISA.LNKB", "\\_SB.PCI0.ISA.LNKC", "\\_SB.PCI0.ISA.LNKD"},
                          {"PRQA", "PRQB", "PRQC", "PRQD"},
                          PciRoot::kPiixDevice};

bool is_express(const Board& board) { return board.pci->chipset == PciRoot::Chipset::kQ35; }
const Bridge& bridge_of(const Board& board) { return is_express(board) ? kLpc : kPiix; }

uint64_t slot_address(unsigned slot) { return uint64_t{slot} << 16; }

Bytes root_resources(const PciRoot& pci) {
  Bytes resources = cat({
      bus_numbers(0, PciRoot::kBuses - 1),
      io(kConfigPorts, kConfigPortCount),
      io_window(0, kConfigPorts - 1),
      io_window(kConfigPorts + kConfigPortCount, 0xffff),
      memory32_window(pci.mmio32_first, pci.mmio32_last),
  });
  if (pci.mmio64_last > pci.mmio64_first)
    append(resources, memory64_window(pci.mmio64_first, pci.mmio64_last));
  return name("_CRS", resource_template(resources));
}

// One entry of a _PRT (6.2.13): where pin `pin` of `slot` leads. With the 8259s it is a link device, else a GSI.
Bytes route(const Bridge& bridge, unsigned slot, unsigned pin, bool with_links) {
  const unsigned line = (slot + pin + kPins - bridge.first_slot) % kPins;
  const Bytes address = integer(slot_address(slot) | 0xffff);
  if (with_links) return package({address, integer(pin), path(bridge.link_paths[line]), integer(0)});
  return package({address, integer(pin), integer(0), integer(PciRoot::kFirstPciGsi + line)});
}

Bytes routing_table(const Bridge& bridge, std::string_view path, bool with_links) {
  Bytes routes;
  for (unsigned slot = 0; slot < kPciSlots; ++slot)
    for (unsigned pin = 0; pin < kPins; ++pin) append(routes, route(bridge, slot, pin, with_links));
  return name(path, package(kPciSlots * kPins, routes));
}

// The PIIX3's PIRQs have no inputs of the I/O APIC but by way of the ISA bus.
Bytes routing(const Board& board) {
  if (!is_express(board)) return routing_table(kPiix, "_PRT", true);
  return cat({
      routing_table(kLpc, "PRTL", true),
      routing_table(kLpc, "PRTA", false),
      method("_PRT", 0, Serialize::kNo,
             cat({if_then(path("\\PICF"), return_value(path("PRTA"))), return_value(path("PRTL"))})),
  });
}

// 6.2.11.3; PCI Firmware Specification 3.3, 4.5.1. The guest may have every native feature of PCI Express there is: hot
// plug (of either kind), PME, AER, the capability structures, LTR. There is no firmware that would use them.
Bytes operating_system_capabilities() {
  constexpr uint8_t kGranted = 0x3f;
  constexpr uint8_t kUnrecognizedUuid = 1 << 2, kUnrecognizedRevision = 1 << 3, kCapabilitiesMasked = 1 << 4;
  const auto set_in_status = [](uint8_t bits) { return bit_or(path("CDW1"), integer(bits), path("CDW1")); };
  const Bytes known = cat({
      dword_field(argument(3), 8, "CDW3"),
      bit_and(path("CDW3"), integer(kGranted), local(0)),
      if_then(logical_not(equal(argument(1), integer(1))), set_in_status(kUnrecognizedRevision)),
      if_then(logical_not(equal(path("CDW3"), local(0))), set_in_status(kCapabilitiesMasked)),
      store(local(0), path("CDW3")),
  });
  return method("_OSC", 4, Serialize::kYes,
                cat({dword_field(argument(3), 0, "CDW1"),
                     if_then(equal(argument(0), uuid("33DB4D5B-1FF7-401C-9657-7441C03DD766")), known),
                     otherwise(set_in_status(kUnrecognizedUuid)), return_value(argument(3))}));
}

// A link device: which interrupt of the 8259s a PIRQ is.
Bytes link(const Bridge& bridge, unsigned number) {
  const Bytes register_ = path(bridge.registers[number]);
  const Bytes current =
      method("_CRS", 0, Serialize::kYes,
             cat({dword_field(path("PRR0"), kInterruptNumber, "PRRI"),
                  bit_and(register_, integer(kRouteMask), path("PRRI")), return_value(path("PRR0"))}));
  const Bytes set = method("_SRS", 1, Serialize::kYes,
                           cat({dword_field(argument(0), kInterruptNumber, "PRRI"), store(path("PRRI"), register_)}));
  return device(bridge.links[number],
                cat({name("_HID", eisa_id("PNP0C0F")), name("_UID", integer(number)),
                     method("_STA", 0, Serialize::kNo,
                            cat({if_then(bit_and(register_, integer(IRQEN)), return_value(integer(kDisabled))),
                                 return_value(integer(kHidden))})),
                     method("_DIS", 0, Serialize::kNo, bit_or(register_, integer(IRQEN), register_)),
                     name("_PRS", resource_template(interrupts({5, 10, 11}))),
                     name("PRR0", resource_template(interrupts({0}))), current, set}));
}

// QEMU, docs/specs/pvpanic: RDPT and WRPT are for guests that do not look at _CRS.
Bytes panic_device() {
  return device("PEVT",
                cat({name("_HID", string("QEMU0001")), name("_STA", integer(kHidden)),
                     name("_CRS", resource_template(io(PvPanic::kPort, 1))),
                     operation_region("PEOR", Space::kSystemIo, PvPanic::kPort, 1), byte_fields("PEOR", {"PEPT"}),
                     method("RDPT", 0, Serialize::kNo, return_value(path("PEPT"))),
                     method("WRPT", 1, Serialize::kNo, store(argument(0), path("PEPT")))}));
}

Bytes firmware_configuration() {
  return device("FWCF", cat({name("_HID", string("QEMU0002")), name("_STA", integer(kHidden)),
                             name("_CRS", resource_template(io(FwCfg::kSelectorPort, FwCfg::kPorts)))}));
}

// TCG ACPI Specification 1.3, 6: the registers that the table TPM2 does not give.
Bytes tpm_device() {
  return device("TPM0", cat({name("_HID", string("MSFT0101")), name("_STA", integer(kHidden)),
                             name("_CRS", resource_template(memory32_fixed(tpm::Crb::kBase, tpm::Crb::kSize)))}));
}

Bytes isa_bridge(const Board& board) {
  const Bridge& bridge = bridge_of(board);
  const auto& registers = bridge.registers;
  return device(bridge.name, cat({name("_ADR", integer(slot_address(bridge.device))),
                                  operation_region("PIRQ", Space::kPciConfig, bridge.routes, kPins),
                                  byte_fields("PIRQ", {registers[0], registers[1], registers[2], registers[3]}), link(bridge, 0),
                                  link(bridge, 1), link(bridge, 2), link(bridge, 3), isa_devices(), first_serial_port(),
                                  board.mouse ? mouse_device() : Bytes(), panic_device(), firmware_configuration()}));
}

// Interrupts of what is behind a root port are turned on their way through it, as guests know (PCI-to-PCI Bridge 1.2,
// 9.1), so a port needs no _PRT.
Bytes root_ports(const PciRoot& pci) {
  constexpr char kHex[] = "0123456789ABCDEF";
  assert(pci.root_ports < PciRoot::kLpcDevice);
  Bytes ports;
  for (unsigned i = 1; i <= pci.root_ports; ++i) {
    const char path[] = {'R', 'P', kHex[i >> 4], kHex[i & 15]};
    append(ports, device({path, sizeof path}, name("_ADR", integer(slot_address(i)))));
  }
  return ports;
}

Bytes root(const Board& board) {
  const Bytes ids = is_express(board) ? cat({name("_HID", eisa_id("PNP0A08")), name("_CID", eisa_id("PNP0A03"))})
                                      : name("_HID", eisa_id("PNP0A03"));
  return device("PCI0", cat({ids, name("_UID", integer(0)), name("_BBN", integer(0)), root_resources(*board.pci),
                             is_express(board) ? operating_system_capabilities() : Bytes(), isa_bridge(board), routing(board),
                             root_ports(*board.pci)}));
}

}  // namespace

Bytes pci_definition(const Board& board) {
  // What no driver claims: the registers that the FADT names, and the configuration space, which the guest takes into
  // use only if it is reserved (PCI Firmware Specification 3.3, 4.1.2).
  Bytes owned = io(AcpiPm::kPm1aEventBlock, kPmPorts);
  if (const auto ecam = ecam_base(board)) append(owned, memory32_fixed(*ecam, PciRoot::kEcamSize));
  const Bytes reserved = simple_device("MBRD", "PNP0C02", owned);
  return cat({
      soft_off(),
      name("PICF", integer(0)),  // what _PIC was told: 0, the 8259s; 1, the I/O APIC (5.8.1)
      method("_PIC", 1, Serialize::kNo, store(argument(0), path("PICF"))),
      scope("_SB", cat({root(board), hpet_device(), reserved, board.pci->tpm ? tpm_device() : Bytes(), processors(board)})),
  });
}

}  // namespace skerry::machine::acpi
