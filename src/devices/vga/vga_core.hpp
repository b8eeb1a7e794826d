// A standard VGA with the Bochs VBE extensions: its registers, the legacy window of its memory, and what its monitor shows.
// It knows nothing of the bus that it is on.
//
// Threads: everything that the guest touches may be called from any thread; one lock covers the registers. draw() is for one
// thread at a time; it takes the lock only to copy registers, and reads the memory, which the guest writes to, without it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <span>

#include "devices/vga/dispi.hpp"
#include "devices/vga/planes.hpp"
#include "devices/vga/registers.hpp"
#include "display/screen.hpp"

namespace skerry::devices::vga {

class VgaCore {
 public:
  static constexpr uint16_t kFirstPort = 0x3b0, kPorts = 0x30;  // 0x3b0 to 0x3df
  static constexpr uint64_t kWindowSize = 0x20000;              // legacy memory, 0xa0000 to 0xbffff

  // `vram`: a multiple of 64 KiB, at least 256 KiB, aligned to 8 bytes. It outlives this, and is the linear frame buffer as
  // it is: the guest writes to it at any time by itself. Neither reset nor state have to do with its contents.
  explicit VgaCore(std::span<std::byte> vram);
  void reset();
  void describe(state::Fields& fields);  // at rest; all but the memory
  void restored();

  // One byte of the ports 0x3b0 to 0x3df, by their numbers. What is not there reads as 0xff.
  uint8_t read_port(uint16_t port);
  void write_port(uint16_t port, uint8_t value);
  // 1, 2, 4 or 8 bytes of the legacy window, of which `offset` is the first's place; little-endian.
  uint64_t read_window(uint64_t offset, unsigned size);
  void write_window(uint64_t offset, unsigned size, uint64_t value);
  // VBE_DISPI_INDEX_*. Beginning a mode clears its picture, up to all of the memory, before the write returns.
  uint16_t read_dispi(uint16_t index);
  void write_dispi(uint16_t index, uint16_t value);

  // Draws what the monitor shows now: gives the screen the mode's size, and all pixels, of which it passes on what differs. A
  // monitor that is off is black in the size that it had. A screen that has no memory for the size stays as it was. `host_ns`,
  // of any steady clock, is for what blinks.
  void draw(display::Screen& screen, int64_t host_ns);

 private:
  const Vram vram_;
  std::mutex lock_;  // for everything that follows
  Registers registers_;
  Planes planes_;
  Dispi dispi_;
};

}  // namespace skerry::devices::vga
