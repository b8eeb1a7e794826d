// What a viewer hears: the sound of the VM's card, in the viewer's format, as QEMU's audio messages have it (rfbproto,
// "QEMU Audio Client Message", "QEMU Audio Server Message"). Belongs to the server's thread.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/result.hpp"
#include "display/rfb/wire.hpp"
#include "sound/outlet.hpp"
#include "sound/queue.hpp"
#include "sound/resampler.hpp"

namespace skerry::display::rfb {

// rfbproto, "QEMU Audio Client Message": sample-format
enum class SampleFormat : uint8_t { kU8 = 0, kS8 = 1, kU16 = 2, kS16 = 3, kU32 = 4, kS32 = 5 };

// Appends samples as they are on the wire: least significant byte first. rfbproto does not say so, viewers take it so.
void put_samples(Bytes& out, std::span<const int16_t> samples, SampleFormat format);

class Audio {
 public:
  static constexpr size_t kMostAtOnce = 40 * 1024;  // bytes that put() appends

  // `outlet` outlives it; null: there is no sound card, and the messages are not understood. `wake` is called from any
  // thread, with the Outlet's lock held, when put() has something.
  Audio(sound::Outlet* outlet, std::function<void()> wake) : outlet_(outlet), wake_(std::move(wake)) {}
  ~Audio() { disable(); }
  Audio(const Audio&) = delete;
  Audio& operator=(const Audio&) = delete;

  // The size of the message in front, a QEMU Audio Client Message, as far as `in` says it already. Fails for what is
  // none.
  static Result<size_t> message_size(std::span<const uint8_t> in);
  Result<void> message(std::span<const uint8_t> message);

  // Appends the next of what it hears. False: there is nothing.
  bool put(Bytes& out);
  bool waits() const { return queue_ ? queue_->waits() : told_.has_value(); }
  // A sound is under way, so nothing else may be long.
  bool plays() const { return told_.has_value(); }

 private:
  Result<void> set_format(std::span<const uint8_t> message);
  void enable();
  void disable();
  void begin(const sound::Queue::Piece& piece, Bytes& out);
  void end(Bytes& out);

  static constexpr uint64_t kOfAnotherQueue = 0;

  sound::Outlet* const outlet_;
  const std::function<void()> wake_;
  std::unique_ptr<sound::Queue> queue_;  // while it is enabled
  SampleFormat sample_format_ = SampleFormat::kS16;
  sound::Format format_{44'100, 2};
  std::optional<uint64_t> told_;  // the sound that the viewer has been told has begun
  std::optional<sound::Resampler> resampler_;
  std::vector<int16_t> samples_;
};

}  // namespace skerry::display::rfb
