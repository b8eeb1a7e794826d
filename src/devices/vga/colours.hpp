// From what the memory says to pixels: the attribute controller's palette, and the DAC's.
#pragma once

#include <array>
#include <cstdint>

#include "devices/vga/registers.hpp"

namespace skerry::devices::vga {

using Colours = std::array<uint32_t, 256>;  // XRGB8888

// Of pixels with 8 bits.
Colours dac_colours(const Registers& registers);
// Of pixels with 4 bits, through the attribute controller; the upper bits of the index do nothing.
Colours attribute_colours(const Registers& registers);

}  // namespace skerry::devices::vga
