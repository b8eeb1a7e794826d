// User mode: a network of the guest's own behind the host's sockets, with no right needed. skerry-net has it, in a
// process of its own; here is the card's end.
#pragma once

#include <memory>

#include "net/factory.hpp"

namespace skerry::net {

// Starts skerry-net, which takes the forwarded ports. When it ends, the link goes down for good, and it is logged.
Result<std::unique_ptr<Backend>> open_user(const BackendOptions& options);

}  // namespace skerry::net
