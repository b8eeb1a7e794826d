#include "virtio/keyboard.hpp"

#include <linux/input-event-codes.h>

namespace skerry::virtio {

namespace {

std::vector<uint16_t> all_keys() {
  std::vector<uint16_t> codes;
  for (auto key = static_cast<unsigned>(display::KeyCode::kUnmapped) + 1; key < static_cast<unsigned>(display::KeyCode::kCount); ++key)
    codes.push_back(display::evdev_code(static_cast<display::KeyCode>(key)));
  return codes;
}

}  // namespace

Keyboard::Keyboard(Options options)
    : Input(std::move(options), {.product = "Skerry virtio keyboard",
                                 .product_id = 1,
                                 .pci_class = 0x090000,
                                 .codes = {{EV_KEY, bitmap(all_keys())},
                                           {EV_REP, bitmap({REP_DELAY, REP_PERIOD})},
                                           {EV_LED, bitmap({LED_NUML, LED_CAPSL, LED_SCROLLL})}}}) {}

void Keyboard::key(display::KeyCode key, bool down) {
  if (key == display::KeyCode::kUnmapped) return;
  const Event event{EV_KEY, display::evdev_code(key), down};
  happened({&event, 1});
}

}  // namespace skerry::virtio
