// The host's end of a network cable: what a network card sends to, and gets frames from.
#pragma once

#include <sys/uio.h>

#include <cstdint>
#include <memory>
#include <span>

#include "base/event_loop.hpp"
#include "base/result.hpp"

namespace skerry::net {

// virtio 1.2, 5.1.6, struct virtio_net_hdr without num_buffers; Linux's TUNSETVNETHDRSZ of 10. Little endian. It goes
// with each frame in both directions and says what is left to be done for it.
struct FrameHeader {
  static constexpr uint8_t kNeedsCsum = 1, kDataValid = 2;                             // flags
  static constexpr uint8_t kGsoNone = 0, kGsoTcpv4 = 1, kGsoUdp = 3, kGsoTcpv6 = 4, kGsoEcn = 0x80;  // gso_type
  uint8_t flags = 0;
  uint8_t gso_type = kGsoNone;
  uint16_t hdr_len = 0, gso_size = 0, csum_start = 0, csum_offset = 0;
};
static_assert(sizeof(FrameHeader) == 10);

constexpr size_t kMaxFrame = 65550;  // Ethernet header and the longest IP packet

// What a backend takes off the guest's hands, and what it may leave to the guest.
struct Offloads {
  bool checksum = false, tso4 = false, tso6 = false, ufo = false;
  bool operator==(const Offloads&) const = default;
};

class Backend {
 public:
  // The card. Called on the loop's thread.
  class Card {
   public:
    virtual ~Card() = default;
    // A frame for the guest; false if the card has no room: then the backend keeps it, and stops until
    // Backend::card_has_room().
    virtual bool receive(const FrameHeader& header, std::span<const uint8_t> frame) = 0;
    // send() has said false, and now there is room again.
    virtual void backend_has_room() = 0;
    virtual void link_changed(bool up) = 0;
  };
  virtual ~Backend() = default;

  // All members are called on the loop's thread; no call of the card comes before start() and after stop(), which do
  // not forget frames that are kept. `card` outlives the backend.
  virtual Result<void> start(EventLoop& loop, Card& card) = 0;
  virtual void stop() = 0;
  // A frame of the guest, at most kMaxFrame bytes; false if there is no room now. A frame that cannot be sent at all is
  // dropped and true.
  virtual bool send(const FrameHeader& header, std::span<const iovec> frame) = 0;
  virtual void card_has_room() = 0;
  // What send() takes, and what receive() gives only after set_guest_offloads() allows it.
  virtual Offloads offloads() const = 0;
  virtual void set_guest_offloads(Offloads offloads) = 0;
  virtual bool link_up() const { return true; }
  // Of the largest IP packet without segmentation; 1500 unless the network has another.
  virtual uint16_t mtu() const { return 1500; }
};

}  // namespace skerry::net
