// What the machine needs of a board, whichever it is.
#pragma once

#include <functional>
#include <optional>
#include <vector>

#include "bus/address_space.hpp"
#include "bus/device.hpp"
#include "config/vm_config.hpp"
#include "devices/i8042.hpp"
#include "irqchip/apic_bus.hpp"
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

class Board {
 public:
  virtual ~Board() = default;
  // Puts the devices into the address spaces.
  virtual Result<void> attach(bus::AddressSpace& pio, bus::AddressSpace& mmio) = 0;
  // After the devices have been reset, where there is no firmware: the registers as firmware would leave them.
  virtual Result<void> set_up() { return ok(); }
  // Adds to the tables' view of it what is known only when all devices have been added.
  virtual void complete(acpi::Board&) const {}

  virtual irqchip::ApicBus& apic_bus() = 0;
  virtual FerrLatch& ferr() = 0;
  virtual devices::I8042* i8042() { return nullptr; }  // keyboard and mouse, where there are such
  virtual void press_power_button() = 0;               // any thread
  // The time of day goes on by `ns` that the VM spent in a file.
  virtual void advance_time_of_day(uint64_t) {}

  // In the order in which they are reset, saved and loaded: interrupt controllers before what drives their lines.
  virtual std::vector<bus::Device*> devices() = 0;
};

}  // namespace skerry::machine
