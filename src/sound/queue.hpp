// What is played at an Outlet, for a listener that takes it in a time of its own.
//
// It keeps half a second: where the listener is slower the oldest is dropped, and nobody waits.
//
// Threads: the Outlet's side is called as a Listener's is, take() and waits() by one other thread at a time.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

#include "sound/outlet.hpp"

namespace skerry::sound {

class Queue final : public Listener {
 public:
  // A part of a sound.
  struct Piece {
    uint64_t sound = 0;  // its number, from 1 on
    Format format;
    std::vector<int16_t> samples;  // whole frames; may be none where a sound begins or ends
    bool ends = false;             // nothing of this sound follows
  };

  // `wake` is called when there is something to take: once, until take() is called again. It is called with the
  // Outlet's lock held, by who plays, so it may do little: post to an event loop.
  explicit Queue(std::function<void()> wake) : wake_(std::move(wake)) {}

  // The oldest that there is, at most `ms` milliseconds of it. Sounds of which all was dropped may never come.
  std::optional<Piece> take(uint32_t ms);
  bool waits() const;

  void sound_begins(Format format) override;
  void sound(std::span<const int16_t> samples) override;
  void sound_ends() override;

 private:
  struct Sound {
    uint64_t number;
    Format format;
    std::deque<int16_t> samples;
    bool fresh = true;  // nothing of it has been taken, its beginning neither
    bool ended = false;
    bool waits() const { return fresh || ended || !samples.empty(); }
  };
  static constexpr size_t kMostSounds = 8;
  static constexpr uint32_t kMostMs = 500;

  void drop_oldest();
  template <typename Change>
  void change(Change change);

  const std::function<void()> wake_;
  mutable std::mutex lock_;  // a leaf
  std::deque<Sound> sounds_;
  size_t samples_ = 0;  // of all of them
  uint64_t number_ = 0;
  bool woken_ = false;
};

}  // namespace skerry::sound
