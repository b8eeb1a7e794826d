// The 512-byte FXSAVE image and the x87 tag words. Intel SDM vol. 1, 10.5.1, 8.1.7.
#pragma once

#include <cstdint>

#include "x86/cpu_state.hpp"

namespace skerry::x86 {

constexpr uint32_t kMxcsrMask = 0xffff;

// The x87 part of the image for a host thunk: the first 160 bytes, with MXCSR as after power-on.
void fx_from_x87(const X87& x87, uint8_t* image);
// The x87 part back, without the pointers, which are the host's own.
void fx_to_x87(const uint8_t* image, X87& x87);

// The 16-bit tag word of FNSTENV from the registers and the abridged tags, and back.
uint16_t full_tag_word(const X87& x87);
uint8_t abridged_tags(uint16_t full);

}  // namespace skerry::x86
