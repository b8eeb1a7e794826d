// A cable between two VMs: a unix stream socket with frames as QEMU's `-netdev stream` has them.
#pragma once

#include <memory>
#include <string>

#include "base/result.hpp"
#include "net/backend.hpp"

namespace skerry::net {

// Waits for the other end at `path`; one at a time, the next when it has gone. The socket file stays when the VM ends:
// a sandbox does not let it be removed.
Result<std::unique_ptr<Backend>> listen_socket(const std::string& path);
// Connects to the other end, again and again until it is there, and when it has gone. skerry-net does that, because a
// sandbox lets no socket be made.
Result<std::unique_ptr<Backend>> dial_socket(const std::string& path);

}  // namespace skerry::net
