// Files with the public keys of ssh. What is in a private one never gets into a VM, a message or a log.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"

namespace skerry::cli {

// The keys in the text of a file such as ~/.ssh/id_ed25519.pub, one a line, comments left out: at least one. Each is of a
// type that today's servers take, and its data is what that type says.
Result<std::vector<std::string>> parse_ssh_keys(std::string_view text);

}  // namespace skerry::cli
