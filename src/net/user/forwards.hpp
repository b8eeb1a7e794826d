// Ports of the host that lead to the guest.
#pragma once

#include <libslirp.h>

#include <span>

#include "base/result.hpp"
#include "net/factory.hpp"

namespace skerry::net::user {

// Takes the host's ports. An error names the first that cannot be had, and who has it.
Result<void> add_forwards(Slirp& slirp, std::span<const PortForward> forwards);

}  // namespace skerry::net::user
