// Unix sockets by path.
#pragma once

#include <sys/un.h>

#include <string>

#include "base/fd.hpp"
#include "base/result.hpp"

namespace skerry::net {

Result<sockaddr_un> unix_address(const std::string& path);

// A non-blocking socket that listens at `path`, for the same user only. A socket file that nobody listens at any more
// is replaced; anything else that is there is refused.
Result<UniqueFd> listen_at(const std::string& path);

}  // namespace skerry::net
