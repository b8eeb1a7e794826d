// Why a path cannot be opened: which part of it is missing, or closed to whom.
#pragma once

#include <string>

namespace skerry {

// `saved_errno` is what opening `path` failed with; `mode` is R_OK, W_OK or both. One line without a subject, such as
// "folder '/srv/private' may not be entered by user 'joe' (mode 0700, owner 'root')". Looks at the file system anew.
std::string explain_path(int saved_errno, const std::string& path, int mode);

}  // namespace skerry
