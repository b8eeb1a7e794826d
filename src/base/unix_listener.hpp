// A listening unix socket in the file system.
#pragma once

#include <string>
#include <string_view>

#include "base/fd.hpp"
#include "base/result.hpp"

namespace skerry {

// Listens on `path`, non-blocking, open to this user only. A socket that a dead process left there is removed; anything
// else in the way is refused. `what` begins the error: "console socket '/tmp/c'".
Result<UniqueFd> listen_unix(std::string_view what, const std::string& path, int backlog);

}  // namespace skerry
