// The description of a VM on its way through a state file: what of it belongs to the machine, and what to the host and
// the moment.
#pragma once

#include "config/vm_config.hpp"

namespace skerry::config {

// Whether a VM like that can be put into a file at all. The error says what to do.
Result<void> check_can_be_saved(const VmConfig& config);

// As a state file carries it: without what is connected to the host for the time of one run (console, monitor, debugger,
// log). A file must not choose what the one who restores it opens there.
VmConfig for_saving(VmConfig config);

// Whether a machine made of `now` is the one that `saved` describes, as its guest sees it. The error names what differs.
Result<void> check_same_machine(const VmConfig& saved, const VmConfig& now);

}  // namespace skerry::config
