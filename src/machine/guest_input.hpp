// Which of the guest's keyboards and pointing devices gets what a person does: those that were added while the guest uses them, else the PS/2
// ones, which firmware and every system know.
#pragma once

#include "devices/i8042.hpp"
#include "machine/added_input.hpp"

namespace skerry::machine {

class GuestInput final : public display::Input {
 public:
  // Both outlive this, and may be null.
  GuestInput(devices::I8042* ps2, AddedInput* added) : ps2_(ps2), added_(added) {}

  // Any thread.
  display::Leds leds() const {
    return added_ && added_->keyboard_in_use() ? added_->leds() : ps2_ ? ps2_->leds() : display::Leds{};
  }

  void key(display::KeyCode key, bool down) override {
    if (added_ && added_->keyboard_in_use())
      added_->key(key, down);
    else if (ps2_)
      ps2_->key(key, down);
  }
  bool wants_absolute() const override { return added_ && added_->tablet_in_use(); }
  void pointer_absolute(uint16_t x, uint16_t y, display::Buttons buttons) override {
    if (wants_absolute()) added_->pointer_absolute(x, y, buttons);
  }
  void pointer_relative(int32_t dx, int32_t dy, display::Buttons buttons) override {
    if (ps2_) ps2_->pointer_relative(dx, dy, buttons);
  }
  void wheel(int32_t vertical, int32_t horizontal, display::Buttons buttons) override {
    if (wants_absolute())
      added_->wheel(vertical, horizontal, buttons);
    else if (ps2_)
      ps2_->wheel(vertical, horizontal, buttons);
  }

 private:
  devices::I8042* const ps2_;
  AddedInput* const added_;
};

}  // namespace skerry::machine
