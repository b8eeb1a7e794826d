#include "sound/outlet.hpp"

#include <algorithm>

namespace skerry::sound {

void Outlet::begin(Format format) {
  end();
  format.rate = std::clamp(format.rate, Format::kLeastRate, Format::kMostRate);
  format.channels = std::clamp(format.channels, uint32_t{1}, Format::kMostChannels);
  std::lock_guard guard(lock_);
  format_ = format;
  for (Listener* listener : listeners_) listener->sound_begins(format);
}

void Outlet::play(std::span<const int16_t> samples) {
  std::lock_guard guard(lock_);
  if (!format_ || samples.empty()) return;
  for (Listener* listener : listeners_) listener->sound(samples);
}

void Outlet::end() {
  std::lock_guard guard(lock_);
  if (!format_) return;
  format_.reset();
  for (Listener* listener : listeners_) listener->sound_ends();
}

void Outlet::add(Listener& listener) {
  std::lock_guard guard(lock_);
  listeners_.push_back(&listener);
  if (format_) listener.sound_begins(*format_);
}

void Outlet::remove(Listener& listener) {
  std::lock_guard guard(lock_);
  std::erase(listeners_, &listener);
}

}  // namespace skerry::sound
