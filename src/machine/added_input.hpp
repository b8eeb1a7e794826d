// Keyboards and pointing devices that a guest needs drivers for: beside the PS/2 ones, which firmware and every system know.
#pragma once

#include "display/input.hpp"

namespace skerry::machine {

class AddedInput : public display::Input {
 public:
  // Whether the guest listens. Any thread. Until it does, and where it has no driver, keys and movements are better sent to PS/2.
  virtual bool keyboard_in_use() const = 0;
  virtual bool tablet_in_use() const = 0;
  virtual display::Leds leds() const = 0;  // of a keyboard in use

  bool wants_absolute() const override { return tablet_in_use(); }
  void pointer_relative(int32_t, int32_t, display::Buttons) override {}  // tablets have positions only
};

}  // namespace skerry::machine
