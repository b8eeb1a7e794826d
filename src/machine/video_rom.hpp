// The VGA BIOS: what SeaBIOS runs to show text and set modes of the standard VGA. It comes with SeaBIOS.
#pragma once

#include <cstdint>
#include <vector>

#include "base/result.hpp"

namespace skerry::machine {

// Fails if it is not installed. `optional`: gives nothing then, for firmware that draws by itself.
Result<std::vector<uint8_t>> load_video_rom(bool optional);

}  // namespace skerry::machine
