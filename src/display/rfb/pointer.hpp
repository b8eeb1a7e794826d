// One viewer's pointer on its way to the guest.
#pragma once

#include <cstdint>

#include "display/input.hpp"
#include "display/screen.hpp"

namespace skerry::display::rfb {

class Pointer {
 public:
  explicit Pointer(Input& input) : input_(input) {}  // which outlives it
  ~Pointer();
  Pointer(const Pointer&) = delete;
  Pointer& operator=(const Pointer&) = delete;

  // A pointer event (RFC 6143, 7.5.5). `moves`: the viewer has been told that movements are wanted, and sends these
  // (rfbproto, "QEMU Pointer Motion Change Pseudo-encoding"). `size` is what the viewer takes for the size of the screen.
  void event(uint8_t mask, uint16_t x, uint16_t y, bool moves, Screen::Size size);

 private:
  void move(int32_t x, int32_t y, Buttons buttons, bool moves, Screen::Size size);

  Input& input_;
  uint8_t mask_ = 0;
  int32_t x_ = -1, y_ = -1;  // the viewer's last position; -1: not known
  uint16_t last_x_ = 0, last_y_ = 0;  // the last that the guest got
};

}  // namespace skerry::display::rfb
