// Large TCP segments for guests that take them.
#pragma once

#include <cstdint>
#include <span>

namespace skerry::net::user {

// libslirp sends segments as large as the guest allows in its SYN, and the guest allows what fits the MTU of its
// network. If it takes larger ones from its card (virtio 1.2, 5.1.3, GUEST_TSO4 and 6), that option (RFC 9293, 3.7.1)
// is raised. `frame` may be anything; `needs_checksum`: its checksum is still to be completed.
void ask_for_large_segments(std::span<uint8_t> frame, bool needs_checksum, bool ipv4, bool ipv6);

}  // namespace skerry::net::user
