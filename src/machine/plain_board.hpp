// The board "plain-1": a PC without PCI. Interrupt controllers, timers, one serial port, keyboard controller, ACPI.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "base/event_loop.hpp"
#include "bus/address_space.hpp"
#include "bus/device.hpp"
#include "chardev/chardev.hpp"
#include "config/vm_config.hpp"
#include "devices/acpi_pm.hpp"
#include "devices/debug_console.hpp"
#include "devices/debug_exit.hpp"
#include "devices/hpet.hpp"
#include "devices/i8042.hpp"
#include "devices/rtc_cmos.hpp"
#include "devices/serial_16550.hpp"
#include "irqchip/apic_bus.hpp"
#include "irqchip/ioapic.hpp"
#include "irqchip/irq_router.hpp"
#include "irqchip/pic.hpp"
#include "irqchip/pit.hpp"
#include "machine/acpi/tables.hpp"
#include "machine/legacy_wiring.hpp"
#include "machine/smbios.hpp"

namespace skerry::machine {

// The guest's wishes about its machine. Called on vCPU threads with no lock held; they only post.
struct GuestRequests {
  std::function<void()> power_off;
  std::function<void()> reset;
  std::function<void(uint8_t status)> debug_exit;
  std::function<void()> watchdog_expired;
  std::function<void()> panicked;  // its kernel has; it does not go on by itself
};

// What the ACPI tables and the layout of memory need to know of a board.
acpi::Board acpi_board(const config::VmConfig& config);
std::optional<smbios::Info> smbios_info(const config::VmConfig& config);  // for boards that have such tables
uint64_t low_memory(const config::VmConfig& config);                      // below 4 GiB

class PlainBoard {
 public:
  PlainBoard(const config::VmConfig& config, EventLoop& loop, chardev::Chardev& console, GuestRequests requests);
  virtual ~PlainBoard() = default;
  // Puts the devices into the address spaces.
  virtual Result<void> attach(bus::AddressSpace& pio, bus::AddressSpace& mmio);
  // After the devices have been reset, where there is no firmware: the registers as firmware would leave them.
  virtual Result<void> set_up() { return ok(); }

  irqchip::ApicBus& apic_bus() { return apic_bus_; }
  FerrLatch& ferr() { return ferr_; }
  devices::AcpiPm& acpi_pm() { return acpi_pm_; }
  devices::RtcCmos& rtc() { return rtc_; }
  devices::I8042& i8042() { return i8042_; }  // keyboard and mouse
  bus::IrqLine isa_line(unsigned irq) { return {router_, irq}; }

  // In the order in which they are reset, saved and loaded: interrupt controllers before what drives their lines.
  virtual std::vector<bus::Device*> devices();

 protected:
  irqchip::IrqRouter& router() { return router_; }
  // Who gives the reset register its port.
  virtual Result<void> attach_reset_register(bus::AddressSpace& pio) { return acpi_pm_.attach_reset_register(pio); }

 private:
  void describe_memory_in_cmos(const config::VmConfig& config);

  irqchip::ApicBus apic_bus_;
  irqchip::Pic pic_;
  irqchip::IoApic ioapic_;
  irqchip::IrqRouter router_;
  LegacyTimerGate timer_gate_;
  irqchip::Pit pit_;
  devices::RtcCmos rtc_;
  devices::Hpet hpet_;
  devices::Serial16550 serial_;
  devices::I8042 i8042_;
  devices::AcpiPm acpi_pm_;
  devices::DebugConsole debug_console_;
  FerrLatch ferr_;
  uint16_t debug_exit_port_ = 0;
  std::unique_ptr<devices::DebugExit> debug_exit_;
};

}  // namespace skerry::machine
