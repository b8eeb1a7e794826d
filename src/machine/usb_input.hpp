// A USB tablet, and perhaps a keyboard, as a screen's viewers see them.
#pragma once

#include "devices/usb/keyboard.hpp"
#include "devices/usb/tablet.hpp"
#include "display/input.hpp"

namespace skerry::machine {

class UsbInput final : public display::Input {
 public:
  // Both outlive this; there may be no keyboard.
  UsbInput(devices::usb::Keyboard* keyboard, devices::usb::Tablet& tablet) : keyboard_(keyboard), tablet_(tablet) {}

  // Whether the guest listens. Any thread. Until it does, and where it has no driver, keys and movements are better sent to PS/2.
  bool keyboard_in_use() const { return keyboard_ && keyboard_->in_use(); }
  bool tablet_in_use() const { return tablet_.in_use(); }
  display::Leds leds() const { return keyboard_ ? keyboard_->leds() : display::Leds(); }

  void key(display::KeyCode key, bool down) override {
    if (keyboard_) keyboard_->key(key, down);
  }
  bool wants_absolute() const override { return tablet_.in_use(); }
  void pointer_absolute(uint16_t x, uint16_t y, display::Buttons buttons) override { tablet_.pointer_absolute(x, y, buttons); }
  void pointer_relative(int32_t, int32_t, display::Buttons) override {}  // a tablet has positions only
  void wheel(int32_t vertical, int32_t horizontal, display::Buttons buttons) override { tablet_.wheel(vertical, horizontal, buttons); }

 private:
  devices::usb::Keyboard* const keyboard_;
  devices::usb::Tablet& tablet_;
};

}  // namespace skerry::machine
