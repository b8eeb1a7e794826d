// The legacy window of the VGA's memory, 0xa0000 to 0xbffff: from an address to the planes, and the data path between them
// and the processor ("IBM VGA Technical Reference", "Graphics Controller").
#pragma once

#include <cstdint>
#include <optional>

#include "devices/vga/registers.hpp"
#include "devices/vga/vram.hpp"

namespace skerry::devices::vga {

class Planes {
 public:
  explicit Planes(Vram vram) : vram_(vram) {}

  // One byte at `offset` of the window. `bank` counts units of 64 KiB, by which the window at 0xa0000 begins later.
  uint8_t read(const Registers& registers, uint64_t offset, uint32_t bank);
  void write(const Registers& registers, uint64_t offset, uint32_t bank, uint8_t value);

  uint32_t latches = 0;  // what the last reading found, plane 0 in the lowest byte

 private:
  struct Place {
    size_t address;   // in each plane
    uint8_t writable;  // planes, bit 0 for plane 0
    uint8_t readable;  // the number of one
  };
  static std::optional<Place> place(const Registers& registers, uint64_t offset, uint32_t bank);
  uint32_t result(const Registers& registers, uint8_t value) const;

  Vram vram_;
};

}  // namespace skerry::devices::vga
