// Who has a port of this host. For messages.
#pragma once

#include <cstdint>
#include <string>

namespace skerry::net::user {

// "process 123 (sshd)", or "another program" if it is not for us to see.
std::string port_owner(bool udp, uint16_t port);

}  // namespace skerry::net::user
