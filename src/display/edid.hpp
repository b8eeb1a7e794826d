// What a monitor says of itself (VESA Enhanced EDID, release A revision 2: structure version 1, revision 4): drivers of the
// guest find in it which size it likes best, and which others it shows.
#pragma once

#include <array>
#include <cstdint>

#include "display/screen.hpp"

namespace skerry::display {

constexpr size_t kEdidSize = 128;        // bytes
constexpr uint32_t kMaxEdidSide = 4095;  // of the size that it likes best: there are 12 bits for each

// Of a monitor that likes `preferred` best, and shows the usual sizes too. Sides beyond the most are taken for the most,
// none for one.
std::array<uint8_t, kEdidSize> make_edid(Screen::Size preferred);

}  // namespace skerry::display
