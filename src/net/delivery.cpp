#include "net/delivery.hpp"

#include "net/checksum.hpp"

namespace skerry::net {

bool Delivery::takes(const FrameHeader& header) const {
  if (!offloads_.checksum) return false;
  switch (header.gso_type) {
    case FrameHeader::kGsoTcpv4: return offloads_.tso4;
    case FrameHeader::kGsoTcpv6: return offloads_.tso6;
    case FrameHeader::kGsoUdp: return offloads_.ufo;  // no backend makes these
    default: return false;  // kGsoEcn is not among the offloads
  }
}

bool Delivery::deliver(FrameHeader header, std::span<uint8_t> frame) {
  if (header.gso_type != FrameHeader::kGsoNone && !takes(header)) {
    large_.assign(frame.begin(), frame.end());
    segments_ = Segmenter::segments(header, large_);
    return deliver_segments();
  }
  if (!offloads_.checksum) {
    if (!complete_checksum(header, frame)) return true;
    header.flags = 0;  // virtio 1.2, 5.1.6.4.1: without GUEST_CSUM none is set
  }
  if (card_->receive(header, frame)) return true;
  kept_.assign(frame.begin(), frame.end());
  kept_header_ = header;
  return false;
}

bool Delivery::deliver_fragments(uint16_t mtu, std::span<const uint8_t> frame) {
  large_.assign(frame.begin(), frame.end());
  segments_ = Segmenter::fragments(mtu, large_);
  return deliver_segments();
}

bool Delivery::deliver_segments() {
  while (segments_) {
    if (!segments_->next(kept_)) {
      segments_.reset();
      kept_.clear();
      break;
    }
    kept_header_ = {};
    if (!card_->receive(kept_header_, kept_)) return false;
  }
  kept_.clear();
  return true;
}

bool Delivery::resume() {
  if (!kept_.empty() && !card_->receive(kept_header_, kept_)) return false;
  kept_.clear();
  return deliver_segments();
}

}  // namespace skerry::net
