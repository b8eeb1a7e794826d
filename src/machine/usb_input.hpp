// A USB tablet, and perhaps a keyboard, as a screen's viewers see them.
#pragma once

#include "devices/usb/keyboard.hpp"
#include "devices/usb/tablet.hpp"
#include "machine/added_input.hpp"

namespace skerry::machine {

class UsbInput final : public AddedInput {
 public:
  // Both outlive this; there may be no keyboard.
  UsbInput(devices::usb::Keyboard* keyboard, devices::usb::Tablet& tablet) : keyboard_(keyboard), tablet_(tablet) {}

  bool keyboard_in_use() const override { return keyboard_ && keyboard_->in_use(); }
  bool tablet_in_use() const override { return tablet_.in_use(); }
  display::Leds leds() const override { return keyboard_ ? keyboard_->leds() : display::Leds(); }

  void key(display::KeyCode key, bool down) override {
    if (keyboard_) keyboard_->key(key, down);
  }
  void pointer_absolute(uint16_t x, uint16_t y, display::Buttons buttons) override { tablet_.pointer_absolute(x, y, buttons); }
  void wheel(int32_t vertical, int32_t horizontal, display::Buttons buttons) override { tablet_.wheel(vertical, horizontal, buttons); }

 private:
  devices::usb::Keyboard* const keyboard_;
  devices::usb::Tablet& tablet_;
};

}  // namespace skerry::machine
