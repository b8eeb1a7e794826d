#include "display/rfb/pointer.hpp"

#include <algorithm>

namespace skerry::display::rfb {

namespace {

// Bits of the mask: RFC 6143, 7.5.5; a wheel's notch is a button that goes down and up.
constexpr uint8_t kLeft = 1, kMiddle = 2, kRight = 4, kWheelUp = 8, kWheelDown = 16, kWheelLeft = 32, kWheelRight = 64;
constexpr int32_t kNoMove = 0x7fff;  // in both coordinates of a movement

Buttons buttons_of(uint8_t mask) { return {(mask & kLeft) != 0, (mask & kMiddle) != 0, (mask & kRight) != 0}; }

uint16_t scaled(int32_t at, uint32_t size) {
  const uint32_t last = std::max(size, 2u) - 1;
  return static_cast<uint16_t>((std::min<uint32_t>(static_cast<uint32_t>(at), last) * kPointerMax + last / 2) / last);
}

}  // namespace

Pointer::~Pointer() {
  if (buttons_of(mask_) == Buttons{}) return;
  input_.wants_absolute() ? input_.pointer_absolute(last_x_, last_y_, {}) : input_.pointer_relative(0, 0, {});
}

void Pointer::move(int32_t x, int32_t y, Buttons buttons, bool moves, Screen::Size size) {
  if (input_.wants_absolute()) {
    if (moves) return;  // it has not been told yet
    last_x_ = scaled(x, size.width);
    last_y_ = scaled(y, size.height);
    return input_.pointer_absolute(last_x_, last_y_, buttons);
  }
  if (moves) return input_.pointer_relative(x - kNoMove, y - kNoMove, buttons);
  const bool known = x_ >= 0;
  input_.pointer_relative(known ? x - x_ : 0, known ? y - y_ : 0, buttons);
}

void Pointer::event(uint8_t mask, uint16_t x, uint16_t y, bool moves, Screen::Size size) {
  const Buttons buttons = buttons_of(mask);
  if (x_ != x || y_ != y || moves || buttons_of(mask_) != buttons) move(x, y, buttons, moves, size);
  x_ = moves ? -1 : x;
  y_ = moves ? -1 : y;
  const auto pressed = static_cast<uint8_t>(mask & ~mask_);
  mask_ = mask;
  const int32_t vertical = ((pressed & kWheelDown) != 0) - ((pressed & kWheelUp) != 0);
  const int32_t horizontal = ((pressed & kWheelRight) != 0) - ((pressed & kWheelLeft) != 0);
  if (vertical != 0 || horizontal != 0) input_.wheel(vertical, horizontal, buttons);
}

}  // namespace skerry::display::rfb
