// Where a VM's sound card plays to, and who listens: viewers, or nobody.
//
// Sound is PCM: signed samples of 16 bits in the host's order, frames of one sample for each channel.
//
// Threads: everything may be called from any thread; the card's side by one at a time. Listeners are called under the Outlet's lock,
// by the card's thread or who adds them: they take what they are given and return, and call nothing of the Outlet.
#pragma once

#include <cstdint>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

namespace skerry::sound {

struct Format {
  static constexpr uint32_t kLeastRate = 4'000, kMostRate = 192'000, kMostChannels = 2;
  uint32_t rate = 48'000;  // frames a second
  uint32_t channels = 2;   // 1 or 2
  bool operator==(const Format&) const = default;
};

class Listener {
 public:
  virtual ~Listener() = default;
  virtual void sound_begins(Format format) = 0;  // play() follows, or the end
  virtual void sound(std::span<const int16_t> samples) = 0;  // whole frames
  virtual void sound_ends() = 0;
};

class Outlet {
 public:
  // The card's side. A sound that has begun already ends first. A format beyond its limits is brought within them.
  void begin(Format format);
  // The next frames, at the rate of the format, a little ahead of it at the most: nobody waits for them. Between begin() and end().
  void play(std::span<const int16_t> samples);
  void end();

  // The listeners' side. Who comes amid a sound is told that it begins. After remove() it is called no more.
  void add(Listener& listener);
  void remove(Listener& listener);

 private:
  std::mutex lock_;
  std::optional<Format> format_;  // of the sound that has begun
  std::vector<Listener*> listeners_;
};

}  // namespace skerry::sound
