#include "machine/microvm_board.hpp"

namespace skerry::machine {

namespace {

// All that there is of a BIOS. A Linux that finds hardware-reduced ACPI and no EFI restarts the machine by going to
// where processors start, in real mode, and not by the reset register.
constexpr uint64_t kResetVector = 0xffff0;
constexpr uint8_t kPortLow = devices::AcpiGed::kResetPort & 0xff, kPortHigh = devices::AcpiGed::kResetPort >> 8;
constexpr uint8_t kReset[] = {0xba, kPortLow, kPortHigh,            // mov dx, kResetPort
                              0xb0, devices::AcpiGed::kResetValue,  // mov al, kResetValue
                              0xee,                                 // out dx, al
                              0xfa, 0xf4, 0xeb, 0xfd};              // cli; 1: hlt; jmp 1b

}  // namespace

MicrovmBoard::MicrovmBoard(const config::VmConfig& config, EventLoop& loop, chardev::Chardev& console,
                           GuestRequests requests, Surroundings around)
    : around_(std::move(around)),
      ioapic_(apic_bus_),
      serial_("serial0", bus::IrqLine(pins_, devices::Serial16550::kCom1Irq), loop, console),
      ged_(bus::IrqLine(pins_, devices::AcpiGed::kIrq), {.power_off = requests.power_off, .reset = requests.reset}) {
  apic_bus_.connect(nullptr, &ioapic_);
  if (!config.isa_debug_exit) return;
  debug_exit_port_ = *config.isa_debug_exit;
  debug_exit_ = std::make_unique<devices::DebugExit>(requests.debug_exit);
}

Result<void> MicrovmBoard::attach(bus::AddressSpace& pio, bus::AddressSpace& mmio) {
  if (auto good = ioapic_.attach(mmio); !good) return good;
  if (auto good = serial_.attach(pio, devices::Serial16550::kCom1); !good) return good;
  if (auto good = ged_.attach(pio); !good) return good;
  if (!debug_exit_) return ok();
  auto good = debug_exit_->attach(pio, debug_exit_port_);
  return good ? std::move(good) : std::move(good).error().in("isa_debug_exit: choose another port");
}

Result<void> MicrovmBoard::set_up() {
  around_.memory.write(kResetVector, std::as_bytes(std::span(kReset)));
  return ok();
}

Result<VirtioHome::Place> MicrovmBoard::connect(virtio::Device& device, virtio::LoopThread loop, std::optional<unsigned>) {
  const auto index = static_cast<unsigned>(virtio_.size());
  if (index >= kVirtioPins.size())
    return error("the board has {} places for devices, and all are taken", kVirtioPins.size());
  auto transport = virtio::MmioTransport::create(
      device, {.loop = loop, .irq = bus::IrqLine(pins_, kVirtioPins[index]), .may_wait = around_.may_wait});
  if (!transport) return std::move(transport).error();
  if (auto good = (*transport)->attach(around_.mmio, kVirtioBase + index * virtio::MmioTransport::kSize); !good)
    return std::move(good).error();
  virtio_.push_back(transport->get());
  return Place{std::move(*transport), index};
}

void MicrovmBoard::complete(acpi::Board& board) const {
  constexpr auto kSize = static_cast<uint32_t>(virtio::MmioTransport::kSize);
  board.microvm.emplace();
  for (uint32_t i = 0; i < virtio_.size(); ++i)
    board.microvm->push_back({kVirtioBase + i * kSize, kSize, kVirtioPins[i]});
}

std::vector<bus::Device*> MicrovmBoard::devices() {
  std::vector<bus::Device*> all{&ioapic_, &serial_, &ged_};
  if (debug_exit_) all.push_back(debug_exit_.get());
  all.insert(all.end(), virtio_.begin(), virtio_.end());
  return all;
}

}  // namespace skerry::machine
