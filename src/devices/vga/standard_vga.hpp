// The "standard VGA" that firmware and guests know from other virtual machines: a VGA with the extensions of Bochs' VBE, as a PCI function with
// a frame buffer. QEMU's docs/specs/standard-vga.txt has its identity and the layout of its BARs.
//
// The guest draws to memory. Nobody watches it do so: whoever wants to see the screen asks for it (Screen::refresh()), and then all of it is
// compared with what was there before.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "bus/pci.hpp"
#include "devices/io_window.hpp"
#include "devices/vga/vga_core.hpp"
#include "display/screen.hpp"
#include "memory/guest_memory.hpp"

namespace skerry::devices::vga {

class StandardVga final : public bus::PciFunction {
 public:
  static constexpr uint64_t kVideoMemory = 16 << 20;     // bytes
  static constexpr memory::Gpa kHome = uint64_t{1} << 48;  // of the video memory
  static constexpr uint64_t kWindow = 0xa0000;            // where all VGAs have their memory
  static constexpr uint16_t kVendor = 0x1234, kDevice = 0x1111;

  // `kick_all` makes every vCPU come to an instruction boundary; any thread. `screen` and `memory` outlive it. At rest.
  static Result<std::unique_ptr<StandardVga>> create(memory::GuestMemory& memory, std::function<void()> kick_all, display::Screen& screen);
  ~StandardVga() override;

  // The ports and the memory that VGAs have at fixed places. At rest.
  Result<void> attach(bus::AddressSpace& pio, bus::AddressSpace& mmio);

  void reset() override;
  void describe(state::Fields& fields) override;
  void restored() override;

 private:
  StandardVga(memory::GuestMemory& memory, std::function<void()> kick_all, display::Screen& screen);
  uint64_t read_ports(uint16_t port, unsigned size);
  void write_ports(uint16_t port, unsigned size, uint64_t value);
  uint64_t read_dispi(uint64_t offset);
  void write_dispi(uint64_t offset, uint64_t value);
  static uint64_t read_edid(uint64_t offset, unsigned size);
  uint64_t read_registers(uint64_t offset, unsigned size);
  void write_registers(uint64_t offset, unsigned size, uint64_t value);

  memory::GuestMemory& memory_;
  display::Screen& screen_;
  VgaCore core_;
  std::atomic<uint16_t> dispi_index_{0};  // what port kDispiIndex chose
  IoWindow ports_, dispi_, window_, registers_;
};

}  // namespace skerry::devices::vga
