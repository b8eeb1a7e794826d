// What the output converter plays, brought to the outlet: stereo of 16 bits, amplified. Owned by the card's lock.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "devices/hda/stream_format.hpp"
#include "sound/outlet.hpp"

namespace skerry::devices::hda {

class Player {
 public:
  explicit Player(sound::Outlet& outlet) : outlet_(outlet) {}

  // The next whole frames, of a format that the codec offers. What is of one channel is heard left and right.
  void play(std::span<const std::byte> frames, StreamFormat format, std::array<uint32_t, 2> gains);
  void end();

 private:
  sound::Outlet& outlet_;
  std::optional<uint32_t> rate_;  // of what has begun
  std::vector<int16_t> samples_;
};

}  // namespace skerry::devices::hda
