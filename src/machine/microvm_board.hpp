// The board "microvm-1": the smallest machine. Local APICs, an I/O APIC, one serial port, virtio devices by
// memory-mapped registers, hardware-reduced ACPI. No PCI, no 8259s, no 8254, no clock but the processors' and KVM's, no
// keyboard.
#pragma once

#include <array>
#include <memory>
#include <vector>

#include "chardev/chardev.hpp"
#include "devices/acpi_ged.hpp"
#include "devices/debug_exit.hpp"
#include "devices/serial_16550.hpp"
#include "irqchip/ioapic.hpp"
#include "machine/board.hpp"
#include "machine/virtio_home.hpp"
#include "memory/guest_memory.hpp"
#include "virtio/mmio_transport.hpp"

namespace skerry::machine {

class MicrovmBoard final : public Board, public VirtioHome {
 public:
  static constexpr std::string_view kName = "microvm-1";
  // Where the registers of virtio devices are, one behind the other in the order in which they are added.
  static constexpr uint32_t kVirtioBase = 0xfeb00000;
  // The pins of the I/O APIC that are theirs, in the same order: all but the serial port's, the event device's, and 0,
  // which guests take for "none".
  static constexpr std::array<uint8_t, 21> kVirtioPins = {16, 17, 18, 19, 20, 21, 22, 23, 10, 11, 12,
                                                          13, 14, 15, 5,  6,  7,  8,  1,  2,  3};

  struct Surroundings {
    memory::GuestMemory& memory;
    bus::AddressSpace& mmio;
    // Whether a vCPU may wait for a device's loop: not while it is itself waited for. Any thread.
    std::function<bool()> may_wait;
  };
  MicrovmBoard(const config::VmConfig& config, EventLoop& loop, chardev::Chardev& console, GuestRequests requests,
               Surroundings around);

  Result<void> attach(bus::AddressSpace& pio, bus::AddressSpace& mmio) override;
  Result<void> set_up() override;
  Result<Place> connect(virtio::Device& device, virtio::LoopThread loop, std::optional<unsigned> slot) override;
  void complete(acpi::Board& board) const override;

  irqchip::ApicBus& apic_bus() override { return apic_bus_; }
  FerrLatch& ferr() override { return ferr_; }
  void press_power_button() override { ged_.press_power_button(); }
  std::vector<bus::Device*> devices() override;

 private:
  // A line is a pin.
  class Pins final : public bus::IrqSink {
   public:
    explicit Pins(irqchip::IoApic& ioapic) : ioapic_(ioapic) {}
    void set_irq(unsigned gsi, bool level) override { ioapic_.set_irq(gsi, level); }

   private:
    irqchip::IoApic& ioapic_;
  };

  const Surroundings around_;
  irqchip::ApicBus apic_bus_;
  irqchip::IoApic ioapic_;
  Pins pins_{ioapic_};
  devices::Serial16550 serial_;
  devices::AcpiGed ged_;
  FerrLatch ferr_{bus::IrqLine()};  // FERR# leads nowhere here
  uint16_t debug_exit_port_ = 0;
  std::unique_ptr<devices::DebugExit> debug_exit_;
  std::vector<virtio::MmioTransport*> virtio_;
};

}  // namespace skerry::machine
