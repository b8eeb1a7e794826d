// The Bochs VBE extensions (Bochs, "VBE Display API"; the names are its own): modes with a linear frame buffer, as many
// pixels as fit, set by a few registers of 16 bits.
#pragma once

#include <cstddef>
#include <cstdint>

#include "devices/vga/registers.hpp"

namespace skerry::devices::vga {

// A mode as the monitor gets it: nothing of it is behind the end of the memory.
struct VbeMode {
  uint32_t width = 0, height = 0;  // pixels
  uint32_t bits = 0;               // of a pixel: 4 (in planes), 8 (of the palette), 15, 16, 24, 32
  uint32_t virtual_width = 0, virtual_height = 0;
  uint32_t x = 0, y = 0;  // of the virtual screen: what is at the upper left of the monitor
  uint32_t stride = 0;    // bytes from row to row; with 4 bits, of each plane

  size_t row_bytes() const { return (width * size_t{bits == 15 ? 16 : bits} + 7) / 8; }
};

class Dispi {
 public:
  static constexpr uint16_t kMaxXres = 4096, kMaxYres = 2560;
  enum Index : uint16_t {
    VBE_DISPI_INDEX_ID,
    VBE_DISPI_INDEX_XRES,
    VBE_DISPI_INDEX_YRES,
    VBE_DISPI_INDEX_BPP,
    VBE_DISPI_INDEX_ENABLE,
    VBE_DISPI_INDEX_BANK,
    VBE_DISPI_INDEX_VIRT_WIDTH,
    VBE_DISPI_INDEX_VIRT_HEIGHT,
    VBE_DISPI_INDEX_X_OFFSET,
    VBE_DISPI_INDEX_Y_OFFSET,
    VBE_DISPI_INDEX_VIDEO_MEMORY_64K,
  };
  enum Enable : uint16_t {
    VBE_DISPI_ENABLED = 0x01,
    VBE_DISPI_GETCAPS = 0x02,
    VBE_DISPI_8BIT_DAC = 0x20,
    VBE_DISPI_LFB_ENABLED = 0x40,  // the linear frame buffer is there without it too
    VBE_DISPI_NOCLEARMEM = 0x80,
  };
  static constexpr uint16_t kId0 = 0xb0c0, kId5 = 0xb0c5;

  explicit Dispi(size_t memory) : memory_(memory) {}
  void reset() { *this = Dispi(memory_); }
  void describe(state::Fields& fields);

  // The size and the offsets read as what they come to, whatever was written.
  uint16_t read(uint16_t index) const;
  // True if this begins a mode whose memory is to be cleared.
  bool write(uint16_t index, uint16_t value);

  bool enabled() const { return enable_ & VBE_DISPI_ENABLED; }
  bool eight_bit_dac() const { return enable_ & VBE_DISPI_8BIT_DAC; }
  uint32_t bank() const { return enabled() ? bank_ : 0; }
  VbeMode mode() const;

 private:
  bool write_enable(uint16_t value);

  size_t memory_;  // bytes
  // As written.
  uint16_t id_ = kId5;
  uint16_t xres_ = 0, yres_ = 0, bpp_ = 8;
  uint16_t enable_ = 0;
  uint16_t bank_ = 0;
  uint16_t virt_width_ = 0;
  uint16_t x_offset_ = 0, y_offset_ = 0;
};

// Makes the VGA's registers those of the mode, so that its window at 0xa0000 shows banks of the same memory in the same order.
void program(Registers& registers, const VbeMode& mode);

}  // namespace skerry::devices::vga
