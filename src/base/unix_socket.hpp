// Stream sockets in the file system (unix(7)).
#pragma once

#include <sys/un.h>

#include <string>
#include <string_view>

#include "base/fd.hpp"
#include "base/result.hpp"

namespace skerry {

// `what` begins the error: "console socket '/tmp/c'".
Result<sockaddr_un> unix_address(std::string_view what, const std::string& path);

// A non-blocking socket that is connected; none, with errno, if nobody listens there, or is too busy to.
UniqueFd connect_unix(const sockaddr_un& address);

// Listens on `path`, non-blocking, open to this user only. A socket that a dead process left there is removed; anything
// else in the way is refused.
Result<UniqueFd> listen_unix(std::string_view what, const std::string& path, int backlog);

}  // namespace skerry
