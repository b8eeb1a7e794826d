// A keyboard as a virtio input device: all keys that a viewer may have, and three lamps. The guest repeats keys by itself.
#pragma once

#include "virtio/input.hpp"

namespace skerry::virtio {

class Keyboard final : public Input {
 public:
  explicit Keyboard(Options options);

  // As display::Input has it. Any thread.
  void key(display::KeyCode key, bool down);
};

}  // namespace skerry::virtio
