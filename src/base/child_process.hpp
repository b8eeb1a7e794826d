// Starting another program beside this one, before the sandbox closes.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"

namespace skerry {

// The first of the child's descriptors that are not standard input, output and error.
constexpr int kFirstChildFd = 3;

// Whether it may do what this process may, or has no capabilities and gets none by executing something.
enum class ChildRights : uint8_t { kOurs, kNone };

// Runs `program`, a path, with `arguments` after its name, and copies of `descriptors` as its kFirstChildFd and up. Its standard input
// and output are /dev/null, its standard error is ours; it has no other descriptor, is in a process group
// of its own, and is killed when the calling thread ends. The
// result is its process, for stop_child(). That the program could not be executed shows in its end.
Result<pid_t> start_child(const std::string& program, const std::vector<std::string>& arguments, const std::vector<int>& descriptors,
                          ChildRights rights = ChildRights::kOurs);

// Kills it and waits until it is gone. Not in the sandbox.
void stop_child(pid_t child);

// Where the shell would find `name`; none: nowhere.
std::optional<std::string> find_program(std::string_view name);

}  // namespace skerry
