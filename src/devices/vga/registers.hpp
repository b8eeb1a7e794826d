// The registers of the VGA, by the names of the "IBM VGA Technical Reference" and of FreeVGA. Any contents are allowed:
// who uses them masks what it uses.
#pragma once

#include <array>
#include <cstdint>

#include "state/fields.hpp"

namespace skerry::devices::vga {

namespace misc_output {
enum : uint8_t { IOAS = 0x01, RAM_ENABLE = 0x02 };  // IOAS: CRTC and status at 0x3dx, else at 0x3bx
}

namespace input_status_1 {
enum : uint8_t { DISPLAY_DISABLED = 0x01, VERTICAL_RETRACE = 0x08 };
}

namespace sequencer {
enum Index : uint8_t { RESET, CLOCKING_MODE, MAP_MASK, CHARACTER_MAP_SELECT, SEQUENCER_MEMORY_MODE, kCount };
enum ClockingMode : uint8_t { EIGHT_DOTS = 0x01, DOT_CLOCK_HALVED = 0x08, SCREEN_DISABLE = 0x20 };
enum MemoryMode : uint8_t { ODD_EVEN_DISABLE = 0x04, CHAIN_4 = 0x08 };
}  // namespace sequencer

namespace crtc {
enum Index : uint8_t {
  HORIZONTAL_TOTAL = 0x00,
  END_HORIZONTAL_DISPLAY = 0x01,
  OVERFLOW_BITS = 0x07,  // "Overflow"
  PRESET_ROW_SCAN = 0x08,
  MAXIMUM_SCAN_LINE = 0x09,
  CURSOR_START = 0x0a,
  CURSOR_END = 0x0b,
  START_ADDRESS_HIGH = 0x0c,
  START_ADDRESS_LOW = 0x0d,
  CURSOR_LOCATION_HIGH = 0x0e,
  CURSOR_LOCATION_LOW = 0x0f,
  VERTICAL_RETRACE_END = 0x11,
  VERTICAL_DISPLAY_END = 0x12,
  OFFSET = 0x13,
  UNDERLINE_LOCATION = 0x14,
  MODE_CONTROL = 0x17,
  LINE_COMPARE = 0x18,
  kCount = 0x19,
};
enum MaximumScanLine : uint8_t { SCAN_DOUBLING = 0x80, LINE_COMPARE_9 = 0x40 };
enum Overflow : uint8_t { VERTICAL_DISPLAY_END_8 = 0x02, LINE_COMPARE_8 = 0x10, VERTICAL_DISPLAY_END_9 = 0x40 };
enum CursorStart : uint8_t { CURSOR_DISABLE = 0x20 };
enum VerticalRetraceEnd : uint8_t { PROTECT = 0x80 };
enum ModeControl : uint8_t { MAP13 = 0x01, MAP14 = 0x02, BYTE_MODE = 0x40 };
}  // namespace crtc

namespace graphics {
enum Index : uint8_t {
  SET_RESET,
  ENABLE_SET_RESET,
  COLOR_COMPARE,
  DATA_ROTATE,
  READ_MAP_SELECT,
  GRAPHICS_MODE,
  MISCELLANEOUS_GRAPHICS,
  COLOR_DONT_CARE,
  BIT_MASK,
  kCount,
};
enum Mode : uint8_t { WRITE_MODE = 0x03, READ_MODE = 0x08, HOST_ODD_EVEN = 0x10, SHIFT_INTERLEAVE = 0x20, SHIFT_256 = 0x40 };
enum Miscellaneous : uint8_t { ALPHA_DISABLE = 0x01, CHAIN_ODD_EVEN = 0x02, MEMORY_MAP_SELECT = 0x0c };
}  // namespace graphics

namespace attribute {
enum Index : uint8_t {
  MODE_CONTROL = 0x10,
  OVERSCAN_COLOR = 0x11,
  COLOR_PLANE_ENABLE = 0x12,
  HORIZONTAL_PIXEL_PANNING = 0x13,
  COLOR_SELECT = 0x14,
  kCount = 0x15,
};
enum ModeControl : uint8_t { LINE_GRAPHICS_ENABLE = 0x04, BLINK_ENABLE = 0x08, PIXEL_PANNING_MODE = 0x20, P54S = 0x80 };
constexpr uint8_t PAS = 0x20;  // in the address register: the palette is the screen's, else the processor's, and the screen is off
}  // namespace attribute

// The palette chip: 256 colours of three components.
struct Dac {
  uint8_t mask = 0xff;  // "PEL mask": on what the attribute controller gives
  uint8_t read_index = 0, write_index = 0;
  uint8_t component = 0;  // of the colour, that is read or written next
  bool reading = false;   // what the last index was written for
  std::array<uint8_t, 256 * 3> colours{};
  bool eight_bits = false;  // components have 8 bits and not 6; follows from dispi's ENABLE, so it is no state

  uint8_t depth_mask() const { return eight_bits ? 0xff : 0x3f; }
  uint32_t pixel(uint8_t index) const;  // XRGB8888, through the mask
};

struct Registers {
  uint8_t misc_output = 0;
  uint8_t feature_control = 0;
  uint8_t status_phase = 0;  // moves on with each reading of input status 1
  uint8_t sequencer_index = 0, crtc_index = 0, graphics_index = 0;
  uint8_t attribute_index = 0;          // with PAS
  bool attribute_data_is_next = false;  // the flip-flop of port 0x3c0
  std::array<uint8_t, sequencer::kCount> sequencer{};
  std::array<uint8_t, crtc::kCount> crtc{};
  std::array<uint8_t, graphics::kCount> graphics{};
  std::array<uint8_t, attribute::kCount> attribute{};
  Dac dac;

  bool screen_off() const {
    return !(attribute_index & attribute::PAS) || sequencer[sequencer::CLOCKING_MODE] & sequencer::SCREEN_DISABLE;
  }
  bool text() const { return !(graphics[graphics::MISCELLANEOUS_GRAPHICS] & graphics::ALPHA_DISABLE); }
  void describe(state::Fields& fields);
};

// Byte-wide ports 0x3b0 to 0x3df; those that are not there read as 0xff.
uint8_t read_port(Registers& registers, uint16_t port);
void write_port(Registers& registers, uint16_t port, uint8_t value);

}  // namespace skerry::devices::vga
