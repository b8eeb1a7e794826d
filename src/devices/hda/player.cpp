#include "devices/hda/player.hpp"

#include <utility>

namespace skerry::devices::hda {

namespace {

// A sample at the upper end of 32 bits, of the 2 or 4 bytes (little endian) that it has in memory.
int32_t sample_at(std::span<const std::byte> bytes) {
  uint32_t value = 0;
  for (size_t i = 0; i < bytes.size(); ++i)
    value |= std::to_integer<uint32_t>(bytes[i]) << (8 * (4 - bytes.size() + i));
  return static_cast<int32_t>(value);
}

int16_t amplified(int32_t sample, uint32_t gain) { return static_cast<int16_t>((int64_t{sample} * gain) >> 32); }

}  // namespace

void Player::play(std::span<const std::byte> frames, StreamFormat format, std::array<uint32_t, 2> gains) {
  const size_t size = format.sample_bytes(), frame = format.frame_bytes(), right = format.channels() > 1 ? size : 0;
  if (frames.size() < frame) return;
  if (rate_ != format.rate()) {
    rate_ = format.rate();
    outlet_.begin({.rate = *rate_, .channels = 2});
  }
  samples_.clear();
  for (size_t at = 0; at + frame <= frames.size(); at += frame) {
    samples_.push_back(amplified(sample_at(frames.subspan(at, size)), gains[0]));
    samples_.push_back(amplified(sample_at(frames.subspan(at + right, size)), gains[1]));
  }
  outlet_.play(samples_);
}

void Player::end() {
  if (std::exchange(rate_, std::nullopt)) outlet_.end();
}

}  // namespace skerry::devices::hda
