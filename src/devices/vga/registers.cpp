#include "devices/vga/registers.hpp"

namespace skerry::devices::vga {

uint32_t Dac::pixel(uint8_t index) const {
  const size_t at = size_t{3} * (index & mask);
  uint32_t pixel = 0;
  for (size_t i = 0; i < 3; ++i) {
    const uint32_t value = colours[at + i] & depth_mask();
    pixel = pixel << 8 | (eight_bits ? value : value << 2 | value >> 4);
  }
  return pixel;
}

void Registers::describe(state::Fields& fields) {
  fields.field("misc_output", misc_output);
  fields.field("feature_control", feature_control);
  fields.field("status_phase", status_phase);
  fields.field("sequencer_index", sequencer_index);
  fields.field("crtc_index", crtc_index);
  fields.field("graphics_index", graphics_index);
  fields.field("attribute_index", attribute_index);
  fields.field("attribute_data_is_next", attribute_data_is_next);
  fields.bytes("sequencer", sequencer);
  fields.bytes("crtc", crtc);
  fields.bytes("graphics", graphics);
  fields.bytes("attribute", attribute);
  fields.field("dac_mask", dac.mask);
  fields.field("dac_read_index", dac.read_index);
  fields.field("dac_write_index", dac.write_index);
  fields.field("dac_component", dac.component, state::up_to(2));
  fields.field("dac_reading", dac.reading);
  fields.bytes("dac", dac.colours);
}

}  // namespace skerry::devices::vga
