// Starting skerry-net, which does for a VM's network what its sandbox does not let it do. Before the sandbox closes.
#pragma once

#include "base/helper.hpp"

namespace skerry::net {

// Descriptors of skerry-net behind kHelperControl. They depend on what it is started for.
constexpr int kHelperMemory = 4, kHelperWake = 5, kHelperWakeVm = 6;

inline Result<UniqueFd> start_helper(const std::vector<std::string>& arguments, const std::vector<int>& descriptors) {
  return skerry::start_helper("skerry-net", arguments, descriptors);
}

}  // namespace skerry::net
