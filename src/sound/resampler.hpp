// Sound in other words: frames of one rate and number of channels as those of another.
//
// Between two frames is the straight line through them. Where rates are equal frames are what they were, and the last
// frame that is given is never held back. Belongs to one thread at a time.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "sound/outlet.hpp"

namespace skerry::sound {

class Resampler {
 public:
  // Both within the limits of Format.
  Resampler(const Format& from, const Format& to);

  // Appends to `out` what becomes of the next frames (whole ones): up to to.rate / from.rate frames for each, and one
  // more. However a sound is cut into calls, the same comes of it.
  void convert(std::span<const int16_t> in, std::vector<int16_t>& out);

 private:
  void next_frame(std::span<const int16_t> frame, std::vector<int16_t>& out);

  const Format from_, to_;
  // Time is counted in units in which the frames of `from` are to_.rate apart, and those of `to` from_.rate.
  uint64_t at_;                                 // of the next frame of `to`, after the one before the one that comes
  int32_t before_[Format::kMostChannels] = {};  // the frame before, in the channels of `to`
};

}  // namespace skerry::sound
