// The last step of a frame on its way into a card: what the guest does not take is done here, and a frame that the card
// has no room for is kept. Belongs to a backend; all of it on the loop's thread.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "net/backend.hpp"
#include "net/segment.hpp"

namespace skerry::net {

class Delivery {
 public:
  void attach(Backend::Card* card) { card_ = card; }
  void set_offloads(Offloads offloads) { offloads_ = offloads; }

  // Hands over `frame`, which may be changed for it; what cannot be made acceptable is dropped. False: the card has no
  // room, and something is kept; until resume() says true there must be no further deliver().
  bool deliver(FrameHeader header, std::span<uint8_t> frame);
  // The same for a complete packet that is larger than `mtu`: as IP fragments.
  bool deliver_fragments(uint16_t mtu, std::span<const uint8_t> frame);
  // Goes on with what is kept; true if nothing is kept any more.
  bool resume();
  bool blocked() const { return !kept_.empty(); }

 private:
  bool takes(const FrameHeader& header) const;
  bool deliver_segments();

  Backend::Card* card_ = nullptr;
  Offloads offloads_;
  std::vector<uint8_t> kept_;  // a frame the card has no room for
  FrameHeader kept_header_;    // of it
  std::optional<Segmenter> segments_;  // what comes after it, cut from:
  std::vector<uint8_t> large_;
};

}  // namespace skerry::net
