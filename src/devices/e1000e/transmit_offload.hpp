// What the card does to a frame on its way out (82574 datasheet, 7.2.4 to 7.2.6): checksums, a VLAN tag, segmentation. Knows
// frames, but no descriptors and no registers. On one thread.
#pragma once

#include <cstdint>
#include <span>

#include "net/backend.hpp"
#include "state/fields.hpp"

namespace skerry::devices::e1000e {

// A context descriptor's content: where checksums are, and how to segment. Offsets are from the frame's start.
struct OffloadContext {
  uint8_t ip_start = 0, ip_offset = 0;    // IPCSS, IPCSO
  uint16_t ip_end = 0;                    // IPCSE: the last byte; 0: the frame's
  uint8_t transport_start = 0, transport_offset = 0;
  uint16_t transport_end = 0;
  uint8_t header_size = 0;  // HDRLEN
  uint16_t segment_size = 0;  // MSS
  bool tcp = false, ipv4 = false;

  void describe(state::Fields& fields);
};

// What is asked for one frame.
struct OffloadRequest {
  bool ip_checksum = false, transport_checksum = false, segment = false;
  bool legacy_checksum = false;  // of a legacy descriptor: from `legacy_start` to the end, to `legacy_offset`
  uint8_t legacy_start = 0, legacy_offset = 0;
};

// Makes `frame`, which begins with `inserted` bytes more than the guest's, what goes to a backend that has `offloads`; gives in
// `header` what that has to do. False: it cannot be sent.
bool apply_offloads(std::span<uint8_t> frame, size_t inserted, const OffloadRequest& request, const OffloadContext& context,
                    net::Offloads offloads, net::FrameHeader& header);

}  // namespace skerry::devices::e1000e
