// A virtio keyboard and a virtio tablet, as a screen's viewers see them.
#pragma once

#include "machine/added_input.hpp"
#include "virtio/keyboard.hpp"
#include "virtio/tablet.hpp"

namespace skerry::machine {

class VirtioInput final : public AddedInput {
 public:
  // Both outlive this.
  VirtioInput(virtio::Keyboard& keyboard, virtio::Tablet& tablet) : keyboard_(keyboard), tablet_(tablet) {}

  bool keyboard_in_use() const override { return keyboard_.in_use(); }
  bool tablet_in_use() const override { return tablet_.in_use(); }
  display::Leds leds() const override { return keyboard_.leds(); }

  void key(display::KeyCode key, bool down) override { keyboard_.key(key, down); }
  void pointer_absolute(uint16_t x, uint16_t y, display::Buttons buttons) override { tablet_.pointer_absolute(x, y, buttons); }
  void wheel(int32_t vertical, int32_t horizontal, display::Buttons buttons) override { tablet_.wheel(vertical, horizontal, buttons); }

 private:
  virtio::Keyboard& keyboard_;
  virtio::Tablet& tablet_;
};

}  // namespace skerry::machine
