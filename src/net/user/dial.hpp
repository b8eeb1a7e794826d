// Connecting unix sockets for a VM whose sandbox lets it make none.
#pragma once

#include <string>

#include "base/result.hpp"

namespace skerry::net::user {

// Connects to `path`, again and again until somebody listens there, and sends the connected socket with one byte on
// `control`; then once more for each byte that comes from there. Returns when the other side of `control` is gone.
Result<void> dial(const std::string& path, int control);

// Answers what a PortDialer at the other side of `control` asks, until it is gone.
void dial_ports(const std::string& prefix, int control);

}  // namespace skerry::net::user
