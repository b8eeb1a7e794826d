// Starts skerry-vm, stays beside it, and gives back its exit status.
#pragma once

#include "cli/run_options.hpp"

namespace skerry::cli {

// Says in one line what went wrong, if that was here. The result is an exit status.
int launch(const RunPlan& plan);

}  // namespace skerry::cli
