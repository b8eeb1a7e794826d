// Gives up every right that a running VM does not need. What parses hostile bytes runs after this.
#pragma once

#include "base/result.hpp"

namespace skerry::vm {

// First: capabilities, new privileges, core dumps. Holds for the calling thread and those it makes afterwards, so it
// comes before the vCPU threads.
Result<void> drop_rights();

// Second, when every file is open and every thread is there: from now on, in all threads, any system call that is not
// on the list ends the process with kExitInternal and a line that names the call.
Result<void> install_syscall_filter();

}  // namespace skerry::vm
