#include "machine/plain_board.hpp"

#include <algorithm>

#include "base/units.hpp"
#include "machine/memory_layout.hpp"

namespace skerry::machine {

namespace {

// GSIs that no ISA device has: free for the HPET's timers.
constexpr uint32_t kHpetIntRouteCap = 0x00f0'0000;
constexpr unsigned kRtcIrq = devices::RtcCmos::kIrq;

devices::Hpet::Wiring hpet_wiring(irqchip::IrqRouter& router, irqchip::ApicBus& bus, LegacyTimerGate& gate) {
  return {.irqs = &router,
          .int_route_cap = kHpetIntRouteCap,
          .legacy_irq0 = {router, irqchip::IrqRouter::kTimerIrq},
          .legacy_irq8 = {router, kRtcIrq},
          .msi = &bus,
          .legacy_replacement = [&gate](bool on) { gate.set_replaced(on); }};
}

}  // namespace

uint64_t low_memory(const config::VmConfig& config) { return std::min(config.memory, MemoryLayout::hole_start(acpi_board(config))); }

PlainBoard::PlainBoard(const config::VmConfig& config, EventLoop& loop, chardev::Chardev& console,
                       GuestRequests requests)
    : pic_([this](bool level) { apic_bus_.set_lint0(level); }),
      ioapic_(apic_bus_),
      router_(pic_, ioapic_),
      timer_gate_(router_),
      pit_(bus::IrqLine(timer_gate_, irqchip::IrqRouter::kTimerIrq), loop),
      rtc_(bus::IrqLine(timer_gate_, kRtcIrq), loop),
      hpet_(loop, hpet_wiring(router_, apic_bus_, timer_gate_)),
      serial_("serial0", bus::IrqLine(router_, devices::Serial16550::kCom1Irq), loop, console),
      i8042_({.keyboard_irq = {router_, devices::I8042::kKeyboardIrq},
              .mouse_irq = {router_, devices::I8042::kMouseIrq},
              .mouse = true,
              .reset = requests.reset}),
      acpi_pm_(bus::IrqLine(router_, devices::AcpiPm::kSciIrq), loop,
               {.power_off = requests.power_off, .reset = requests.reset}),
      ferr_(bus::IrqLine(router_, FerrLatch::kIrq)) {
  apic_bus_.connect(&pic_, &ioapic_);
  if (config.isa_debug_exit) {
    debug_exit_port_ = *config.isa_debug_exit;
    debug_exit_ = std::make_unique<devices::DebugExit>(requests.debug_exit);
  }
  describe_memory_in_cmos(config);
}

Result<void> PlainBoard::attach(bus::AddressSpace& pio, bus::AddressSpace& mmio) {
  if (auto good = pic_.attach(pio); !good) return good;
  if (auto good = ioapic_.attach(mmio); !good) return good;
  if (auto good = pit_.attach(pio); !good) return good;
  if (auto good = rtc_.attach(pio); !good) return good;
  if (auto good = hpet_.attach(mmio); !good) return good;
  if (auto good = serial_.attach(pio, devices::Serial16550::kCom1); !good) return good;
  if (auto good = i8042_.attach(pio); !good) return good;
  if (auto good = acpi_pm_.attach(pio); !good) return good;
  if (auto good = attach_reset_register(pio); !good) return good;
  if (auto good = debug_console_.attach(pio); !good) return good;
  if (auto good = ferr_.attach(pio); !good) return good;
  if (!debug_exit_) return ok();
  auto good = debug_exit_->attach(pio, debug_exit_port_);
  return good ? std::move(good) : std::move(good).error().in("isa_debug_exit: choose another port");
}

std::vector<bus::Device*> PlainBoard::devices() {
  std::vector<bus::Device*> all{&pic_,    &ioapic_, &pit_,     &rtc_,           &hpet_,
                                &serial_, &i8042_,  &acpi_pm_, &debug_console_, &ferr_};
  if (debug_exit_) all.push_back(debug_exit_.get());
  return all;
}

// The indexes of the PC/AT BIOS and of its successors (Ralf Brown's CMOS list).
void PlainBoard::describe_memory_in_cmos(const config::VmConfig& config) {
  const auto set16 = [this](uint8_t index, uint64_t value) {
    rtc_.set_cmos(index, static_cast<uint8_t>(value));
    rtc_.set_cmos(static_cast<uint8_t>(index + 1), static_cast<uint8_t>(value >> 8));
  };
  constexpr uint64_t kMost = 0xffff;
  const uint64_t below_4g = low_memory(config);
  const uint64_t above_4g = config.memory - below_4g;
  const uint64_t extended = std::min((below_4g - 1 * MiB) / KiB, kMost);
  set16(0x15, MemoryLayout::kConventionalEnd / KiB);
  set16(0x17, extended);
  set16(0x30, extended);
  set16(0x34, below_4g > 16 * MiB ? std::min((below_4g - 16 * MiB) / (64 * KiB), kMost) : 0);
  set16(0x5b, above_4g / (64 * KiB));
  rtc_.set_cmos(0x5d, static_cast<uint8_t>(above_4g / (64 * KiB) >> 16));
  rtc_.set_cmos(0x5f, static_cast<uint8_t>(config.vcpus - 1));
}

}  // namespace skerry::machine
