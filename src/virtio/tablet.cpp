#include "virtio/tablet.hpp"

#include <linux/input-event-codes.h>

#include <algorithm>

namespace skerry::virtio {

namespace {
constexpr int32_t kMostNotches = 127;
}

Tablet::Tablet(Options options)
    : Input(std::move(options), {.product = "Skerry virtio tablet",
                                 .product_id = 2,
                                 .pci_class = 0x090200,
                                 .codes = {{EV_KEY, bitmap({BTN_LEFT, BTN_RIGHT, BTN_MIDDLE})},
                                           {EV_REL, bitmap({REL_WHEEL, REL_HWHEEL})},
                                           {EV_ABS, bitmap({ABS_X, ABS_Y})}}}) {}

void Tablet::pointer_absolute(uint16_t x, uint16_t y, display::Buttons buttons) {
  const std::array<Event, 5> events = {{{EV_ABS, ABS_X, std::min(x, display::kPointerMax)},
                                        {EV_ABS, ABS_Y, std::min(y, display::kPointerMax)},
                                        {EV_KEY, BTN_LEFT, buttons.left},
                                        {EV_KEY, BTN_RIGHT, buttons.right},
                                        {EV_KEY, BTN_MIDDLE, buttons.middle}}};
  happened(events);
}

// Up is positive for the guest, and down in the call.
void Tablet::wheel(int32_t vertical, int32_t horizontal, display::Buttons buttons) {
  std::vector<Event> events = {{EV_KEY, BTN_LEFT, buttons.left}, {EV_KEY, BTN_RIGHT, buttons.right}, {EV_KEY, BTN_MIDDLE, buttons.middle}};
  if (vertical != 0) events.push_back({EV_REL, REL_WHEEL, -std::clamp(vertical, -kMostNotches, kMostNotches)});
  if (horizontal != 0) events.push_back({EV_REL, REL_HWHEEL, std::clamp(horizontal, -kMostNotches, kMostNotches)});
  happened(events);
}

}  // namespace skerry::virtio
