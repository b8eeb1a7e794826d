// What a board has for virtio devices.
#pragma once

#include <memory>
#include <optional>

#include "base/result.hpp"
#include "virtio/transport_core.hpp"

namespace skerry::machine {

class VirtioHome {
 public:
  struct Place {
    std::unique_ptr<virtio::TransportCore> transport;
    unsigned slot;  // a number among the board's places
  };
  virtual ~VirtioHome() = default;
  // After Board::attach(). `device` outlives the transport, and the transport the board's use. Without `slot` it is the next
  // that is free; only boards with slots are asked for one.
  virtual Result<Place> connect(virtio::Device& device, virtio::LoopThread loop, std::optional<unsigned> slot) = 0;
};

}  // namespace skerry::machine
