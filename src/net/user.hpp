// User mode: a network of the guest's own behind the host's sockets, with no right needed. skerry-net has it, in a
// process of its own; here is the card's end.
#pragma once

#include <memory>

#include "net/factory.hpp"
#include "net/frame_ring.hpp"

namespace skerry::net {

// Starts skerry-net, which takes the forwarded ports. When it ends, the link goes down for good, and it is logged.
Result<std::unique_ptr<Backend>> open_user(const BackendOptions& options);
// The card's end for a skerry-net that runs already: eventfds on which it wakes us, and we it, and its control socket.
std::unique_ptr<Backend> attach_user(RingMemory memory, UniqueFd wake, UniqueFd wake_helper, UniqueFd control);

}  // namespace skerry::net
