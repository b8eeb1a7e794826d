#include "display/rfb/keyboard.hpp"

#include <algorithm>

#include "base/log.hpp"

namespace skerry::display::rfb {

namespace {

constexpr KeyCode kShifts[] = {KeyCode::kShift, KeyCode::kShiftR};

}  // namespace

void Keyboard::send(KeyCode key, bool down) {
  if (key == KeyCode::kCapsLock && down && !held(key) && !leds_.known) leds_.shown.caps = !leds_.shown.caps;
  held_[static_cast<size_t>(key)] = down;
  input_.key(key, down);
}

void Keyboard::press_with_shift(KeyCode key) {
  input_.key(KeyCode::kShift, true);
  send(key, true);
  input_.key(KeyCode::kShift, false);
}

void Keyboard::press_without_shift(KeyCode key) {
  for (const KeyCode shift : kShifts)
    if (held(shift)) input_.key(shift, false);
  send(key, true);
  for (const KeyCode shift : kShifts)
    if (held(shift)) input_.key(shift, true);
}

void Keyboard::press(KeysymKey key) {
  using Shift = KeysymKey::Shift;
  const bool shifted = held(KeyCode::kShift) || held(KeyCode::kShiftR);
  bool wanted = shifted;
  if (key.shift == Shift::kWith || key.shift == Shift::kWithout) wanted = key.shift == Shift::kWith;
  if (key.shift == Shift::kUpper || key.shift == Shift::kLower) wanted = (key.shift == Shift::kUpper) != leds_.shown.caps;
  if (wanted == shifted) return send(key.key, true);
  wanted ? press_with_shift(key.key) : press_without_shift(key.key);
}

void Keyboard::keysym(uint32_t keysym, bool down) {
  const auto pressed = std::find_if(pressed_.begin(), pressed_.end(), [&](const Pressed& p) { return p.keysym == keysym; });
  if (!down) {
    if (pressed == pressed_.end()) return;  // it was none of the guest's, or is of an extended event
    const KeyCode key = pressed->key;
    pressed_.erase(pressed);
    if (held(key)) send(key, false);
    return;
  }
  if (pressed != pressed_.end()) return send(pressed->key, true);
  const auto key = key_for_keysym(keysym);
  if (!key || pressed_.size() == kMaxPressed) {
    log::debug(log::Category::kDisplay, "viewer: no key of a US keyboard for keysym {:#x}", keysym);
    return;
  }
  pressed_.push_back({keysym, key->key});
  press(*key);
}

void Keyboard::extended(uint32_t number, uint32_t keysym, bool down) {
  const KeyCode key = key_by_qnum(number);
  if (key == KeyCode::kUnmapped) return this->keysym(keysym, down);
  if (down || held(key)) send(key, down);
}

void Keyboard::release_all() {
  pressed_.clear();
  for (size_t n = 0; n < held_.size(); ++n)
    if (held_[n]) send(static_cast<KeyCode>(n), false);
}

}  // namespace skerry::display::rfb
