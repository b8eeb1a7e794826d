#include "x86/interp/fx_image.hpp"

#include <cstring>

namespace skerry::x86 {

void fx_from_x87(const X87& x87, uint8_t* image) {
  std::memset(image, 0, 160);
  std::memcpy(image, &x87.fcw, 2);
  std::memcpy(image + 2, &x87.fsw, 2);
  image[4] = x87.ftw;
  const uint32_t mxcsr = 0x1f80;
  std::memcpy(image + 24, &mxcsr, 4);
  for (unsigned n = 0; n < 8; ++n) {
    std::memcpy(image + 32 + 16 * n, &x87.st[n].significand, 8);
    std::memcpy(image + 32 + 16 * n + 8, &x87.st[n].sign_exponent, 2);
  }
}

void fx_to_x87(const uint8_t* image, X87& x87) {
  std::memcpy(&x87.fcw, image, 2);
  std::memcpy(&x87.fsw, image + 2, 2);
  x87.ftw = image[4];
  for (unsigned n = 0; n < 8; ++n) {
    std::memcpy(&x87.st[n].significand, image + 32 + 16 * n, 8);
    std::memcpy(&x87.st[n].sign_exponent, image + 32 + 16 * n + 8, 2);
  }
}

uint16_t full_tag_word(const X87& x87) {
  enum Tag : uint16_t { kValid = 0, kZero = 1, kSpecial = 2, kEmpty = 3 };
  const unsigned top = x87.fsw >> 11 & 7;
  uint16_t tags = 0;
  for (unsigned physical = 0; physical < 8; ++physical) {
    Tag tag = kEmpty;
    if (x87.ftw >> physical & 1) {
      const X87::Register& reg = x87.st[(physical + 8 - top) & 7];
      const unsigned exponent = reg.sign_exponent & 0x7fff;
      if (exponent == 0x7fff) tag = kSpecial;
      else if (exponent == 0) tag = reg.significand == 0 ? kZero : kSpecial;
      else tag = reg.significand >> 63 ? kValid : kSpecial;
    }
    tags |= static_cast<uint16_t>(tag << (2 * physical));
  }
  return tags;
}

uint8_t abridged_tags(uint16_t full) {
  uint8_t tags = 0;
  for (unsigned n = 0; n < 8; ++n)
    if ((full >> (2 * n) & 3) != 3) tags |= static_cast<uint8_t>(1 << n);
  return tags;
}

}  // namespace skerry::x86
