// A picture of a Screen as a PNG file, for QMP's `screendump`.
#pragma once

#include <cstdint>
#include <vector>

#include "base/result.hpp"
#include "display/screen.hpp"

namespace skerry::display {

// 8-bit RGB, not interlaced (PNG specification, second edition), without the cursor. Any thread, but takes up to seconds for a
// large screen. What is drawn meanwhile may or may not be in it; a screen that gets another size keeps the picture's
// size, black where there is no screen any more. Fails for want of memory.
//
// By zlib, which the RFB server needs anyway, and not by libpng: writing the one kind that is needed is a page, and libpng
// reports errors by longjmp().
Result<std::vector<uint8_t>> png_of(const Screen& screen);

}  // namespace skerry::display
