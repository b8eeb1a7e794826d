// Opening /dev/net/tun, which taps and bridges have in common. Before the sandbox closes: needs the file system.
#pragma once

#include <string>
#include <string_view>

#include "base/fd.hpp"
#include "base/result.hpp"

namespace skerry::net {

// A non-blocking descriptor of an Ethernet tap with FrameHeader before its frames. `name` is that of an interface, or a
// pattern like "skerry%d" for a new one; on return it is the interface's.
Result<UniqueFd> open_tun(std::string& name);

// Whether a string can be the name of an interface at all (Linux, dev_valid_name()).
bool is_interface_name(std::string_view name);

}  // namespace skerry::net
