#include "display/key_code.hpp"

#include <linux/input-event-codes.h>

#include <array>
#include <cassert>
#include <cstddef>

namespace skerry::display {

namespace {

struct Row {
  std::string_view name;
  uint16_t set1, evdev;
};

constexpr Row kRows[] = {
    {"unmapped", 0, KEY_RESERVED},
#define SKERRY_KEY(enumerator, name, set1, evdev) {name, set1, evdev},
    SKERRY_KEYS(SKERRY_KEY)
#undef SKERRY_KEY
};
static_assert(std::size(kRows) == static_cast<size_t>(KeyCode::kCount));

constexpr uint16_t kPrefix = 0xe000;
constexpr uint32_t kQnumPrefix = 0x80, kQnumPrint = 0x54;

const Row& row(KeyCode key) {
  assert(key != KeyCode::kUnmapped && key < KeyCode::kCount);
  return kRows[static_cast<size_t>(key)];
}

template <typename Matches>
KeyCode first(Matches matches) {
  for (size_t n = 1; n < std::size(kRows); ++n)
    if (matches(kRows[n])) return static_cast<KeyCode>(n);
  return KeyCode::kUnmapped;
}

}  // namespace

std::string_view key_name(KeyCode key) { return row(key).name; }
uint16_t set1_code(KeyCode key) { return row(key).set1; }
uint16_t evdev_code(KeyCode key) { return row(key).evdev; }

KeyCode key_by_name(std::string_view name) {
  return first([&](const Row& row) { return row.name == name; });
}
KeyCode key_by_set1(uint16_t code) {
  return first([&](const Row& row) { return row.set1 == code; });
}
KeyCode key_by_evdev(uint16_t code) {
  return first([&](const Row& row) { return row.evdev == code; });
}

KeyCode key_by_qnum(uint32_t number) {
  if (number == 0 || number > 0xff) return KeyCode::kUnmapped;
  if (number == kQnumPrint) return KeyCode::kPrint;
  return key_by_set1(static_cast<uint16_t>(number & kQnumPrefix ? kPrefix | (number & ~kQnumPrefix) : number));
}

uint8_t qnum(KeyCode key) {
  const uint16_t code = set1_code(key);
  return static_cast<uint8_t>(code & kPrefix ? code | kQnumPrefix : code);
}

}  // namespace skerry::display
