// Cutting a frame that is larger than the network allows into ones that are not, as a card with segmentation offload
// would (virtio 1.2, 5.1.6.2): TCP by segments, the rest by IP fragments.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "net/backend.hpp"
#include "net/frame.hpp"

namespace skerry::net {

// Linux's TCP_MIN_SND_MSS. Nobody sends less on purpose, and it bounds the work that one frame can make.
constexpr uint16_t kMinGsoSize = 48;

class Segmenter {
 public:
  // TCP segments, as `header` wants them. `frame` must live as long as this, and be left alone. Nothing if the frame is
  // not what the header says, or the segments are smaller than kMinGsoSize: it is to be dropped.
  static std::optional<Segmenter> segments(const FrameHeader& header, std::span<const uint8_t> frame);
  // IP fragments for an `mtu`, of a packet whose checksums are complete. Nothing if it is a fragment itself, or no IP.
  static std::optional<Segmenter> fragments(uint16_t mtu, std::span<const uint8_t> frame);

  // The next frame, complete with its checksums, replaces what is in `out`. False: there is none.
  bool next(std::vector<uint8_t>& out);

 private:
  Segmenter(std::span<const uint8_t> frame, const FrameLayout& layout) : frame_(frame), layout_(layout) {}
  bool prepare_tcp(const FrameHeader& header);
  void finish_tcp(std::vector<uint8_t>& out, size_t size, bool last) const;
  void finish_ipv4_fragment(std::vector<uint8_t>& out, bool last) const;
  void finish_ipv6_fragment(std::vector<uint8_t>& out, bool last) const;

  std::span<const uint8_t> frame_;
  FrameLayout layout_;
  bool tcp_ = false;    // segments; otherwise fragments
  size_t headers_ = 0;  // bytes that begin every piece
  size_t step_ = 0;     // bytes of payload in each but the last
  size_t done_ = 0;     // bytes of payload that next() has given
  unsigned pieces_ = 0;
};

}  // namespace skerry::net
