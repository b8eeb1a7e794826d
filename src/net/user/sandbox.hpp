// What the processes of skerry-net give up before a guest's first byte. A system call that is not allowed ends the
// process with a line that names it; files that are not allowed cannot be opened.
#pragma once

#include "base/result.hpp"

namespace skerry::net::user {

// Capabilities, new privileges, being looked into by other processes.
Result<void> drop_rights();

// The user network: IP sockets and what is open. Where libslirp opens or looks at /etc/resolv.conf, it gets
// `resolv_conf`: the calls are trapped, and answered here.
Result<void> confine_gateway(int resolv_conf);
// What follows /etc/resolv.conf: files to read, no sockets.
Result<void> confine_resolver();
// What connects unix sockets, and passes them on.
Result<void> confine_dialer();

}  // namespace skerry::net::user
