#include "sound/resampler.hpp"

namespace skerry::sound {

namespace {

// A share of `part` / `whole` of the way from one sample to another, rounded to the nearest.
int32_t between(int32_t one, int32_t other, uint64_t part, uint64_t whole) {
  const int64_t way = int64_t{other - one} * static_cast<int64_t>(part);
  const auto half = static_cast<int64_t>(whole / 2);
  return one + static_cast<int32_t>((way + (way < 0 ? -half : half)) / static_cast<int64_t>(whole));
}

}  // namespace

// The first frame of `to` is the first of `from`.
Resampler::Resampler(const Format& from, const Format& to) : from_(from), to_(to), at_(to.rate) {}

void Resampler::next_frame(std::span<const int16_t> frame, std::vector<int16_t>& out) {
  int32_t now[Format::kMostChannels] = {frame[0], frame.back()};
  if (to_.channels < from_.channels) now[0] = (now[0] + now[1]) / 2;
  for (; at_ <= to_.rate; at_ += from_.rate)
    for (uint32_t channel = 0; channel < to_.channels; ++channel)
      out.push_back(static_cast<int16_t>(between(before_[channel], now[channel], at_, to_.rate)));
  at_ -= to_.rate;
  before_[0] = now[0];
  before_[1] = now[1];
}

void Resampler::convert(std::span<const int16_t> in, std::vector<int16_t>& out) {
  for (; in.size() >= from_.channels; in = in.subspan(from_.channels)) next_frame(in.first(from_.channels), out);
}

}  // namespace skerry::sound
