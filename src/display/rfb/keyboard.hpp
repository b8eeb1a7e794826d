// One viewer's keys on their way to the guest.
#pragma once

#include <bitset>
#include <cstdint>
#include <vector>

#include "display/input.hpp"
#include "display/keysym.hpp"

namespace skerry::display::rfb {

// What the guest's keyboard shows. Until somebody says so, caps lock is taken to be what viewers' presses of it make.
struct GuestLeds {
  Leds shown;
  bool known = false;
};

class Keyboard {
 public:
  // Both outlive it.
  Keyboard(Input& input, GuestLeds& leds) : input_(input), leds_(leds) {}
  ~Keyboard() { release_all(); }
  Keyboard(const Keyboard&) = delete;
  Keyboard& operator=(const Keyboard&) = delete;

  // A key event (RFC 6143, 7.5.4), which says what the viewer's layout made of a key. Pressed as on a US keyboard, with
  // shift taken or let go for the moment where the meaning needs it.
  void keysym(uint32_t keysym, bool down);
  // An extended one (rfbproto, "QEMU Extended Key Event Message"), which says the key.
  void extended(uint32_t number, uint32_t keysym, bool down);
  void release_all();

 private:
  // A key is let go by the meaning with which it was pressed, whatever shift is by then.
  struct Pressed {
    uint32_t keysym;
    KeyCode key;
  };
  static constexpr size_t kMaxPressed = 64;

  void send(KeyCode key, bool down);
  void press(KeysymKey key);
  void press_with_shift(KeyCode key);
  void press_without_shift(KeyCode key);
  bool held(KeyCode key) const { return held_[static_cast<size_t>(key)]; }

  Input& input_;
  GuestLeds& leds_;
  std::bitset<static_cast<size_t>(KeyCode::kCount)> held_;
  std::vector<Pressed> pressed_;
};

}  // namespace skerry::display::rfb
