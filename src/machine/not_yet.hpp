// What a valid description may ask for and this version cannot do yet.
#pragma once

#include "config/vm_config.hpp"

namespace skerry::machine {

// The first such thing, in a line for the person who asked.
Result<void> check_supported(const config::VmConfig& config);

}  // namespace skerry::machine
