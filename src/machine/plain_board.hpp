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
#include "machine/board.hpp"
#include "machine/legacy_wiring.hpp"

namespace skerry::machine {

class PlainBoard : public Board {
 public:
  PlainBoard(const config::VmConfig& config, EventLoop& loop, chardev::Chardev& console, GuestRequests requests);

  Result<void> attach(bus::AddressSpace& pio, bus::AddressSpace& mmio) override;
  irqchip::ApicBus& apic_bus() final { return apic_bus_; }
  FerrLatch& ferr() final { return ferr_; }
  devices::I8042* i8042() final { return &i8042_; }
  void press_power_button() final { acpi_pm_.press_power_button(); }
  void advance_time_of_day(uint64_t ns) final { rtc_.advance(ns); }
  std::vector<bus::Device*> devices() override;

  devices::AcpiPm& acpi_pm() { return acpi_pm_; }
  bus::IrqLine isa_line(unsigned irq) { return {router_, irq}; }

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
