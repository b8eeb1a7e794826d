// What of the host's files the process can reach: the shared folder.
//
// Where it may, it has a mount namespace of its own whose root is the folder (root may; an ordinary user may where the host allows
// user namespaces). Otherwise the kernel's Landlock denies it everything else, if the kernel has that. Under both, and without
// them, it goes by descriptors relative to the folder and follows no symbolic link.
#pragma once

#include <string>

#include "base/fd.hpp"
#include "base/result.hpp"

namespace skerry::share {

struct View {
  UniqueFd root;             // O_PATH, the folder
  UniqueFd own_descriptors;  // O_PATH, /proc/self/fd
  bool read_only = false;
};

// Opens the folder at `path` and closes the rest. Before rights are dropped, while there is one thread. Afterwards an ordinary
// user may be user 0, of a namespace of its own. An error does not name the folder.
Result<View> open_view(const std::string& path, bool read_only);
// What open_view() could not close, by Landlock. After no-new-privileges. Fails only if the kernel has it and it cannot be used.
Result<void> close_view(const View& view);

}  // namespace skerry::share
