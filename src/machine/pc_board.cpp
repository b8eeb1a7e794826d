#include "machine/pc_board.hpp"

namespace skerry::machine {

PcBoard::PcBoard(const config::VmConfig& config, EventLoop& loop, chardev::Chardev& console, GuestRequests requests,
                 memory::GuestMemory& memory, Spaces spaces, Processors processors)
    : PciBoard(config, loop, console, std::move(requests), memory, spaces, processors.kick_all, kFirstSlot),
      isa_(router()),
      pm_(devices::AcpiPm::kPm1aEventBlock),
      pmc_(memory, processors.kick_all) {}

Result<void> PcBoard::attach_chipset(bus::AddressSpace&) {
  if (auto good = host().root().add(pmc_, 0); !good) return good;
  if (auto good = host().root().add(isa_, kPiixSlot); !good) return good;
  if (auto good = host().root().add(pm_, kPiixSlot, devices::Piix4Pm::kFunction); !good) return good;
  pmc_.reset();  // before an accelerator takes the memory: some take each change of it dearly
  return ok();
}

void PcBoard::set_up_chipset() {
  pmc_.set_up();
  isa_.set_up();
  pm_.set_up();
}

uint8_t PcBoard::interrupt_line(unsigned device, unsigned pin) const {
  return static_cast<uint8_t>(devices::Piix3Isa::isa_irq(devices::Piix3Isa::pirq(device, pin)));
}

// UEFI moves the power management block and asks for the ACPI tables that then are right.
Result<void> PcBoard::tell_firmware(const FirmwareImage& image) {
  if (!image.variables().empty()) return error("firmware: {} is a UEFI, and board {} starts by a BIOS; use board q35-1", image.path(), kName);
  return ok();
}

}  // namespace skerry::machine
