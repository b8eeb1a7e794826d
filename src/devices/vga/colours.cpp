#include "devices/vga/colours.hpp"

namespace skerry::devices::vga {

Colours dac_colours(const Registers& registers) {
  Colours colours;
  for (size_t i = 0; i < colours.size(); ++i) colours[i] = registers.dac.pixel(static_cast<uint8_t>(i));
  return colours;
}

Colours attribute_colours(const Registers& registers) {
  const auto& ar = registers.attribute;
  const uint8_t select = ar[attribute::COLOR_SELECT];
  Colours colours;
  for (size_t i = 0; i < colours.size(); ++i) {
    uint8_t index = ar[i & ar[attribute::COLOR_PLANE_ENABLE] & 0xf] & 0x3f;
    if (ar[attribute::MODE_CONTROL] & attribute::P54S) index = static_cast<uint8_t>((index & 0xf) | (select & 3) << 4);
    colours[i] = registers.dac.pixel(static_cast<uint8_t>(index | (select & 0xc) << 4));
  }
  return colours;
}

}  // namespace skerry::devices::vga
