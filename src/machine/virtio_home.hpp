// What a board has for virtio devices.
#pragma once

#include <memory>

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
  // After Board::attach(). `device` outlives the transport, and the transport the board's use.
  virtual Result<Place> connect(virtio::Device& device, virtio::LoopThread loop) = 0;
};

}  // namespace skerry::machine
