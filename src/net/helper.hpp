// Starting skerry-net, which does for a VM what its sandbox does not let it do. Before the sandbox closes.
#pragma once

#include <string>
#include <vector>

#include "base/fd.hpp"
#include "base/result.hpp"

namespace skerry::net {

// Descriptors of skerry-net: the first is always there, the others depend on what it is started for.
constexpr int kHelperControl = 3;  // SOCK_SEQPACKET; the process ends when the other side is closed
constexpr int kHelperMemory = 4, kHelperWake = 5, kHelperWakeVm = 6;

// What it says first on kHelperControl: it is ready, or why it cannot be, after the first byte.
constexpr char kHelperReady = '+', kHelperFailed = '-';
constexpr size_t kMaxHelperMessage = 1024;

// Runs the skerry-net that lies beside this program with `arguments` after its name, and `descriptors` as its
// kHelperMemory and up; it ends when this thread does. Waits until it is ready; the result is our side of its control
// socket, non-blocking. An error is skerry-net's own.
Result<UniqueFd> start_helper(const std::vector<std::string>& arguments, const std::vector<int>& descriptors);

}  // namespace skerry::net
