// Puts the fragments of IPv4 packets together (RFC 791, section 3.2), so that who comes after sees whole packets only.
// libslirp's own code for it corrupts its memory when fragments come as a hostile guest sends them.
//
// On one thread.
#pragma once

#include <bitset>
#include <cstddef>
#include <cstdint>
#include <list>
#include <optional>
#include <span>
#include <vector>

namespace skerry::net {

class Reassembly {
 public:
  static constexpr size_t kMaxPackets = 8;                    // under way at once; the oldest gives way
  static constexpr int64_t kPatience = 30'000'000'000;        // ns, from a packet's first fragment to its last
  static constexpr size_t kMaxPayload = 65535 - 20;           // of a packet with the smallest header

  // What to go on with: `frame` itself if it is no fragment; nothing if it is one and its packet is not whole yet, or if
  // it is malformed or overlaps what is there; or else the frame of the whole packet, until the next call. `now` is in
  // nanoseconds of a clock that never goes back.
  std::optional<std::span<uint8_t>> take(std::span<uint8_t> frame, int64_t now);

  size_t under_way() const { return packets_.size(); }

 private:
  static constexpr size_t kUnit = 8;  // offsets count these
  static constexpr size_t kHeaderRoom = 14 + 60;

  struct Key {
    uint32_t source, destination;
    uint16_t id;
    uint8_t protocol;
    bool operator==(const Key&) const = default;
  };
  struct Packet {
    Key key;
    int64_t born;
    std::vector<uint8_t> bytes;  // room for headers, then the payload
    std::bitset<kMaxPayload / kUnit + 1> there;
    size_t header = 0;  // bytes of the first fragment's, right before the payload; 0: it has not come
    size_t total = 0;   // of payload; 0: the last fragment has not come
  };
  using Place = std::list<Packet>::iterator;

  Place packet_of(const Key& key, int64_t now);

  std::list<Packet> packets_;   // the oldest first
  std::vector<uint8_t> whole_;  // what was given last
};

}  // namespace skerry::net
