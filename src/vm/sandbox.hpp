// Gives up every right that a running VM does not need. What parses hostile bytes runs after this.
#pragma once

#include "base/result.hpp"

namespace skerry::vm {

// First: capabilities and new privileges. Holds for the calling thread and those it makes afterwards, so it comes before
// the vCPU threads.
Result<void> drop_rights();

// Second, after the threads, which could not be named any more: other processes of the same user, and core files, do not
// get the guest's memory. Debug builds stay debuggable.
void hide_memory();

// Third, when every file is open and every thread is there: from now on, in all threads, any system call that is not
// on the list ends the process with kExitInternal and a line that names the call.
Result<void> install_syscall_filter();

}  // namespace skerry::vm
