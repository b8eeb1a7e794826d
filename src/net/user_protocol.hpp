// What the records in the rings between skerry-vm and skerry-net are.
#pragma once

#include <cstdint>

#include "net/backend.hpp"

namespace skerry::net {

// Ring 0, frames of the guest: this, then the frame.
struct GuestRecord {
  FrameHeader header;
  // Whether the guest takes large segments, so that connections that it makes may be given them.
  uint8_t large_tcp4 = 0, large_tcp6 = 0;
};
static_assert(sizeof(GuestRecord) == 12);

// Ring 1, frames for the guest: a whole frame, checksums and all, maybe larger than the guest's network allows.
constexpr uint16_t kUserMtu = 1500;  // of the guest's network

}  // namespace skerry::net
