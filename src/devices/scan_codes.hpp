// What the keys of a PC keyboard are called in its scan code sets, without prefixes (IBM PS/2 Hardware Interface Technical Reference,
// "Keyboards (101- and 102-Key)", scan code sets 1 and 2).
#pragma once

#include <cstdint>

namespace skerry::devices {

// As the keyboard controller translates a byte of the keyboard.
uint8_t set1_of_set2(uint8_t code);
// The code of the key that has `code` in set 1, without the bit of its release.
uint8_t set2_of_set1(uint8_t code);

}  // namespace skerry::devices
