// An absolute pointing device with three buttons and two wheels, as a virtio input device.
#pragma once

#include "virtio/input.hpp"

namespace skerry::virtio {

class Tablet final : public Input {
 public:
  explicit Tablet(Options options);

  // As display::Input has them. Any thread.
  void pointer_absolute(uint16_t x, uint16_t y, display::Buttons buttons);
  void wheel(int32_t vertical, int32_t horizontal, display::Buttons buttons);
};

}  // namespace skerry::virtio
