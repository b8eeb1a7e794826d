#include "sound/queue.hpp"

#include <algorithm>
#include <utility>

namespace skerry::sound {

namespace {

// Samples of whole frames.
size_t samples_in(uint32_t ms, const Format& format) {
  return std::max<size_t>(size_t{format.rate} * ms / 1000, 1) * format.channels;
}

}  // namespace

template <typename Change>
void Queue::change(Change change) {
  bool wakes;
  {
    std::lock_guard guard(lock_);
    change();
    wakes = !std::exchange(woken_, true);
  }
  if (wakes) wake_();
}

// Half a second as the newest sound counts it.
void Queue::drop_oldest() {
  const size_t most = samples_in(kMostMs, sounds_.back().format);
  while (sounds_.size() > kMostSounds || samples_ > most) {
    Sound& oldest = sounds_.front();
    const uint32_t channels = oldest.format.channels;
    const size_t excess = samples_ > most ? samples_ - most : 0;
    const bool whole = sounds_.size() > kMostSounds || (sounds_.size() > 1 && oldest.samples.size() <= excess);
    const size_t dropped = whole ? oldest.samples.size() : (excess + channels - 1) / channels * channels;
    samples_ -= dropped;
    if (whole)
      sounds_.pop_front();
    else
      oldest.samples.erase(oldest.samples.begin(), oldest.samples.begin() + static_cast<ptrdiff_t>(dropped));
  }
}

void Queue::sound_begins(Format format) {
  change([&] {
    sounds_.push_back({.number = ++number_, .format = format, .samples = {}});
    drop_oldest();
  });
}

void Queue::sound(std::span<const int16_t> samples) {
  change([&] {
    if (sounds_.empty()) return;
    Sound& newest = sounds_.back();
    samples = samples.first(samples.size() - samples.size() % newest.format.channels);
    samples = samples.last(std::min(samples.size(), samples_in(kMostMs, newest.format)));
    newest.samples.insert(newest.samples.end(), samples.begin(), samples.end());
    samples_ += samples.size();
    drop_oldest();
  });
}

void Queue::sound_ends() {
  change([&] {
    if (!sounds_.empty()) sounds_.back().ended = true;
  });
}

std::optional<Queue::Piece> Queue::take(uint32_t ms) {
  std::lock_guard guard(lock_);
  woken_ = false;
  if (sounds_.empty() || !sounds_.front().waits()) return std::nullopt;
  Sound& oldest = sounds_.front();
  oldest.fresh = false;
  const auto end =
      oldest.samples.begin() + static_cast<ptrdiff_t>(std::min(oldest.samples.size(), samples_in(ms, oldest.format)));
  Piece piece{.sound = oldest.number, .format = oldest.format, .samples = {oldest.samples.begin(), end}};
  oldest.samples.erase(oldest.samples.begin(), end);
  samples_ -= piece.samples.size();
  piece.ends = oldest.ended && oldest.samples.empty();
  if (piece.ends) sounds_.pop_front();
  return piece;
}

bool Queue::waits() const {
  std::lock_guard guard(lock_);
  return !sounds_.empty() && sounds_.front().waits();
}

}  // namespace skerry::sound
