// A viewer that has been let in: what it sends (RFC 6143, 7.5) and is sent.
#pragma once

#include <cstdint>
#include <functional>
#include <span>

#include "base/result.hpp"
#include "display/rfb/audio.hpp"
#include "display/rfb/keyboard.hpp"
#include "display/rfb/pointer.hpp"
#include "display/rfb/updates.hpp"
#include "display/rfb/wire.hpp"

namespace skerry::display::rfb {

class Session {
 public:
  static constexpr size_t kMaxMessage = 8 * 1024;  // bytes of a message that has to be there as a whole

  // All of these outlive it; `outlet` may be null, `wake` is Audio's. What the server says first goes to `out`.
  Session(Screen& screen, Input& input, sound::Outlet* outlet, std::function<void()> wake, GuestFacts& facts, Bytes& out);

  // Takes messages from the front of `in` and says how many bytes they had; not all of them at once. Fails for what is no
  // message, or breaks a limit: the connection has to end.
  Result<size_t> consume(std::span<const uint8_t> in);
  Updates& updates() { return updates_; }
  Audio& audio() { return audio_; }

 private:
  Result<size_t> message(std::span<const uint8_t> in);
  Result<void> set_pixel_format(std::span<const uint8_t> message);
  void set_encodings(std::span<const uint8_t> message);
  void pointer_event(std::span<const uint8_t> message);
  Result<void> qemu(std::span<const uint8_t> message);
  void extended_key(std::span<const uint8_t> message);

  Updates updates_;
  Keyboard keyboard_;
  Pointer pointer_;
  Audio audio_;
  uint32_t skip_ = 0;  // bytes of a message that is not needed
};

}  // namespace skerry::display::rfb
