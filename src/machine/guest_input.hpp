// Which of the guest's keyboards and pointing devices gets what a person does: those by USB while the guest uses them, else the PS/2 ones,
// which firmware and every system know.
#pragma once

#include "devices/i8042.hpp"
#include "machine/usb_input.hpp"

namespace skerry::machine {

class GuestInput final : public display::Input {
 public:
  // Both outlive this, and may be null.
  GuestInput(devices::I8042* ps2, UsbInput* usb) : ps2_(ps2), usb_(usb) {}

  // Any thread.
  display::Leds leds() const { return usb_ && usb_->keyboard_in_use() ? usb_->leds() : ps2_ ? ps2_->leds() : display::Leds{}; }

  void key(display::KeyCode key, bool down) override {
    if (usb_ && usb_->keyboard_in_use())
      usb_->key(key, down);
    else if (ps2_)
      ps2_->key(key, down);
  }
  bool wants_absolute() const override { return usb_ && usb_->tablet_in_use(); }
  void pointer_absolute(uint16_t x, uint16_t y, display::Buttons buttons) override {
    if (wants_absolute()) usb_->pointer_absolute(x, y, buttons);
  }
  void pointer_relative(int32_t dx, int32_t dy, display::Buttons buttons) override {
    if (ps2_) ps2_->pointer_relative(dx, dy, buttons);
  }
  void wheel(int32_t vertical, int32_t horizontal, display::Buttons buttons) override {
    if (wants_absolute())
      usb_->wheel(vertical, horizontal, buttons);
    else if (ps2_)
      ps2_->wheel(vertical, horizontal, buttons);
  }

 private:
  devices::I8042* const ps2_;
  UsbInput* const usb_;
};

}  // namespace skerry::machine
