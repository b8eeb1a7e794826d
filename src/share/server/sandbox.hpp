// What skerry-fs gives up before a guest's first byte. A system call that is not allowed ends the process with a line that names it.
#pragma once

#include "base/result.hpp"
#include "share/owners.hpp"

namespace skerry::share {

// All capabilities but, if `by_root`, those to own, read and write files as anybody (never CAP_MKNOD); new privileges; being looked into.
// Gives whose files are whose from now on.
Result<Owners> drop_rights(bool by_root);
// Only what serves files by descriptors that are there, and answers.
Result<void> confine();

}  // namespace skerry::share
