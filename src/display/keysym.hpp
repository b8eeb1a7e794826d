// From what a key means (X11's keysyms, which RFB's key events have) to the key that has to be pressed for it on a
// keyboard with the US layout.
#pragma once

#include <cstdint>
#include <optional>

#include "display/key_code.hpp"

namespace skerry::display {

struct KeysymKey {
  // What it needs of the shift keys to mean that.
  enum class Shift : uint8_t {
    kAny,      // it means the same with and without: Return, F1
    kWithout,  // 1
    kWith,     // !
    kLower,    // a: one of shift and caps lock reverses it
    kUpper,    // A
  };
  KeyCode key;
  Shift shift = Shift::kAny;
};

// None: no key of that layout means it.
std::optional<KeysymKey> key_for_keysym(uint32_t keysym);

}  // namespace skerry::display
