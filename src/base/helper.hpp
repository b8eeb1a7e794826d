// Starting the programs that do for a VM what its sandbox does not let it do: skerry-net, skerry-fs. Before the sandbox
// closes.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/fd.hpp"
#include "base/result.hpp"

namespace skerry {

// Descriptors of a helper: this one is always there, those that it is given follow.
constexpr int kHelperControl = 3;  // SOCK_SEQPACKET; the process ends when the other side is closed

// What it says first on kHelperControl: it is ready, or why it cannot be, after the first byte.
constexpr char kHelperReady = '+', kHelperFailed = '-';
constexpr size_t kMaxHelperMessage = 1024;

// Runs the program `name` that lies beside this one with `arguments` after its name, and `descriptors` behind
// kHelperControl; it ends when this thread does. Waits until it is ready; the result is our side of its control socket,
// non-blocking. An error is the helper's own.
Result<UniqueFd> start_helper(std::string_view name, const std::vector<std::string>& arguments,
                              const std::vector<int>& descriptors);

// The helper's side: says that it is ready, or why it cannot be.
void report_ready();
void report_failure(std::string_view why);

}  // namespace skerry
