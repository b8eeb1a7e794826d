// Where the keys and the pointer of viewers go: a keyboard and a pointing device of the guest.
#pragma once

#include <cstdint>

#include "display/key_code.hpp"

namespace skerry::display {

// Which buttons are held.
struct Buttons {
  bool left = false, middle = false, right = false;
  bool operator==(const Buttons&) const = default;
};

constexpr uint16_t kPointerMax = 32767;  // of an absolute position: the last column or row; 0 is the first

// Implemented by devices (PS/2, virtio-input, USB), or by what chooses among them. Called by viewers on the thread of the
// RFB server with no lock held, and by QMP on the main thread: implementations take their own lock, do not wait, and lose
// what the guest does not fetch, as a device with a full queue does.
class Input {
 public:
  virtual ~Input() = default;

  // `down` again for a key that is held: it repeats.
  virtual void key(KeyCode key, bool down) = 0;
  // Whether the pointing device wants positions now, not movements: a tablet that the guest's driver has switched on.
  // Who changes it tells the server (RfbServer::pointer_changed).
  virtual bool wants_absolute() const = 0;
  virtual void pointer_absolute(uint16_t x, uint16_t y, Buttons buttons) = 0;        // 0 to kPointerMax
  virtual void pointer_relative(int32_t dx, int32_t dy, Buttons buttons) = 0;        // pixels, to the right and down
  virtual void wheel(int32_t vertical, int32_t horizontal, Buttons buttons) = 0;  // notches, down and to the right
};

// What a keyboard shows; as in the "LED state" of RFB (rfbproto, 7.8.18).
struct Leds {
  bool scroll = false, num = false, caps = false;
  bool operator==(const Leds&) const = default;
};

}  // namespace skerry::display
