// Open descriptors that travel with bytes through a unix socket (unix(7), SCM_RIGHTS).
#pragma once

#include <sys/types.h>

#include <cstddef>

#include "base/fd.hpp"

namespace skerry {

// Sends `size` bytes and, unless it is negative, a copy of `fd`; as sendmsg(2) with MSG_NOSIGNAL and `flags`. The
// descriptor goes with the first byte, so it goes once even if fewer bytes are sent than there are.
ssize_t send_with_fd(int socket, const void* bytes, size_t size, int fd, int flags = 0);

// The counterpart: as recvmsg(2) with `flags`; `fd` becomes the descriptor that came with the bytes, or none. Others
// than the first are closed.
ssize_t receive_with_fd(int socket, void* bytes, size_t size, UniqueFd& fd, int flags = 0);

}  // namespace skerry
