// A port of a bridge of the host: a new tap in it, which goes by itself with its descriptor.
#pragma once

#include <memory>
#include <string>

#include "base/result.hpp"
#include "net/backend.hpp"

namespace skerry::net {

// Needs CAP_NET_ADMIN, and only here: what it makes is used without.
Result<std::unique_ptr<Backend>> open_bridge(const std::string& bridge);

}  // namespace skerry::net
